"""The sandbox that certification borrows: one node, one package, everything about one instance at a time.

A sandbox is open for a whole run: the first check that needs an instance deploys it and the others find it there. After
`terminate` the next `deploy` makes a new one. Whatever happens, the end of the context removes what is there; when the
process dies in the middle, a worker does it after the lease of the trial.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef

from appstore.packages.models import Package
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation, User
from core.errors import BreakwaterError, Conflict, Invalid, Missing, TimedOut
from core.words import say
from engines.trials import Request
from mecm.deployments import services as deployments
from mecm.deployments import specs
from mecm.deployments.models import Deployment
from mecm.edge.models import NodeSync, ReportedObject
from mecm.nodes.models import Node
from mecm.trials import services
from mecm.trials.models import Sandbox as Mark
from mecm.trials.models import Trial
from mecm.trials.nodes import EVERY, Agent, Hand, hand_of

logger = logging.getLogger("breakwater.trials")

#: Seconds: for a plain question to the node; for a removal beyond the grace of the application; between looks.
ANSWER, REMOVAL, LOOK = 20.0, 45.0, 0.2
#: Longest times that a caller may ask for.
LONGEST_WAIT, LONGEST_CUT, MOST_LINES = 600.0, 120.0, 500
#: What a caller waits at the end for the removal before it leaves that to a worker.
PATIENCE = 30.0
ABSENT: dict[str, Any] = {
    "state": "absent", "reason": "", "message": "", "workloads": [], "endpoints": [], "restarts": 0,
}  # fmt: skip


class MecmSandbox:
    """One trial. Every method takes and gives JSON values; errors are those of `core.errors`, with a sentence each."""

    def __init__(
        self, trial: Trial, actor: Actor, hand: Hand | None = None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.trial, self.actor, self.sleep = trial, actor, sleep
        self.hand = hand or hand_of(trial)
        #: Instances that were ready once: they may fall and rise again.
        self._once_ready: set[UUID] = set()

    def about(self) -> Mapping[str, Any]:
        """Return where the trial takes place, and what of it is simulated."""
        node = Node.objects.get(pk=self.trial.node_id)
        mep = ReportedObject.objects.filter(node=node, kind="mep", key="state").values_list("status", flat=True).first()
        plane = (mep or {}).get("user_plane")
        return {
            "node": node.name,
            "engine": node.engine,
            "engine_version": node.engine_version,
            "mep_version": node.agent_version,
            "simulated": node.simulated or node.engine == "memory",
            "architecture": str(node.facts.get("architecture", "")),
            "link": str(node.link),
            "mep": node.link == Node.Link.AGENT or bool(node.mep_url),
            "user_plane": dict(plane) if isinstance(plane, Mapping) else {},
        }

    def deploy(self, values: Mapping[str, Any] | None = None, timeout: float = 120.0) -> Mapping[str, Any]:
        """Have one instance with these values running; one that is there with the same values is taken as it is."""
        if values is not None and not isinstance(values, Mapping):
            raise Invalid(say("values must be an object"))
        wanted = dict(values or {})
        present = self._present()
        if present is not None and present.values != wanted:
            self._remove(present, REMOVAL)
            present = None
        if present is None:
            self.trial.refresh_from_db()
            services.forget(self.trial)
            present = services.deploy(self.trial, wanted, actor=self.actor)
        return self._until_ready(_bounded(timeout, LONGEST_WAIT))

    def state(self) -> Mapping[str, Any]:
        """Return how the instance is now, as its node says; `instances` counts those that there were."""
        present = self._present()
        if present is None:
            return {**ABSENT, "instances": self._instances()}
        return {**self._known(present), "instances": self._instances()}

    def services(self) -> Sequence[Mapping[str, Any]]:
        """Return what the instance has registered on Mp1."""
        return list(self._mep()["services"])

    def rules(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return its rules: `enforcement` says what is applied, `answers` what the node's resolver really says."""
        told = self._mep()
        return {"dns": told["dns_rules"], "traffic": told["traffic_rules"], "user_plane": [told["user_plane"]]}

    def registered(self) -> Mapping[str, Any]:
        """Return all that Mp1 knows of the instance: services, subscriptions, rules, and the user plane."""
        return self._mep()

    def usage(self) -> Sequence[Mapping[str, Any]]:
        """Return what each container takes now."""
        return list(self.hand.do(self._instance(), "usage", within=ANSWER)["containers"])

    def request(self, port: int, path: str = "/", timeout: float = 5.0, scheme: str = "http") -> Mapping[str, Any]:
        """Send a GET to a port of the application's Service, from the node."""
        asked = asdict(Request.read({"port": port, "path": path, "timeout": timeout, "scheme": scheme}))
        return self.hand.do(self._instance(), "request", within=ANSWER + asked["timeout"], **asked)

    def restart(self, timeout: float = 60.0) -> Mapping[str, Any]:
        """Kill all containers and wait until the application is ready again; `killed` says which."""
        within, present = _bounded(timeout, LONGEST_WAIT), self._instance()
        told = self.hand.do(present, "kill", within=ANSWER)
        deadline = time.monotonic() + within
        before, fell = told["before"], False
        while True:
            seen = self.hand.do(present, "state", within=ANSWER)
            fell = fell or seen["state"] != "ready"
            # A runtime takes a moment to notice: ready counts only of containers that were started since.
            back = seen["state"] == "ready" and (fell or _started_again(before, seen) or not told["killed"])
            if back or time.monotonic() > deadline:
                return {**seen, "killed": told["killed"], "came_back": back}
            self.sleep(LOOK)

    def cut_link(self, seconds: float) -> Mapping[str, Any]:
        """Cut the node off from us for a while; the node tells afterwards how the application fared."""
        length, present = _bounded(seconds, LONGEST_CUT), self._instance()
        if not isinstance(self.hand, Agent):
            raise Conflict(say("The centre drives this cluster itself: there is no link that could be cut."))
        ports = [each["cluster_port"] for each in present.endpoints if each.get("protocol") == "TCP"]
        asked: dict[str, Any] = {"seconds": length}
        if ports:
            asked["request"] = {"port": ports[0], "timeout": 2.0, "scheme": "tcp"}
        before = NodeSync.objects.filter(node=self.trial.node_id).values_list("connected_at", flat=True).first()
        told = self.hand.do(present, "cut", within=length + 90.0, **asked)
        after = NodeSync.objects.filter(node=self.trial.node_id).values_list("connected_at", flat=True).first()
        # Both ends must have seen it: the node that it hung up, we that it came anew.
        return {**told, "was_cut": bool(told["was_cut"]) and before != after, "state": told["after"]["state"]}

    def terminate(self, timeout: float = 30.0) -> Mapping[str, Any]:
        """Announce the termination, see whether it is confirmed in time, and remove the instance either way."""
        present = self._instance()
        grace = min(_bounded(timeout, LONGEST_WAIT), float(specs.of(present)["gracefulTerminationTimeout"]))
        told = self.hand.do(present, "goodbye", within=grace + ANSWER, grace=grace)
        began = time.monotonic()
        with contextlib.suppress(TimedOut):  # then `leftovers` tells what is still there
            self._remove(present, REMOVAL)
        return {**told, "removed_in": round(time.monotonic() - began, 1)}

    def leftovers(self) -> Sequence[str]:
        """Return what of the last instance is still there."""
        trial = Trial.objects.select_related("deployment").get(pk=self.trial.pk)
        if trial.deployment is None:
            raise Conflict(say("Nothing was deployed in this trial."))
        return [str(each) for each in self.hand.do(trial.deployment, "leftovers", within=ANSWER)["left"]]

    def logs(self, lines: int = 200) -> Sequence[str]:
        """Return the last lines that the application wrote."""
        if not isinstance(lines, int) or isinstance(lines, bool) or not 0 < lines <= MOST_LINES:
            raise Invalid(say("lines must be 1 to {most_lines}", most_lines=MOST_LINES))
        return list(self.hand.do(self._instance(), "logs", within=ANSWER, lines=lines)["lines"])

    # --- inside

    def _mep(self) -> dict[str, Any]:
        return self.hand.do(self._instance(), "mep", within=ANSWER)

    def _instances(self) -> int:
        return Trial.objects.values_list("instances", flat=True).get(pk=self.trial.pk)

    def _present(self) -> Deployment | None:
        """Return the instance that is there, or on its way."""
        trial = Trial.objects.select_related("deployment__node", "deployment__package").get(pk=self.trial.pk)
        found = trial.deployment
        return None if found is None or found.state == Deployment.State.REMOVED else found

    def _instance(self) -> Deployment:
        present = self._present()
        if present is None or present.wish == Deployment.Wish.ABSENT:
            raise Conflict(say("No instance of the application is there; deploy it first."))
        return present

    def _known(self, present: Deployment) -> dict[str, Any]:
        """Return what the node says now; before it took the wish in, what we know of it."""
        if present.observed_generation == present.generation and present.state in ("ready", "failed", "progressing"):
            told = self.hand.do(present, "state", within=ANSWER)
            if told["state"] != "absent":
                return told
        return {
            "state": str(present.state),
            "reason": present.reason,
            "message": present.message,
            "workloads": present.workloads,
            "endpoints": present.endpoints,
            "restarts": sum(int(each.get("restarts", 0)) for each in present.workloads),
        }

    def _until_ready(self, timeout: float) -> Mapping[str, Any]:
        deadline = time.monotonic() + timeout
        while True:
            present = self._present()
            if present is None:
                return self.state()
            if present.state in ("ready", "failed") and present.observed_generation == present.generation:
                seen = self.state()
                if seen["state"] == "ready":
                    self._once_ready.add(present.pk)
                # What fails before it was ever ready has failed; afterwards it may be on its feet again in a moment.
                hopeless = seen["state"] == "failed" and present.pk not in self._once_ready
                if seen["state"] == "ready" or hopeless or time.monotonic() > deadline:
                    return seen
            elif time.monotonic() > deadline:
                return self.state()
            self.sleep(EVERY if present.state == "pending" else LOOK)

    def _remove(self, present: Deployment, within: float) -> None:
        """Remove an instance and wait until its node says that it is gone; `TimedOut` when it does not in time."""
        deployments.remove(present, actor=self.actor)
        deadline = time.monotonic() + within + float(specs.of(present)["gracefulTerminationTimeout"])
        while Deployment.objects.filter(pk=present.pk).exclude(state=Deployment.State.REMOVED).exists():
            if time.monotonic() > deadline:
                raise TimedOut(say("{name} did not remove the application in time", name=self.trial.node.name))
            self.sleep(LOOK)


