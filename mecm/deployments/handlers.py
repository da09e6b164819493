"""Long work on direct nodes, and what agents report of applications.

Each handler reads the wish as it is now, may run twice with one effect, and asks for its next step instead of waiting.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from appstore.releases import services as recalls
from appstore.releases.models import Recall
from core.errors import BreakwaterError
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say
from engines.applier import RECALLED, Applier, absent, as_status, failure, recalled
from engines.contract import State as Seen
from mecm.deployments import direct, logs, restoring, secret_values, services, specs
from mecm.deployments.mm5 import Mm5
from mecm.deployments.models import Deployment, DeploymentRevision
from mecm.edge import reports
from mecm.nodes import orphans
from mecm.nodes import services as nodes
from mecm.nodes.handlers import look
from mecm.nodes.models import Node

logger = logging.getLogger("breakwater.deployments")

#: Seconds between two looks at a release that has not settled: quick at first, patient later.
_FIRST_LOOK, _SLOWEST_LOOK = 1.0, 15.0


@operations.handles("deployment.apply")
def apply(operation: Operation) -> None:
    """Make a deployment on a direct node as it is wished now."""
    deployment = _find(operation)
    if deployment is None:
        return
    if deployment.wish == Deployment.Wish.ABSENT:
        _remove(operation, deployment)
        return
    if recall := recalls.stops(deployment.package):
        _stop(operation, deployment, recall)
        return
    generation = deployment.generation
    try:
        with direct.applier_for(deployment.node) as applier:
            operation.progress(10, say("applying generation {generation}", generation=generation))
            applier.apply(specs.of(deployment), generation)
            operation.progress(80, say("looking at what became of it"))
            _look(applier, deployment)
    except BreakwaterError as error:
        _tell(operation, deployment, error)
        raise error from None
    nodes.seen(deployment.node_id)
    _look_again(deployment)


@operations.handles("deployment.observe", max_attempts=3)
def observe(operation: Operation) -> None:
    """Look at a release that has not settled, and come back until it has."""
    deployment = _find(operation)
    if deployment is None or recalls.stops(deployment.package):
        return
    with direct.applier_for(deployment.node) as applier:
        operation.renew()
        _look(applier, deployment)
    _forget_older(operation)
    nodes.seen(deployment.node_id)
    _look_again(deployment)


@operations.handles("node.watch", max_attempts=1)
def watch(operation: Operation) -> None:
    """Look at one direct node and everything on it: drift is mended, its MEP's state is kept, what that lost is told again."""
    node = Node.objects.filter(pk=operation.payload["node"]).first()
    if node is None or node.link != Node.Link.DIRECT:
        return
    _forget_older(operation)
    nodes.learn(node.pk, look(node))
    rows = Deployment.objects.not_removed().filter(node=node).select_related("package", "node")
    held = list(rows.order_by("created_at"))
    with direct.applier_for(node) as applier:
        orphans.keep_unwished(node, applier.engine)
        for number, deployment in enumerate(held):
            operation.progress(10 + min(80, number), deployment.name)
            _watch_one(applier, deployment)
        if isinstance(applier.mep, Mm5):
            wanted = restoring.wishes(held)
            state = applier.mep.state()
            direct.keep(node, "mep", "state", state)
            restoring.tell_again(node, wanted, state)
        # Last: a cluster that does not let us keep its policies is told of, and everything else was looked at.
        applier.engine.supervise()


@shared_task(name="nodes.watch")
def watch_direct_nodes() -> None:
    """Ask for one look at each direct node that can be reached, and let old log watches end."""
    for node in Node.objects.direct().exclude(enrolled_at=None).only("pk", "organisation_id"):
        operations.request("node.watch", f"node:{node.pk}", organisation=node.organisation_id, node=str(node.pk))
    logs.end_watches()


