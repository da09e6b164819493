"""What many checks need: pods and containers of the rendered chart, findings in one line, declared reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appstore.certification.contract import Skip, Subject, Tools
from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.helm.hooks import Hook
from engines.planning import containers, items, mapping, pod_owners

#: An annotation of Chart.yaml by which an author says why the chart needs more than others: `breakwater/reason.<code>`.
REASON = "breakwater/reason."


@dataclass(frozen=True, slots=True)
class Container:
    """One container of the rendered chart; `place` names object and container."""

    place: str
    pod: Mapping[str, Any]
    body: Mapping[str, Any]
    #: Runs before the others and ends.
    init: bool

    @property
    def security(self) -> Mapping[str, Any]:
        """The container's own security context."""
        return mapping(self.body.get("securityContext"))

    @property
    def pod_security(self) -> Mapping[str, Any]:
        """The security context of its pod."""
        return mapping(self.pod.get("securityContext"))


def error(code: str, place: str, message: str, remedy: str = "") -> Finding:
    """Return a finding that fails the check."""
    return Finding(Level.ERROR, code, place, message, remedy)


def warning(code: str, place: str, message: str, remedy: str = "") -> Finding:
    """Return a finding that does not fail it."""
    return Finding(Level.WARNING, code, place, message, remedy)


def info(code: str, place: str, message: str, remedy: str = "") -> Finding:
    """Return a remark."""
    return Finding(Level.INFO, code, place, message, remedy)


def standing(tools: Tools) -> list[Manifest]:
    """Return the objects of the rendered chart as the engines know them, hooks and `crds/` left out."""
    return [manifest(body) for body in tools.objects()]


def manifests(tools: Tools) -> list[Manifest]:
    """Return all that comes into a cluster without being asked for again: objects, hooks, and what lies in `crds/`.

    The name of the latter two ends in words that say where they are; the name alone is in the body. Tests, which run
    only when somebody asks for them, are judged by a check of their own.
    """
    found = standing(tools)
    found += [manifest(body, "in crds/") for body in tools.crds()]
    for events, body in tools.hooks():
        hook = Hook(manifest(body), events)
        if not hook.only_test:
            found.append(manifest(body, f"hook, {hook.moments}"))
    return found


def tests(tools: Tools) -> list[Hook]:
    """Return the tests of the chart."""
    found = [Hook(manifest(body), events) for events, body in tools.hooks()]
    return [hook for hook in found if hook.only_test]


def manifest(body: Mapping[str, Any], where: str = "") -> Manifest:
    """Return the object with this body; `where` is shown behind its name."""
    name = str(mapping(body.get("metadata")).get("name", ""))
    return Manifest(
        kind=str(body.get("kind", "")),
        name=f"{name} ({where})" if where else name,
        api_version=str(body.get("apiVersion", "")),
        body=body,
    )


def pods(tools: Tools, *, hooks: bool = True) -> Iterator[tuple[str, Mapping[str, Any], Manifest]]:
    """Yield place and pod spec of each object that owns pods; `Skip` when the chart runs nothing.

    Those of hooks, which end by themselves, are among them unless `hooks` is false.
    """
    found = list(pod_owners(manifests(tools) if hooks else standing(tools)))
    if not found:
        raise Skip(say("The chart runs no container"))
    for owner in found:
        yield owner.place, owner.pod, owner.manifest


def all_containers(tools: Tools, *, lasting: bool = False) -> Iterator[Container]:
    """Yield every container of the chart; only those that go on, not those that prepare or are hooks, when `lasting`."""
    for place, pod, _ in pods(tools, hooks=not lasting):
        early = items(pod.get("initContainers"))
        for body in containers(pod):
            first = any(body is each for each in early)
            if not (lasting and first):
                yield Container(f"{place}/{body.get('name')}", pod, body, first)


def declared_reason(tools: Tools, code: str) -> str:
    """Return why the author says that the chart needs `code`; empty when nothing is said."""
    annotations = mapping(chart_yaml(tools).get("annotations"))
    said = annotations.get(f"{REASON}{code}")
    return said.strip()[:300] if isinstance(said, str) else ""


def beyond(tools: Tools, code: str, place: str, message: str, remedy: str) -> Finding:
    """Return an error, or a warning with the author's words when a reason is declared."""
    reason = declared_reason(tools, code)
    if reason:
        return warning(
            f"{code}-declared",
            place,
            say("{message}. The author says: {reason}", message=message, reason=reason),
            say("Judge whether that is right"),
        )
    return error(
        code,
        place,
        message,
        say(
            "{remedy}, or say why in the annotation {reason}{code} of Chart.yaml",
            remedy=remedy,
            reason=REASON,
            code=code,
        ),
    )


def chart_root(tools: Tools) -> str:
    """Return the one folder of the chart archive."""
    archive = tools.chart_archive()
    folders = sorted({name.split("/")[0] for name in archive.members if "/" in name})
    return next((folder for folder in folders if f"{folder}/Chart.yaml" in archive), "")


def chart_yaml(tools: Tools) -> Mapping[str, Any]:
    """Return Chart.yaml; an empty object when it is none."""
    from appstore.packages.documents import read_yaml  # no Django in it, but in the folder's siblings

    archive, root = tools.chart_archive(), chart_root(tools)
    if not root:
        return {}
    return mapping(read_yaml(archive.read(f"{root}/Chart.yaml"), "Chart.yaml"))


def is_csar(subject: Subject) -> bool:
    """Return whether the package is a CSAR, so that NFV-SOL 004 applies."""
    return subject.format != "helm-chart"


def csar_only(subject: Subject) -> None:
    """Pass for a CSAR; `Skip` for a plain chart, which has neither manifest nor TOSCA.meta."""
    if not is_csar(subject):
        raise Skip(say("A plain Helm chart has no such part"))


def told(subject: Subject, *codes: str) -> list[Finding]:
    """Return what the package check found of these codes; a code that ends with `*` stands for all that begin so."""
    exact = {code for code in codes if not code.endswith("*")}
    heads = tuple(code[:-1] for code in codes if code.endswith("*"))
    return [each for each in subject.findings if each.code in exact or (heads and each.code.startswith(heads))]


def raised(findings: Sequence[Finding], level: Level = Level.ERROR) -> Iterator[Finding]:
    """Yield findings of the package check at a level of our own."""
    for each in findings:
        yield Finding(level, each.code, each.place, each.message, each.remedy)
