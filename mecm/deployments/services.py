"""Verbs of deployments. Each changes the wish in one transaction and hands it to the node's applier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from appstore.catalog import counters
from appstore.packages import gates, states
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid, Missing, Stale
from core.operations import services as operations
from mecm.deployments import followers, observation, placement, plan, requirements, secrecy, secret_values, specs
from mecm.deployments import values as given
from mecm.deployments.models import TRIAL_NAMESPACE, Deployment, DeploymentRevision
from mecm.edge import services as edge
from mecm.nodes.models import DNS_LABEL, Node
from mecm.steering import upgrading

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from mecm.deployments.placement import Placement, Requirement

Action, Outcome = DeploymentRevision.Action, DeploymentRevision.Outcome
State, Wish = Deployment.State, Deployment.Wish

_TRIES = 5
#: What was never checked, was refused, or is recalled from everywhere is run nowhere, not even on trial.
_UNFIT_FOR_TRIAL = frozenset({states.DRAFT, states.REJECTED, "recalled"})


@dataclass(frozen=True)
class _Wanted:
    """What the next generation shall be."""

    package: Package
    values: dict[str, Any]
    restores: int | None = None


def request(
    *,
    actor: Actor,
    organisation: Organisation,
    node: Node,
    package: Package,
    name: str,
    values: Mapping[str, Any] | None = None,
) -> Deployment:
    """Write down that `package` should run on `node` as release `name`; the node's applier makes it so.

    `Invalid` when the values do not suit the chart; `Conflict` with every reason when it cannot be placed there.
    """
    actor.require("deployments.write", organisation)
    actor.require("deployments.write", node.organisation_id)
    _deployable(package, organisation.pk)
    return _install(
        actor=actor,
        organisation=organisation,
        node=node,
        package=package,
        name=name,
        namespace=namespace_of(organisation),
        values=values,
    )


def request_trial(
    *,
    actor: Actor,
    organisation: Organisation,
    node: Node,
    package: Package,
    name: str,
    namespace: str,
    values: Mapping[str, Any] | None = None,
) -> Deployment:
    """Write down that `package` should run on a sandbox for a trial, published or not; no gate is asked.

    Only `mecm.trials` calls this: there is decided which node is a sandbox and who removes the deployment again.
    """
    actor.require("certification.run", organisation)
    actor.require("certification.run", node.organisation_id)
    if package.state in _UNFIT_FOR_TRIAL:
        raise Conflict(f"{package.name or package.filename} is {package.state}; only a checked package can be tried.")
    if not namespace.startswith(TRIAL_NAMESPACE):
        raise Conflict(f"A trial runs in a namespace of its own that begins with {TRIAL_NAMESPACE}.")
    return _install(
        actor=actor,
        organisation=organisation,
        node=node,
        package=package,
        name=name,
        namespace=namespace,
        values=values,
    )


def _install(
    *,
    actor: Actor,
    organisation: Organisation,
    node: Node,
    package: Package,
    name: str,
    namespace: str,
    values: Mapping[str, Any] | None,
) -> Deployment:
    wanted = _Wanted(package, values_for(None, values))
    deployment = Deployment(
        organisation=organisation,
        node=node,
        package=package,
        name=check_name(name),
        namespace=namespace,
        values=wanted.values,
        requested_by=actor.user,
    )
    # Rendering takes a while, so it is done before any row is locked.
    needed = requirements.of(package, wanted.values, engine=node.engine, name=name, namespace=namespace)
    with transaction.atomic():
        deployment.node = _lock(node)
        _insist(plan.verdicts([deployment.node], _always(needed)))
        _hold_place(deployment, needed)
        try:
            with transaction.atomic():
                deployment.save(force_insert=True)
        except IntegrityError:
            raise Conflict(f"There is a release named {name} on {node.name} already.", field="name") from None
        _record(deployment, Action.INSTALL, actor)
        counters.deployed(package.pk)
        _hand_over(deployment, actor)
    return deployment


def upgrade(
    deployment: Deployment,
    *,
    actor: Actor,
    package: Package | None = None,
    values: Mapping[str, Any] | None = None,
    expected: int | None = None,
) -> Deployment:
    """Wish for another package, or other values (they replace the present ones, marks keep secrets), or both.

    The same wish again changes nothing, unless the present one failed: then it is tried again. With `expected`,
    `Stale` when the deployment has another generation by now.
    """
    checked = given.check(values) if values is not None else None

    def choose(present: Deployment) -> _Wanted | None:
        wanted = _Wanted(package or present.package, values_for(present, checked))
        if wanted.package.pk != present.package_id:
            _deployable(wanted.package, present.organisation_id)
            _same_application(present.package, wanted.package)
        return None if _same_wish(present, wanted.package, wanted.values) else wanted

    return _revise(deployment, Action.UPGRADE, choose, actor=actor, expected=expected)


def rollback(deployment: Deployment, *, actor: Actor, to: int | None = None, expected: int | None = None) -> Deployment:
    """Wish for what generation `to` was, as a new generation; by default the last one that was ready and differs."""

    def choose(present: Deployment) -> _Wanted:
        target = _earlier(present, to)
        if target.package_id != present.package_id:
            _again_deployable(target.package, present.organisation_id)
        return _Wanted(target.package, target.values, restores=target.generation)

    return _revise(deployment, Action.ROLLBACK, choose, actor=actor, expected=expected)


@transaction.atomic
def remove(deployment: Deployment, *, actor: Actor) -> Deployment:
    """Wish that the deployment goes; twice is once. Its row stays as history and its name becomes free at the end."""
    on_trial = deployment.namespace.startswith(TRIAL_NAMESPACE)
    actor.require("certification.run" if on_trial else "deployments.write", deployment.organisation_id)
    _lock(deployment.node)
    deployment = _locked(deployment.pk)
    if deployment.wish == Wish.ABSENT:
        return deployment
    deployment.generation += 1
    deployment.wish, deployment.state = Wish.ABSENT, State.REMOVING
    deployment.reason = deployment.message = ""
    deployment.save()
    _record(deployment, Action.REMOVE, actor)
    if deployment.node.last_seen_at is None:
        # The node never was there, so nothing runs and nobody will ever report that it is gone.
        edge.delete(deployment.node, "app", str(deployment.pk))
        observe(deployment.pk, deployment.generation, {"state": "absent"})
        deployment.refresh_from_db()
        return deployment
    _hand_over(deployment, actor)
    return deployment


def observe(
    deployment_id: UUID | str, observed_generation: int, status: Mapping[str, Any], *, node_id: UUID | None = None
) -> bool:
    """Take in what an applier reports; False when it says nothing about the present wish.

    `node_id` is who says so: a node speaks only about what is on it. The write names the generation that was
    judged, so a wish that changes meanwhile wins.
    """
    row = Deployment.objects.filter(pk=deployment_id)
    if node_id is not None:
        row = row.filter(node_id=node_id)
    known = row.values("wish", "generation", "observed_generation", "state").first()
    if known is None:
        return False
    verdict = observation.judge(observation.Known(**known), observed_generation, status)
    if verdict is None:
        return False
    verdict = _quoting_none(row, verdict)
    now = timezone.now()
    changes: dict[str, Any] = {
        "state": verdict.state,
        "observed_generation": verdict.observed_generation,
        "reason": verdict.reason,
        "message": verdict.message,
        "revision": verdict.revision,
        "workloads": verdict.workloads,
        "endpoints": verdict.endpoints,
        "reported_at": now,
        "updated_at": now,
    }
    if verdict.state == State.REMOVED:
        changes |= {"removed_at": now, "cpu_millis": 0, "memory_bytes": 0, "storage_bytes": 0}
    with transaction.atomic():
        judged = row.filter(generation=known["generation"], observed_generation=known["observed_generation"])
        if not judged.exclude(state=State.REMOVED).update(**changes):
            return False
        if verdict.outcome:
            _settle(deployment_id, known["generation"], verdict)
        if verdict.state == State.REMOVED:
            followers.tell_gone(UUID(str(deployment_id)))
    return True


def _quoting_none(row: QuerySet[Deployment], verdict: observation.Verdict) -> observation.Verdict:
    """Return what a node told without secrets: its Helm and its engine quote the values that they refuse."""
    if not (verdict.message or any(each["message"] or each["reason"] for each in verdict.workloads)):
        return verdict
    deployment = row.select_related("package").only("values", "package__name", "package__chart_sha256").first()
    secrets = secret_values.in_deployment(deployment) if deployment is not None else set()
    return replace(
        verdict,
        message=secret_values.scrubbed(verdict.message, secrets),
        workloads=secret_values.scrubbed_all(verdict.workloads, secrets),
    )


def verdicts(
    nodes: list[Node], package: Package, *, organisation: Organisation, name: str, values: Mapping[str, Any] | None
) -> list[tuple[Node, Placement]]:
    """Return for each node whether the package would fit there and why not; touches nothing."""
    checked = values_for(None, values)
    namespace, name = namespace_of(organisation), check_name(name)
    _deployable(package, organisation.pk)

    def needed(node: Node) -> Requirement:
        return requirements.of(package, checked, engine=node.engine, name=name, namespace=namespace)

    return plan.verdicts(nodes, needed)


def refusal(package: Package, organisation: Organisation) -> str:
    """Return why the organisation may not begin to run the package, on whatever node; empty when it may."""
    try:
        _deployable(package, organisation.pk)
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
    _deployable(package, organisation.pk)
    checked = given.check(values) if values is not None else None
    namespace = namespace_of(organisation)
    found: list[Preview | None] = []
    cases: list[plan.Case] = []
    for node, deployment, name in places:
        against, wanted = _against(deployment, package), {}
        try:
            wanted = values_for(deployment, checked)
        except secrecy.NothingToKeep as error:
            # Another place may well have a secret to keep.
            against = against or placement.Reason("secret", error.detail)
        if against is None and deployment and _same_wish(deployment, package, wanted):
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
    if deployment.wish == Wish.ABSENT:
        return placement.Reason("going-away", f"{deployment.name} is being removed there")
    try:
        _same_application(deployment.package, package)
    except Conflict as error:
        return placement.Reason("other-application", error.detail)
    return None


def _same_wish(deployment: Deployment, package: Package, values: Mapping[str, Any]) -> bool:
    same = deployment.package_id == package.pk and deployment.values == values
    return same and deployment.state != State.FAILED


def values_for(present: Deployment | None, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the values with what is present in the place of each mark; without any, those that are present.

    `Invalid` names the field of a mark where nothing is to be kept.
    """
    there = present.values if present is not None else {}
    if values is None:
        return dict(there)
    return given.check(secrecy.kept(given.check(values), there))


