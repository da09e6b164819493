"""Verbs of rules: change, switch, add, give back, take away. Each is one wish for the node of the deployment.

The wish is of its own kind with its own generation: the application is neither applied again nor restarted. It stays
through upgrades and rollbacks; what it changes in a rule that the present release does not have is lost meanwhile, told
as such, and heeded again when a release with that rule is back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from core.accounts.access import Actor
from core.audit import services as audit
from core.errors import Conflict, Invalid, Missing, Stale
from core.operations import services as operations
from core.words import say
from mecm.deployments.models import Deployment
from mecm.edge import services as edge
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node
from mecm.steering import checking
from mecm.steering.models import DESCRIBED_AS, DNS, ID_OF, KINDS, TRAFFIC, RuleSet, RuleWish

#: The kind of the desired object.
KIND = "rules"
#: Wishes of one deployment; a person writes them one by one.
MOST = 500
PERMISSION = "nodes.write"
State = RuleSet.State


def described(deployment: Deployment, kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules of one kind that the present release has, by id."""
    raw = (deployment.package.descriptor or {}).get(DESCRIBED_AS[kind])
    rules = [each for each in raw if isinstance(each, dict)] if isinstance(raw, list) else []
    return {str(each.get(ID_OF[kind], "")): each for each in rules}


def set_rule(
    deployment: Deployment,
    kind: str,
    rule_id: str,
    *,
    actor: Actor,
    rule: Mapping[str, Any] | None = None,
    state: str | None = None,
    expected: int | None = None,
) -> RuleSet:
    """Wish for another content of a rule that there is, for a state, or both; what is None stays as it is.

    `state` is ACTIVE, INACTIVE, or empty for what follows from the application. `Refused` when the user plane of the
    node said that it cannot do such a rule; with `expected`, `Stale` when somebody else was faster.
    """
    checked = checking.content(kind, rule) if rule is not None else None
    wanted_state = None if state is None else checking.state(state)

    def change(held: RuleSet, present: RuleWish | None) -> RuleWish | None:
        own = described(held.deployment, kind).get(rule_id)
        if present is None and own is None:
            raise Missing(
                say(
                    "{name} has no {kind} rule {rule_id}; add it",
                    name=deployment.name,
                    kind=kind,
                    rule_id=repr(rule_id),
                )
            )
        wish = present or RuleWish(rule_set=held, kind=kind, rule_id=rule_id)
        if checked is not None:
            _able(held.deployment, kind, rule_id, checked)
            same = own is not None and not wish.made and checked == _content_or_none(kind, own)
            wish.rule, wish.base = (None, None) if same else (checked, own)
        if wanted_state is not None:
            wish.state = wanted_state
        return wish if wish.rule is not None or wish.state else None

    return _change(deployment, kind, rule_id, "set", change, actor=actor, expected=expected)


def add_rule(
    deployment: Deployment,
    kind: str,
    rule_id: str,
    *,
    actor: Actor,
    rule: Mapping[str, Any],
    state: str = "",
    expected: int | None = None,
) -> RuleSet:
    """Wish for a rule that the package does not have; `Conflict` when there is one of that id already."""
    rule_id, checked, wanted_state = checking.rule_id(rule_id), checking.content(kind, rule), checking.state(state)

    def change(held: RuleSet, present: RuleWish | None) -> RuleWish:
        if present is not None or rule_id in described(held.deployment, kind):
            raise Conflict(
                say(
                    "{name} has a {kind} rule {rule_id} already; change it or choose another name",
                    name=deployment.name,
                    kind=kind,
                    rule_id=repr(rule_id),
                ),
                field="ruleId",
            )
        _able(held.deployment, kind, rule_id, checked)
        return RuleWish(rule_set=held, kind=kind, rule_id=rule_id, rule=checked, state=wanted_state, made=True)

    return _change(deployment, kind, rule_id, "add", change, actor=actor, expected=expected)


