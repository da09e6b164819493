"""A tenant with a checked package and a sandbox whose agent a test plays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.mecm.deployments.conftest import make_node, make_package

__all__ = ["make_node", "make_package"]


@pytest.fixture
def certifier(make_user: Any, organisation: Any) -> Any:
    """Somebody who may certify, and neither deploy nor change nodes."""
    from core.accounts.access import Actor

    return Actor(make_user("certifier", organisation, "certifier"))


@pytest.fixture
def package(make_package: Any) -> Any:
    """A package that is checked and not published."""
    return make_package(state="checked")


@pytest.fixture
def node(make_node: Any) -> Any:
    """A sandbox with a real runtime, behind an agent."""
    from core.accounts.access import SYSTEM
    from mecm.trials import services

    made = make_node("lab-1", engine="docker", engine_version="Docker Engine 27", agent_version="1.2")
    services.mark_sandbox(made, on=True, actor=SYSTEM)
    return made


#: What is answered to a question for which a test has no answer.
PLAIN: dict[str, Any] = {"state": "ready", "restarts": 0, "workloads": [], "endpoints": []}


class Played:
    """The agent of a node, played by a test: what it would report is stored as if it had."""

    def __init__(self, node: Any) -> None:
        self.node, self.seq = node, 0
        self.verbs: list[str] = []
        self.answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self.ready = True

    def look(self, _: float = 0.0) -> None:
        """Do what is wished for, once; a test gives this in place of a pause."""
        from mecm.edge.models import DesiredObject, ReportedObject

        for wish in DesiredObject.objects.filter(node=self.node).order_by("rev"):
            if wish.kind == "app":
                state = "absent" if wish.deleted else "ready" if self.ready else "failed"
                self._report("app", wish.key, wish.generation, {"state": state, "reason": "", "message": ""})
            told = ReportedObject.objects.filter(kind="trialReport", observed_generation=wish.generation, key=wish.key)
            if wish.kind == "trial" and not wish.deleted and not told.exists():
                verb = wish.spec["verb"]
                self.verbs.append(verb)
                answer = self.answers[verb](wish.spec) if verb in self.answers else dict(PLAIN)
                self._report("trialReport", wish.key, wish.generation, answer)

    def _report(self, kind: str, key: str, generation: int, status: dict[str, Any]) -> None:
        from mecm.edge import reports

        self.seq += 1
        item = {"seq": self.seq, "kind": kind, "key": key, "observed_generation": generation, "status": status}
        reports.take(self.node, "played", self.seq, [item])


@pytest.fixture
def agent(node: Any) -> Played:
    """The agent of the sandbox."""
    return Played(node)
