"""How a command ends when it cannot do what was asked: one sentence for the person, one number for the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OK, FAILED, BAD_USE, TIMED_OUT, NO_SUCH, INTERRUPTED = 0, 1, 2, 3, 4, 130

#: What a status says about who is to blame. Everything else failed, for whatever reason.
_BY_STATUS = {400: BAD_USE, 413: BAD_USE, 415: BAD_USE, 401: NO_SUCH, 403: NO_SUCH, 404: NO_SUCH, 504: TIMED_OUT}
_WAYS_OUT = {
    401: "Sign in with `breakwater login`, or set BREAKWATER_TOKEN.",
    412: "Look at it again and decide anew.",
}


class Stop(Exception):
    """The command ends here: `message` goes to stderr, `code` is the exit code."""

    def __init__(self, message: str, code: int = FAILED, document: Any = None) -> None:
        super().__init__(message)
        self.message, self.code, self.document = message, code, document


class Refused(Stop):
    """The centre said no; `problem` is its document (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(sentence(status, problem), _BY_STATUS.get(status, FAILED))
        self.status, self.problem = status, problem


def sentence(status: int, problem: Mapping[str, Any]) -> str:
    """Return the problem in one sentence with the fields that are wrong, and the way out where one is known."""
    detail = str(problem.get("detail") or problem.get("title") or f"The server answered {status}").strip()
    listed = problem.get("errors")
    places: list[Any] = listed if isinstance(listed, list) else []
    named = [str(place["field"]) for place in places if isinstance(place, Mapping) and place.get("field")]
    if not named and problem.get("field"):
        named = [str(problem["field"])]
    # The centre often begins its sentence with the field already.
    missing = [name for name in named if not detail.startswith(name) and f"; {name}:" not in detail]
    if missing:
        detail = f"{', '.join(missing)}: {detail}"
    reasons = problem.get("reasons")
    if isinstance(reasons, list):
        said = [str(each.get("message", "")) for each in reasons if isinstance(each, Mapping)]
        detail += "".join(f"\n  - {each}" for each in said if each and each not in detail)
    wait = problem.get("retry_after")
    way_out = _WAYS_OUT.get(status, f"Try again in {wait} seconds." if wait else "")
    if way_out:
        detail = f"{detail.rstrip('.')}. {way_out}"
    return detail
