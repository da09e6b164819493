"""What a package says about its application, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONTAINER, VM = "container", "vm"


@dataclass(frozen=True, slots=True)
class Transport:
    """One way to reach a service (MEC 011 `TransportInfo`, as far as it is known before deployment)."""

    type: str = "REST_HTTP"
    protocol: str = "HTTP"
    version: str = "1.1"
    serializers: tuple[str, ...] = ("JSON",)

    def to_dict(self) -> dict[str, Any]:
        """Return the MEC 010-2 member names."""
        transport = {"type": self.type, "protocol": self.protocol, "version": self.version}
        return {"transport": transport, "serializers": list(self.serializers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Transport:
        """Rebuild what `to_dict` wrote."""
        inner = data.get("transport") or {}
        return cls(
            str(inner.get("type", "REST_HTTP")),
            str(inner.get("protocol", "HTTP")),
            str(inner.get("version", "1.1")),
            tuple(data.get("serializers") or ("JSON",)),
        )


@dataclass(frozen=True, slots=True)
class ServiceDependency:
    """A MEC service that the application must have, or can use."""

    ser_name: str
    version: str = ""
    ser_category: Mapping[str, Any] | None = None
    transports: tuple[Transport, ...] = ()
    requested_permissions: tuple[str, ...] = ()
    #: EdgeGallery names the application and the package that offer the service.
    app_id: str = ""
    package_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the MEC 010-2 `ServiceDependency`; empty members are left out."""
        return _filled(
            serName=self.ser_name,
            version=self.version,
            serCategory=dict(self.ser_category) if self.ser_category else None,
            serTransportDependencies=[t.to_dict() for t in self.transports],
            requestedPermissions=list(self.requested_permissions),
            appId=self.app_id,
            packageId=self.package_id,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServiceDependency:
        """Rebuild what `to_dict` wrote."""
        return cls(
            data["serName"],
            data.get("version", ""),
            data.get("serCategory"),
            tuple(Transport.from_dict(t) for t in data.get("serTransportDependencies", ())),
            tuple(data.get("requestedPermissions", ())),
            data.get("appId", ""),
            data.get("packageId", ""),
        )


@dataclass(frozen=True, slots=True)
class ServiceProduced:
    """A MEC service that the application offers, with the rules that belong to it."""

    ser_name: str
    version: str = ""
    ser_category: Mapping[str, Any] | None = None
    transports: tuple[Transport, ...] = ()
    dns_rule_ids: tuple[str, ...] = ()
    traffic_rule_ids: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the MEC 010-2 `ServiceDescriptor` (with EdgeGallery's lists of rule ids); empty members are left out."""
        return _filled(
            serName=self.ser_name,
            version=self.version,
            serCategory=dict(self.ser_category) if self.ser_category else None,
            transportsSupported=[t.to_dict() for t in self.transports],
            dnsRuleIdList=list(self.dns_rule_ids),
            trafficRuleIdList=list(self.traffic_rule_ids),
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServiceProduced:
        """Rebuild what `to_dict` wrote."""
        return cls(
            data["serName"],
            data.get("version", ""),
            data.get("serCategory"),
            tuple(Transport.from_dict(t) for t in data.get("transportsSupported", ())),
            tuple(data.get("dnsRuleIdList", ())),
            tuple(data.get("trafficRuleIdList", ())),
        )


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of the platform (MEC 010-2 `FeatureDependency`), such as `UserApps` or `SmartRelocation`."""

    name: str
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the MEC 010-2 member names."""
        return _filled(featureName=self.name, version=self.version)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Feature:
        """Rebuild what `to_dict` wrote."""
        return cls(data["featureName"], data.get("version", ""))


@dataclass(frozen=True, slots=True)
class Compute:
    """What the descriptor asks for in all; zero where it says nothing."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0
    architecture: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "cpu_millis": self.cpu_millis,
            "memory_bytes": self.memory_bytes,
            "storage_bytes": self.storage_bytes,
            "architecture": self.architecture,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Compute:
        """Rebuild what `to_dict` wrote."""
        return cls(**{name: data[name] for name in cls.__slots__ if name in data})


@dataclass(frozen=True, slots=True)
class Image:
    """A software image. `archive` is the member of the package that holds it; empty when a registry does."""

    name: str
    version: str = ""
    archive: str = ""
    reference: str = ""
    size: int = 0
    checksum: str = ""
    architecture: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; empty members are left out."""
        return _filled(**{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Image:
        """Rebuild what `to_dict` wrote."""
        return cls(**{name: data[name] for name in cls.__slots__ if name in data})


@dataclass(frozen=True, slots=True)
class AppDescriptor:
    """One application as its package describes it, whatever the format of the package.

    `traffic_rules` and `dns_rules` are objects in the member names and enumerations of MEC 011 V3.1.1
    (clauses 7.1.5.2 and 7.1.6.2) without `state`; `dstInterface` is always a list. `chart` is the member of
    the package that is the Helm chart, empty when the package is the chart.
    """

    name: str
    provider: str
    version: str
    app_d_id: str = ""
    appd_version: str = "1.0"
    description: str = ""
    mec_versions: tuple[str, ...] = ()
    app_class: str = CONTAINER
    services_required: tuple[ServiceDependency, ...] = ()
    services_optional: tuple[ServiceDependency, ...] = ()
    services_produced: tuple[ServiceProduced, ...] = ()
    features_required: tuple[Feature, ...] = ()
    features_optional: tuple[Feature, ...] = ()
    traffic_rules: tuple[Mapping[str, Any], ...] = ()
    dns_rules: tuple[Mapping[str, Any], ...] = ()
    compute: Compute = field(default_factory=Compute)
    chart: str = ""
    images: tuple[Image, ...] = ()
    #: The longest delay that the application bears, in milliseconds (MEC 010-2 `LatencyDescriptor`); 0 is any.
    max_latency_ms: int = 0
    graceful_termination_timeout: int = 10

    def to_dict(self) -> dict[str, Any]:
        """Return the MEC 010-2 `AppD` member names where the standard has them, JSON-ready."""
        return {
            "appDId": self.app_d_id,
            "appName": self.name,
            "appProvider": self.provider,
            "appSoftVersion": self.version,
            "appDVersion": self.appd_version,
            "mecVersion": list(self.mec_versions),
            "appDescription": self.description,
            "appClass": self.app_class,
            "appServiceRequired": [s.to_dict() for s in self.services_required],
            "appServiceOptional": [s.to_dict() for s in self.services_optional],
            "appServiceProduced": [s.to_dict() for s in self.services_produced],
            "appFeatureRequired": [f.to_dict() for f in self.features_required],
            "appFeatureOptional": [f.to_dict() for f in self.features_optional],
            "appTrafficRule": [dict(r) for r in self.traffic_rules],
            "appDNSRule": [dict(r) for r in self.dns_rules],
            "compute": self.compute.to_dict(),
            "chart": self.chart,
            "images": [i.to_dict() for i in self.images],
            "appLatency": {"maxLatency": self.max_latency_ms} if self.max_latency_ms else None,
            "gracefulTerminationTimeout": self.graceful_termination_timeout,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AppDescriptor:
        """Rebuild what `to_dict` wrote."""
        return cls(
            name=data["appName"],
            provider=data["appProvider"],
            version=data["appSoftVersion"],
            app_d_id=data.get("appDId", ""),
            appd_version=data.get("appDVersion", "1.0"),
            description=data.get("appDescription", ""),
            mec_versions=tuple(data.get("mecVersion", ())),
            app_class=data.get("appClass", CONTAINER),
            services_required=tuple(ServiceDependency.from_dict(s) for s in data.get("appServiceRequired", ())),
            services_optional=tuple(ServiceDependency.from_dict(s) for s in data.get("appServiceOptional", ())),
            services_produced=tuple(ServiceProduced.from_dict(s) for s in data.get("appServiceProduced", ())),
            features_required=tuple(Feature.from_dict(f) for f in data.get("appFeatureRequired", ())),
            features_optional=tuple(Feature.from_dict(f) for f in data.get("appFeatureOptional", ())),
            traffic_rules=tuple(data.get("appTrafficRule", ())),
            dns_rules=tuple(data.get("appDNSRule", ())),
            compute=Compute.from_dict(data.get("compute") or {}),
            chart=data.get("chart", ""),
            images=tuple(Image.from_dict(i) for i in data.get("images", ())),
            max_latency_ms=(data.get("appLatency") or {}).get("maxLatency", 0),
            graceful_termination_timeout=data.get("gracefulTerminationTimeout", 10),
        )


def _filled(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "", [], (), {}, 0)}
