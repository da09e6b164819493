"""The outbox: notifications as rows, in order per subscription, until they are delivered or their time is up.

A notice is written in the transaction of the change it tells of and deleted in the one that notes its delivery:
so each arrives at least once, whatever crashes, and its `tag` is the same at every try. `courier` carries those
that go to a callback, `websockets` those that are fetched.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, Min, OuterRef, Window
from django.db.models.functions import RowNumber

from mep.mp1 import alarms, bell
from mep.mp1.models import Notice, Subscription
from mep.mp1.states import Severity

log = logging.getLogger(__name__)
Some = TypeVar("Some")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Kind of the alarm that stands while notifications to a subscription were given up and none has arrived since.
GIVEN_UP = "notification-given-up"
#: Rows that are looked at in one go; SQLite takes 32,766 values in a statement.
CHUNK = 5000
#: Letters of one subscription that are read in one go once it has taken the first.
DEPTH = 16


@dataclass(frozen=True, slots=True)
class Letter:
    """One notification on its way. `suffered`: earlier ones to this subscription were given up."""

    notice: int
    tag: str
    subscription: str
    url: str
    body: bytes
    suffered: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to do: subscriptions with new notices, those whose pause is over, and when the next one's is.

    `seen` is how far the notices were looked at; `more`: there are some beyond.
    """

    news: list[str]
    due: list[str]
    again: float
    seen: int
    more: bool


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))


def subject(subscription_id: str) -> str:
    """Return what alarms about a subscription are about."""
    return f"subscription={subscription_id}"


# --- in ----------------------------------------------------------------------------------------------------------------


def post(messages: Sequence[tuple[Subscription, dict[str, Any]]]) -> None:
    """Put messages into the outbox, in the transaction of what they tell of; a few queries, however many they are.

    A subscription holds `NOTIFICATION_BACKLOG` of them at most: the oldest are given up for what is newer.
    """
    if not messages:
        return
    now = time.time()
    Notice.objects.bulk_create(
        [Notice(subscription=subscription, body=body, created_at=now) for subscription, body in messages]
    )
    tally = Tally(subscription.pk for subscription, _ in messages)
    for ids in chunks(tally):
        full = list(Subscription.objects.filter(pk__in=ids, room__lt=max(tally.values())).values_list("pk", flat=True))
        Subscription.objects.filter(pk__in=ids).update(room=F("room") - max(tally.values()))
        if full:
            _make_room(full)
    bell.ring_on_commit()


# --- out ---------------------------------------------------------------------------------------------------------------


def look(seen: int, now: float) -> Look:
    """Return which subscriptions may have something to send; `seen` is how far the last look came, 0 at first."""
    rows = list(Notice.objects.filter(pk__gt=seen).order_by("pk").values_list("pk", "subscription")[:CHUNK])
    waiting = Exists(Notice.objects.filter(subscription=OuterRef("pk")))
    paused = Subscription.objects.filter(waiting, next_try_at__gt=0).order_by("next_try_at")
    again = paused.filter(next_try_at__gt=now).aggregate(at=Min("next_try_at"))["at"]
    return Look(
        news=list(dict.fromkeys(subscription for _, subscription in rows)),
        due=list(paused.filter(next_try_at__lte=now).values_list("pk", flat=True)),
        again=math.inf if again is None else again,
        seen=rows[-1][0] if rows else seen,
        more=len(rows) == CHUNK,
    )


def first_too_old() -> float | None:
    """Return when the oldest notice has to be given up; None when nothing waits."""
    oldest = Notice.objects.aggregate(at=Min("created_at"))["at"]
    return None if oldest is None else oldest + settings.NOTIFICATION_LIFETIME


def heads(subscriptions: Collection[str], now: float, depth: int = 1) -> dict[str, list[Letter]]:
    """Return the `depth` oldest notifications of each of these that may be sent now; those too old are given up first."""
    rows = _first(subscriptions)
    if any(now - row.created_at > settings.NOTIFICATION_LIFETIME for row in rows):
        give_up_old(now)
        rows = _first(subscriptions)
    found = {row.subscription_id: [row] for row in rows if row.subscription.next_try_at <= now}
    if depth > 1:
        for each in found:
            waiting = Notice.objects.filter(subscription=each).select_related("subscription")
            found[each] = list(waiting[:depth])
    return {each: [_letter(row) for row in waiting] for each, waiting in found.items()}