class Provider:
    """Lends sandboxes of our nodes; `appstore.certification.sandboxes` finds it under the name `mecm`."""

    def nodes(self, organisation_id: UUID | str) -> list[dict[str, Any]]:
        """Return the nodes of an organisation on which it may try packages; `free` says whether nobody does now."""
        under_way = Trial.objects.under_way().filter(node=OuterRef("node"))
        marked = Mark.objects.of(organisation_id).select_related("node").annotate(busy=Exists(under_way))
        return [
            {
                "id": str(each.node_id),
                "name": each.node.name,
                "engine": each.node.engine,
                "simulated": each.node.simulated or each.node.engine == "memory",
                "state": each.node.state,
                "free": not each.busy,
            }
            for each in marked
        ]

    @contextlib.contextmanager
    def open(
        self,
        package_id: UUID | str,
        *,
        organisation_id: UUID | str,
        actor_id: Any = None,
        node_id: UUID | str,
        operation: Any = "",
    ) -> Iterator[MecmSandbox]:
        """Lend a sandbox for one package; everything is removed at the end. `actor_id` None is the platform itself."""
        actor, name = _actor(actor_id), str(getattr(operation, "pk", operation) or "")[:64]
        node = _one(Node.objects.all(), node_id, "node")
        for lost in services.lost(node, name):
            give_back(lost)
        trial = services.begin(
            actor=actor,
            organisation=_one(Organisation.objects.all(), organisation_id, "organisation"),
            node=node,
            package=_one(Package.objects.all(), package_id, "package"),
            operation=name,
        )
        trial = Trial.objects.select_related("node", "package", "organisation").get(pk=trial.pk)
        try:
            yield MecmSandbox(trial, actor)
        finally:
            give_back(trial)


