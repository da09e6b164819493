"""What is asked of the service catalogue: the query of `GET .../services`, and the answer.

MEC 011 V3.1.1 table 8.2.3.3.1-1. The ordinary view and the fast path both use this module, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from core.errors import Invalid
from mep.mp1 import catalogue, locality, wire
from mep.mp1.conditions import tag_of
from mep.mp1.locality import EVERYWHERE, Near
from mep.mp1.models import Service
from mep.mp1.subscriptions import SERVICE_API

_NAMING = ("ser_instance_id", "ser_name", "ser_category_id")
_ONCE = ("ser_category_id", "scope_of_locality", "consumed_local_only", "is_local")
_KNOWN = {*_NAMING, *_ONCE}


@dataclass(frozen=True, slots=True)
class Offer:
    """One service as discovery sees it: what filters look at, and the JSON without what depends on who asks."""

    id: str
    app: str
    name: str
    category: str | None
    scope: str
    consumed_local_only: bool
    order: tuple[float, str]
    info: bytes = field(repr=False)
    liveness: bool = False

    @classmethod
    def of(cls, service: Service) -> Offer:
        """Return the offer that a stored service makes."""
        info = catalogue.info(service)
        del info["isLocal"]
        return cls(
            id=service.pk,
            app=service.app_id,
            name=service.name,
            category=service.category["id"] if service.category else None,
            scope=service.scope,
            consumed_local_only=service.consumed_local_only,
            order=(service.created_at, service.pk),
            info=msgspec.json.encode(info),
            liveness=bool(service.interval),
        )

    def json(self, root: str, near: Near = EVERYWHERE) -> bytes:
        """Return the ServiceInfo as bytes, as an asker who shares the scopes `near` with this host sees it."""
        local = b"true" if self.scope in near else b"false"
        return b'%b,"isLocal":%b,"_links":%b}' % (self.info[:-1], local, msgspec.json.encode(self.links(root)))

    def links(self, root: str) -> dict[str, Any]:
        """Return `_links`: itself, and where heartbeats go."""
        own = f"{root}{SERVICE_API}/applications/{self.app}/services/{self.id}"
        found = {"self": {"href": own}}
        if self.liveness:
            found["liveness"] = {"href": f"{own}/liveness"}
        return found


@dataclass(frozen=True, slots=True)
class Query:
    """The filters of a request; all that are there must agree."""

    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    category: str | None = None
    scope: str | None = None
    consumed_local_only: bool | None = None
    is_local: bool | None = None

    @classmethod
    def read(cls, text: str) -> Query:
        """Return the query of a query string; `Invalid` for what the table does not know or forbids."""
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=500
            )
        except ValueError:
            raise Invalid("The query string cannot be read") from None
        given: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in _KNOWN:
                raise Invalid(f"Unknown query parameter {name[:60]!r}; known: {', '.join(sorted(_KNOWN))}")
            given.setdefault(name, []).append(value)
        if sum(name in given for name in _NAMING) > 1:
            raise Invalid(f"Only one of {', '.join(_NAMING)} may be given")
        for name in _ONCE:
            if len(given.get(name, ())) > 1:
                raise Invalid(f"{name} may be given once")
        scope = _one(given, "scope_of_locality")
        if scope is not None and scope not in wire.SCOPES:
            raise Invalid(f"scope_of_locality must be one of {', '.join(wire.SCOPES)}")
        return cls(
            ids=frozenset(given.get("ser_instance_id", ())),
            names=frozenset(given.get("ser_name", ())),
            category=_one(given, "ser_category_id"),
            scope=scope,
            consumed_local_only=_yes_or_no(given, "consumed_local_only"),
            is_local=_yes_or_no(given, "is_local"),
        )

    def wants(self, offer: Offer, near: Near = EVERYWHERE) -> bool:
        """Return whether the offer is for this asker and passes every filter."""
        return locality.offered(offer.scope, offer.consumed_local_only, near) and self.agrees(offer, near)

    def agrees(self, offer: Offer, near: Near = EVERYWHERE) -> bool:
        """Return whether the offer passes every filter."""
        return (
            (not self.ids or offer.id in self.ids)
            and (not self.names or offer.name in self.names)
            and (self.category is None or offer.category == self.category)
            and (self.scope is None or offer.scope == self.scope)
            and (self.consumed_local_only is None or offer.consumed_local_only == self.consumed_local_only)
            and (self.is_local is None or (offer.scope in near) == self.is_local)
        )


def render(offers: Iterable[Offer], root: str, near: Near = EVERYWHERE) -> bytes:
    """Return the list of ServiceInfo as JSON, oldest registration first."""
    return b"[%b]" % b",".join(offer.json(root, near) for offer in sorted(offers, key=lambda offer: offer.order))


def list_etag(body: bytes) -> str:
    """Return the strong entity tag of a list: it has no version of its own, so its bytes speak."""
    return tag_of(body)


def _one(given: dict[str, list[str]], name: str) -> str | None:
    return given[name][0] if name in given else None


def _yes_or_no(given: dict[str, list[str]], name: str) -> bool | None:
    text = _one(given, name)
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise Invalid(f"{name} must be true or false")
    return text.lower() == "true"
