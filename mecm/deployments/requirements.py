"""What a package with given values asks of a node: its chart rendered once, and what the descriptor says."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import engines
from core.errors import BreakwaterError, Conflict, Invalid
from core.findings import Level
from core.words import say
from engines import hosts
from engines.applier import AppSpec, Blob, MepAccess, values_for
from engines.contract import Compute, EngineSettings, HostClaim, Plan
from engines.peek import peek
from mecm.deployments import secret_values
from mecm.deployments.placement import Requirement

if TYPE_CHECKING:
    from appstore.packages.models import Package

#: The most that a figure of compute is counted as: what is more fits nowhere, and the database's integers end.
_MOST = 2**50
_KEEP = 256

#: What an engine finds about the machine that it plans on, here the centre. The node is another: there it may well run.
_OF_THIS_MACHINE = frozenset({"service-port-mapping"})

#: Stands for the identity that the MEP gives at the real install, so that the same templates are rendered.
_EXAMPLE = MepAccess(client_id="client", client_secret="secret", ca_cert="PEM")  # noqa: S106


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chart rendered with values for one engine."""

    compute: Compute
    refused: tuple[str, ...]
    remarks: tuple[str, ...]
    hosts: tuple[HostClaim, ...] = ()


class _Recent:
    """The last renderings of this process: asking for a plan on a thousand nodes renders once per engine."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], Rendered] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, str]) -> Rendered | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: tuple[str, str, str], rendered: Rendered) -> None:
        with self._lock:
            self._known[key] = rendered
            while len(self._known) > _KEEP:
                self._known.popitem(last=False)


_recent = _Recent()


def of(package: Package, values: Mapping[str, Any], *, engine: str, name: str, namespace: str) -> Requirement:
    """Return what the release would need on a node with that engine.

    `Invalid` when the values break the chart's schema or Helm cannot render it. What the engine cannot run is not
    an error but part of the answer, so that it can be told beside the other reasons.
    """
    described: Mapping[str, Any] = package.descriptor or {}
    rendered = render(package, values, engine=engine)
    asked = described.get("compute") if isinstance(described.get("compute"), Mapping) else package.compute
    fallback = _compute(asked or {})
    architectures = {str((asked or {}).get("architecture") or "")}
    architectures |= {
        str(image.get("architecture") or "") for image in described.get("images") or [] if isinstance(image, Mapping)
    }
    services = {
        str(each.get("serName", "")) for each in described.get("appServiceRequired") or [] if isinstance(each, Mapping)
    }
    return Requirement(
        name=name,
        namespace=namespace,
        # The chart is what runs; the descriptor speaks where the chart is silent.
        compute=Compute(
            cpu_millis=rendered.compute.cpu_millis or fallback.cpu_millis,
            memory_bytes=rendered.compute.memory_bytes or fallback.memory_bytes,
            storage_bytes=rendered.compute.storage_bytes or fallback.storage_bytes,
        ),
        architectures=frozenset(architectures - {""}),
        app_class=str(described.get("appClass") or "container"),
        services=frozenset(services - {""}),
        refused=rendered.refused + _unasked(rendered.hosts, dns_names(described)),
        hosts=tuple(each.host for each in rendered.hosts),
        remarks=rendered.remarks,
        uses_mep=any(described.get(member) for member in _MEP_MEMBERS),
    )


def dns_names(described: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the domain names of an application's DNS rules: the hosts that it may claim."""
    listed = described.get("appDNSRule")
    return tuple(
        str(each.get("domainName", ""))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, Mapping)
    )


def _unasked(claimed: tuple[HostClaim, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    found = hosts.unasked(claimed, names)
    return tuple(
        say("{place}: {message}; {remedy}", place=each.place, message=each.message, remedy=each.remedy)
        for each in found
    )


_MEP_MEMBERS = ("appServiceRequired", "appServiceOptional", "appServiceProduced", "appTrafficRule", "appDNSRule")


def render(package: Package, values: Mapping[str, Any], *, engine: str) -> Rendered:
    """Return the chart rendered for `engine`; the same chart and values are rendered once."""
    if not package.chart_sha256:
        raise Conflict(say("{name} carries no Helm chart, so there is nothing to run.", name=package.name))
    key = (package.chart_sha256, engine, digest(values))
    known = _recent.get(key)
    if known is None:
        known = _quoting_none(package, values, engine)
        _recent.put(key, known)
    return known


def _quoting_none(package: Package, values: Mapping[str, Any], engine: str) -> Rendered:
    """Render; neither what is refused nor what is remarked quotes a secret value."""
    secrets = secret_values.of(package, values)
    try:
        found = _render(package.chart_sha256, values, engine)
    except BreakwaterError as error:
        raise secret_values.quoting_none(error, secrets) from None
    refused, remarks = (
        tuple(secret_values.scrubbed(each, secrets) for each in said) for said in (found.refused, found.remarks)
    )
    return Rendered(found.compute, refused, remarks, found.hosts)


def digest(values: Mapping[str, Any]) -> str:
    """Return a name for these values, the same for the same content."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _render(chart_sha256: str, values: Mapping[str, Any], engine: str) -> Rendered:
    from appstore.packages import blobs  # the store's folder is a setting; deciding needs none

    chart = blobs.path_of(chart_sha256)
    if not chart.exists():
        raise Conflict(say("The chart of this package is no longer in the store."))
    with tempfile.TemporaryDirectory(prefix="plan-") as scratch:  # an engine keeps its releases somewhere; here none
        runtime = engines.registry.get(engine)(EngineSettings(name="plan", state_dir=Path(scratch)))
        try:
            plan = runtime.plan(chart, handed_over(chart, chart_sha256, values), name="plan", namespace="plan")
        except Invalid as error:
            error.context.setdefault("field", "values")
            raise
        finally:
            runtime.close()
    return _summary(plan)


def handed_over(chart: Path, chart_sha256: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the chart is given: the values with an example of the identity that the platform adds."""
    app = AppSpec(app_instance_id="plan", name="plan", namespace="plan", chart=Blob(chart_sha256, 0), values=values)
    return values_for(app, _EXAMPLE, peek(chart))


def _summary(plan: Plan) -> Rendered:
    refusals = [each for each in plan.findings if each.level is Level.ERROR and each.code not in _OF_THIS_MACHINE]
    remarks = [each for each in plan.findings if each.level is Level.WARNING or each.code in _OF_THIS_MACHINE]
    return Rendered(
        compute=_compute(
            {
                "cpu_millis": plan.compute.cpu_millis,
                "memory_bytes": plan.compute.memory_bytes,
                "storage_bytes": plan.compute.storage_bytes,
            }
        ),
        refused=tuple(f"{each.place}: {each.message}" for each in refusals),
        remarks=tuple(f"{each.place}: {each.message}" for each in remarks),
        hosts=plan.hosts,
    )


def _compute(figures: Mapping[str, Any]) -> Compute:
    def figure(name: str) -> int:
        value = figures.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            return 0
        return int(min(value, _MOST))

    return Compute(figure("cpu_millis"), figure("memory_bytes"), figure("storage_bytes"))
