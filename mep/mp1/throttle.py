"""How much one app may ask, and how often somebody may guess a secret: leaky buckets in the process's memory.

A bucket is one number, the time at which it is empty again (the generic cell rate algorithm), so a look costs
less than a microsecond and a bucket that has run empty need not be kept at all. Threads may race for one number:
at worst an asker gets one request more, which is cheaper than a lock on every request.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable, Hashable

from django.conf import settings

from core.errors import Throttled

#: Buckets that are remembered at once; whoever makes up more askers makes us forget the emptiest ones first.
LIMIT = 10_000


class Buckets:
    """A bucket for each asker: `burst` at once, `rate` per second after that; a rate of 0 lets everything through."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty_at: dict[Hashable, float] = {}
        self.configure(rate, burst)

    def configure(self, rate: float, burst: int) -> None:
        """Set the limit anew and forget who asked before."""
        self._step = 1.0 / rate if rate > 0 else 0.0
        self._room = self._step * (max(burst, 1) - 1)
        self._empty_at = {}

    def take(self, asker: Hashable) -> float:
        """Take one from the asker's bucket and return 0.0; or take nothing and return the seconds to wait."""
        wait = self.wait(asker)
        if not wait:
            self.add(asker)
        return wait

    def wait(self, asker: Hashable) -> float:
        """Return the seconds until the asker may ask again, 0.0 for now; takes nothing."""
        at = self._empty_at.get(asker)
        if at is None:
            return 0.0
        over = at - self._clock() - self._room
        # A nanosecond is the rounding of the clock's floats, not a reason to send anybody away.
        return over if over > 1e-9 else 0.0

    def add(self, asker: Hashable) -> None:
        """Count one for the asker."""
        if not self._step:
            return
        now, at = self._clock(), self._empty_at.get(asker, 0.0)
        if at == 0.0 and len(self._empty_at) >= LIMIT:
            self._make_room(now)
        self._empty_at[asker] = (at if at > now else now) + self._step

    def __len__(self) -> int:
        return len(self._empty_at)

    def _make_room(self, now: float) -> None:
        waiting = sorted((pair for pair in list(self._empty_at.items()) if pair[1] > now), key=lambda pair: pair[1])
        self._empty_at = dict(waiting[-LIMIT // 2 :])


def refusal(wait: float, what: str) -> Throttled:
    """Return the error for an asker who has to wait; `what` says what there was too much of."""
    seconds = max(1, math.ceil(wait))
    return Throttled(f"{what}; come back in {seconds} s", retry_after=seconds)


#: What the app instances ask for, in this process.
apps = Buckets(settings.RATE_PER_APP, settings.RATE_BURST)


def too_many(wait: float) -> Throttled:
    """Return the error for an app instance that asks too much."""
    return refusal(wait, f"This app instance asks more than {settings.RATE_PER_APP:g} times a second")


def admit(app_id: str) -> None:
    """Count a request of the app instance; `Throttled` when it has to wait."""
    wait = apps.take(app_id)
    if wait:
        raise too_many(wait)


def source(address: str) -> str:
    """Return who stands behind an address: itself, or its /64, of which anybody may use every address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if ip.version == 6 and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip.ipv4_mapped or ip) if ip.version == 6 else str(ip)


class Guesses:
    """Failed token requests: after `per_minute` of them for one client a source has to wait, right secret or not.

    After ten times as many for any client as well; not sooner, because apps behind one address translation share it.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_client, self.per_source = Buckets(0, 1, clock), Buckets(0, 1, clock)
        self.configure(per_minute)

    def check(self, address: str, client_id: str) -> None:
        """Raise `Throttled` when there were too many failures; asking costs nothing."""
        who = source(address)
        wait = max(self.per_client.wait((who, client_id[:128])), self.per_source.wait(who))
        if wait:
            raise refusal(wait, "Too many failed token requests")

    def failed(self, address: str, client_id: str) -> None:
        """Count a failure."""
        who = source(address)
        self.per_client.add((who, client_id[:128]))
        self.per_source.add(who)

    def configure(self, per_minute: float) -> None:
        """Set the limit anew and forget who failed before."""
        self.per_client.configure(per_minute / 60, int(per_minute))
        self.per_source.configure(per_minute / 6, int(per_minute) * 10)


guesses = Guesses(settings.TOKEN_FAILURES)


def forget() -> None:
    """Begin anew with what the settings say."""
    apps.configure(settings.RATE_PER_APP, settings.RATE_BURST)
    guesses.configure(settings.TOKEN_FAILURES)
