"""What the agent tells the centre: only what changed, through the outbox."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from core.errors import BreakwaterError
from core.frames import spec_digest
from engines.contract import Engine
from engines.facts import tenancy_of
from mep.agent import VERSION, store

logger = logging.getLogger("breakwater.agent")


class Reporter:
    """Posts reports that differ from the last one about the same thing, and pokes whoever sends them."""

    def __init__(self) -> None:
        self.poke: Callable[[], None] = lambda: None
        self._last: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def say(self, kind: str, key: str, generation: int, status: Mapping[str, Any], *, ttl: float | None = None) -> bool:
        """Report `status`; False when nothing changed since the last report."""
        digest = spec_digest({"generation": generation, "status": status})
        with self._lock:
            if self._last.get((kind, key)) == digest:
                return False
            store.post(kind, key, generation, status, ttl=ttl)
            self._last[(kind, key)] = digest
        self.poke()
        return True

    def forget(self, kind: str, key: str) -> None:
        """Report the next status of this thing even if it is as before."""
        with self._lock:
            self._last.pop((kind, key), None)


#: Releases that nobody wishes for, in one report.
MOST_UNWISHED = 50


def about_node(engine: Engine, engine_name: str, unwished: Callable[[Engine], list[str]]) -> dict[str, Any]:
    """Return what the node says of itself, with the releases on it that its centre does not wish for."""
    status: dict[str, Any] = {
        "engine": engine_name,
        "engine_version": "",
        "agent_version": VERSION,
        "simulated": engine_name == "memory",
        "capacity": {},
        "isolation": {},
        "limits": {},
        "problem": None,
        "unwished": [],
    }
    try:
        status["engine_version"] = engine.ping()
        capacity = engine.capacity()
        status["capacity"] = {
            "cpu_millis": capacity.cpu_millis,
            "memory_bytes": capacity.memory_bytes,
            "storage_bytes": capacity.storage_bytes,
        }
        status |= tenancy_of(engine)
    except BreakwaterError as problem:
        status["problem"] = problem.problem()
    with suppress(BreakwaterError):  # whoever may not look into every namespace can tell nothing
        status["unwished"] = unwished(engine)[:MOST_UNWISHED]
    return status
