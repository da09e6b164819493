"""What nodes report of rules, and the work for nodes that the centre reaches directly."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from core.errors import BreakwaterError
from core.operations import services as operations
from core.operations.models import Operation
from mecm.deployments import direct, followers
from mecm.deployments.mm5 import Mm5
from mecm.deployments.models import Deployment
from mecm.edge import reports
from mecm.nodes.models import Node
from mecm.steering import services
from mecm.steering.models import RuleSet

logger = logging.getLogger("breakwater.steering")

followers.when_gone(services.forget)


@reports.handles(services.KIND)
def take_rules(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Take in what an agent says about the rules of an application on its node."""
    try:
        deployment_id = UUID(key)
    except ValueError:
        logger.warning("node %s reports rules with a key that is no deployment", node.pk)
        return
    services.observe(deployment_id, observed_generation, status, node_id=node.pk)


@operations.handles("rules.apply")
def apply(operation: Operation) -> None:
    """Bring the present wish to the MEC platform of a node that the centre reaches directly."""
    rows = RuleSet.objects.select_related("deployment__node")
    held = rows.filter(pk=operation.payload["deployment"], deployment__node__link=Node.Link.DIRECT).first()
    if held is None or held.deployment.wish == Deployment.Wish.ABSENT:
        return
    generation, spec = held.generation, services.spec_of(held.deployment, list(held.wishes.all()))
    mep = direct.mep_of(held.deployment.node)
    try:
        if not isinstance(mep, Mm5):
            services.observe(
                held.pk, generation, {"state": "failed", "message": services.unsupported(held.deployment.node)}
            )
            return
        status = mep.wish_rules(spec, generation)
    except BreakwaterError as error:
        services.observe(
            held.pk, generation, {"state": "pending" if error.retryable else "failed", "message": error.detail}
        )
        raise
    finally:
        if isinstance(mep, Mm5):
            mep.close()
    services.observe(held.pk, generation, status)
