"""The loop beside Mp1: it watches deadlines, sends what waits in the outbox, and keeps the user plane up to date.

One thread with an event loop, one that alone uses the database for it, and one for the user plane, which may be
slow. All state is in rows: whatever stops this loop, the next one goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db.models import Min

from mep.mp1 import alarms, bell, catalogue, courier, keys, outbox, services, steering, tls
from mep.mp1.database import Pulse, hang_up
from mep.mp1.models import App, Service
from mep.mp1.states import Severity
from mep.upf import services as notifications
from upf_adapter.contract import UpfAdapter

log = logging.getLogger(__name__)
#: Seconds between looks at the database's version, for what other processes change; our own changes ring the bell.
BEAT = 0.1
HOURLY = 3600.0
#: Seconds between looks at the user plane when nothing has changed: the one that was away may be back.
AGAIN = 2.0
#: Kind of the alarm that stands while rounds of the watch fail.
TROUBLE = "watch-failed"


def sweep(now: float | None = None) -> float | None:
    """Suspend silent services and end overdue terminations; return when the next of either is due."""
    now = time.time() if now is None else now
    # Ask before taking the write lock: most of the time there is nothing to do.
    if Service.objects.filter(due_at__lt=now).exists():
        catalogue.suspend_silent(now)
    if App.objects.filter(deadline__lte=now).exists():
        services.end_overdue_terminations(now)
    if outbox.is_overdue(now):
        outbox.give_up_old(now)
    times = (
        Service.objects.aggregate(at=Min("due_at"))["at"],
        App.objects.aggregate(at=Min("deadline"))["at"],
        outbox.first_too_old(),
    )
    return min((at for at in times if at is not None), default=None)


class Watch:
    """Runs the loop in the background of `manage.py mp1`.

    `certificates` is called about once an hour, so that a renewed certificate is served.
    """

    def __init__(self, certificates: Callable[[], None] | None = None, adapter: UpfAdapter | None = None) -> None:
        self._certificates = certificates
        self.adapter = adapter or steering.make_adapter()
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
        with ThreadPoolExecutor(1, "mep-watch-db") as hands, ThreadPoolExecutor(1, "mep-watch-upf") as wheel:
            try:
                asyncio.run(self._main(hands, wheel))
            except Exception:
                log.critical("the watch has ended; heartbeats and notifications stand still", exc_info=True)
            finally:
                hands.submit(hang_up)
                wheel.submit(hang_up)
                wheel.submit(self.adapter.close)

    async def _main(self, hands: ThreadPoolExecutor, wheel: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()

        async def database(function: Callable[..., Any], *args: Any) -> Any:
            return await loop.run_in_executor(hands, function, *args)

        rung = asyncio.Event()

        def ring() -> None:
            with suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(rung.set)

        post = courier.Courier(database, tls.ca_pem(), rung.set)
        pulse = Pulse(settings.DATABASES["default"]["NAME"])
        due: float | None = None
        chores = steer_at = 0.0
        steered: asyncio.Future[None] | None = None
        bell.answer(ring)
        try:
            forgiven = False
            troubled = True  # an alarm of the process before is cleared by the first good round
            while not self._stopping.is_set():
                try:
                    if not forgiven:
                        await database(catalogue.forgive_absence)
                        forgiven = True
                    if time.time() >= chores:
                        await database(self._chores)
                        chores = time.time() + HOURLY
                    moved = pulse.moved()
                    if moved:
                        steer_at = 0.0
                    if time.time() >= steer_at and (steered is None or steered.done()):
                        steer_at = time.time() + AGAIN
                        steered = loop.run_in_executor(wheel, self._steer)
                    now = time.time()
                    if moved or post.stirred or now >= min(post.again_at, due or math.inf):
                        await post.pump()
                        # Deliveries go first: what is due may have changed, but that can wait for a beat.
                        due = min(now + BEAT, due or math.inf)
                    if due is not None and now >= due:
                        due = await database(sweep)
                    if troubled:
                        await database(alarms.clear, TROUBLE, "mp1")
                        troubled = False
                    with suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), BEAT)
                    rung.clear()
                except Exception as problem:
                    log.exception("a round of the watch failed; the next one is in a second")
                    pulse.close()
                    troubled = True
                    with suppress(Exception):  # the database may be what is in trouble
                        await database(_alarm, problem)
                    await asyncio.sleep(1.0)
        finally:
            bell.forget(ring)
            await post.close()
            pulse.close()

    def _steer(self) -> None:
        try:
            notifications.hand_over(self.adapter)
            steering.reconcile(self.adapter)
        except Exception:
            log.exception("the user plane %s cannot be brought up to date", self.adapter.name)

    def _chores(self) -> None:
        keys.rotate_when_due()
        alarms.forget_old()
        if self._certificates:
            self._certificates()


def _alarm(problem: Exception) -> None:
    text = f"heartbeats, terminations and notifications may be late: {type(problem).__name__}"
    alarms.raise_alarm(TROUBLE, "mp1", Severity.MAJOR, text)