@reports.handles("app")
def take_app(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Take in what an agent says about an application on its node."""
    try:
        deployment_id = UUID(key)
    except ValueError:
        logger.warning("node %s reports an application with a key that is no deployment", node.pk)
        return
    services.observe(deployment_id, observed_generation, status, node_id=node.pk)


def _find(operation: Operation) -> Deployment | None:
    """Return the deployment with its wish of now; None when there is nothing left to do for a direct applier."""
    rows = Deployment.objects.select_related("node", "package")
    deployment = rows.filter(pk=operation.payload["deployment"], node__link=Node.Link.DIRECT).first()
    return None if deployment is None or deployment.state == Deployment.State.REMOVED else deployment


def _remove(operation: Operation, deployment: Deployment) -> None:
    generation = deployment.generation
    began = (
        DeploymentRevision.objects.filter(deployment=deployment, generation=generation)
        .values_list("created_at", flat=True)
        .first()
    )
    if _end(operation, deployment, began or deployment.updated_at):
        services.observe(deployment.pk, generation, absent())


def _stop(operation: Operation, deployment: Deployment, recall: Recall) -> None:
    """End what is recalled; the wish stays, so that it starts again when the recall is lifted."""
    if _end(operation, deployment, recall.issued_at):
        services.observe(deployment.pk, deployment.generation, recalled(recall.reason, recall.advice))


def _end(operation: Operation, deployment: Deployment, since: datetime) -> bool:
    """Do one step of the end of a release and return whether it is gone; else the next step is asked for."""
    waited = (timezone.now() - since).total_seconds()
    try:
        with direct.applier_for(deployment.node) as applier:
            operation.progress(10, say("asking the application to end"))
            gone = applier.remove(specs.of(deployment), waited=waited)
    except BreakwaterError as error:
        _tell(operation, deployment, error)
        raise
    operation.renew()
    nodes.seen(deployment.node_id)
    if not gone:
        services.ask_applier(deployment, run_after=timezone.now() + timedelta(seconds=1))
    return gone


def _look(applier: Applier, deployment: Deployment) -> None:
    """Take in the present state of a release, and mend it when it is not there or behind."""
    key = str(deployment.pk)
    applier.engine.supervise()
    status = applier.engine.status(deployment.name, deployment.namespace)
    direct.keep_events(deployment.node, applier.engine, key, name=deployment.name, namespace=deployment.namespace)
    told = as_status(status)
    # A release that vanished is news about the present wish; one that is behind speaks of its own generation.
    about = deployment.generation if status.state is Seen.ABSENT else status.generation
    services.observe(deployment.pk, about, told)


def _watch_one(applier: Applier, deployment: Deployment) -> None:
    try:
        if deployment.wish == Deployment.Wish.ABSENT:
            services.ask_applier(deployment)
            return
        status = applier.engine.status(deployment.name, deployment.namespace)
        if recalls.stops(deployment.package):
            if status.state is not Seen.ABSENT or deployment.reason != RECALLED:
                services.ask_applier(deployment)
            return
        if status.state is Seen.ABSENT or status.generation != deployment.generation:
            # What was refused for good (no revision was made) is refused again; only a new wish helps.
            if deployment.state != Deployment.State.FAILED or deployment.revision:
                services.ask_applier(deployment)
            return
        _look(applier, deployment)
    except BreakwaterError as error:
        logger.warning("%s on %s: %s", deployment, deployment.node_id, error.detail)


def _look_again(deployment: Deployment) -> None:
    """Ask for another look while the wish is not reached; the later, the longer it takes."""
    row = Deployment.objects.unsettled().filter(pk=deployment.pk).values("generation", "wish").first()
    if row is None or row["wish"] == Deployment.Wish.ABSENT:
        return
    began = (
        DeploymentRevision.objects.filter(deployment=deployment, generation=row["generation"])
        .values_list("created_at", flat=True)
        .first()
    )
    age = (timezone.now() - (began or deployment.updated_at)).total_seconds()
    wait = min(_SLOWEST_LOOK, max(_FIRST_LOOK, age / 10))
    operations.request(
        "deployment.observe",
        f"deployment:{deployment.pk}",
        organisation=deployment.organisation_id,
        run_after=timezone.now() + timedelta(seconds=wait),
        deployment=str(deployment.pk),
    )


def _tell(operation: Operation, deployment: Deployment, error: BreakwaterError) -> None:
    """Show on the deployment why it could not be applied; what waiting mends is no failure."""
    operation.renew()
    # The operation keeps the same error, so it is mended itself.
    secret_values.quoting_none(error, secret_values.in_deployment(deployment))
    told = failure(error)
    if error.retryable:
        told["state"] = str(Seen.PROGRESSING)
    services.observe(deployment.pk, deployment.generation, told)


def _forget_older(operation: Operation) -> None:
    """Keep only the last look: one every half a minute for ninety days would be a heap."""
    finished = [Operation.State.SUCCEEDED, Operation.State.FAILED, Operation.State.CANCELLED]
    Operation.objects.filter(kind=operation.kind, target=operation.target, state__in=finished).delete()
