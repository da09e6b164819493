"""What every DNS backend does: sets of records reach a name server. Plain library code without Django."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from core.errors import BreakwaterError, Invalid

#: scope, name, kind: what a set of records is known by
Key = tuple[str, str, str]
#: What became of each set or key that was handed in: nothing went wrong, or the error that it met.
Outcome = Mapping[Key, BreakwaterError | None]


@dataclass(frozen=True, slots=True)
class RecordSet:
    """All addresses of one family that a name has; they share one ttl (RFC 2181 5.2).

    `name` is lower case without the last dot, `kind` is A or AAAA, `addresses` are sorted. `scope` names the
    DNS scope that gets them; empty: everybody.
    """

    name: str
    kind: str
    ttl: int
    addresses: tuple[str, ...]
    scope: str = ""

    @property
    def key(self) -> Key:
        """What the set is known by: there is one of each key."""
        return self.scope, self.name, self.kind


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a name server can hold, told on the console. `notes` are sentences for the operator."""

    scopes: bool = False
    #: Any domain name may be answered, public ones included; else only names inside `zone`.
    any_name: bool = False
    zone: str = ""
    notes: tuple[str, ...] = ()


class Refused(Invalid):
    """This name server cannot hold the record; `nearest` says what could be done instead, empty when nothing is near."""

    code, title = "record-refused", "This name server cannot hold the record"

    def __init__(self, detail: str, *, nearest: str = "", **context: Any) -> None:
        if nearest:
            detail, context = f"{detail}; the nearest thing: {nearest}", {**context, "nearest": nearest}
        super().__init__(detail, **context)
        self.nearest = nearest


class NoOptions(msgspec.Struct, forbid_unknown_fields=True):
    """A backend that has nothing to set."""


class DnsBackend(ABC):
    """The contract. Methods raise only errors of `core.errors`; `retryable` ones mean that the server is away.

    A backend may be used by one thread at a time.
    """

    name: ClassVar[str]
    #: Said on every page and in the docs where no name is really answered.
    simulated: ClassVar[bool] = False
    #: What can be set, read from the JSON file that MEP_DNS_CONFIG names; `backends.create` fills it in.
    Options: ClassVar[type[msgspec.Struct]] = NoOptions

    def __init__(self, options: Any = None, secret: str = "") -> None:
        self.options: Any = self.Options() if options is None else options

    @property
    def server(self) -> str:
        """Return what tells this server (and zone) from others; what we own there is written down under it."""
        return self.name

    #: Everything of the kinds that we write is ours, because nobody else writes there.
    exclusive: bool = True

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Return what this server can hold; asks nobody."""

    def check(self, records: RecordSet) -> None:
        """Raise `Refused` for what could not be put; asks nobody and changes nothing."""
        if records.scope and not self.capabilities().scopes:
            raise Refused(
                f"{self.name} gives everybody the same answer and {records.name} is only for the scope {records.scope}",
                nearest="the embedded responder (MEP_DNS_BACKEND=embedded), or the rule without a scope",
            )

    @abstractmethod
    def present(self) -> dict[Key, RecordSet] | None:
        """Return all sets of addresses that the server holds, whoever put them; None when it does not show them."""

    @abstractmethod
    def apply(self, put: Sequence[RecordSet], delete: Sequence[RecordSet], *, owned: Iterable[Key] = ()) -> Outcome:
        """Make the server have `put` and no more of `delete`; returns what became of each.

        Sets whose key is not in `owned` are put only where there is none yet. Deleting what is gone is fine. The
        whole call raises when nobody answers; what was asked is then done partly or not at all.
        """

    def probe(self) -> None:
        """Raise when the server is away; cheap."""
        return

    def close(self) -> None:
        """Let go of connections."""
        return
