"""The recall list on this node: taken from the centre, checked against its key, kept, and obeyed with or without it.

The key is the one that the list came with when this node first heard from its centre. Later lists are signed with it,
and name the keys of those after them; so the centre may change its key, and nobody else may.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core import dsse, recalls
from core.errors import BreakwaterError, Invalid
from core.recalls import Entry, RecallList
from mep.agent import store
from mep.agent.reports import Reporter

logger = logging.getLogger("breakwater.agent")

KIND, KEY = "recalls", "list"


@dataclass(frozen=True, slots=True)
class Held:
    """What this node obeys, whose word it is, and by which keys the next list is known."""

    centre: str
    keys: tuple[str, ...]
    list: RecallList


class Recalls:
    """Steps for the kind `recalls`, and the question whether an app may run."""

    def __init__(self, reporter: Reporter, centre: Callable[[], str], wake_apps: Callable[[], None]) -> None:
        self.reporter, self.centre, self.wake_apps = reporter, centre, wake_apps
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._read = False

    def step(self, key: str) -> float | None:
        """Take the list that the centre wishes; one that is refused is told, and the one held stays in force."""
        wish = store.wish(KIND, key)
        if wish is None:
            return None
        if wish.deleted:
            # Nothing is lifted by a wish that goes: only by a list that says so.
            store.forget(wish)
            return None
        before = self.held()
        status: dict[str, Any]
        try:
            taken = self._take(wish.spec, before)
        except BreakwaterError as problem:
            logger.error("the recall list of the centre is refused: %s", problem.detail)
            status = {"state": "refused", "message": problem.detail, "reason": str(problem.context.get("reason", ""))}
            self.reporter.say(KIND, key, wish.generation, {**status, "serial": before.list.serial if before else 0})
            return None
        status = {"state": "held", "message": "", "reason": "", "entries": len(taken.list.entries)}
        self.reporter.say(KIND, key, wish.generation, {**status, "serial": taken.list.serial})
        if before != taken:
            logger.info("recall list %d with %d entries is in force", taken.list.serial, len(taken.list.entries))
            self.wake_apps()
        return None

    def stops(self, spec: Mapping[str, Any]) -> Entry | None:
        """Return the entry for which the app of this spec must not run; None when it may."""
        found = self.about(spec)
        return found if found and found.action == recalls.STOP else None

    def about(self, spec: Mapping[str, Any]) -> Entry | None:
        """Return the entry about the package of this spec, also one that only warns."""
        held = self.held()
        if held is None or not held.list.entries:
            return None
        chart = spec.get("chart")
        return recalls.match(
            held.list.entries,
            package=str(spec.get("package") or ""),
            sha256=str(spec.get("packageSha256") or ""),
            chart=str(chart.get("sha256") or "") if isinstance(chart, Mapping) else "",
        )

    def held(self) -> Held | None:
        """Return what is in force; read from disk once, so that it holds before anything else is started."""
        with self._lock:
            if not self._read:
                self._held, self._read = load(), True
            return self._held

    def _take(self, spec: Mapping[str, Any], before: Held | None) -> Held:
        centre = self.centre()
        # A node that joined another centre begins anew with that one.
        present = before if before and before.centre == centre else None
        given = spec.get("keys")
        named = present.keys if present else tuple(str(each) for each in given) if isinstance(given, list) else ()
        offered = recalls.open_list(recalls.unpack(spec.get("list")), [dsse.load_public(pem) for pem in named])
        recalls.insist_on_newer(present.list if present else None, offered)
        for pem in offered.keys:
            dsse.load_public(pem)
        taken = Held(centre, offered.keys or named, offered)
        if taken != before:
            save(taken)
            with self._lock:
                self._held, self._read = taken, True
        return taken


def load() -> Held | None:
    """Return the list that was kept."""
    kept = store.recalls()
    if not kept:
        return None
    try:
        payload = json.dumps(kept["list"]).encode()
        return Held(str(kept["centre"]), tuple(kept["keys"]), recalls.parse(payload))
    except (KeyError, TypeError, Invalid):
        logger.error("the recall list on this node's disk cannot be read; the centre sends it again")
        return None


def save(held: Held) -> None:
    """Keep the list; when this returns it is on disk."""
    said = json.loads(held.list.payload())
    store.keep_recalls({"centre": held.centre, "keys": list(held.keys), "list": said})


def mark_of(ca_pem: str) -> str:
    """Return by what a centre is known: the digest of its authority."""
    return hashlib.sha256(ca_pem.encode()).hexdigest()
