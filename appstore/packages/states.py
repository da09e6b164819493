"""The life of a package as a table: which deed leads from where to where. Touches nothing."""

from __future__ import annotations

from core.errors import Conflict

DRAFT, CHECKED, REJECTED, PUBLISHED, WITHDRAWN = "draft", "checked", "rejected", "published", "withdrawn"
STATES = (DRAFT, CHECKED, REJECTED, PUBLISHED, WITHDRAWN)
#: From here on the content of a package never changes again.
FINAL = (PUBLISHED, WITHDRAWN)
#: The catalogue and the feeds show these, and they can be deployed.
LISTED = (PUBLISHED,)

TRANSITIONS: dict[tuple[str, str], str] = {
    (DRAFT, "pass"): CHECKED,
    (DRAFT, "fail"): REJECTED,
    (CHECKED, "pass"): CHECKED,
    (CHECKED, "fail"): REJECTED,
    (REJECTED, "pass"): CHECKED,
    (REJECTED, "fail"): REJECTED,
    (CHECKED, "publish"): PUBLISHED,
    (PUBLISHED, "withdraw"): WITHDRAWN,
    (DRAFT, "discard"): "",
    (CHECKED, "discard"): "",
    (REJECTED, "discard"): "",
}
_WHY_NOT = {
    ("publish", DRAFT): "It has not been checked yet.",
    ("publish", REJECTED): "Its check found errors.",
    ("publish", PUBLISHED): "It is published already.",
    ("publish", WITHDRAWN): "It was withdrawn; publish a new version.",
    ("discard", PUBLISHED): "A published release stays; withdraw it instead.",
    ("discard", WITHDRAWN): "A withdrawn release stays, so that its version is not given away again.",
}


def after(state: str, deed: str) -> str:
    """Return the state after `deed`; `Conflict` when it is not allowed in `state`. An empty state means gone."""
    try:
        return TRANSITIONS[state, deed]
    except KeyError:
        why = _WHY_NOT.get((deed, state), f"That is not possible while it is {state}.")
        raise Conflict(f"This package cannot {deed} now. {why}", state=state) from None


def deeds(state: str) -> list[str]:
    """Return what may be done in `state`, sorted."""
    return sorted(deed for start, deed in TRANSITIONS if start == state)
