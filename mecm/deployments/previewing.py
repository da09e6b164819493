"""What a wish would do, asked before anybody wishes: placement on many nodes, with every reason. Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from appstore.packages.models import Package
from core.accounts.models import Organisation
from core.errors import BreakwaterError, Conflict
from core.words import say
from mecm.deployments import admission, placement, plan, requirements, secrecy
from mecm.deployments import values as given
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.steering import upgrading

if TYPE_CHECKING:
    from mecm.deployments.placement import Placement, Requirement


def verdicts(
    nodes: list[Node], package: Package, *, organisation: Organisation, name: str, values: Mapping[str, Any] | None
) -> list[tuple[Node, Placement]]:
    """Return for each node whether the package would fit there and why not; touches nothing."""
    checked = admission.values_for(None, values)
    namespace, name = admission.namespace_of(organisation), admission.check_name(name)
    admission.deployable(package, organisation.pk)

    def needed(node: Node) -> Requirement:
        return requirements.of(package, checked, engine=node.engine, name=name, namespace=namespace)

    return plan.verdicts(nodes, needed)


def refusal(package: Package, organisation: Organisation) -> str:
    """Return why the organisation may not begin to run the package, on whatever node; empty when it may."""
    try:
        admission.deployable(package, organisation.pk)
    except BreakwaterError as error:
        return error.detail
    return ""


@dataclass(frozen=True)
class Preview:
    """What a release would do on one node: `install`, `upgrade`, `keep` (no change) or `unfit`, and every reason."""

    node: Node
    deployment: Deployment | None
    name: str
    action: str
    placement: Placement


def preview(
    places: list[tuple[Node, Deployment | None, str]],
    package: Package,
    *,
    organisation: Organisation,
    values: Mapping[str, Any] | None,
) -> list[Preview]:
    """Return what the release would do in each place (node, what is there under the name, name); touches nothing.

    Without `values` what is there keeps its own. A fixed number of queries, however many places there are; `Invalid`
    when the values do not suit the chart.
    """
    admission.deployable(package, organisation.pk)
    checked = given.check(values) if values is not None else None
    namespace = admission.namespace_of(organisation)
    found: list[Preview | None] = []
    cases: list[plan.Case] = []
    for node, deployment, name in places:
        against, wanted = _against(deployment, package), {}
        try:
            wanted = admission.values_for(deployment, checked)
        except secrecy.NothingToKeep as error:
            # Another place may well have a secret to keep.
            against = against or placement.Reason("secret", error.detail)
        if against is None and deployment and admission.same_wish(deployment, package, wanted):
            found.append(Preview(node, deployment, name, "keep", placement.Placement()))
            continue
        if against is None:
            try:
                needed = requirements.of(package, wanted, engine=node.engine, name=name, namespace=namespace)
            except BreakwaterError as error:
                if deployment is None or checked is not None:
                    raise
                # Its own values do not suit this release: that is said of this place, not of all.
                against = placement.Reason("values", error.detail)
        if against is not None:
            found.append(Preview(node, deployment, name, "unfit", placement.Placement((against,))))
            continue
        cases.append(plan.Case(node, needed, deployment.pk if deployment else None))
        found.append(None)
    replaced = {each.pk for _, each, _ in places if each and each.package_id != package.pk}
    judged = iter(_with_rules(package, replaced, cases, plan.judge(cases)))
    return [
        known if known is not None else _previewed(*place, next(judged))
        for known, place in zip(found, places, strict=True)
    ]


def _with_rules(
    package: Package, replaced: set[UUID], cases: list[plan.Case], verdicts: list[Placement]
) -> list[Placement]:
    """Add what the release means for rules that operators changed; one query, and none where no release is replaced."""
    told = upgrading.consequences(package, replaced) if replaced else {}

    def added(case: plan.Case) -> tuple[placement.Reason, ...]:
        known = told.get(case.besides, ()) if case.besides else ()
        return tuple(placement.Reason(each.code, each.message) for each in known)

    return [
        replace(verdict, remarks=verdict.remarks + added(case)) for case, verdict in zip(cases, verdicts, strict=True)
    ]


def _previewed(node: Node, deployment: Deployment | None, name: str, verdict: Placement) -> Preview:
    action = ("upgrade" if deployment else "install") if verdict.fits else "unfit"
    return Preview(node, deployment, name, action, verdict)


def _against(deployment: Deployment | None, package: Package) -> placement.Reason | None:
    """Return why what is there cannot become this release at all."""
    if deployment is None:
        return None
    if deployment.wish == Deployment.Wish.ABSENT:
        return placement.Reason("going-away", say("{name} is being removed there", name=deployment.name))
    try:
        admission.same_application(deployment.package, package)
    except Conflict as error:
        return placement.Reason("other-application", error.detail)
    return None
