"""Verbs of deployments. Each changes the wish in one transaction and hands it to the node's applier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from appstore.catalog import counters
from appstore.packages import states
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Missing, Stale
from core.operations import services as operations
from core.words import say
from mecm.deployments import admission, plan, requirements, specs
from mecm.deployments import values as given
from mecm.deployments.admission import check_name, namespace_of, values_for
from mecm.deployments.models import TRIAL_NAMESPACE, Deployment, DeploymentRevision
from mecm.deployments.observing import observe
from mecm.deployments.previewing import Preview, preview, refusal, verdicts
from mecm.edge import services as edge
from mecm.nodes.models import Node, silence_limit

if TYPE_CHECKING:
    from mecm.deployments.placement import Placement, Requirement

#: All verbs and questions about wishes have this one door, wherever they live.
__all__ = [
    "Preview", "abandon", "ask_applier", "check_name", "may_be_abandoned", "namespace_of", "observe", "preview",
    "refusal", "remove", "request", "request_trial", "rollback", "upgrade", "values_for", "verdicts",
]  # fmt: skip

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
    admission.deployable(package, organisation.pk)
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
        raise Conflict(
            say(
                "{name} is {state}; only a checked package can be tried.",
                name=package.name or package.filename,
                state=package.state,
            )
        )
    if not namespace.startswith(TRIAL_NAMESPACE):
        raise Conflict(
            say(
                "A trial runs in a namespace of its own that begins with {trial_namespace}.",
                trial_namespace=TRIAL_NAMESPACE,
            )
        )
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
            raise Conflict(
                say("There is a release named {name} on {node_name} already.", name=name, node_name=node.name),
                field="name",
            ) from None
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
            admission.deployable(wanted.package, present.organisation_id)
            admission.same_application(present.package, wanted.package)
        return None if admission.same_wish(present, wanted.package, wanted.values) else wanted

    return _revise(deployment, Action.UPGRADE, choose, actor=actor, expected=expected)


def rollback(deployment: Deployment, *, actor: Actor, to: int | None = None, expected: int | None = None) -> Deployment:
    """Wish for what generation `to` was, as a new generation; by default the last one that was ready and differs."""

    def choose(present: Deployment) -> _Wanted:
        target = _earlier(present, to)
        if target.package_id != present.package_id:
            admission.again_deployable(target.package, present.organisation_id)
        return _Wanted(target.package, target.values, restores=target.generation)

    return _revise(deployment, Action.ROLLBACK, choose, actor=actor, expected=expected)


@transaction.atomic
def remove(deployment: Deployment, *, actor: Actor) -> Deployment:
    """Wish that the deployment goes; twice is once. Its row stays as history and its name becomes free at the end."""
    _require_removal(deployment, actor)
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


@transaction.atomic
def abandon(deployment: Deployment, *, actor: Actor) -> Deployment:
    """Give up a removal that its node, which is away, does not confirm; twice is once.

    It may go on running there. The wish that it goes stays: when the node comes back it is told so, and when it says
    that it is gone the deployment is removed. Until then its name stays taken on that node.
    """
    _require_removal(deployment, actor)
    node = _lock(deployment.node)
    deployment = _locked(deployment.pk)
    if deployment.state == State.ABANDONED:
        return deployment
    if why := _against_abandoning(deployment, node):
        raise Conflict(why)
    deployment.state = State.ABANDONED
    deployment.abandoned_at, deployment.abandoned_by = timezone.now(), actor.user
    deployment.cpu_millis = deployment.memory_bytes = deployment.storage_bytes = 0
    deployment.save()
    facts = {"node": str(deployment.node_id), "package": str(deployment.package_id)}
    audit.record(actor, "deployment.abandon", deployment, generation=deployment.generation, **facts)
    # A tombstone goes when the node has acknowledged it, and a node that comes back from an old disk has not.
    _hand_over(deployment, actor)
    return deployment


def may_be_abandoned(deployment: Deployment) -> bool:
    """Return whether `abandon` would take it: it is to go, and its node is away."""
    return deployment.state != State.ABANDONED and not _against_abandoning(deployment, deployment.node)


def _against_abandoning(deployment: Deployment, node: Node) -> str:
    """Return why the deployment cannot be given up, and what to do instead; empty when it can."""
    if deployment.wish != Wish.ABSENT:
        return say(
            "{deployment_name} is wished for on {node_name}; remove it first, and give it up if no answer comes.",
            deployment_name=deployment.name,
            node_name=node.name,
        )
    if deployment.state == State.REMOVED:
        return say(
            "{deployment_name} is gone from {node_name}; there is nothing to give up.",
            deployment_name=deployment.name,
            node_name=node.name,
        )
    if node.state == Node.State.ONLINE:
        seconds = int(silence_limit().total_seconds())
        return say(
            "{node_name} is there and removes {deployment_name} itself: wait for it, and read "
            "its events if it takes long. A removal can be given up when its node has been "
            "silent for {seconds} seconds.",
            node_name=node.name,
            deployment_name=deployment.name,
            seconds=seconds,
        )
    return ""


def _require_removal(deployment: Deployment, actor: Actor) -> None:
    on_trial = deployment.namespace.startswith(TRIAL_NAMESPACE)
    actor.require("certification.run" if on_trial else "deployments.write", deployment.organisation_id)


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
                say(
                    "The deployment is at generation {generation} by now, not {expected}.",
                    generation=present.generation,
                    expected=expected,
                ),
                generation=present.generation,
            )
        if present.state == State.ABANDONED:
            raise Conflict(
                say("{name} was given up; deploy it anew under another name, or on another node.", name=present.name)
            )
        if present.wish == Wish.ABSENT:
            raise Conflict(say("{name} is being removed or gone; deploy it anew.", name=present.name))
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
    raise Conflict(say("The deployment changes too often at the moment; try again."))


def _lock(node: Node) -> Node:
    """Hold the node's row until the transaction ends: places on it are given one at a time."""
    locked = Node.objects.select_for_update().filter(pk=node.pk).first()
    if locked is None:
        raise Missing(say("The node was removed meanwhile."))
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


def _earlier(present: Deployment, to: int | None) -> DeploymentRevision:
    earlier = present.revisions.select_related("package").filter(generation__lt=present.generation)
    earlier = earlier.exclude(action=Action.REMOVE).order_by("-generation")
    if to is not None:
        found = earlier.filter(generation=to).first()
        if found is None:
            raise Missing(say("{name} has no earlier generation {to}.", name=present.name, to=to))
        return found
    for revision in earlier.filter(outcome=Outcome.READY):
        if revision.package_id != present.package_id or revision.values != present.values:
            return revision
    raise Conflict(say("There is no earlier generation that was ready and differs from the present one."))
