"""How much one source may ask over UDP: a token bucket that looks at the clock only when it is empty."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from mep.dns.scopes import Address

#: Sources that are remembered; the oldest eighth makes room for new ones.
MOST = 65_536


class Bucket:
    """What one source has left. Beyond it every second query is told to come over TCP, the rest meets silence."""

    __slots__ = ("at", "over", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens, self.at, self.over = tokens, at, 0


class Limits:
    """Hands out buckets; a rate of 0 means no limit."""

    def __init__(self, rate: float = 0, burst: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, max(burst, rate, 1.0)
        self._clock = clock
        self._networks: dict[int, Bucket] = {}

    def bucket(self, source: Address) -> Bucket:
        """Return a bucket for a source that is new to the caller.

        One IPv6 subscriber has a /64 to take addresses from, so that network shares a bucket.
        """
        if not self.rate:
            return Bucket(float("inf"), 0.0)
        if isinstance(source, ipaddress.IPv4Address):
            return Bucket(self.burst, self._clock())
        network = int(source) >> 64
        known = self._networks.get(network)
        if known is None:
            make_room(self._networks, MOST)
            known = self._networks[network] = Bucket(self.burst, self._clock())
        return known

    def refill(self, bucket: Bucket) -> bool:
        """Give an overdrawn bucket what time has brought; return whether the query that overdrew it is answered."""
        now = self._clock()
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) * self.rate)
        bucket.at = now
        if bucket.tokens >= 0:
            return True
        bucket.tokens += 1  # what is not answered costs nothing, or a busy source would never be answered again
        return False


def make_room(known: dict[Any, Any], most: int) -> None:
    """Drop the oldest eighth of a full table."""
    if len(known) >= most:
        for key in list(islice(known, most // 8)):
            del known[key]
