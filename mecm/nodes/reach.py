"""How a worker of the centre reaches the runtime of a direct node."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Any
from uuid import UUID

from django.conf import settings

import engines
from core.errors import Conflict
from core.words import say
from engines.contract import Engine, EngineSettings
from mecm.nodes import sealed
from mecm.nodes.models import Node

_KEEP = 64


class _Engines:
    """The engines of this process, so that connections are kept; one is made anew when its kubeconfig changed.

    A forked child starts empty: connections are not shared between processes.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, tuple[str, Engine]] = OrderedDict()
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._start_empty)

    def _start_empty(self) -> None:
        self._known, self._lock = OrderedDict(), threading.Lock()

    def get(self, node: Node) -> Engine:
        kubeconfig = sealed.reveal(node, "kubeconfig") if node.kubeconfig else ""
        mark = hashlib.sha256(f"{node.engine}\n{kubeconfig}".encode()).hexdigest()
        with self._lock:
            known = self._known.get(node.pk)
            if known is not None and known[0] == mark:
                self._known.move_to_end(node.pk)
                return known[1]
            engine = _make(node, kubeconfig)
            self._known[node.pk] = (mark, engine)
            dropped: list[Any] = [known] if known else []
            while len(self._known) > _KEEP:
                dropped.append(self._known.popitem(last=False)[1])
        for _, old in dropped:
            old.close()
        return engine


_engines = _Engines()


def engine_for(node: Node) -> Engine:
    """Return the engine of a direct node; `Conflict` when its cluster cannot be reached for want of a kubeconfig."""
    if node.link != Node.Link.DIRECT:
        raise Conflict(say("{node} is served by its agent; the centre does not reach its runtime.", node=node))
    if node.engine == "kubernetes" and not node.kubeconfig:
        raise Conflict(say("{node} has no kubeconfig yet; import one first.", node=node))
    return _engines.get(node)


def _make(node: Node, kubeconfig: str) -> Engine:
    folder = settings.VAR_DIR / "direct" / str(node.pk)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return engines.registry.get(node.engine)(EngineSettings(name=str(node.pk), state_dir=folder, kubeconfig=kubeconfig))
