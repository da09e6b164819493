"""The applier: one desired object of kind `app` becomes a running release with an identity in the MEP.

The same code stands behind both appliers: the agent on an edge node calls it with the MEP beside it, the centre's
worker with a client of the MEP's management API. It keeps no state of its own, so it may be called again after a
crash at any point; engine and MEP converge.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from core.errors import BreakwaterError, Invalid, Missing
from core.words import say
from engines.contract import Engine, Release, ReleaseStatus, Revision, State
from engines.peek import Peek, peek

#: The reason in the report of an app whose package is recalled.
RECALLED = "recalled"
#: How long an app may take to say goodbye when its descriptor does not say (seconds).
GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Blob:
    """A file named by its digest: where to get it, and how to know that it is the right one."""

    sha256: str
    size: int
    url: str = ""
    name: str = ""

    @classmethod
    def read(cls, raw: object, place: str) -> Blob:
        """Return the blob that a spec names; `Invalid` says at which `place` it does not."""
        if not isinstance(raw, Mapping):
            raise Invalid(say("{place} must be an object with sha256, size and url", place=place))
        digest, size = raw.get("sha256"), raw.get("size", 0)
        if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise Invalid(say("{place} names no SHA-256", place=place))
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise Invalid(say("{place} has no usable size", place=place))
        return cls(sha256=digest, size=size, url=str(raw.get("url", "")), name=str(raw.get("name", "")))


@dataclass(frozen=True, slots=True)
class AppSpec:
    """The spec of a desired object of kind `app`, read and checked."""

    app_instance_id: str
    name: str
    namespace: str
    chart: Blob
    images: tuple[Blob, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    deployment: str = ""
    app_d_id: str = ""
    app_name: str = ""
    app_provider: str = ""
    app_soft_version: str = ""
    app_d_version: str = ""
    services_required: tuple[Any, ...] = ()
    services_optional: tuple[Any, ...] = ()
    services_produced: tuple[Any, ...] = ()
    traffic_rules: tuple[Any, ...] = ()
    dns_rules: tuple[Any, ...] = ()
    grace: float = GRACE

    @classmethod
    def read(cls, raw: object) -> AppSpec:
        """Return the spec that the centre sent; `Invalid` when it cannot be used."""
        if not isinstance(raw, Mapping):
            raise Invalid(say("The spec of an app must be an object"))

        def text(key: str, *, needed: bool = False) -> str:
            value = raw.get(key, "")
            if not isinstance(value, str) or (needed and not value):
                raise Invalid(say("The spec of an app needs {key} as text", key=key))
            return value

        def items(key: str) -> tuple[Any, ...]:
            value = raw.get(key) or []
            if not isinstance(value, list | tuple):
                raise Invalid(say("The spec of an app has {key} that is no list", key=key))
            return tuple(value)

        values = raw.get("values") or {}
        if not isinstance(values, Mapping):
            raise Invalid(say("The spec of an app has values that are no object"))
        grace = raw.get("gracefulTerminationTimeout", GRACE)
        if not isinstance(grace, int | float) or isinstance(grace, bool) or not 0 <= grace <= 3600:
            raise Invalid(say("gracefulTerminationTimeout must be 0 to 3600 seconds"))
        return cls(
            app_instance_id=text("appInstanceId", needed=True),
            name=text("name", needed=True),
            namespace=text("namespace", needed=True),
            chart=Blob.read(raw.get("chart"), "chart"),
            images=tuple(Blob.read(image, f"images[{at}]") for at, image in enumerate(items("images"))),
            values=values,
            deployment=text("deployment"),
            app_d_id=text("appDId"),
            app_name=text("appName"),
            app_provider=text("appProvider"),
            app_soft_version=text("appSoftVersion"),
            app_d_version=text("appDVersion"),
            services_required=items("appServiceRequired"),
            services_optional=items("appServiceOptional"),
            services_produced=items("appServiceProduced"),
            traffic_rules=items("appTrafficRule"),
            dns_rules=items("appDNSRule"),
            grace=float(grace),
        )

    def blobs(self) -> tuple[Blob, ...]:
        """Return every file that this app needs on the node."""
        return (self.chart, *self.images)


@dataclass(frozen=True, slots=True)
class MepAccess:
    """What an app instance needs to talk to its MEP: addresses, trust, and its OAuth2 client."""

    client_id: str
    client_secret: str = field(repr=False)
    url: str = "https://mep:8443"
    token_url: str = "https://mep:8443/mep/token"  # noqa: S105 - an address, not a secret
    ca_cert: str = ""


class MepPort(Protocol):
    """What the applier asks of a MEP; every call may come twice."""

    def provision(self, app: AppSpec) -> MepAccess:
        """Make the app instance known with its rules (inactive until it is ready); the same credentials each time."""

    def terminate(self, app_instance_id: str, timeout: float) -> None:
        """Announce the termination to the app; one that was announced already, or is unknown, is fine."""

    def terminated(self, app_instance_id: str) -> bool:
        """Return whether the app confirmed, was not listening, or ran out of time."""

    def discard(self, app_instance_id: str) -> None:
        """Forget the app instance with everything it owned; gone already is fine."""


#: Brings a blob to local disk, verified, and returns where it lies.
Fetch = Callable[[Blob], Path]


class Applier:
    """Applies, observes and removes apps on one engine.

    >>> applier = Applier(engine, mep, fetch=lambda blob: blobs.path_of(blob.sha256))
    >>> applier.apply(spec, generation=3)           # returns before the app is ready
    >>> applier.observe(spec)["state"]
    'ready'
    >>> while not applier.remove(spec, waited=time.monotonic() - began): ...
    """

    def __init__(self, engine: Engine, mep: MepPort, fetch: Fetch) -> None:
        self.engine, self.mep, self.fetch = engine, mep, fetch
        self._loading: dict[str, threading.Lock] = {}

    def apply(self, spec: Mapping[str, Any] | AppSpec, generation: int) -> Revision:
        """Install or upgrade the app so that it is as `spec` says; twice with one generation is one revision."""
        app = _read(spec)
        chart = self.fetch(app.chart)
        images = self._load_images(app)
        access = self.mep.provision(app)
        release = Release(
            name=app.name,
            namespace=app.namespace,
            chart=chart,
            values=values_for(app, access, peek(chart)),
            generation=generation,
            labels={"app-instance-id": app.app_instance_id},
            images=images,
            hosts=tuple(str(rule.get("domainName", "")) for rule in app.dns_rules if isinstance(rule, Mapping)),
        )
        return self.engine.apply(release)

    def observe(self, spec: Mapping[str, Any] | AppSpec) -> dict[str, Any]:
        """Return the honest state of the app as JSON values: the body of a report of kind `app`."""
        app = _read(spec)
        return as_status(self.engine.status(app.name, app.namespace))

    def remove(self, spec: Mapping[str, Any] | AppSpec, *, waited: float) -> bool:
        """Do one step of the removal and return whether all is gone; never waits itself.

        `waited` is how many seconds ago the removal began. The first call announces the termination on
        Mp1; while the app has neither confirmed nor run out of time the answer is False: call again in a moment.
        """
        app = _read(spec)
        running = any(workload.ready for workload in self.engine.status(app.name, app.namespace).workloads)
        if running and app.grace > 0 and waited < app.grace:
            self.mep.terminate(app.app_instance_id, app.grace)
            if not self.mep.terminated(app.app_instance_id):
                return False
        self.engine.remove(app.name, app.namespace)
        # Pods with a long grace may still be stopping: gone is only what the runtime no longer shows.
        if self.engine.status(app.name, app.namespace).state is not State.ABSENT:
            return False
        self.mep.discard(app.app_instance_id)
        return True

    def _load_images(self, app: AppSpec) -> dict[str, str]:
        """Return the IDs of the app's images by name, once the runtime has them all."""
        found: dict[str, str] = {}
        if not app.images or type(self.engine).load_image is Engine.load_image:
            return found  # this runtime pulls from a registry; a missing image shows in its status
        for image in app.images:
            # One lock for each image: who waits for a large one holds up nobody who does not need it. Asking again
            # costs the engine little when it has the image.
            with self._loading.setdefault(image.sha256, threading.Lock()):
                loaded = self.engine.load_image(self.fetch(image))
            twice = [name for name, identity in loaded.items() if found.setdefault(name, identity) != identity]
            if twice:
                raise Invalid(
                    say("The package holds two different images called {twice}", twice=twice[0]), field="images"
                )
        return found

    def load_images_again(self, spec: Mapping[str, Any] | AppSpec, generation: int) -> None:
        """Bring back images that the runtime has lost; a release from before images had IDs learns of them, too."""
        self.apply(spec, generation)


