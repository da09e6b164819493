"""Helm through helm-python-sdk: Helm 4 inside this process, no binary.

The library starts Go threads when it is imported, and these do not survive a fork: every call in a forked child
would hang. So it is imported by the call that needs it, and a child of a process that had it gets an error instead.
Rendering happens in a helper process (see `engines.helm.helper`), so it works in any process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import BreakwaterError, Invalid, Missing
from core.words import say
from engines.helm import chartfile, helper, schemas
from engines.helm.errors import SchemaBroken, translate
from engines.helm.hooks import documents_of, hooks_in, update_problems
from engines.helm.manifests import manifests, objects_of
from engines.helm.port import Cluster, Helm, HelmRelease, Rendered, check_names, moment, plain

_LIBRARY = "helm_python"
_inherited = False


def _after_fork() -> None:
    global _inherited
    _inherited = _inherited or _LIBRARY in sys.modules


os.register_at_fork(after_in_child=_after_fork)


class LoadedBeforeFork(BreakwaterError):
    """Helm's library was loaded in the parent of this process, and would hang here."""

    code, title = "helm-after-fork", say("Helm cannot be used in this process")


def library() -> Any:
    """Return the SDK's module, loaded now if need be; `LoadedBeforeFork` where a call would hang."""
    if _inherited:
        raise LoadedBeforeFork(
            say(
                "Helm's library was loaded before this process was forked; use it in the child only, "
                "a thread, or helm=cli"
            )
        )
    return importlib.import_module(_LIBRARY)


class SdkHelm(Helm):
    """The adapter that needs nothing but the Python package."""

    def version(self) -> str:
        return f"Helm SDK {library().helm_sdk_version()}"

    def render(self, chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> Rendered:
        check_names(name, namespace)
        chartfile.check(chart)
        try:
            answer = helper.shared.ask(
                {"chart": str(chart.resolve()), "values": plain(values), "name": name, "namespace": namespace}
            )
        except helper.HelperDied as problem:
            raise Invalid(say("Helm cannot render the chart: it needs more than {problem}", problem=problem)) from None
        if "error" in answer:
            raise translate(*answer["error"])
        found, unknown = hooks_in(documents_of([(path, text) for path, text in answer["hooks"]]))
        crds = documents_of([(path, text) for path, text in answer["crds"]])
        return Rendered(
            manifests=manifests(str(answer["manifest"])),
            hooks=found,
            unknown_hooks=unknown,
            crds=tuple(objects_of([document for _, document in crds])),
            problems=update_problems(answer["update_problem"]),
            chart_name=str(answer["chart_name"]),
            chart_version=str(answer["chart_version"]),
            app_version=str(answer["app_version"]),
        )

    def problems(self, chart: Path, values: Mapping[str, Any]) -> list[schemas.Problem]:
        chartfile.check(chart)
        try:
            answer = helper.shared.ask({"verb": "validate", "chart": str(chart.resolve()), "values": plain(values)})
        except helper.HelperDied:
            raise Invalid(
                say(
                    "Helm needs more than {check_seconds} s to hold values against the chart's schema",
                    check_seconds=helper.CHECK_SECONDS,
                )
            ) from None
        if "error" not in answer:
            return []
        error = translate(*answer["error"])
        if not isinstance(error, SchemaBroken):
            raise error
        return schemas.problems(error.told)

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
        check_names(name, namespace)
        chartfile.check(chart)
        with self._config(cluster, namespace) as (sdk, config), sdk.Chart.load(chart) as loaded:
            loaded.validate_schema(plain(values))
            answer = config.install(
                loaded,
                name,
                plain(values),
                namespace=namespace,
                timeout=timeout,
                create_namespace=True,
                description=description or None,
                labels=dict(labels or {}) or None,
            )
        return _release(answer)

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
        check_names(name, namespace)
        chartfile.check(chart)
        with self._config(cluster, namespace) as (sdk, config), sdk.Chart.load(chart) as loaded:
            loaded.validate_schema(plain(values))
            answer = config.upgrade(
                loaded,
                name,
                plain(values),
                namespace=namespace,
                timeout=timeout,
                reset_values=True,
                max_history=10,
                description=description or None,
                labels=dict(labels or {}) or None,
            )
        return _release(answer)

    def rollback(self, cluster: Cluster, *, name: str, namespace: str, revision: int, timeout: int = 60) -> None:
        check_names(name, namespace)
        with self._config(cluster, namespace) as (_, config):
            config.rollback(name, version=revision, timeout=timeout)

    def uninstall(self, cluster: Cluster, *, name: str, namespace: str, timeout: int = 60) -> None:
        check_names(name, namespace)
        with self._config(cluster, namespace) as (_, config):
            config.uninstall(name, timeout=timeout)

    def history(self, cluster: Cluster, *, name: str, namespace: str) -> list[HelmRelease]:
        check_names(name, namespace)
        with self._config(cluster, namespace) as (_, config):
            found = [_release(entry) for entry in config.history(name)]
        if not found:
            raise Missing(say("There is no release {name} in {namespace}", name=name, namespace=namespace))
        return sorted(found, key=lambda release: release.revision)

    def release(self, cluster: Cluster, *, name: str, namespace: str) -> HelmRelease:
        check_names(name, namespace)
        with self._config(cluster, namespace) as (_, config):
            return _release(config.status(name))

    def releases(self, cluster: Cluster, *, namespace: str = "") -> list[HelmRelease]:
        with self._config(cluster, namespace or "default") as (_, config):
            return [_release(entry) for entry in config.list(all_states=True, all_namespaces=not namespace)]

    @contextlib.contextmanager
    def _config(self, cluster: Cluster, namespace: str) -> Iterator[tuple[Any, Any]]:
        sdk = library()
        with _translated(sdk):
            config = sdk.Config(
                kubeconfig_content=cluster.kubeconfig,
                kube_context=cluster.context or None,
                namespace=namespace,
            )
            with config:
                yield sdk, config


def _release(entry: Mapping[str, Any]) -> HelmRelease:
    return HelmRelease(
        name=str(entry.get("name", "")),
        namespace=str(entry.get("namespace", "")),
        revision=int(entry.get("revision") or 0),
        status=str(entry.get("status", "")),
        chart_name=str(entry.get("chart_name", "")),
        chart_version=str(entry.get("chart_version", "")),
        description=str(entry.get("description", "") or ""),
        updated_at=moment(entry.get("deployed_at") or entry.get("last_deployed") or entry.get("updated")),
        manifest=str(entry.get("manifest", "") or ""),
    )


@contextlib.contextmanager
def _translated(sdk: Any) -> Iterator[None]:
    """Turn the SDK's errors into ours. Its classes are not quite consistent, so some texts are looked at."""
    try:
        yield
    except sdk.HelmError as problem:
        raise translate(type(problem).__name__, str(getattr(problem, "detail", problem))) from None
