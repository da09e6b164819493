"""Delivery of notifications: from rows, in order per subscription, again after a failure, until their time is up.

A notice is deleted in the transaction that notes its delivery, after the subscriber's 2xx: so each arrives at
least once, whatever crashes. `X-Notification-Id` is the same at every try.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.db import transaction
from django.db.models import F, Min

from core.errors import BreakwaterError
from mep.mp1 import callbacks
from mep.mp1.http import JSON, encode
from mep.mp1.models import Notice, Subscription

log = logging.getLogger(__name__)
Result = TypeVar("Result")
#: Calls a blocking function where the database may be used.
Database = Callable[..., Any]
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Deliveries under way at once; each is one of another subscription.
WIDTH = 64


@dataclass(frozen=True, slots=True)
class Letter:
    """One notification on its way."""

    notice: int
    subscription: str
    url: str
    body: bytes


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))


def waiting_subscriptions(now: float, busy: Collection[str], limit: int) -> list[str]:
    """Return the subscriptions that have something to send now, the one that waits longest first."""
    rows = (
        Notice.objects.filter(subscription__next_try_at__lte=now)
        .exclude(subscription__in=list(busy))
        .order_by()
        .values_list("subscription")
        .annotate(first=Min("id"))
        .order_by("first")[:limit]
    )
    return [subscription for subscription, _ in rows]


def next_try(now: float) -> float | None:
    """Return when the next delayed delivery is due; None when none waits."""
    rows = Subscription.objects.filter(next_try_at__gt=now, notices__isnull=False)
    return rows.aggregate(at=Min("next_try_at"))["at"]  # type: ignore[no-any-return]


def head(subscription_id: str, now: float) -> Letter | None:
    """Return the oldest notification of a subscription when it may be sent now; those too old are dropped first."""
    notice = Notice.objects.filter(subscription=subscription_id).select_related("subscription").first()
    while notice is not None and now - notice.created_at > settings.NOTIFICATION_LIFETIME:
        _drop(notice)
        notice = Notice.objects.filter(subscription=subscription_id).select_related("subscription").first()
    if notice is None or notice.subscription.next_try_at > now:
        return None
    return Letter(notice.pk, subscription_id, notice.subscription.callback, encode(notice.body))


@transaction.atomic
def delivered(letter: Letter) -> None:
    """Note that the subscriber took the letter."""
    Notice.objects.filter(pk=letter.notice).delete()
    Subscription.objects.filter(pk=letter.subscription).update(
        delivered=F("delivered") + 1, failures=0, next_try_at=0, last_error=""
    )


@transaction.atomic
def failed(letter: Letter, why: str, now: float) -> None:
    """Note that the subscriber could not be reached or did not take the letter; it stays first in line."""
    row = Subscription.objects.filter(pk=letter.subscription).first()
    if row is None:
        return
    row.failures += 1
    row.next_try_at = now + pause(row.failures)
    row.last_error = why[:300]
    row.save(update_fields=["failures", "next_try_at", "last_error"])


@transaction.atomic
def _drop(notice: Notice) -> None:
    log.warning(
        "notification %s to subscription %s was given up: %s",
        notice.pk,
        notice.subscription_id,
        notice.subscription.last_error,
    )
    notice.delete()
    Subscription.objects.filter(pk=notice.subscription_id).update(dropped=F("dropped") + 1)


class Courier:
    """Carries letters; one task per subscription that has some, and at most `WIDTH` of them."""

    def __init__(self, database: Database, authority: str | None = None) -> None:
        self._database = database
        self._busy: dict[str, asyncio.Task[None]] = {}
        #: A task has ended since the last pump. What was put into its outbox in its last moment has no other bell.
        self.stirred = False
        trust = ssl.create_default_context()
        if authority:
            trust.load_verify_locations(cadata=authority)
        self._client = httpx.AsyncClient(
            verify=trust,
            follow_redirects=False,
            trust_env=False,
            timeout=settings.CALLBACK_TIMEOUT,
            limits=httpx.Limits(max_connections=WIDTH, max_keepalive_connections=0),
        )

    async def pump(self) -> None:
        """Start a task for every subscription that has something to send and none yet."""
        self.stirred = False
        room = WIDTH - len(self._busy)
        if room <= 0:
            return
        for subscription in await self._database(waiting_subscriptions, time.time(), set(self._busy), room):
            if subscription not in self._busy:
                task = asyncio.create_task(self._serve(subscription))
                self._busy[subscription] = task
                task.add_done_callback(lambda _, key=subscription: self._ended(key))  # type: ignore[misc]

    def _ended(self, subscription: str) -> None:
        self._busy.pop(subscription, None)
        self.stirred = True

    async def close(self) -> None:
        """Stop; what is under way is sent again after the next start."""
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        await self._client.aclose()

    async def _serve(self, subscription: str) -> None:
        try:
            while letter := await self._database(head, subscription, time.time()):
                why = await self.send(letter)
                if why:
                    await self._database(failed, letter, why, time.time())
                    return
                await self._database(delivered, letter)
        except Exception:
            log.exception("delivery for subscription %s broke off; it is tried again", subscription)

    async def send(self, letter: Letter) -> str:
        """Send one letter and return what went wrong, empty when nothing did."""
        try:
            async with asyncio.timeout(settings.CALLBACK_TIMEOUT):
                return await self._post(letter)
        except BreakwaterError as problem:
            return problem.detail
        except TimeoutError:
            return f"no answer within {settings.CALLBACK_TIMEOUT:g} seconds"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as problem:
            return f"{type(problem).__name__}: {problem}"

    async def _post(self, letter: Letter) -> str:
        parts = urlsplit(letter.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = await self._address(parts.hostname or "", port)
        literal = f"[{address}]" if address.version == 6 else str(address)
        # The connection goes to the judged address; the name is only said, in Host and in the TLS handshake.
        async with self._client.stream(
            "POST",
            f"{parts.scheme}://{literal}:{port}{parts.path or '/'}",
            content=letter.body,
            headers={
                "Host": parts.netloc,
                "Content-Type": JSON,
                "X-Notification-Id": f"{letter.subscription}-{letter.notice}",
            },
            extensions={"sni_hostname": parts.hostname},
        ) as response:
            return "" if response.is_success else f"the subscriber answered {response.status_code}"

    async def _address(self, host: str, port: int) -> callbacks.IpAddress:
        literal = callbacks.as_address(host)
        if literal is not None:
            return callbacks.judge(literal)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
        return callbacks.pick(str(entry[4][0]) for entry in found)