def namespace_of(organisation: Organisation) -> str:
    """Return the namespace of a tenant, the same on every node."""
    return f"t-{organisation.slug}"


def _revise(
    deployment: Deployment,
    action: str,
    choose: Callable[[Deployment], _Wanted | None],
    *,
    actor: Actor,
    expected: int | None,
) -> Deployment:
    """Make the next generation of what `choose` wants; it is asked again when somebody else was faster."""
    actor.require("deployments.write", deployment.organisation_id)
    for _ in range(_TRIES):
        present = Deployment.objects.select_related("node", "package").get(pk=deployment.pk)
        if expected is not None and present.generation != expected:
            raise Stale(
                f"The deployment is at generation {present.generation} by now, not {expected}.",
                generation=present.generation,
            )
        if present.wish == Wish.ABSENT:
            raise Conflict(f"{present.name} is being removed or gone; deploy it anew.")
        wanted = choose(present)
        if wanted is None:
            return present
        needed = requirements.of(
            wanted.package,
            wanted.values,
            engine=present.node.engine,
            name=present.name,
            namespace=present.namespace,
        )
        with transaction.atomic():
            node = _lock(present.node)
            current = _locked(present.pk)
            if current.generation != present.generation:
                continue
            _insist(plan.verdicts([node], _always(needed), besides=current.pk))
            current.node, current.package, current.values = node, wanted.package, wanted.values
            current.generation += 1
            current.state, current.reason, current.message = State.PENDING, "", ""
            _hold_place(current, needed)
            current.save()
            _record(current, action, actor, restores=wanted.restores)
            _hand_over(current, actor)
        return current
    raise Conflict("The deployment changes too often at the moment; try again.")


