"""Helm as this engine wants it: no namespace of Helm's making, and hooks told before they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import Invalid
from engines.contract import Manifest
from engines.helm import Cluster, Helm, chartfile
from engines.helm.cli import CliHelm
from engines.helm.manifests import manifests
from engines.helm.port import check_names, plain
from engines.helm.sdk import SdkHelm, library
from engines.planning import mapping

#: Marks an object that Helm runs at a moment of the release's life (Helm documentation, "Chart Hooks").
_HOOK = "helm.sh/hook"


class ConfinedHelm(Helm, ABC):
    """An adapter that can also list a chart's hooks."""

    @abstractmethod
    def hooks(self, chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> tuple[Manifest, ...]:
        """Return the objects that Helm would run as hooks; no cluster is asked."""


def confined(choice: str) -> ConfinedHelm:
    """Return the adapter called `choice`, as `engines.helm.helm` does."""
    if choice == "sdk":
        return ConfinedSdk()
    if choice == "cli" or "/" in choice:
        return ConfinedCli("helm" if choice == "cli" else choice)
    raise Invalid(f"There is no Helm adapter {choice!r}; use sdk, cli or the path of a helm binary")


class ConfinedSdk(SdkHelm, ConfinedHelm):
    """Through the Python SDK."""

    def hooks(self, chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> tuple[Manifest, ...]:
        check_names(name, namespace)
        chartfile.check(chart)
        with self._offline() as sdk, sdk.Chart.load(chart) as loaded:
            rendered = loaded.render(plain(values), name=name, namespace=namespace)
        return _hooks_in([text for path, text in rendered.items() if not path.endswith("NOTES.txt")])

    @contextmanager
    def _offline(self) -> Iterator[Any]:
        from engines.helm.sdk import _translated

        sdk = library()
        with _translated(sdk):
            yield sdk

    @contextmanager
    def _config(self, cluster: Cluster, namespace: str) -> Iterator[tuple[Any, Any]]:
        with super()._config(cluster, namespace) as (sdk, config):
            yield sdk, _WithoutNamespaces(config)


class _WithoutNamespaces:
    """A configuration of the SDK whose `install` leaves namespaces alone: its user may not make any."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def install(self, *arguments: Any, **options: Any) -> Any:
        return self._config.install(*arguments, **{**options, "create_namespace": False})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class ConfinedCli(CliHelm, ConfinedHelm):
    """Through a `helm` binary."""

    def hooks(self, chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> tuple[Manifest, ...]:
        return ConfinedSdk().hooks(chart, values, name=name, namespace=namespace)

    def _run(self, arguments: Sequence[str], *, timeout: float) -> str:
        return super()._run([word for word in arguments if word != "--create-namespace"], timeout=timeout)


def _hooks_in(texts: Sequence[str]) -> tuple[Manifest, ...]:
    found = [each for text in texts if _HOOK in text for each in manifests(text)]
    return tuple(each for each in found if _HOOK in mapping(mapping(each.body.get("metadata")).get("annotations")))