@transaction.atomic
def settle(outcomes: Sequence[tuple[Letter, str]], now: float, following: int = DEPTH) -> dict[str, list[Letter]]:
    """Note what became of letters (empty text: taken) in one transaction, and return the next ones of each subscription.

    A letter that was not taken stays first in line until its pause is over.
    """
    taken = [letter for letter, why in outcomes if not why]
    if taken:
        Notice.objects.filter(pk__in=[letter.notice for letter in taken]).delete()
        by_count: dict[int, list[str]] = {}
        for each, count in Tally(letter.subscription for letter in taken).items():
            by_count.setdefault(count, []).append(each)
        for count, ids in by_count.items():
            Subscription.objects.filter(pk__in=ids).update(
                delivered=F("delivered") + count, failures=0, next_try_at=0, last_error=""
            )
        alarms.clear(GIVEN_UP, {subject(letter.subscription) for letter in taken if letter.suffered}, now=now)
    failed = {letter.subscription: why for letter, why in outcomes if why}
    rows = list(Subscription.objects.filter(pk__in=list(failed)))
    for row in rows:
        row.failures += 1
        row.next_try_at = now + pause(row.failures)
        row.last_error = failed[row.pk][:300]
    if rows:
        Subscription.objects.bulk_update(rows, ["failures", "next_try_at", "last_error"])
    return heads({letter.subscription for letter in taken}, now, following) if taken else {}


@transaction.atomic
def give_up_old(now: float) -> int:
    """Give up every notification older than `NOTIFICATION_LIFETIME`, with an alarm; returns how many."""
    old = Notice.objects.filter(created_at__lt=now - settings.NOTIFICATION_LIFETIME).order_by("id")
    return _give_up(
        old.values_list("pk", "subscription")[:CHUNK],
        f"they could not be delivered within {settings.NOTIFICATION_LIFETIME} s",
    )


def is_overdue(now: float) -> bool:
    """Return whether there is something for `give_up_old`."""
    return Notice.objects.filter(created_at__lt=now - settings.NOTIFICATION_LIFETIME).exists()


def chunks(many: Iterable[Some]) -> Iterator[list[Some]]:
    """Return the same in lists that fit into one statement."""
    everything = list(many)
    for at in range(0, len(everything), CHUNK):
        yield everything[at : at + CHUNK]


def _make_room(subscriptions: list[str]) -> None:
    """Count what waits for these, give up the oldest of what is too much, and note when to count again.

    A twentieth more goes, so that a subscriber that is away for hours is not counted at each change.
    """
    most = settings.NOTIFICATION_BACKLOG
    keep = most - most // 20
    waiting = dict(
        Notice.objects.filter(subscription__in=subscriptions)
        .order_by()
        .values_list("subscription")
        .annotate(Count("id"))
    )
    lost = (
        Notice.objects.filter(subscription__in=[each for each, count in waiting.items() if count > most])
        .annotate(newer=Window(RowNumber(), partition_by="subscription", order_by=F("id").desc()))
        .filter(newer__gt=keep)
        .order_by("id")
    )
    _give_up(lost.values_list("pk", "subscription"), f"more than {most} were waiting")
    rooms = {each: most - (count if count <= most else keep) for each, count in waiting.items()}
    Subscription.objects.bulk_update([Subscription(pk=each, room=room) for each, room in rooms.items()], ["room"])


def _first(subscriptions: Collection[str]) -> list[Notice]:
    first = (
        Notice.objects.filter(subscription__in=list(subscriptions))
        .order_by()
        .values("subscription")
        .annotate(first=Min("id"))
        .values("first")
    )
    return list(Notice.objects.filter(pk__in=first).select_related("subscription"))


def _letter(notice: Notice) -> Letter:
    to = notice.subscription
    return Letter(notice.pk, notice.tag, to.pk, to.callback, msgspec.json.encode(notice.body), suffered=to.dropped > 0)


def _give_up(lost: Iterable[tuple[int, str]], why: str) -> int:
    rows = list(lost)
    if not rows:
        return 0
    for ids in chunks(pk for pk, _ in rows):
        Notice.objects.filter(pk__in=ids).delete()
    tally = Tally(subscription for _, subscription in rows)
    by_count: dict[int, list[str]] = {}
    for subscription, count in tally.items():
        by_count.setdefault(count, []).append(subscription)
    for count, ids_of in by_count.items():
        Subscription.objects.filter(pk__in=ids_of).update(dropped=F("dropped") + count)
    texts = {}
    for each in Subscription.objects.filter(pk__in=list(tally)):
        to = each.callback or "its WebSocket"
        texts[subject(each.pk)] = (
            f"{tally[each.pk]} notification(s) for app {each.app_id} to {to[:200]} were given up, {why}"
            f"{f'; last error: {each.last_error}' if each.last_error else ''}"
        )
    for text in texts.values():
        log.warning("%s", text)
    alarms.raise_many(GIVEN_UP, texts, Severity.MINOR)
    return len(rows)