def _lock(node: Node) -> Node:
    """Hold the node's row until the transaction ends: places on it are given one at a time."""
    locked = Node.objects.select_for_update().filter(pk=node.pk).first()
    if locked is None:
        raise Missing("The node was removed meanwhile.")
    return locked


def _locked(pk: UUID) -> Deployment:
    Deployment.objects.select_for_update().get(pk=pk)
    return Deployment.objects.select_related("node", "package").get(pk=pk)


def _insist(verdict: list[tuple[Node, Placement]]) -> None:
    for node, judged in verdict:
        if not judged.fits:
            told = "; ".join(reason.message for reason in judged.reasons)
            raise Conflict(f"{node.name}: {told}", reasons=[reason.as_dict() for reason in judged.reasons])


def _always(needed: Requirement) -> Callable[[Node], Requirement]:
    return lambda node: needed


def _hold_place(deployment: Deployment, needed: Requirement) -> None:
    deployment.cpu_millis = needed.compute.cpu_millis
    deployment.memory_bytes = needed.compute.memory_bytes
    deployment.storage_bytes = needed.compute.storage_bytes


def _hand_over(deployment: Deployment, actor: Actor) -> None:
    """Give the present wish to the applier, in the caller's transaction."""
    key = str(deployment.pk)
    if deployment.node.link == Node.Link.DIRECT:
        ask_applier(deployment, actor=actor)
        return
    # A tombstone carries the generation of the last wish before it: so that the node's "gone" is about this
    # generation and not about the one before, the wish is first raised to it.
    edge.put(deployment.node, "app", key, generation=deployment.generation, spec=specs.of(deployment))
    if deployment.wish == Wish.ABSENT:
        edge.delete(deployment.node, "app", key)


