"""The direct applier: a worker of the centre does for a node what elsewhere the node's agent does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.utils import timezone

from appstore.packages import blobs
from core.errors import BreakwaterError
from engines.applier import Applier, Blob, MepPort, missing_blob
from engines.contract import Engine
from mecm.deployments.mm5 import Mm5, NoMep
from mecm.edge.models import ReportedObject
from mecm.nodes import reach, sealed
from mecm.nodes.models import Node

EVENTS = 100

#: How the MEP of a node is spoken to; a test hands in another.
Dial = Callable[[Node], MepPort]


def mep_of(node: Node) -> Mm5 | NoMep:
    """Return the MEP of a direct node."""
    if not node.mep_url:
        return NoMep()
    return Mm5(node.mep_url, sealed.reveal(node, "mep_token"), ca=node.mep_ca, name=f"the MEP of {node}")


@contextmanager
def applier_for(node: Node) -> Iterator[Applier]:
    """Lend the applier of a direct node."""
    engine = reach.engine_for(node)
    mep = mep_of(node)
    try:
        yield Applier(engine, mep, fetch)
    finally:
        if isinstance(mep, Mm5):
            mep.close()


def fetch(blob: Blob) -> Path:
    """Return where the store keeps the file; `Missing` when it does not."""
    path = blobs.path_of(blob.sha256)
    if not path.is_file():
        raise missing_blob(blob)
    return path


def keep(node: Node, kind: str, key: str, status: Mapping[str, Any], *, generation: int = 0) -> None:
    """Store what was seen on a direct node as if its agent had reported it."""
    ReportedObject.objects.update_or_create(
        node=node,
        kind=kind,
        key=key,
        defaults={"status": dict(status), "observed_generation": generation, "reported_at": timezone.now()},
    )


def keep_events(node: Node, engine: Engine, key: str, *, name: str, namespace: str) -> None:
    """Store what happened to a release; events are told where they can be had and never hold up the state."""
    try:
        found = engine.events(name, namespace, limit=EVENTS)
    except BreakwaterError:
        return
    told = [{**asdict(event), "at": event.at.isoformat()} for event in found]
    keep(node, "appEvents", key, {"events": told})