def give_back(trial: Trial) -> None:
    """Remove what a trial made; what does not go in a moment is left to a worker, which comes until it is gone."""
    deadline = time.monotonic() + PATIENCE
    try:
        services.hurry(trial)
        while not services.close(trial):
            if time.monotonic() > deadline:
                logger.warning("%s: the rest is removed by a worker", trial)
                return
            time.sleep(LOOK)
    except BreakwaterError as problem:
        logger.warning("%s: %s; the rest is removed by a worker", trial, problem.detail)


def _actor(user_id: Any) -> Actor:
    if user_id is None:
        return SYSTEM
    return Actor(_one(User.objects.filter(is_active=True), user_id, "person"))


def _one(rows: Any, pk: Any, noun: str) -> Any:
    try:
        found = rows.filter(pk=pk).first()
    except (ValueError, TypeError, ValidationError):
        found = None
    if found is None:
        raise Missing(say("There is no such {noun}.", noun=noun))
    return found


def _bounded(seconds: Any, most: float) -> float:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= most:
        raise Invalid(say("seconds must be more than 0 and at most {most}", most=format(most, "g")))
    return float(seconds)


def _started_again(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether containers were started, or pods made, between two looks."""

    def pods(state: Mapping[str, Any]) -> set[str]:
        return {str(pod) for each in state.get("workloads") or [] for pod in each.get("pods") or []}

    return int(now.get("restarts") or 0) > int(before.get("restarts") or 0) or pods(now) != pods(before)