def reset_rule(
    deployment: Deployment, kind: str, rule_id: str, *, actor: Actor, expected: int | None = None
) -> RuleSet:
    """Give a rule back to the package: content and state are what it says. A wish that was lost is forgotten."""

    def change(held: RuleSet, present: RuleWish | None) -> None:
        own = rule_id in described(held.deployment, kind)
        if present is None:
            if own:
                raise Conflict(
                    say("Nothing of rule {rule_id} was changed; it is as the package says", rule_id=repr(rule_id))
                )
            raise Missing(
                say("{name} has no {kind} rule {rule_id}", name=deployment.name, kind=kind, rule_id=repr(rule_id))
            )
        if present.made and not own:
            raise Conflict(
                say(
                    "Rule {rule_id} was added here and the package has none of that name; remove it",
                    rule_id=repr(rule_id),
                )
            )

    return _change(deployment, kind, rule_id, "reset", change, actor=actor, expected=expected)


def remove_rule(
    deployment: Deployment, kind: str, rule_id: str, *, actor: Actor, expected: int | None = None
) -> RuleSet:
    """Take away a rule that was added here; one of the package can only be switched off."""

    def change(held: RuleSet, present: RuleWish | None) -> None:
        if present is not None and present.made:
            return
        if present is not None or rule_id in described(held.deployment, kind):
            raise Conflict(
                say(
                    "Rule {rule_id} comes with the package; it can be switched off or given back, not removed",
                    rule_id=repr(rule_id),
                )
            )
        raise Missing(
            say("{name} has no {kind} rule {rule_id}", name=deployment.name, kind=kind, rule_id=repr(rule_id))
        )

    return _change(deployment, kind, rule_id, "remove", change, actor=actor, expected=expected)


def unsupported(node: Node) -> str:
    """Return why rules of this node cannot be changed from here; empty when they can."""
    if node.link == Node.Link.DIRECT and not node.mep_url:
        return say(
            "The centre reaches this node directly and knows no MEC platform there, so nobody "
            "keeps traffic or DNS rules. Say on the node's page where its MEC platform is "
            "managed."
        )
    return ""


def user_plane(node_id: UUID) -> Mapping[str, Any]:
    """Return what a node said about its user plane; empty when it said nothing."""
    told = ReportedObject.objects.filter(node=node_id, kind="mep", key="state").values_list(
        "status__user_plane", flat=True
    )
    found = told.first()
    return found if isinstance(found, Mapping) else {}


def spec_of(deployment: Deployment, wishes: list[RuleWish]) -> dict[str, Any]:
    """Return the spec of the desired object: by kind and id the rule, the state, and whether the package has none."""
    spec: dict[str, Any] = {"appInstanceId": str(deployment.app_instance_id), **{kind: {} for kind in KINDS}}
    for each in wishes:
        spec[each.kind][each.rule_id] = {"rule": each.rule, "state": each.state or None, "made": each.made}
    return spec


@transaction.atomic
def observe(
    deployment_id: UUID | str, observed_generation: int, status: Mapping[str, Any], *, node_id: UUID | None = None
) -> bool:
    """Take in what a node says about the wish; False when it says nothing about the present one."""
    rows = RuleSet.objects.filter(deployment_id=deployment_id, generation=observed_generation)
    if node_id is not None:
        rows = rows.filter(deployment__node_id=node_id)
    state = str(status.get("state", ""))
    # Nothing wished for any more, and the node has heeded that.
    told = {"absent": State.APPLIED}.get(state, state if state in State.values and state else State.FAILED)
    message = str(status.get("message") or "")
    if status.get("reason") == "Unsupported":
        message = say("The agent of this node is too old to take rules from the centre; update it.")
    raw = status.get("rules")
    outcomes = [
        {name: str(each.get(name, ""))[:500] for name in ("kind", "id", "outcome", "reason")}
        for each in (raw if isinstance(raw, list) else [])[:MOST]
        if isinstance(each, Mapping)
    ]
    return bool(
        rows.update(
            observed_generation=observed_generation,
            state=told,
            message=message[:500],
            outcomes=outcomes,
            reported_at=timezone.now(),
        )
    )


@transaction.atomic
def forget(deployment_id: UUID) -> None:
    """Take the wish off the node whose deployment is gone; what was wished stays as history of the deployment."""
    found = Deployment.objects.select_related("node").filter(pk=deployment_id, rule_set__isnull=False).first()
    if found is not None and found.node.link == Node.Link.AGENT:
        edge.delete(found.node, KIND, str(deployment_id))