def target_of(deployment_id: UUID) -> str:
    """Return what work on a deployment is about."""
    return f"deployment:{deployment_id}"


def ask_applier(deployment: Deployment, *, actor: Actor | None = None, run_after: Any = None) -> None:
    """Ask a worker to make a deployment on a direct node as it is wished now."""
    operations.request(
        "deployment.apply",
        target_of(deployment.pk),
        organisation=deployment.organisation_id,
        actor=actor,
        run_after=run_after,
        deployment=str(deployment.pk),
    )


def _record(deployment: Deployment, action: str, actor: Actor, *, restores: int | None = None) -> None:
    DeploymentRevision.objects.create(
        deployment=deployment,
        generation=deployment.generation,
        action=action,
        package=deployment.package,
        values=deployment.values,
        restores=restores,
        requested_by=actor.user,
    )
    facts = {"node": str(deployment.node_id), "package": str(deployment.package_id)}
    audit.record(actor, f"deployment.{action}", deployment, generation=deployment.generation, **facts)


def _settle(deployment_id: UUID | str, generation: int, verdict: observation.Verdict) -> None:
    revision = DeploymentRevision.objects.filter(deployment_id=deployment_id, generation=generation)
    # What was ready once has been reached; a later failure is news about the workloads, not about the wish.
    revision.exclude(outcome__in=[Outcome.READY, verdict.outcome]).update(
        outcome=verdict.outcome, message=verdict.message, settled_at=timezone.now()
    )


def _earlier(present: Deployment, to: int | None) -> DeploymentRevision:
    earlier = present.revisions.select_related("package").filter(generation__lt=present.generation)
    earlier = earlier.exclude(action=Action.REMOVE).order_by("-generation")
    if to is not None:
        found = earlier.filter(generation=to).first()
        if found is None:
            raise Missing(f"{present.name} has no earlier generation {to}.")
        return found
    for revision in earlier.filter(outcome=Outcome.READY):
        if revision.package_id != present.package_id or revision.values != present.values:
            return revision
    raise Conflict("There is no earlier generation that was ready and differs from the present one.")


def _deployable(package: Package, organisation_id: UUID) -> None:
    """Pass when the organisation may begin to run the package."""
    if package.state not in states.LISTED:
        why = f" {package.state_reason}" if package.state in states.MARKED and package.state_reason else ""
        raise Conflict(
            f"{package.name or package.filename} is {package.state}; only a published package is deployed.{why}",
            state=package.state,
        )
    if package.visibility != Package.Visibility.PUBLIC and package.organisation_id != organisation_id:
        raise Conflict(f"{package} is for its own organisation and partner stores; ask its publisher.")
    gates.require("deploy", package, organisation_id)


def _again_deployable(package: Package, organisation_id: UUID) -> None:
    """Pass when a package that ran here may be gone back to: a yanked one, and one that is hidden by now, too."""
    if package.state not in states.KEPT:
        raise Conflict(
            f"{package} is {package.state}, so there is no way back to it. {package.state_reason}".strip(),
            state=package.state,
        )
    gates.require("deploy", package, organisation_id)


def _same_application(present: Package, wanted: Package) -> None:
    if (present.name, present.provider) != (wanted.name, wanted.provider):
        raise Conflict(
            f"{wanted.name} of {wanted.provider} is another application than {present.name} of {present.provider}; "
            "deploy it beside, under a name of its own."
        )


def check_name(name: str) -> str:
    """Return the name of a release; `Invalid` when it can be none."""
    try:
        DNS_LABEL(name)
    except ValidationError as problem:
        raise Invalid(
            f"name {problem.messages[0]}", errors=[{"field": "name", "detail": problem.messages[0]}]
        ) from None
    if len(name) > 53:  # Helm's limit for release names
        raise Invalid("name must be at most 53 characters", errors=[{"field": "name", "detail": "is too long"}])
    return name
