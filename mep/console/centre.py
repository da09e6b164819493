"""How the link to the centre stands, by what the agent wrote down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.words import Said, say

#: The agent notes every 15 s that it is linked, and each try when it is not.
AGENT_SILENT = 90.0


@dataclass(frozen=True, slots=True)
class LinkInWords:
    """How the link to the centre stands."""

    state: str
    since: float | None
    text: str


def link_in_words(note: dict[str, Any], now: float) -> LinkInWords:
    """Say how the link stands by what the agent wrote down; a note that grew old is not believed."""
    state, at = str(note.get("state", "")), float(note.get("at", 0))
    since = float(note.get("since", 0)) or None
    if not note:
        return LinkInWords("silent", None, say("The agent has not run on this node yet."))
    if state == "not-joined":
        return LinkInWords(
            state, since, say("This node has not joined a centre. It works by itself; `manage.py enrol` joins.")
        )
    if now - at > AGENT_SILENT:
        return LinkInWords("silent", at, say("The agent has written nothing since then; it seems not to run."))
    if state == "connected":
        return LinkInWords(state, since, say("Wishes arrive and reports leave."))
    why = str(note.get("why", "")) or say("No reason is known")
    if not isinstance(why, Said):
        why = f"{why[:1].upper()}{why[1:]}"
    told = say("{why}. Applications, DNS and traffic rules go on; reports wait here.", why=why)
    return LinkInWords("cut-off", since, told)
