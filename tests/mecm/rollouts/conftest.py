"""Nodes that run version 1, and a release 2 to bring to them; nodes answer when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.mecm.deployments.conftest import make_node, make_package

__all__ = ["make_node", "make_package"]


class Fleet:
    """A release name on many nodes, and what its nodes report."""

    def __init__(self, nodes: list[Any], old: Any, new: Any, actor: Any) -> None:
        self.nodes, self.old, self.new, self.actor = nodes, old, new, actor

    def report(self, rollout: Any, state: str = "ready", *names: str, **status: Any) -> list[str]:
        """Let the nodes of these names (all, when none is given) say how it is with what is wished now."""
        from mecm.deployments import services
        from mecm.rollouts.models import places_of

        said = []
        working = places_of(rollout).filter(state__in=["going", "returning"]).select_related("node", "deployment")
        for place in working:
            if not names or place.node.name in names:
                services.observe(place.deployment.pk, place.deployment.generation, {"state": state, **status})
                said.append(place.node.name)
        return sorted(said)

    def steps(self, rollout: Any, number: int = 1) -> Any:
        """Do some steps; returns the rollout as it is then."""
        from mecm.rollouts import stepping

        for _ in range(number):
            stepping.step(rollout.pk)
        rollout.refresh_from_db()
        return rollout

    def states(self, rollout: Any) -> dict[str, str]:
        """Return how far each node is."""
        from mecm.rollouts.models import places_of

        return dict(places_of(rollout).values_list("node__name", "state"))

    def versions(self) -> dict[str, str]:
        """Return what is wished on each node now."""
        from mecm.deployments.models import Deployment

        return dict(Deployment.objects.present().values_list("node__name", "package__version"))


@pytest.fixture
def fleet(make_node: Any, make_package: Any, organisation: Any, actor: Any) -> Callable[..., Fleet]:
    """Make nodes `n0`, `n1` ... that run 1.0.0 of hello: `fleet(5)`; with `bare=2` so many run nothing."""
    from mecm.deployments import services

    def make(number: int, *, bare: int = 0, **facts: Any) -> Fleet:
        old, new = make_package("1.0.0"), make_package("2.0.0")
        nodes = [make_node(f"n{each}", **facts) for each in range(number)]
        for node in nodes[: number - bare]:
            made = services.request(actor=actor, organisation=organisation, node=node, package=old, name="hello")
            services.observe(made.pk, 1, {"state": "ready"})
        return Fleet(nodes, old, new, actor)

    return make


@pytest.fixture
def roll(organisation: Any, actor: Any) -> Callable[..., Any]:
    """Write a plan down and start it: `roll(fleet, waves=["1", "rest"])`."""
    from mecm.rollouts import services

    def make(fleet: Fleet, *, start: bool = True, **rules: Any) -> Any:
        given = {"package": fleet.new, "name": "hello", "waves": ["1", "rest"], **rules}
        made = services.create(actor=actor, organisation=organisation, **given)
        return services.start(made, actor=actor) if start else made

    return make
