"""Hosts that a chart claims: the node's proxy serves every tenant, and whoever claims a host gets its requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.findings import Finding, Level
from core.words import say
from engines.contract import HostClaim, Manifest
from engines.planning import items, mapping

Object = Mapping[str, Any]

#: Objects of the Gateway API that name their hosts in one list.
_ROUTES = frozenset(["HTTPRoute", "GRPCRoute", "TLSRoute"])
#: Annotations that add hosts: of ingress controllers, and of what writes names into a DNS zone.
_ALIASES = ("/server-alias", "external-dns.alpha.kubernetes.io/hostname")


def claims(manifests: Iterable[Manifest]) -> tuple[HostClaim, ...]:
    """Return the hosts that these objects ask the proxy for, each with the field that names it."""
    return tuple(claim for each in manifests for claim in _claims(each.kind, each.name, each.body))


def unasked(claimed: Iterable[HostClaim], names: Iterable[str]) -> Iterator[Finding]:
    """Tell which hosts are none of `names`, the domain names of the app's DNS rules."""
    known = {_plain(name) for name in names}
    for claim in claimed:
        if _plain(claim.host) in known:
            continue
        if not claim.host:
            message = say("names no host and so claims every host of the node")
        else:
            message = say(
                "claims the host {host}, which is no domain name of the app's DNS rules", host=repr(claim.host[:255])
            )
        yield Finding(
            Level.ERROR,
            "host-not-given",
            claim.place,
            message,
            say("name a host that an appDNSRule of the package has, or leave the object out by a value"),
        )


def taken(claimed: Iterable[HostClaim], ingresses: Sequence[Object], namespace: str) -> Iterator[Finding]:
    """Tell which hosts somebody else on the cluster claimed before; `ingresses` are those of all namespaces."""
    present = []
    for each in ingresses:
        metadata = mapping(each.get("metadata"))
        # Seconds may be equal: then the name decides, so that of two exactly one stays.
        when = str(metadata.get("creationTimestamp") or ""), str(metadata.get("namespace") or "")
        present += [(when, claim.host) for claim in _claims("Ingress", str(metadata.get("name")), each)]
    for claim in claimed:
        first = min((when for when, host in present if overlap(claim.host, host)), default=None)
        if first is not None and first[1] != namespace:
            yield Finding(
                Level.ERROR,
                "host-taken",
                claim.place,
                say("the host {host} is claimed by another application on this node", host=repr(claim.host[:255])),
                say("take another host, or ask the node's operator"),
            )


def overlap(one: str, other: str) -> bool:
    """Return whether a request can be for both hosts; an empty one is every host, `*.` any name below."""
    one, other = _plain(one), _plain(other)
    if one == other or not one or not other:
        return True
    return _covers(one, other) or _covers(other, one)


def _covers(wild: str, host: str) -> bool:
    return wild.startswith("*") and host.endswith(wild[1:])


def _claims(kind: str, name: str, body: Object) -> Iterator[HostClaim]:
    spec, place = mapping(body.get("spec")), f"{kind}/{name}"
    annotations = mapping(mapping(body.get("metadata")).get("annotations"))
    for key, value in annotations.items():
        if str(key).endswith(_ALIASES):
            for host in re.split(r"[\s,]+", str(value).strip()):
                yield HostClaim(f"{place} metadata.annotations[{str(key)[:100]}]", host)
        elif str(key).endswith("/server-alias-regex"):
            yield HostClaim(f"{place} metadata.annotations[{str(key)[:100]}]", "")
    if kind == "Ingress":
        rules = items(spec.get("rules"))
        for at, rule in enumerate(rules):
            yield HostClaim(f"{place} spec.rules[{at}].host", _text(rule.get("host")))
        if not rules or spec.get("defaultBackend") or spec.get("backend"):
            yield HostClaim(f"{place} spec.defaultBackend", "")
        for at, entry in enumerate(items(spec.get("tls"))):
            for host in _texts(entry.get("hosts")):
                yield HostClaim(f"{place} spec.tls[{at}].hosts", host)
    elif kind in _ROUTES:
        for host in _texts(spec.get("hostnames")) or [""]:
            yield HostClaim(f"{place} spec.hostnames", host)
    elif kind == "Gateway":
        for at, listener in enumerate(items(spec.get("listeners"))):
            yield HostClaim(f"{place} spec.listeners[{at}].hostname", _text(listener.get("hostname")))
    elif kind == "Route" and (host := _text(spec.get("host"))):  # OpenShift makes one of its own where none is named
        yield HostClaim(f"{place} spec.host", host)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _plain(host: str) -> str:
    return host.strip().rstrip(".").lower()