def values_for(app: AppSpec, access: MepAccess, chart: Peek) -> dict[str, Any]:
    """Return the values of the release: the operator's wish, and above it what the MEP gave the app.

    Charts find it at `global.mep`; a chart whose schema forbids `global` is left alone. EdgeGallery charts
    carry placeholders at `appconfig.aksk`, which are filled too.
    """
    values = copy.deepcopy(dict(app.values))
    if chart.allows("global"):
        shared = dict(values["global"]) if isinstance(values.get("global"), Mapping) else {}
        shared["mep"] = {
            "enabled": True,
            "url": access.url,
            "tokenUrl": access.token_url,
            "caCert": access.ca_cert,
            "appInstanceId": app.app_instance_id,
            "clientId": access.client_id,
            "clientSecret": access.client_secret,
        }
        values["global"] = shared
    config = chart.values.get("appconfig")
    if isinstance(config, Mapping) and isinstance(config.get("aksk"), Mapping):
        wished = values.get("appconfig")
        wished = dict(wished) if isinstance(wished, Mapping) else {}
        keys = dict(wished["aksk"]) if isinstance(wished.get("aksk"), Mapping) else {}
        keys |= {
            "accesskey": access.client_id,
            "secretkey": access.client_secret,
            "appInsId": app.app_instance_id,
        }
        values["appconfig"] = {**wished, "aksk": keys}
    return values


