"""What the containers of a deployment write and what happened to them, wherever they run."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import TYPE_CHECKING, Any

from core.errors import TimedOut
from core.words import say
from mecm.deployments import secret_values
from mecm.deployments.restoring import KIND
from mecm.edge import services as edge
from mecm.edge.models import DesiredObject, ReportedObject
from mecm.nodes import reach
from mecm.nodes.models import Node

if TYPE_CHECKING:
    from mecm.deployments.models import Deployment

#: For so many seconds an agent sends log lines after somebody last looked.
WATCH = 30
#: A page that polls each second must not write a wish each second: it is renewed when this much is left.
_RENEW_BELOW = 15
_DIRECT_TIMEOUT = 8.0
TAIL = 500

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="direct-logs")


def lines(deployment: Deployment, *, tail: int = 200) -> dict[str, Any]:
    """Return the last lines, oldest first; a secret value that the application wrote is the mark.

    A direct node is asked now. An agent is asked to send lines for the next half a minute, and the answer is what it
    sent last: the first answer is often empty, the next one is not.
    """
    tail = max(1, min(TAIL, tail))
    secrets = secret_values.in_deployment(deployment)
    if deployment.node.link == Node.Link.DIRECT:
        return dict(secret_values.scrubbed_all(_direct_lines(deployment, tail), secrets))
    until = _keep_watching(deployment)
    row = ReportedObject.objects.filter(node=deployment.node_id, kind="appLog", key=str(deployment.pk)).first()
    told = row.status.get("lines") if row is not None and isinstance(row.status, dict) else None
    found = told if isinstance(told, list) else []
    found = secret_values.scrubbed_all(found[-tail:], secrets)
    return {"lines": found, "reported_at": row.reported_at if row else None, "watching_until": until}


def events(deployment: Deployment) -> dict[str, Any]:
    """Return what happened to the deployment, newest first, as last reported."""
    rows = ReportedObject.objects.filter(node=deployment.node_id, key=str(deployment.pk))
    told: list[Any] = []
    latest = None
    # What the centre did for the MEC platform of a direct node stands among what the runtime says, by its time.
    for row in rows.filter(kind__in=["appEvents", KIND]).order_by("kind"):
        events = row.status.get("events") if isinstance(row.status, dict) else None
        fresh = events if isinstance(events, list) else []
        told = sorted([*told, *fresh], key=_at, reverse=True) if told and fresh else [*told, *fresh]
        latest = max(latest, row.reported_at) if latest else row.reported_at
    found = told[:200]
    return {
        "events": secret_values.scrubbed_all(found, secret_values.in_deployment(deployment)) if found else [],
        "reported_at": latest,
    }


def _at(event: Any) -> str:
    return str(event.get("at", "")) if isinstance(event, dict) else ""


def end_watches(now: float | None = None) -> int:
    """Take back the wishes for log lines that nobody looks at any more."""
    now = time.time() if now is None else now
    ended = 0
    for wanted in DesiredObject.objects.live().filter(kind="logWatch").select_related("node"):
        if _until(wanted) < now - WATCH:
            edge.delete(wanted.node, "logWatch", wanted.key)
            ended += 1
    return ended


def _keep_watching(deployment: Deployment) -> float:
    now = time.time()
    key = str(deployment.pk)
    present = DesiredObject.objects.live().filter(node=deployment.node_id, kind="logWatch", key=key).first()
    if present is not None and _until(present) > now + _RENEW_BELOW:
        return _until(present)
    until = float(int(now) + WATCH)
    edge.put(deployment.node, "logWatch", key, generation=1, spec={"until": until})
    return until


def _until(wanted: DesiredObject) -> float:
    until = wanted.spec.get("until", 0)
    return float(until) if isinstance(until, int | float) else 0.0


def _direct_lines(deployment: Deployment, tail: int) -> dict[str, Any]:
    engine = reach.engine_for(deployment.node)
    asked = _threads.submit(engine.logs, deployment.name, deployment.namespace, tail=tail)
    try:
        found = asked.result(timeout=_DIRECT_TIMEOUT)
    except Late:
        asked.cancel()
        raise TimedOut(
            say(
                "{node} did not send its logs within {direct_timeout} s",
                node=deployment.node,
                direct_timeout=format(_DIRECT_TIMEOUT, "g"),
            )
        ) from None
    told = [
        {
            "at": line.at.isoformat() if line.at else None,
            "pod": line.pod,
            "container": line.container,
            "text": line.text,
        }
        for line in found
    ]
    return {"lines": told, "reported_at": None, "watching_until": None}
