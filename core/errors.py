"""One tree of errors. Each knows who is to blame, whether waiting helps, and its HTTP status.

Every error leaves an API as `application/problem+json` (RFC 9457); the same document is
stored on an operation and shown in the console. Errors of libraries and of remote systems
are translated where they enter, never later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from core.words import say

#: `type` of a problem is this prefix plus the error's code; docs/errors.md explains each code.
PROBLEM_TYPE_PREFIX = "urn:breakwater:problem:"


class BreakwaterError(Exception):
    """Root of our errors: a sentence for the person, and facts for the machine.

    `detail` is shown to people, so it never holds a secret; what `say` said reaches everybody in
    their language. `context` becomes extension members of the problem document; values must be JSON.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = say("Something went wrong on our side")
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, **context: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context = context

    def problem(self) -> dict[str, Any]:
        """Return the RFC 9457 document: `type`, `title`, `status`, `detail`, `code` and our context."""
        return {
            **self.context,
            "type": PROBLEM_TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
        }


class Invalid(BreakwaterError):
    """The request or the file is wrong; sending it again will not help.

    `errors` lists the places: `[{"field": "name", "detail": "must not be empty"}]`.
    """

    code, title, status = "invalid", say("The request is not valid"), 400


class TooLarge(Invalid):
    """The request body or file is larger than this store takes."""

    code, title, status = "too-large", say("The content is too large"), 413


class Unauthenticated(BreakwaterError):
    """We do not know who asks."""

    code, title, status = "unauthenticated", say("Sign in first"), 401


class Denied(BreakwaterError):
    """We know who asks, and they may not."""

    code, title, status = "denied", say("This is not allowed"), 403


class Missing(BreakwaterError):
    """There is no such thing, or none that the asker may see."""

    code, title, status = "missing", say("Not found"), 404


class Conflict(BreakwaterError):
    """The thing is in a state that forbids this now."""

    code, title, status = "conflict", say("The present state does not allow this"), 409


class Stale(BreakwaterError):
    """The caller decided on an older version than the present one (If-Match)."""

    code, title, status = "stale", say("The object has changed meanwhile"), 412


class Throttled(BreakwaterError):
    """Too many requests; `retry_after` says when to come back, in seconds."""

    code, title, status, retryable = "throttled", say("Too many requests"), 429, True


class Rejected(BreakwaterError):
    """A remote system answered, and its answer is no or nonsense."""

    code, title, status = "rejected", say("A remote system refused"), 502


class Unavailable(BreakwaterError):
    """A remote system or a part of ours cannot be reached at the moment."""

    code, title, status, retryable = "unavailable", say("Not available at the moment"), 503, True


class TimedOut(BreakwaterError):
    """A remote system or a workload did not finish in the time given."""

    code, title, status, retryable = "timed-out", say("It took too long"), 504, True


def from_problem(problem: Mapping[str, Any]) -> BreakwaterError:
    """Rebuild the error that a stored or received problem document describes; unknown codes become `Rejected`."""
    known: dict[str, type[BreakwaterError]] = {}
    for each in _tree(BreakwaterError):
        # A room may have a narrower class of its own; outside of it the class that gave the code its meaning is right.
        known.setdefault(each.code, each)
    kind = known.get(str(problem.get("code", "")), Rejected)
    standard = {"type", "title", "status", "detail", "code", "retryable"}
    context = {key: value for key, value in problem.items() if key not in standard}
    return kind(str(problem.get("detail", "")) or kind.title, **context)


def _tree(root: type[BreakwaterError]) -> list[type[BreakwaterError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]