def as_status(status: ReleaseStatus) -> dict[str, Any]:
    """Return an engine's answer as plain JSON values, the body of a report of kind `app`."""
    plain: dict[str, Any] = asdict(status)
    plain["state"], plain["reason"] = str(status.state), str(status.reason)
    plain["workloads"] = [
        {**asdict(each), "state": str(each.state), "reason": str(each.reason), "pods": list(each.pods)}
        for each in status.workloads
    ]
    plain["endpoints"] = [asdict(each) for each in status.endpoints]
    return plain


def failure(error: BreakwaterError, *, revision: int = 0) -> dict[str, Any]:
    """Return the report of an app that could not be applied: failed, in the words and with the facts of `error`."""
    return {
        "state": str(State.FAILED),
        "reason": error.code,
        "message": error.detail,
        "revision": revision,
        "problem": error.problem(),
        "workloads": [],
        "endpoints": [],
    }


def absent() -> dict[str, Any]:
    """Return the report of an app that is gone."""
    return {"state": str(State.ABSENT), "reason": "", "message": "", "revision": 0, "workloads": [], "endpoints": []}


def recalled(reason: str, advice: str = "") -> dict[str, Any]:
    """Return the report of an app that was stopped, or is not started, because its package is recalled."""
    message = f"Stopped, because the package is recalled: {reason} {advice}".strip()
    return {**absent(), "state": str(State.FAILED), "reason": RECALLED, "message": message}


def missing_blob(blob: Blob) -> Missing:
    """Return the error for a file that is neither here nor to be had; the caller raises it."""
    return Missing(say("The file {name} is not on this node", name=blob.name or blob.sha256), sha256=blob.sha256)


def _read(spec: Mapping[str, Any] | AppSpec) -> AppSpec:
    return spec if isinstance(spec, AppSpec) else AppSpec.read(spec)
