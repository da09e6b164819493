"""The trust list of an organisation, from its rows and those of the store; kept in memory until one of them changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from appstore.trust import judging, paths
from appstore.trust.judging import TrustList
from appstore.trust.models import Anchor, Crl, Distrust, TrustPolicy
from core.accounts import services as accounts
from core.errors import Missing

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values that were used last, by key; safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value of `key`, if it is still known."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Hashable, value: Value) -> Value:
        """Keep a value and return it; the one that was used least goes when there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


_lists: Kept[TrustList] = Kept(512)


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy of one organisation and that of the store; the same object where it runs the store itself."""

    own: TrustPolicy
    store: TrustPolicy

    @property
    def apart(self) -> bool:
        """Whether they are those of two organisations."""
        return self.own.pk != self.store.pk


def policies(organisation_id: UUID) -> Policies:
    """Return both policies, as defaults where nobody has said anything; two queries."""
    try:
        store_id: UUID = accounts.operator().pk
    except Missing:
        store_id = organisation_id
    known = TrustPolicy.objects.in_bulk({organisation_id, store_id})
    own = known.get(organisation_id) or TrustPolicy(organisation_id=organisation_id)
    store = own if store_id == organisation_id else known.get(store_id) or TrustPolicy(organisation_id=store_id)
    return Policies(own, store)


def policies_of_store() -> Policies:
    """Return the policy of the store as its own; `Missing` while nobody runs it. Two queries."""
    store_id = accounts.operator().pk
    store = TrustPolicy.objects.filter(pk=store_id).first() or TrustPolicy(organisation_id=store_id)
    return Policies(store, store)


def load(both: Policies) -> TrustList:
    """Return the list of the organisation with what it inherits; no query while neither list has changed."""
    version = f"{both.own.pk}:{both.own.version}/{both.store.pk}:{both.store.version}"
    return _lists.get(version) or _lists.put(version, _read(both, version))


def _read(both: Policies, version: str) -> TrustList:
    inherited = both.own.inherits and both.apart
    whose = {both.own.pk, *([both.store.pk] if inherited else [])}
    strict = both.own.strict_revocation or both.store.strict_revocation
    anchors = list(Anchor.objects.filter(organisation_id__in=whose, revoked_at=None).order_by("name", "id"))
    if not anchors:
        return TrustList(version, strict=strict)  # nobody is trusted, so it does not matter who is revoked
    lists = Crl.objects.filter(organisation_id__in=whose).order_by("id").values_list("der", flat=True)
    # What the store distrusts nobody gets by way of the store; an organisation may think otherwise of its own anchors.
    told = Distrust.objects.filter(organisation_id__in=whose).values_list("fingerprint", "organisation_id")
    mine = frozenset(mark for mark, owner in told if owner == both.own.pk)
    theirs = {mark for mark, owner in told if owner != both.own.pk}
    return TrustList(
        version,
        tuple(
            judging.Anchor(
                str(row.pk), row.name, bytes(row.der), row.purpose, row.expires_at, row.organisation_id != both.own.pk
            )
            for row in anchors
            if row.organisation_id == both.own.pk or row.fingerprint not in theirs
        ),
        tuple(paths.revocation_list(bytes(der)) for der in lists),
        mine,
        strict,
    )
