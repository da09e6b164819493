"""The loop beside Mp1 that watches deadlines and sends what waits in the outbox.

One thread with an event loop, and one more that alone uses the database. All state is in rows: whatever stops
this loop, the next one goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Min

from mep.mp1 import catalogue, keys, outbox, services, tls
from mep.mp1.database import Pulse
from mep.mp1.models import App, Service

log = logging.getLogger(__name__)
#: Seconds between looks at the database's version: the delay of a notification, and 50 cheap wake-ups a second.
BEAT = 0.02
HOURLY = 3600.0


def sweep(now: float | None = None) -> float | None:
    """Suspend silent services and end overdue terminations; return when the next of either is due."""
    now = time.time() if now is None else now
    # Ask before taking the write lock: most of the time there is nothing to do.
    if Service.objects.filter(due_at__lt=now).exists():
        catalogue.suspend_silent(now)
    if App.objects.filter(deadline__lte=now).exists():
        services.end_overdue_terminations(now)
    times = (
        Service.objects.aggregate(at=Min("due_at"))["at"],
        App.objects.aggregate(at=Min("deadline"))["at"],
        outbox.next_try(now),
    )
    return min((at for at in times if at is not None), default=None)


class Watch:
    """Runs the loop in the background of `manage.py mp1`.

    `certificates` is called about once an hour, so that a renewed certificate is served.
    """

    def __init__(self, certificates: Callable[[], None] | None = None) -> None:
        self._certificates = certificates
        self._thread = threading.Thread(target=self._run, name="mep-watch", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; deliveries under way are repeated after the next start."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        with ThreadPoolExecutor(1, "mep-watch-db") as hands:
            try:
                asyncio.run(self._main(hands))
            except Exception:
                log.critical("the watch has ended; heartbeats and notifications stand still", exc_info=True)
            finally:
                hands.submit(connection.close)

    async def _main(self, hands: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()

        async def database(function: Callable[..., Any], *args: Any) -> Any:
            return await loop.run_in_executor(hands, function, *args)

        courier = outbox.Courier(database, tls.ca_pem())
        pulse = Pulse(settings.DATABASES["default"]["NAME"])
        due: float | None = None
        chores = 0.0
        try:
            forgiven = False
            while not self._stopping.is_set():
                try:
                    if not forgiven:
                        await database(catalogue.forgive_absence)
                        forgiven = True
                    if time.time() >= chores:
                        await database(self._chores)
                        chores = time.time() + HOURLY
                    if pulse.moved() or courier.stirred or (due is not None and time.time() >= due):
                        due = await database(sweep)
                        await courier.pump()
                    await asyncio.sleep(BEAT)
                except Exception:
                    log.exception("a round of the watch failed; the next one is in a second")
                    pulse.close()
                    await asyncio.sleep(1.0)
        finally:
            await courier.close()
            pulse.close()

    def _chores(self) -> None:
        keys.rotate_when_due()
        if self._certificates:
            self._certificates()
