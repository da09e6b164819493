"""The kubernetes engine: Helm against a cluster, and the honest state of what it made from the cluster's API.

Nothing is kept on this side: releases lie in the cluster as Helm keeps them, and what this engine knows of a revision
(generation, digests) in its labels. So any process may go on where another one died.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from core.errors import BreakwaterError, Invalid, Missing, Rejected, Unavailable
from core.findings import Finding, blocking
from core.words import say
from engines import hosts
from engines.contract import (
    Capacity,
    Engine,
    EngineSettings,
    Event,
    HostClaim,
    LogLine,
    Manifest,
    Plan,
    Release,
    ReleaseStatus,
    Revision,
)
from engines.helm import chartfile
from engines.helm.port import check_names
from engines.kubernetes import kept as keeping
from engines.kubernetes import policies
from engines.kubernetes.api import Api
from engines.kubernetes.confined import confined
from engines.kubernetes.findings import chart_findings
from engines.kubernetes.guard import Guard
from engines.kubernetes.kept import PENDING, Kept, Releases
from engines.kubernetes.kubeconfig import Access
from engines.kubernetes.look import Look
from engines.kubernetes.tenancy import Tenancy
from engines.limits import Isolation
from engines.planning import compute_of, images_of, items, mapping, quantity

#: How long `remove` waits for pods to end; the cluster ends the rest by itself.
REMOVE_SECONDS = 40.0
#: How often `supervise` looks whether the tenants' policies are as they should be, in seconds.
GUARD_SECONDS = 30.0
_OWNER = "meta.helm.sh/release-name"


class _Site:
    """One cluster, as the parts of this engine see it."""

    def __init__(self, settings: EngineSettings) -> None:
        access = Access.read(settings.kubeconfig, settings.context)
        self.api = Api(access)
        self.releases = Releases(self.api)
        self.guard = Guard(self.api, settings)
        self.tenancy = Tenancy(access, self.api, self.releases, self.guard)
        self.look = Look(self.api, self.releases, timedelta(seconds=settings.progress_deadline))


class KubernetesEngine(Engine):
    """Runs releases on a Kubernetes cluster of any make."""

    name: ClassVar[str] = "kubernetes"

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self.helm = confined(settings.helm)
        self._site: _Site | None = _Site(settings) if settings.kubeconfig else None
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._guard = threading.Lock()
        self._guarded_at = -GUARD_SECONDS

    @property
    def site(self) -> _Site:
        """The cluster; `Invalid` for an engine without kubeconfig, which can only plan."""
        if self._site is None:
            self._site = _Site(self.settings)
        return self._site

    def ping(self) -> str:
        return f"Kubernetes {self.site.api.version()}"

    def capacity(self) -> Capacity:
        cpu = memory = storage = 0
        for node in self.site.api.all("Node"):
            if mapping(node.get("spec")).get("unschedulable"):
                continue
            has = mapping(mapping(node.get("status")).get("allocatable"))
            cpu += int(quantity(has.get("cpu", 0)) * 1000)
            memory += int(quantity(has.get("memory", 0)))
            storage += int(quantity(has.get("ephemeral-storage", 0)))
        return Capacity(cpu, memory, storage)

    def isolation(self) -> Isolation:
        return self.site.guard.isolation()

    # Changing

    def plan(self, chart: Path, values: Mapping[str, Any], *, name: str = "plan", namespace: str = "default") -> Plan:
        rendered = self.helm.render(chart, values, name=name, namespace=namespace)
        manifests = rendered.manifests
        findings = [*chart_findings(rendered.everything, namespace)]
        findings += policies.policy_findings(rendered.everything, namespace, policies.Ground())
        claimed = hosts.claims(rendered.everything)
        return Plan(manifests, tuple(findings), compute_of(manifests), images_of(manifests), claimed)

    def apply(self, release: Release) -> Revision:
        check_names(release.name, release.namespace)
        labels = keeping.labels_for(release, self.settings.name, chartfile.check(release.chart))
        wish = labels[keeping.CHART], labels[keeping.VALUES]
        with self._changing(release.namespace):
            revisions = self.site.releases.revisions(release.namespace, release.name)
            present = revisions[-1] if revisions else None
            if (
                present
                and present.status == "deployed"
                and (present.generation, present.wish) == (release.generation, wish)
            ):
                return self.site.releases.revision(present)
            if present and present.status in {"uninstalling", "uninstalled"}:
                self.remove(release.name, release.namespace)  # whoever began this died
                revisions, present = [], None
            plan = self.plan(release.chart, release.values, name=release.name, namespace=release.namespace)
            self._check(plan, self._against(plan.manifests, plan.hosts, release))
            self.site.tenancy.enter(
                release.namespace, self.site.guard.going(release.name, release.namespace, plan.manifests)
            )
            interrupted = self._mend(revisions)
            self._install_or_upgrade(release, labels, upgrade=present is not None)
            made = self._newest(release.name, release.namespace)
            self._check_made(made, release)
            self._sweep(interrupted, keep=self.site.releases.content(made).manifests)
            self.site.guard.keep(release.namespace)
            return self.site.releases.revision(made)

    def _against(
        self, manifests: Sequence[Manifest], claimed: Sequence[HostClaim], release: Release
    ) -> Iterator[Finding]:
        """Tell what speaks against a release beside its chart: hosts that are not its own, policies of this cluster."""
        yield from hosts.unasked(claimed, release.hosts)
        yield from self.site.guard.findings(manifests, claimed, release.namespace)

    def _install_or_upgrade(self, release: Release, labels: Mapping[str, str], *, upgrade: bool) -> None:
        act = self.helm.upgrade if upgrade else self.helm.install
        try:
            act(
                self.site.tenancy.cluster(release.namespace),
                release.chart,
                release.values,
                name=release.name,
                namespace=release.namespace,
                labels=labels,
            )
        except BreakwaterError:
            with suppress(BreakwaterError):  # the first error is the one to tell
                self.site.tenancy.leave(release.namespace)
            raise

    def rollback(self, name: str, namespace: str, revision: int | None = None, *, generation: int = 0) -> Revision:
        check_names(name, namespace)
        with self._changing(namespace):
            revisions = self.site.releases.revisions(namespace, name)
            if not revisions:
                raise Missing(say("There is no release {name} in {namespace}", name=name, namespace=namespace))
            present = revisions[-1]
            if generation and present.generation == generation and self._is_rollback(present):
                return self.site.releases.revision(present)
            begun = next((kept for kept in revisions if _intent(kept)[0] == generation), None) if generation else None
            if begun and begun is not present and present.status == "deployed" and self._is_rollback(present):
                return self._finish_rollback(present, generation)  # the caller died before the last step
            target = keeping.next_target(revisions, _intent(begun)[1] if begun else revision)
            interrupted = self._mend(revisions)
            back = self.site.releases.content(target)
            self._refuse(self.site.guard.findings(back.manifests, hosts.claims(back.manifests), namespace))
            self.site.guard.keep(namespace, self.site.guard.going(name, namespace, back.manifests))
            wanted = generation or present.generation
            if generation and not begun:
                self.site.releases.mark(present, rolling_back=f"{generation}-{target.number}")
            self.helm.rollback(
                self.site.tenancy.cluster(namespace), name=name, namespace=namespace, revision=target.number
            )
            made = self._newest(name, namespace)
            self._sweep(interrupted, keep=self.site.releases.content(made).manifests)
            self.site.guard.keep(namespace)
            return self._finish_rollback(made, wanted)

    def _is_rollback(self, kept: Kept) -> bool:
        return self.site.releases.content(kept).description.startswith("Rollback")

    def _finish_rollback(self, made: Kept, generation: int) -> Revision:
        # Helm gave it the labels of the revision that it went back to: right for the digests, not for these.
        self.site.releases.mark(made, generation=str(generation), rolling_back="")
        return self.site.releases.revision(self._newest(made.name, made.namespace))

    def remove(self, name: str, namespace: str) -> None:
        check_names(name, namespace)
        with self._changing(namespace):
            revisions = self.site.releases.revisions(namespace, name)
            if revisions:
                owned, running = self._all_objects(revisions), self.site.look.running(name, namespace)
                self.site.guard.keep(namespace, self.site.guard.going(name, namespace, ()))
                self._let_claims_go(namespace, owned)
                with suppress(Missing):  # somebody else was faster
                    self.helm.uninstall(self.site.tenancy.cluster(namespace), name=name, namespace=namespace)
                self._delete(name, namespace, owned)
                deadline = time.monotonic() + REMOVE_SECONDS
                while self.site.look.still_there(namespace, running) and time.monotonic() < deadline:
                    time.sleep(0.1)
            self.site.tenancy.leave(namespace)

    def _newest(self, name: str, namespace: str) -> Kept:
        revisions = self.site.releases.revisions(namespace, name)
        if not revisions:
            raise Unavailable(say("The release {name} was removed meanwhile", name=name))
        return revisions[-1]

    def _refuse(self, findings: Iterable[Finding]) -> None:
        """Raise `Invalid` with everything that forbids running the objects."""
        refused = list(dict.fromkeys(blocking(findings)))
        if refused:
            places = "; ".join(f"{finding.place}: {finding.message}" for finding in refused[:5])
            raise Invalid(
                say(
                    "This node cannot run the chart ({refused_count} reasons): {places}",
                    refused_count=len(refused),
                    places=places,
                ),
                findings=[finding.as_dict() for finding in refused],
            )

    def _check(self, plan: Plan, against: Iterable[Finding]) -> None:
        self._refuse([*plan.findings, *against])
        for manifest in plan.manifests:
            inside = self.site.api.namespaced(manifest.api_version, manifest.kind)
            if inside is None:
                raise Invalid(
                    say(
                        "The cluster knows no {kind} of {api_version}",
                        kind=manifest.kind,
                        api_version=manifest.api_version,
                    )
                )
            if not inside:
                raise Invalid(
                    say(
                        "{kind}/{name} belongs to the whole cluster, and the cluster is shared",
                        kind=manifest.kind,
                        name=manifest.name,
                    )
                )

    def _check_made(self, made: Kept, release: Release) -> None:
        """A chart may render otherwise in a cluster than offline, and has hooks: look again at what Helm really made."""
        content = self.site.releases.content(made)
        everything = (*content.manifests, *content.hooks)
        against = self._against(everything, hosts.claims(everything), release)
        refused = blocking([*chart_findings(everything, made.namespace), *against])
        if refused:
            self.remove(made.name, made.namespace)
            raise Invalid(
                say(
                    "In the cluster the chart became something else, and was removed: {place} {message}",
                    place=refused[0].place,
                    message=refused[0].message,
                ),
                findings=[finding.as_dict() for finding in refused],
            )

    # What callers that died left behind

    def _mend(self, revisions: Sequence[Kept]) -> list[Kept]:
        """Free a release whose last caller died half way; return the revisions that never came to be."""
        present = revisions[-1] if revisions else None
        if present and present.status in PENDING:
            self.site.releases.give_up(present)
        last_good = max((kept.number for kept in revisions if kept.status == "deployed"), default=0)
        return [kept for kept in revisions if kept.number > last_good and kept.status in {*PENDING, "failed"}]

    def _sweep(self, interrupted: Sequence[Kept], keep: Sequence[Manifest]) -> None:
        """Delete what an interrupted revision made and nothing names any more: Helm compares with good ones only."""
        wanted = {(each.kind, each.name) for each in keep}
        for kept in interrupted:
            with_it = [each for each in self._objects(kept) if (each.kind, each.name) not in wanted]
            self._delete(kept.name, kept.namespace, with_it)

    def _all_objects(self, revisions: Sequence[Kept]) -> list[Manifest]:
        found = {(each.kind, each.name): each for kept in revisions for each in self._objects(kept)}
        return list(found.values())

    def _objects(self, kept: Kept) -> list[Manifest]:
        try:
            content = self.site.releases.content(kept)
        except (Missing, Rejected):  # Helm drops the oldest revisions; one that cannot be read names nothing
            return []
        return [*content.manifests, *content.hooks]

    def _delete(self, release: str, namespace: str, objects: Sequence[Manifest]) -> None:
        """Delete those of the objects that are still there and belong to the release; never anything of the cluster's."""
        for each in objects:
            if not self.site.api.namespaced(each.api_version, each.kind):
                continue
            found = mapping(self.site.api.find_any(each.api_version, each.kind, namespace, each.name))
            metadata = mapping(found.get("metadata"))
            annotations = mapping(metadata.get("annotations"))
            ours = annotations.get(_OWNER) == release or "helm.sh/hook" in annotations
            if ours and not metadata.get("deletionTimestamp"):
                self.site.api.delete_any(each.api_version, each.kind, namespace, each.name)

    def _let_claims_go(self, namespace: str, objects: Sequence[Manifest]) -> None:
        """Have the cluster delete the volumes of StatefulSets with them; by itself it keeps them."""
        policy = {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"}}}
        for each in objects:
            if each.kind == "StatefulSet" and items(mapping(each.body.get("spec")).get("volumeClaimTemplates")):
                try:
                    self.site.api.patch("StatefulSet", each.name, namespace, policy)
                except Missing:
                    continue

    @contextmanager
    def _changing(self, namespace: str) -> Iterator[None]:
        """One change at a time in a namespace; between processes the caller's operations see to that."""
        with self._guard:
            lock = self._locks[namespace]
        with lock:
            yield

    def supervise(self) -> None:
        now = time.monotonic()
        if now - self._guarded_at < GUARD_SECONDS:
            return
        self._guarded_at = now
        trouble: BreakwaterError | None = None
        for namespace in sorted({namespace for namespace, _ in self.releases()}):
            try:
                with self._changing(namespace):
                    self.site.guard.keep(namespace)
            except BreakwaterError as problem:  # one that is just being removed must not leave the others open
                trouble = problem
        if trouble is not None:
            raise trouble

    # Looking

    def status(self, name: str, namespace: str) -> ReleaseStatus:
        check_names(name, namespace)
        return self.site.look.status(name, namespace, datetime.now(UTC))

    def releases(self) -> list[tuple[str, str]]:
        return self.site.releases.of_engine(self.settings.name)

    def history(self, name: str, namespace: str) -> list[Revision]:
        check_names(name, namespace)
        revisions = self.site.releases.revisions(namespace, name)
        if not revisions:
            raise Missing(say("There is no release {name} in {namespace}", name=name, namespace=namespace))
        if not revisions[-1].was_ready:  # perhaps nobody looked yet
            self.status(name, namespace)
            revisions = self.site.releases.revisions(namespace, name)
        return [self.site.releases.revision(kept) for kept in revisions]

    def logs(self, name: str, namespace: str, *, workload: str = "", tail: int = 200) -> list[LogLine]:
        check_names(name, namespace)
        return self.site.look.logs(name, namespace, workload, tail)

    def events(self, name: str, namespace: str, *, limit: int = 100) -> list[Event]:
        check_names(name, namespace)
        return self.site.look.events(name, namespace, limit)

    def close(self) -> None:
        if self._site is not None:
            self._site.api.close()


def _intent(kept: Kept | None) -> tuple[int, int]:
    """Return the generation and the target of a rollback that began at this revision; zeros for none."""
    generation, _, target = kept.labels.get(keeping.INTENT, "").partition("-") if kept else ("", "", "")
    return (int(generation), int(target)) if generation.isdigit() and target.isdigit() else (0, 0)
