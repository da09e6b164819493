"""What every UPF adapter does: a traffic rule of MEC 011 reaches a user plane."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """One active rule, in the members of MEC 011 V3.1.1 clause 7.1.5.2 (`TrafficRule`).

    `id` is unique on the node (`<appInstanceId>/<trafficRuleId>`). `filters` and `destinations` hold
    `TrafficFilter` and `DestinationInterface` objects under the standard's JSON names. `priority` is
    0..255, 0 is the highest.
    """

    id: str
    filter_type: str
    priority: int
    filters: tuple[Mapping[str, Any], ...]
    action: str
    destinations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    """What one rule has seen since it was put."""

    packets: int = 0
    octets: int = 0


class UpfAdapter(ABC):
    """The contract. Methods raise only errors of `core.errors`.

    A rule that the user plane cannot express is refused with `Invalid` and never half-applied.
    """

    name: ClassVar[str]
    #: Said on every page and in the docs where no packet is really steered.
    simulated: ClassVar[bool] = False

    @abstractmethod
    def put(self, rule: TrafficRule) -> None:
        """Make the rule be in force exactly as given; twice is once."""

    @abstractmethod
    def delete(self, rule_id: str) -> None:
        """Take the rule out; gone already is fine."""

    @abstractmethod
    def rules(self) -> dict[str, TrafficRule]:
        """Return the rules in force by id."""

    @abstractmethod
    def counters(self) -> dict[str, Counters]:
        """Return what each rule has seen."""

    @abstractmethod
    def ping(self) -> str:
        """Return the user plane's version in words; `Unavailable` when it does not answer."""
