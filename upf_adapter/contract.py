"""What every UPF adapter does: a traffic rule of MEC 011 reaches a user plane."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from core.errors import BreakwaterError, Invalid

#: The six actions of MEC 011 V3.1.1 7.1.5.2, with how many destination interfaces each may have. The standard says
#: exactly one for FORWARD_* and PASSTHROUGH and exactly two for DUPLICATE_*; met in the field and harmless:
#: PASSTHROUGH without one, and DUPLICATE with the one object that the published OpenAPI files allow (where the copy goes).
ACTIONS: dict[str, tuple[int, int]] = {
    "DROP": (0, 0),
    "FORWARD_DECAPSULATED": (1, 1),
    "FORWARD_ENCAPSULATED": (1, 1),
    "PASSTHROUGH": (0, 1),
    "DUPLICATE_DECAPSULATED": (1, 2),
    "DUPLICATE_ENCAPSULATED": (1, 2),
}


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """One active rule, in the members of MEC 011 V3.1.1 clause 7.1.5.2 (`TrafficRule`).

    `id` is unique on the node (`<appInstanceId>/<trafficRuleId>`). `filters` and `destinations` hold
    `TrafficFilter` and `DestinationInterface` objects under the standard's JSON names. `priority` is
    0..255, 0 is the highest; among equals the lower id comes first (`order`).
    """

    id: str
    filter_type: str
    priority: int
    filters: tuple[Mapping[str, Any], ...]
    action: str
    destinations: tuple[Mapping[str, Any], ...] = ()

    @property
    def order(self) -> tuple[int, str]:
        """Where the rule stands among others: the first that matches a packet decides."""
        return self.priority, self.id


@dataclass(frozen=True, slots=True)
class Counters:
    """What one rule has seen since it was put."""

    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a user plane can express, in the names of MEC 011; told on the console and used to refuse early.

    `interfaces` are `IP`, `MAC`, `TUNNEL/GTP_U`, `TUNNEL/GRE`. `notes` are sentences for the operator.
    """

    actions: frozenset[str]
    filters: frozenset[str]
    interfaces: frozenset[str]
    filter_types: frozenset[str] = frozenset({"FLOW", "PACKET"})
    families: frozenset[int] = frozenset({4, 6})
    counters: bool = False
    #: A set of rules is replaced in one step, with no packet judged by half of it.
    atomic: bool = False
    most_rules: int | None = None
    notes: tuple[str, ...] = ()


class Refused(Invalid):
    """This user plane cannot express the rule; `nearest` says what it could do instead, empty when nothing is near."""

    code, title = "rule-refused", "This user plane cannot express the rule"

    def __init__(self, detail: str, *, nearest: str = "", **context: Any) -> None:
        if nearest:
            detail, context = f"{detail}; the nearest it can do: {nearest}", {**context, "nearest": nearest}
        super().__init__(detail, **context)
        self.nearest = nearest


class NoOptions(msgspec.Struct, forbid_unknown_fields=True):
    """An adapter that has nothing to set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a set of rules: the ids in force, and the error of each that is not."""

    in_force: frozenset[str] = frozenset()
    problems: Mapping[str, BreakwaterError] = field(default_factory=dict)


class UpfAdapter(ABC):
    """The contract. Methods raise only errors of `core.errors`.

    A rule that the user plane cannot express is refused with `Refused` and never half-applied. An adapter may be
    used by one thread at a time.
    """

    name: ClassVar[str]
    #: Said on every page and in the docs where no packet is really steered.
    simulated: ClassVar[bool] = False
    #: What can be set, read from the JSON file that MEP_UPF_CONFIG names; `upf_adapter.create` fills it in.
    Options: ClassVar[type[msgspec.Struct]] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Return what this user plane can express; asks nobody."""

    def check(self, rule: TrafficRule) -> None:
        """Raise `Invalid` or `Refused` for a rule that could not be put; asks nobody and changes nothing.

        An adapter that has limits of its own adds them after this.
        """
        # Imported here because it builds on this module.
        from upf_adapter.limits import check

        check(rule, self.capabilities(), self.name)

    @abstractmethod
    def put(self, rule: TrafficRule) -> None:
        """Make the rule be in force exactly as given; twice is once."""

    @abstractmethod
    def delete(self, rule_id: str) -> None:
        """Take the rule out; gone already is fine."""

    def replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        """Make exactly these rules be in force, and tell of each that is not why.

        Here one by one: first what goes, then what comes, the highest priority first; nothing is touched for a rule that
        is in force already. An adapter that can does it in one step. `Unavailable` when the user plane is away.
        """
        wishes = {rule.id: rule for rule in wanted}
        present = self.rules()
        problems: dict[str, BreakwaterError] = {}
        for rule_id in sorted(present.keys() - wishes.keys()):
            self.delete(rule_id)
        for rule in sorted(wishes.values(), key=lambda rule: rule.order):
            if present.get(rule.id) == rule:
                continue
            try:
                self.put(rule)
            except BreakwaterError as problem:
                problems[rule.id] = problem
                if not problem.retryable and rule.id in present:
                    # An older version of the rule may be in force; it is not what is wanted, so it goes.
                    self.delete(rule.id)
        return Outcome(frozenset(wishes.keys() - problems.keys()), problems)

    def intact(self) -> bool:
        """Return whether the user plane still has what was put: no restart, no foreign edit. Cheap; asked often."""
        return True

    @abstractmethod
    def rules(self) -> dict[str, TrafficRule]:
        """Return the rules in force by id."""

    @abstractmethod
    def counters(self) -> dict[str, Counters]:
        """Return what each rule has seen; empty where `capabilities().counters` is False."""

    def notified(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Take a notification that the user plane sent to this MEP; return what is to be answered, None for nothing."""
        raise Invalid(f"The user plane {self.name} sends no notifications")

    @abstractmethod
    def ping(self) -> str:
        """Return the user plane's version in words; `Unavailable` when it does not answer."""

    def close(self) -> None:  # noqa: B027 - most adapters hold nothing
        """Let go of sockets and processes. The rules stay in force."""
