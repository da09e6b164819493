"""What we ask of Helm, whoever answers."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.words import say
from engines.contract import Manifest
from engines.helm.hooks import Hook
from engines.helm.schemas import Problem

_RELEASE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chart after rendering: its objects in install order, and beside them what Helm makes at other moments."""

    manifests: tuple[Manifest, ...]
    chart_name: str
    chart_version: str
    app_version: str = ""
    #: What Helm runs before or after installation, update, going back and removal, and tests.
    hooks: tuple[Hook, ...] = ()
    #: Objects of `crds/`, whatever their kind: Helm makes all of them before anything else, and never removes them.
    crds: tuple[Manifest, ...] = ()
    #: Objects that call themselves hooks of a moment that Helm does not know: they are never made.
    unknown_hooks: tuple[str, ...] = ()
    #: What could not be found out, in sentences.
    problems: tuple[str, ...] = ()

    @property
    def everything(self) -> tuple[Manifest, ...]:
        """All objects that may come into a cluster with the chart, at whatever moment."""
        return (*self.crds, *self.manifests, *(hook.manifest for hook in self.hooks))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which cluster to talk to; the kubeconfig is text and is never shown."""

    kubeconfig: str = field(repr=False)
    context: str = ""


@dataclass(frozen=True, slots=True)
class HelmRelease:
    """One revision of a release as Helm keeps it in the cluster; `status` is Helm's word."""

    name: str
    namespace: str
    revision: int
    status: str
    chart_name: str = ""
    chart_version: str = ""
    description: str = ""
    updated_at: datetime | None = None
    manifest: str = field(default="", repr=False)


class Helm(ABC):
    """Renders charts offline and manages releases in a cluster. Raises only errors of `core.errors`.

    `Invalid`: the chart or the values are wrong. `Missing`: no such release. `Conflict`: the name is in use or an
    operation is under way. `Unavailable`: the cluster does not answer. `TimedOut`: it took too long. `Rejected`:
    the cluster said no.
    """

    @abstractmethod
    def version(self) -> str:
        """Return Helm's version in words."""

    @abstractmethod
    def render(self, chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> Rendered:
        """Return the chart's objects in install order; the values schema is enforced; no cluster is asked."""

    @abstractmethod
    def problems(self, chart: Path, values: Mapping[str, Any]) -> list[Problem]:
        """Return what the chart's schemas forbid of the values, merged into the chart's own; nothing is rendered.

        `Invalid` when the chart cannot be read, or its schema takes too long to be asked.
        """

    @abstractmethod
    def install(
        self,
        cluster: Cluster,
        chart: Path,
        values: Mapping[str, Any],
        *,
        name: str,
        namespace: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: int = 60,
    ) -> HelmRelease:
        """Install the chart and return without waiting for its workloads; makes the namespace when it is missing."""

    @abstractmethod
    def upgrade(
        self,
        cluster: Cluster,
        chart: Path,
        values: Mapping[str, Any],
        *,
        name: str,
        namespace: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: int = 60,
    ) -> HelmRelease:
        """Upgrade the release with exactly these values; `Missing` when there is none."""

    @abstractmethod
    def rollback(self, cluster: Cluster, *, name: str, namespace: str, revision: int, timeout: int = 60) -> None:
        """Go back to `revision` (a new revision is made); `Missing` when there is none."""

    @abstractmethod
    def uninstall(self, cluster: Cluster, *, name: str, namespace: str, timeout: int = 60) -> None:
        """Remove the release with its history; `Missing` when there is none."""

    @abstractmethod
    def history(self, cluster: Cluster, *, name: str, namespace: str) -> list[HelmRelease]:
        """Return the revisions, oldest first; `Missing` when there are none."""

    @abstractmethod
    def release(self, cluster: Cluster, *, name: str, namespace: str) -> HelmRelease:
        """Return the present revision with its manifest; `Missing` when there is none."""

    @abstractmethod
    def releases(self, cluster: Cluster, *, namespace: str = "") -> list[HelmRelease]:
        """Return the present revision of every release in the namespace, or in all of them."""


def check_names(name: str, namespace: str) -> None:
    """Raise `Invalid` unless both are names that Helm and Kubernetes take (RFC 1123 labels; 53 characters a release)."""
    if not _RELEASE_NAME.fullmatch(name) or len(name) > 53:
        raise Invalid(
            say("{name} is no release name: use up to 53 of a-z, 0-9, - and .", name=repr(name[:80])), field="name"
        )
    if not _NAMESPACE.fullmatch(namespace) or len(namespace) > 63:
        raise Invalid(
            say("{namespace} is no namespace: use up to 63 of a-z, 0-9 and -", namespace=repr(namespace[:80])),
            field="namespace",
        )


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as JSON has them; `Invalid` when they are not JSON."""
    try:
        return dict(json.loads(json.dumps(values, allow_nan=False)))
    except (TypeError, ValueError, RecursionError):
        raise Invalid(say("The values must be an object of plain JSON"), field="values") from None


def moment(text: Any) -> datetime | None:
    """Return the time that `text` says, if it does."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
