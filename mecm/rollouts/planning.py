"""What a rollout would do, before anything is done: each place judged, and put into its wave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appstore.packages.models import Package
from core.accounts.models import Organisation
from core.errors import Invalid
from core.words import say
from mecm.deployments import services as deployments
from mecm.deployments.services import Preview
from mecm.rollouts import choosing, deciding
from mecm.rollouts.choosing import Selector

#: What is done somewhere; the rest of a plan is told and left alone.
DOES = ("install", "upgrade")


@dataclass(frozen=True, slots=True)
class Planned:
    """One place of a plan, with its wave; 0 where nothing is to be done."""

    preview: Preview
    wave: int

    @property
    def reason(self) -> str:
        """The code of the first reason against it."""
        return self.preview.placement.reasons[0].code if self.preview.placement.reasons else ""

    @property
    def message(self) -> str:
        """Every reason against it, in words."""
        return "; ".join(each.message for each in self.preview.placement.reasons)

    @property
    def remarks(self) -> list[str]:
        """What its owner should know."""
        return [each.message for each in self.preview.placement.remarks]


@dataclass(frozen=True, slots=True)
class Sketch:
    """A whole plan: the places, how many of each kind, and the sizes of the waves."""

    places: Sequence[Planned]
    counts: Mapping[str, int]
    waves: Sequence[int]

    @property
    def touched(self) -> int:
        """How many places are changed."""
        return sum(self.waves)


def sketch(
    *,
    organisation: Organisation,
    package: Package,
    name: str,
    values: Mapping[str, Any] | None,
    target: Selector,
    waves: Sequence[str],
) -> Sketch:
    """Return the plan for what is chosen; touches nothing. The number of queries does not grow with the nodes."""
    if target.kind == choosing.NODES:
        deployments.check_name(name)
    chosen = choosing.places(target, organisation=organisation, package=package, name=name)
    if values is None and target.kind == choosing.NODES and not chosen:
        values = {}
    judged = deployments.preview(chosen, package, organisation=organisation, values=values)
    counts = Counter(each.action for each in judged)
    sizes = deciding.sizes(waves, sum(counts[each] for each in DOES))
    return Sketch(_into_waves(judged, sizes), {each: counts[each] for each in (*DOES, "keep", "unfit")}, sizes)


def insist_on_something(plan: Sketch) -> None:
    """Pass when the plan changes anything; `Invalid` says why it would not."""
    if plan.touched:
        return
    if not plan.places:
        raise Invalid(say("Nothing is chosen: no node or deployment of the organisation matches."), field="target")
    told = say("{keep} run it already, {unfit} do not fit", keep=plan.counts["keep"], unfit=plan.counts["unfit"])
    raise Invalid(
        say("There is nothing to do on the {places_count} chosen: {told}.", places_count=len(plan.places), told=told),
        field="target",
    )


def _into_waves(judged: Sequence[Preview], sizes: Sequence[int]) -> list[Planned]:
    numbers = [number for number, size in enumerate(sizes, start=1) for _ in range(size)]
    left = iter(numbers)
    return [Planned(each, next(left) if each.action in DOES else 0) for each in judged]
