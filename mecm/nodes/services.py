"""Verbs of nodes: register, change, give access to, probe, remove."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

import engines
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say
from engines.limits import Limits
from mecm.nodes import kubeconfig as kubeconfigs
from mecm.nodes import sealed
from mecm.nodes.models import Node

#: Engines that drive the machine they run on. With a direct link that would be the centre's own machine.
LOCAL_ENGINES = frozenset({"docker"})

_CAPACITY = ("cpu_millis", "memory_bytes", "storage_bytes")
_LIMITS = tuple(each.name for each in fields(Limits))
_LABELS, _LABEL_TEXT = 50, 100


@transaction.atomic
def register(
    *,
    actor: Actor,
    organisation: Organisation,
    name: str,
    engine: str,
    link: str = Node.Link.AGENT,
    labels: Mapping[str, str] | None = None,
    latitude: float | None = None,
    longitude: float | None = None,
    **capacity: int | None,
) -> Node:
    """Write down a new node of `organisation`; `Conflict` when it has one of that name already.

    `cpu_millis`, `memory_bytes` and `storage_bytes` given here stand against what the node reports later.
    """
    actor.require("nodes.write", organisation)
    node = Node(
        organisation=organisation,
        name=name,
        engine=engine,
        link=link,
        labels=_labels(labels or {}),
        latitude=latitude,
        longitude=longitude,
    )
    _fix_capacity(node, capacity)
    _check(node)
    try:
        with transaction.atomic():
            node.save(force_insert=True)
    except IntegrityError:
        raise Conflict(
            say("{organisation} has a node named {name} already.", organisation=organisation, name=repr(name)),
            field="name",
        ) from None
    audit.record(actor, "node.register", node, engine=engine, link=str(link))
    return node


@transaction.atomic
def change(node: Node, *, actor: Actor, **changes: Any) -> Node:
    """Change what an operator says of a node: name, labels, coordinates, capacity.

    A capacity of None goes back to what the node reports. Engine and link stay as they are: deployments depend on them.
    """
    actor.require("nodes.write", node.organisation_id)
    node = Node.objects.select_for_update().get(pk=node.pk)
    for field in ("name", "latitude", "longitude"):
        if field in changes:
            setattr(node, field, changes[field])
    if "labels" in changes:
        node.labels = _labels(changes["labels"])
    _fix_capacity(node, changes)
    _check(node)
    try:
        with transaction.atomic():
            node.save()
    except IntegrityError:
        raise Conflict(say("There is a node named {name} already.", name=repr(node.name)), field="name") from None
    audit.record(actor, "node.change", node, fields=sorted(changes))
    return node


@transaction.atomic
def import_kubeconfig(node: Node, text: str, *, actor: Actor) -> Operation:
    """Seal a kubeconfig for a direct node and ask for a test of the connection; it is never shown again."""
    actor.require("nodes.write", node.organisation_id)
    if node.link != Node.Link.DIRECT:
        raise Conflict(say("Only a node with a direct link takes a kubeconfig; this one is served by its own agent."))
    plain = kubeconfigs.check(text)
    node.kubeconfig = sealed.seal(node, "kubeconfig", plain)
    node.enrolled_at = node.enrolled_at or timezone.now()
    node.save(update_fields=["kubeconfig", "enrolled_at", "updated_at"])
    audit.record(actor, "node.kubeconfig", node, server=kubeconfigs.server_of(plain))
    return probe(node, actor=actor)


@transaction.atomic
def set_mep(node: Node, *, url: str, token: str, ca: str = "", actor: Actor) -> Node:
    """Say where the MEP of a direct node is managed (Mm5), with which token, and whose certificates to trust there."""
    actor.require("nodes.write", node.organisation_id)
    if node.link != Node.Link.DIRECT:
        raise Conflict(say("The MEP of this node is managed through its agent."))
    node.mep_url = _mep_url(url)
    node.mep_ca = _authority(ca)
    if not token or len(token) > 4096 or not token.isascii() or any(letter.isspace() for letter in token):
        raise Invalid(say("token must be 1 to 4096 ASCII characters without blanks"), field="token")
    node.mep_token = sealed.seal(node, "mep_token", token)
    node.save(update_fields=["mep_url", "mep_ca", "mep_token", "updated_at"])
    audit.record(actor, "node.mep", node, url=node.mep_url)
    return node


def probe(node: Node, *, actor: Actor) -> Operation:
    """Ask for a test of the connection to a direct node; it also brings capacity and version."""
    if node.link != Node.Link.DIRECT:
        raise Conflict(say("A node with an agent reports by itself; there is nothing to probe."))
    return operations.request(
        "node.probe", f"node:{node.pk}", organisation=node.organisation_id, actor=actor, node=str(node.pk)
    )


@transaction.atomic
def remove(node: Node, *, actor: Actor) -> None:
    """Forget a node; `Conflict` while applications hold a place on it."""
    actor.require("nodes.write", node.organisation_id)
    node = Node.objects.select_for_update().get(pk=node.pk)
    held = list(node.deployments.present().values_list("name", flat=True)[:20])
    if held:
        raise Conflict(
            say("{node} still holds {held}; remove these deployments first.", node=node, held=", ".join(held)),
            deployments=held,
        )
    given_up = sorted(node.deployments.not_removed().values_list("name", flat=True)[:20])
    audit.record(actor, "node.remove", node, engine=node.engine, link=node.link, given_up=given_up)
    # What is left are rows about removed deployments, and given-up ones: the audit trail keeps their story.
    node.deployments.all().delete()
    node.delete()


def seen(node_id: Any) -> None:
    """Note that a sign of life came from the node."""
    Node.objects.filter(pk=node_id).update(last_seen_at=timezone.now())


@transaction.atomic
def learn(node_id: Any, facts: Mapping[str, Any]) -> None:
    """Take over what a node says of itself: capacity, versions, and whether its runtime is simulated.

    Figures that an operator has fixed stay; what the node said is kept beside them.
    """
    kept = _facts(facts)
    known = {
        "facts": kept,
        "agent_version": str(kept.get("agent_version", "")),
        "engine_version": str(kept.get("engine_version", "")),
        "simulated": bool(kept.get("simulated", False)),
        "last_seen_at": timezone.now(),
    }
    row = Node.objects.filter(pk=node_id)
    row.update(**known)
    row.filter(capacity_fixed=False).update(**{name: kept["capacity"][name] for name in _CAPACITY})


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return only what we know how to read, each part bounded: a node's word is not trusted with our disk."""
    capacity = facts.get("capacity")
    capacity = capacity if isinstance(capacity, Mapping) else {}
    kept: dict[str, Any] = {"capacity": {name: _figure(capacity.get(name)) for name in _CAPACITY}}
    for name, longest in (("engine", 40), ("engine_version", 200), ("agent_version", 60), ("architecture", 20)):
        if isinstance(facts.get(name), str):
            kept[name] = facts[name][:longest]
    kept["simulated"] = facts.get("simulated") is True
    kept["isolation"] = isolation_of(facts.get("isolation"))
    limits = facts.get("limits")
    if isinstance(limits, Mapping) and limits:
        kept["limits"] = {name: _figure(limits.get(name)) for name in _LIMITS}
    return kept