def _change(
    deployment: Deployment,
    kind: str,
    rule_id: str,
    deed: str,
    change: Callable[[RuleSet, RuleWish | None], RuleWish | None],
    *,
    actor: Actor,
    expected: int | None,
) -> RuleSet:
    actor.require(PERMISSION, deployment.organisation_id)
    actor.require(PERMISSION, deployment.node.organisation_id)
    if kind not in KINDS:
        raise Invalid(
            say(
                "There are rules for {traffic} and {dns}, not for {kind}",
                traffic=TRAFFIC,
                dns=DNS,
                kind=repr(kind[:40]),
            )
        )
    if why := unsupported(deployment.node):
        raise Conflict(why)
    with transaction.atomic():
        # The node before all else, as everybody who wishes something for it does.
        Node.objects.select_for_update(no_key=True).values_list("pk").filter(pk=deployment.node_id).first()
        RuleSet.objects.get_or_create(deployment=deployment)
        held = RuleSet.objects.select_for_update().get(pk=deployment.pk)
        held.deployment = Deployment.objects.select_related("node", "package").get(pk=deployment.pk)
        if held.deployment.wish == Deployment.Wish.ABSENT:
            raise Conflict(say("{name} is being removed or gone; its rules go with it.", name=deployment.name))
        if expected is not None and expected != held.generation:
            raise Stale(say("Somebody else changed rules of this application meanwhile; look at them and try again."))
        wishes = {(each.kind, each.rule_id): each for each in held.wishes.all()}
        present = wishes.get((kind, rule_id))
        before = None if present is None else (present.rule, present.state)
        wish = change(held, present)
        if wish is not None and before == (wish.rule, wish.state):
            return held
        if wish is None:
            if present is None:
                return held
            present.delete()
            del wishes[kind, rule_id]
        else:
            wish.changed_by = actor.user
            wish.save()
            wishes[kind, rule_id] = wish
        if len(wishes) > MOST:
            raise Conflict(say("More than {most} rules of one application cannot be changed from here.", most=MOST))
        held.generation += 1
        held.state, held.message, held.outcomes = State.PENDING, "", []
        held.save()
        facts = _facts(wish)
        audit.record(
            actor, f"rule.{deed}", held.deployment, kind=kind, rule=rule_id, generation=held.generation, **facts
        )
        _hand_over(held, [wishes[key] for key in sorted(wishes)], actor)
    return held


def _hand_over(held: RuleSet, wishes: list[RuleWish], actor: Actor) -> None:
    """Give the present wish to the node, in the caller's transaction."""
    deployment, key = held.deployment, str(held.pk)
    if deployment.node.link == Node.Link.DIRECT:
        ask_applier(deployment, actor=actor)
        return
    edge.put(deployment.node, KIND, key, generation=held.generation, spec=spec_of(deployment, wishes))


def target_of(deployment_id: UUID) -> str:
    """Return what the work of telling a directly reached platform is about."""
    return f"deployment-rules:{deployment_id}"


def ask_applier(deployment: Deployment, *, actor: Actor | None = None) -> None:
    """Ask a worker to bring the present wish to the MEC platform of a node that the centre reaches directly."""
    operations.request(
        "rules.apply",
        target_of(deployment.pk),
        organisation=deployment.organisation_id,
        actor=actor,
        deployment=str(deployment.pk),
    )


def _able(deployment: Deployment, kind: str, rule_id: str, members: Mapping[str, Any]) -> None:
    if kind == TRAFFIC:
        rule = checking.as_rule(f"{deployment.app_instance_id}/{rule_id}", members)
        checking.expressible(rule, user_plane(deployment.node_id))


def _content_or_none(kind: str, raw: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return checking.content(kind, raw)
    except Invalid:
        return None


def _facts(wish: RuleWish | None) -> dict[str, Any]:
    """Return what the audit trail keeps of a change; a rule is no secret."""
    if wish is None:
        return {}
    # `action` is what an entry of the audit trail calls the deed itself.
    names = {"priority": "priority", "action": "does", "domainName": "domain", "ipAddress": "address"}
    brief = {names[name]: value for name, value in (wish.rule or {}).items() if name in names}
    return {**brief, **({"state": wish.state} if wish.state else {})}
