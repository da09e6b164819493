"""How many bytes of packages go over to a partner or come from it in a day, by the agreement."""

from __future__ import annotations

from datetime import date
from typing import Final

from django.db.models import F
from django.utils import timezone

from appstore.federation.models import Peer
from appstore.federation.models_feed import TransferDay
from core.errors import Throttled
from core.words import say

#: Bytes that may be uncounted if this process dies: the count is written every so often only.
_EVERY: Final = 32 << 20


class Allowance:
    """The bytes of one day (UTC) and one direction; see `transfer.Budget`. Call `settle` at the end."""

    def __init__(self, peer: Peer, *, incoming: bool) -> None:
        agreement = peer.agreement()
        agreed = agreement.read() if agreement else None
        offer = (agreed.incoming if incoming else agreed.out) if agreed else None
        self._peer, self._incoming = peer, incoming
        self._most = offer.limits.bytes_per_day if offer else 0
        self._owed = 0

    def require(self, size: int) -> None:
        """`Throttled` when `size` more bytes today are more than was agreed."""
        used = self._row(timezone.now().date()).size + self._owed
        if used + size > self._most:
            raise Throttled(
                say(
                    "Today {used} of the agreed {most} bytes have gone over; {size} more are too many. "
                    "Come back tomorrow, or agree on more.",
                    used=used,
                    most=self._most,
                    size=size,
                ),
                limit=self._most,
            )

    def spend(self, size: int) -> None:
        """Count bytes that came or went."""
        self._owed += size
        if self._owed >= _EVERY:
            self.settle()

    def settle(self) -> None:
        """Write down what is not written yet."""
        if self._owed:
            row = self._row(timezone.now().date())
            TransferDay.objects.filter(pk=row.pk).update(size=F("size") + self._owed)
            self._owed = 0

    def _row(self, day: date) -> TransferDay:
        return TransferDay.objects.get_or_create(peer=self._peer, day=day, incoming=self._incoming)[0]