def isolation_of(told: Any) -> dict[str, str]:
    """Return what a node says of the walls between its tenants' networks; whatever is no such word is `unknown`."""
    state, by = (told.get("state"), told.get("by")) if isinstance(told, Mapping) else ("", "")
    if state not in ("enforced", "not-enforced"):
        return {"state": "unknown", "by": ""}
    return {"state": str(state), "by": by.replace("\0", "")[:60] if isinstance(by, str) else ""}


def _figure(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**62 else 0


def _fix_capacity(node: Node, given: Mapping[str, Any]) -> None:
    named = {name: given[name] for name in _CAPACITY if name in given}
    unknown = set(given) - set(_CAPACITY) - {"name", "labels", "latitude", "longitude"}
    if unknown:
        raise Invalid(say("This cannot be set here: {unknown}", unknown=", ".join(sorted(unknown))))
    if not named:
        return
    if all(value is None for value in named.values()):
        reported = node.facts.get("capacity", {})
        for name in _CAPACITY:
            setattr(node, name, reported.get(name, 0))
        node.capacity_fixed = False
        return
    for name, value in named.items():
        setattr(node, name, value or 0)
    node.capacity_fixed = True


def _labels(labels: Any) -> dict[str, str]:
    plain = isinstance(labels, Mapping) and all(
        isinstance(key, str) and isinstance(value, str) and 0 < len(key) <= _LABEL_TEXT and len(value) <= _LABEL_TEXT
        for key, value in labels.items()
    )
    if not plain or len(labels) > _LABELS:
        raise Invalid(say("labels must be up to {labels} pairs of short texts", labels=_LABELS), field="labels")
    return dict(labels)


def _check(node: Node) -> None:
    problems: list[dict[str, str]] = []
    if node.engine not in engines.registry.names():
        known = ", ".join(engines.registry.names())
        problems.append(
            {
                "field": "engine",
                "detail": say(
                    "there is no engine {engine}; known: {known}", engine=repr(node.engine[:40]), known=known
                ),
            }
        )
    if node.link == Node.Link.DIRECT and node.engine in LOCAL_ENGINES:
        problems.append(
            {"field": "link", "detail": say("the {engine} engine works beside an agent only", engine=node.engine)}
        )
    try:
        node.full_clean(validate_unique=False, exclude=["organisation"])
    except ValidationError as problem:
        for field, messages in problem.message_dict.items():
            place = "coordinates" if field == "__all__" else field
            problems.append({"field": place, "detail": " ".join(messages)})
    if problems:
        raise Invalid("; ".join(f"{each['field']}: {each['detail']}" for each in problems), errors=problems)


def _mep_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Invalid(say("url is no address"), field="url") from None
    if parts.scheme not in ("https", "http") or not host or parts.username or parts.query or parts.fragment:
        raise Invalid(say("url must be an https address without user name, query or fragment"), field="url")
    if parts.scheme == "http" and not _is_loopback(host):
        raise Invalid(say("url must be https: the token would travel in the clear"), field="url")
    if len(url) > 300:
        raise Invalid(say("url is longer than 300 characters"), field="url")
    return url.rstrip("/")


def _authority(pem: str) -> str:
    if not pem.strip():
        return ""
    if len(pem) > 64 * 1024:
        raise Invalid(say("ca is longer than 64 KiB"), field="ca")
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise Invalid(say("ca must be one or more certificates in PEM"), field="ca") from None
    return pem


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
