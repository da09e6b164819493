"""Kubernetes' access rules in words: what may the application do in the cluster that runs it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appstore.contents.facts import Permission
from engines.contract import Manifest
from engines.planning import items, mapping

_READING = {"get", "list", "watch"}
_CHANGING = {"create", "update", "patch", "delete", "deletecollection"}
#: Verbs that lead to more rights than the rule itself gives (Kubernetes documentation, "RBAC good practices").
_CLIMBING = {"escalate", "bind", "impersonate", "approve", "sign"}
_SECRETS = {"secrets"}
#: Whoever makes pods, or enters them, acts as any service account of the namespace.
_ENTERING = {"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "nodes/proxy"}
_WORKLOADS = {
    "pods", "deployments", "daemonsets", "statefulsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs",
}  # fmt: skip
_MOST = 12


def permissions(manifest: Manifest) -> Iterator[Permission]:
    """Tell what one object of RBAC gives; nothing for other kinds."""
    place = f"{manifest.kind}/{manifest.name}"
    if manifest.kind in ("Role", "ClusterRole"):
        everywhere = manifest.kind == "ClusterRole"
        for rule in items(manifest.body.get("rules")):
            words, severity, value = rule_in_words(rule, everywhere=everywhere)
            if words:
                yield Permission("rbac", severity, place, words, value)
    elif manifest.kind in ("RoleBinding", "ClusterRoleBinding"):
        reference = mapping(manifest.body.get("roleRef"))
        role = _short(reference.get("name"))
        everywhere = manifest.kind == "ClusterRoleBinding"
        if role in ("cluster-admin", "admin", "edit") or everywhere:
            where = "in the whole cluster" if everywhere else "in its namespace"
            words = f"binds {_subjects(manifest)} to the role {role or 'without a name'} {where}"
            if role == "cluster-admin":
                words += ", which may do everything"
            yield Permission("rbac", "high" if role == "cluster-admin" or everywhere else "medium", place, words, role)


def rule_in_words(rule: Any, *, everywhere: bool) -> tuple[str, str, str]:
    """Return a sentence, its severity and a stable value for one policy rule; empty when it gives nothing."""
    verbs = _texts(mapping(rule).get("verbs"))
    resources, groups = _texts(mapping(rule).get("resources")), _texts(mapping(rule).get("apiGroups"))
    urls, names = _texts(mapping(rule).get("nonResourceURLs")), _texts(mapping(rule).get("resourceNames"))
    if not verbs or not (resources or urls):
        return "", "", ""
    value = f"{','.join(groups)}|{','.join(resources or urls)}|{','.join(verbs)}|{','.join(names)}"[:400]
    what = _what(resources, groups) if resources else f"the addresses {_listed(urls)} of the API server"
    if names:
        what += f" called {_listed(names)}"
    where = "in the whole cluster" if everywhere else "in its namespace"
    words = f"may {_deeds(verbs)} {what} {where}"
    return words, _severity(set(verbs), set(resources), everywhere=everywhere), value


def _severity(verbs: set[str], resources: set[str], *, everywhere: bool) -> str:
    reading = bool(verbs & _READING) or "*" in verbs
    changing = bool(verbs & _CHANGING) or "*" in verbs
    if "*" in verbs or "*" in resources or verbs & _CLIMBING:
        return "high"
    if resources & _SECRETS and reading:
        return "high"
    if changing and resources & (_ENTERING | _WORKLOADS):
        return "high"
    if changing and everywhere:
        return "high"
    return "medium" if changing or everywhere else "low"


def _deeds(verbs: list[str]) -> str:
    found = set(verbs)
    if "*" in found:
        return "do everything with"
    deeds: list[str] = []
    if found & _READING:
        deeds.append("read")
    deeds += [verb for verb in verbs if verb not in _READING]
    return _listed(deeds)


def _what(resources: list[str], groups: list[str]) -> str:
    if "*" in resources:
        return "every kind of object" + ("" if "*" in groups else f" of {_listed([g or 'the core' for g in groups])}")
    named = {"pods/exec": "shells in pods (pods/exec)", "nodes/proxy": "the kubelets of nodes (nodes/proxy)"}
    return _listed([named.get(resource, resource) for resource in resources])


def _subjects(manifest: Manifest) -> str:
    names = [_short(each.get("name")) for each in items(manifest.body.get("subjects"))]
    return _listed([name for name in names if name]) or "nobody"


def _listed(words: list[str]) -> str:
    shown = words[:_MOST]
    rest = len(words) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _texts(value: Any) -> list[str]:
    """Return the texts of a list, sorted, each once: order says nothing here, and a diff should not see it."""
    found = {_short(each) for each in value if isinstance(each, str)} if isinstance(value, list) else set()
    return sorted(found)


def _short(value: Any) -> str:
    return value[:120] if isinstance(value, str) else ""
