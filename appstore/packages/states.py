"""The life of a package as a table: which deed leads from where to where. Touches nothing."""

from __future__ import annotations

from core.errors import Conflict
from core.words import say

DRAFT, CHECKED, REJECTED, IN_REVIEW = "draft", "checked", "rejected", "in-review"
PUBLISHED, DEPRECATED, YANKED, QUARANTINED, RECALLED = "published", "deprecated", "yanked", "quarantined", "recalled"
#: From here on the content of a package never changes again.
FINAL = (PUBLISHED, DEPRECATED, YANKED, QUARANTINED, RECALLED)
STATES = (DRAFT, CHECKED, REJECTED, IN_REVIEW, *FINAL)
#: The catalogue and the feeds show these, and they can be deployed.
LISTED = (PUBLISHED, DEPRECATED)
#: Who ran one of these may go back to it; the others are refused even there.
KEPT = (*LISTED, YANKED)
#: Those who run one of these are told so, with advice.
MARKED = (DEPRECATED, YANKED, QUARANTINED, RECALLED)

TRANSITIONS: dict[tuple[str, str], str] = {
    (DRAFT, "pass"): CHECKED,
    (DRAFT, "fail"): REJECTED,
    (CHECKED, "pass"): CHECKED,
    (CHECKED, "fail"): REJECTED,
    (REJECTED, "pass"): CHECKED,
    (REJECTED, "fail"): REJECTED,
    (CHECKED, "publish"): PUBLISHED,
    (CHECKED, "submit"): IN_REVIEW,
    (IN_REVIEW, "approve"): PUBLISHED,
    (IN_REVIEW, "decline"): CHECKED,
    (IN_REVIEW, "retract"): CHECKED,
    (PUBLISHED, "deprecate"): DEPRECATED,
    (DEPRECATED, "undeprecate"): PUBLISHED,
    (PUBLISHED, "yank"): YANKED,
    (DEPRECATED, "yank"): YANKED,
    (YANKED, "unyank"): PUBLISHED,
    **{(state, "quarantine"): QUARANTINED for state in (PUBLISHED, DEPRECATED, YANKED)},
    (QUARANTINED, "unquarantine"): PUBLISHED,
    # A release may stand in several recalls; it is free when the last of them is lifted.
    **{(state, "recall"): RECALLED for state in FINAL},
    (RECALLED, "unrecall"): PUBLISHED,
    (DRAFT, "discard"): "",
    (CHECKED, "discard"): "",
    (REJECTED, "discard"): "",
}
#: Deeds after which a release is again what it was before it was set aside.
RETURNS = ("unyank", "unquarantine", "unrecall")
#: What takes a deed back.
UNDO = {"deprecate": "undeprecate", "yank": "unyank", "quarantine": "unquarantine", "recall": "unrecall"}

_WHY_NOT = {
    ("publish", DRAFT): say("It has not been checked yet."),
    ("publish", REJECTED): say("Its check found errors."),
    ("publish", IN_REVIEW): say("A reviewer looks at it first."),
    ("publish", PUBLISHED): say("It is published already."),
    ("publish", YANKED): say("It was yanked; take that back, or publish a new version."),
    ("pass", IN_REVIEW): say("What is reviewed stays as it is; retract it first."),
    ("discard", IN_REVIEW): say("It is being reviewed; retract it first."),
    ("yank", QUARANTINED): say("It is quarantined, and nobody deploys it; that is settled first."),
    ("deprecate", YANKED): say("It was yanked, which says more."),
    **{
        ("discard", state): say("A release stays, so that its version is not given away again; yank it.")
        for state in FINAL
    },
}


def after(state: str, deed: str, resumes: str = "") -> str:
    """Return the state after `deed`; `Conflict` when it is not allowed in `state`. An empty state means gone.

    `resumes` is what the release was before it was set aside; deeds that undo that lead back to it.
    """
    try:
        reached = TRANSITIONS[state, deed]
    except KeyError:
        why = _WHY_NOT.get((deed, state), say("That is not possible while it is {state}.", state=state))
        raise Conflict(say("This package cannot {deed} now. {why}", deed=deed, why=why), state=state) from None
    return resumes if deed in RETURNS and resumes in KEPT else reached


def resuming(state: str, deed: str, resumes: str) -> str:
    """Return what a release goes back to when `deed`, done in `state`, is undone; empty when it is not set aside.

    Whoever lifts a recall has settled the quarantine before it, too: so that one is never gone back to.
    """
    if deed in UNDO.values():
        return PUBLISHED if after(state, deed, resumes) == YANKED else ""
    if after(state, deed) in (YANKED, QUARANTINED, RECALLED):
        return state if state in KEPT else resumes
    return ""


def deeds(state: str) -> list[str]:
    """Return what may be done in `state`, sorted."""
    return sorted(deed for start, deed in TRANSITIONS if start == state)
