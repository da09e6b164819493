"""What user planes tell: taken in by any process, handed to the adapter by the one that has it, shown to the operator."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import F

import upf_adapter
from core.errors import BreakwaterError, Invalid
from mep.mp1 import bell
from mep.mp1.models import Counter
from mep.upf.models import Event
from upf_adapter.contract import UpfAdapter

log = logging.getLogger(__name__)
#: Where `mep.urls` has the endpoint.
MOUNT = "upf/v1"
#: Seconds in which the same words about the same thing are a repetition of a sender that heard no answer.
REPEATED_WITHIN = 60.0
#: Events handed over at a time, and how often one is tried while the user plane is away.
AT_ONCE, TRIES = 50, 20


def token() -> str:
    """Return the secret part of this installation's notification address; made at first use, readable by us alone."""
    path: Path = settings.VAR / "upf-token"
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    fresh = path.with_name(f"upf-token.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        # Two processes may get here at once; the first one's stays.
        with suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()
    return path.read_text().strip()


def notification_url() -> str:
    """Return where the user plane reaches this MEP; a secret, as whoever knows it may tell us things."""
    return f"{settings.UPF_NOTIFY_ROOT or settings.API_ROOT}/{MOUNT}/{token()}"


def equipped(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's options with what only the MEP knows: where to notify it, and where it may keep its state."""
    kind = upf_adapter.registry.get(name)
    known = {field.name for field in msgspec.structs.fields(kind.Options)}
    ours: dict[str, Any] = {}
    if "notification_url" in known and "notification_url" not in options:
        ours["notification_url"] = notification_url()
    if "state_file" in known and "state_file" not in options:
        ours["state_file"] = str(settings.VAR / f"upf-{name}.state")
    return {**ours, **options}


@transaction.atomic
def receive(path: str, body: Mapping[str, Any]) -> Event:
    """Take a notification in; one that says the same as the last from there, a moment ago, is that one again."""
    text = json.dumps([path, body], sort_keys=True)
    digest, now = hashlib.sha256(text.encode()).hexdigest(), time.time()
    last = Event.objects.filter(path=path).order_by("-id").first()
    if last is not None and last.digest == digest and now - last.seen_at < REPEATED_WITHIN:
        Event.objects.filter(pk=last.pk).update(count=F("count") + 1, seen_at=now)
        return last
    event = Event.objects.create(path=path, body=dict(body), digest=digest, received_at=now, seen_at=now)
    oldest = Event.objects.order_by("-id").values_list("id", flat=True)[settings.UPF_EVENTS_KEPT - 1 :][:1]
    for kept in oldest:
        Event.objects.filter(id__lt=kept).delete()
    bell.ring_on_commit()
    return event


def hand_over(adapter: UpfAdapter) -> int:
    """Give the adapter what waits, oldest first, and return how much it took; rules that it lost are put again.

    Called by the thread that has the adapter. What the user plane is too far away for is given again next time.
    """
    waiting = list(Event.objects.filter(state=Event.State.WAITING)[:AT_ONCE])
    taken = 0
    for event in waiting:
        try:
            answer = adapter.notified({"path": event.path, "body": event.body})
        except BreakwaterError as problem:
            again = problem.retryable and event.tries + 1 < TRIES
            log.warning("a notification to %s was not taken: %s", event.path.partition("/")[0], problem.detail)
            _note(event, Event.State.WAITING if again else Event.State.REFUSED, problem.detail)
            if again:
                break
            continue
        except Exception:
            log.exception("the user plane %s choked on a notification", adapter.name)
            _note(event, Event.State.REFUSED, "The adapter failed; the log says why")
            continue
        taken += 1
        _note(event, Event.State.TAKEN, "", dict(answer) if answer is not None else None)
    if waiting and not adapter.intact():
        Counter.bump("traffic")
    return taken


def events(limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest events, newest first, for the console."""
    if not 1 <= limit <= 1000:
        raise Invalid("limit must be 1 to 1000")
    return [
        {
            "id": event.pk,
            # The rest of the path is what an attempt is known by, and nobody else's business.
            "from": event.path.partition("/")[0],
            "about": event.path.rpartition("/")[2],
            "body": event.body,
            "receivedAt": event.received_at,
            "seenAt": event.seen_at,
            "count": event.count,
            "state": event.state,
            "reason": event.reason,
            "answer": event.answer,
        }
        for event in Event.objects.order_by("-id")[:limit]
    ]


def _note(event: Event, state: Event.State, reason: str, answer: Any = None) -> None:
    Event.objects.filter(pk=event.pk).update(state=state, reason=reason[:500], answer=answer, tries=F("tries") + 1)
