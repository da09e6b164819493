"""What a report says about a wish. Decisions only: no database, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.words import say

#: A report is the node's word, so each part of it is cut to what a page can show.
_TEXT, _ITEMS = 2000, 200

_WORKLOAD: dict[str, type] = {
    "kind": str, "name": str, "state": str, "wanted": int, "ready": int, "reason": str, "message": str, "restarts": int,
}  # fmt: skip
_ENDPOINT: dict[str, type] = {
    "service": str, "port_name": str, "protocol": str, "cluster_host": str, "cluster_port": int, "address": str,
    "port": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What the centre holds of a deployment when the report comes in."""

    wish: str
    generation: int
    observed_generation: int
    state: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the row; `outcome` is set when this report settles the present generation."""

    state: str
    observed_generation: int
    reason: str
    message: str
    revision: int
    workloads: list[dict[str, Any]]
    endpoints: list[dict[str, Any]]
    outcome: str = ""


def judge(known: Known, observed_generation: int, status: Mapping[str, Any]) -> Verdict | None:
    """Return what the report means, or None when it says nothing about the present (old, or from the future).

    A deployment is `ready` only when the node says so about the very generation that is wished now; a report
    about an older one may show its workloads, but never its readiness.
    """
    if known.state == "removed" or not known.observed_generation <= observed_generation <= known.generation:
        return None
    said = _text(status.get("state"))
    current = observed_generation == known.generation
    state, outcome = _state(known, said, current)
    return Verdict(
        state=state,
        observed_generation=observed_generation,
        reason=_text(status.get("reason"))[:80] if current else "",
        message=_message(known, said, current, status),
        revision=_number(status.get("revision")),
        workloads=_items(status.get("workloads"), _WORKLOAD) if state != "removed" else [],
        endpoints=_items(status.get("endpoints"), _ENDPOINT) if state != "removed" else [],
        outcome=outcome,
    )


def _state(known: Known, said: str, current: bool) -> tuple[str, str]:
    if known.wish == "absent":
        if current and said == "absent":
            return "removed", "removed"
        # A node that is back and at it does not undo that somebody gave it up.
        return "abandoned" if known.state == "abandoned" else "removing", ""
    if not current:
        return known.state if known.state in ("pending", "progressing") else "pending", ""
    if said == "ready":
        return "ready", "ready"
    if said == "failed":
        return "failed", "failed"
    return "progressing", ""


def _message(known: Known, said: str, current: bool, status: Mapping[str, Any]) -> str:
    if not current:
        return ""
    told = _text(status.get("message"))
    if known.wish == "present" and said == "absent" and not told:
        return say("the release is not on the node at the moment")
    return told


def _text(value: Any) -> str:
    return value[:_TEXT] if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _items(value: Any, members: Mapping[str, type]) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple):
        return []
    return [
        {name: _number(each.get(name)) if kind is int else _text(each.get(name)) for name, kind in members.items()}
        for each in value[:_ITEMS]
        if isinstance(each, Mapping)
    ]
