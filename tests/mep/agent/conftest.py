"""A small engine and a small MEP whose moods a test decides."""

from __future__ import annotations

import hashlib
import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import BreakwaterError
from core.frames import spec_digest
from engines.applier import Applier, AppSpec, Blob, MepAccess
from engines.contract import (
    Capacity,
    Engine,
    EngineSettings,
    Event,
    LogLine,
    Plan,
    Reason,
    Release,
    ReleaseStatus,
    Revision,
    State,
    WorkloadStatus,
)
from mep.agent import store
from mep.agent.blobs import Blobs, Fetcher
from mep.agent.kinds import Apps, LogWatches
from mep.agent.models import KV, Applied, Desired, Outbox
from mep.agent.reports import Reporter


class MoodyEngine(Engine):
    """Keeps releases in a dict; `state` is what they look like, `trouble` is raised by the next applies."""

    name = "moody"

    def __init__(self) -> None:
        super().__init__(EngineSettings())
        self.held: dict[tuple[str, str], Release] = {}
        self.applied: list[Release] = []
        self.loaded: list[str] = []
        self.state, self.reason = State.READY, Reason.NONE
        self.trouble: Exception | None = None
        self.lines: list[LogLine] = []

    def ping(self) -> str:
        return "moody 1"

    def capacity(self) -> Capacity:
        return Capacity(1000, 2, 3)

    def plan(self, chart: Path, values: Any, *, name: str = "plan", namespace: str = "default") -> Plan:
        raise NotImplementedError

    def apply(self, release: Release) -> Revision:
        if self.trouble:
            raise self.trouble
        self.applied.append(release)
        self.held[release.namespace, release.name] = release
        return Revision(len(self.applied), release.generation, "c", "1", "deployed", datetime.now(UTC))

    def rollback(self, name: str, namespace: str, revision: int | None = None, *, generation: int = 0) -> Revision:
        raise NotImplementedError

    def remove(self, name: str, namespace: str) -> None:
        if self.trouble:
            raise self.trouble
        self.held.pop((namespace, name), None)

    def status(self, name: str, namespace: str) -> ReleaseStatus:
        held = self.held.get((namespace, name))
        if held is None:
            return ReleaseStatus(name, namespace, State.ABSENT)
        ready = int(self.state is State.READY)
        workload = WorkloadStatus("Deployment", name, self.state, 1, ready)
        return ReleaseStatus(
            name,
            namespace,
            self.state,
            len(self.applied),
            held.generation,
            self.reason,
            workloads=(workload,),
        )

    def releases(self) -> list[tuple[str, str]]:
        return sorted(self.held)

    def history(self, name: str, namespace: str) -> list[Revision]:
        raise NotImplementedError

    def logs(self, name: str, namespace: str, *, workload: str = "", tail: int = 200) -> list[LogLine]:
        return self.lines[-tail:]

    def events(self, name: str, namespace: str, *, limit: int = 100) -> list[Event]:
        return []

    def load_image(self, archive: Path) -> dict[str, str]:
        self.loaded.append(archive.name)
        return {archive.name: f"sha256:{archive.name}"}


class PoliteMep:
    """Remembers what was asked of it; `leaving` says whether apps have finished saying goodbye."""

    def __init__(self) -> None:
        self.known: dict[str, AppSpec] = {}
        self.announced: list[str] = []
        self.over = True

    def provision(self, app: AppSpec) -> MepAccess:
        self.known[app.app_instance_id] = app
        return MepAccess("client-1", "secret-1", ca_cert="PEM")

    def terminate(self, app_instance_id: str, timeout: float) -> None:
        self.announced.append(app_instance_id)

    def terminated(self, app_instance_id: str) -> bool:
        return self.over

    def discard(self, app_instance_id: str) -> None:
        self.known.pop(app_instance_id, None)


def chart(values: str = "replicas: 1\n", schema: str = "") -> bytes:
    """Return a chart as `.tgz` with these values."""
    packed = io.BytesIO()
    files = {"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "values.yaml": values}
    if schema:
        files["values.schema.json"] = schema
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"c/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


CHART = chart()


class Edge:
    """The parts of an agent without its threads and its link: steps are taken one by one."""

    def __init__(self, folder: Path) -> None:
        self.engine, self.mep = MoodyEngine(), PoliteMep()
        self.blobs = Blobs(folder / "blobs")
        self.fetcher = Fetcher(self.blobs, lambda: None)
        self.reporter = Reporter()
        self.woken: list[str] = []
        applier = Applier(self.engine, self.mep, self.blobs.path)
        self.apps = Apps(applier, self.blobs, self.fetcher, self.reporter, self.woken.append)
        self.watches = LogWatches(applier, self.reporter)
        self.rev = 0

    def keep(self, content: bytes = CHART) -> dict[str, Any]:
        """Put a file into the node's folder and return how a spec names it."""
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs.folder / digest).write_bytes(content)
        return {"sha256": digest, "size": len(content), "url": f"/api/v1/edge/blobs/{digest}"}

    def spec(self, key: str, **changes: Any) -> dict[str, Any]:
        """Return the spec of an app."""
        return {
            "appInstanceId": f"instance-{key}",
            "name": key,
            "namespace": "t-acme",
            "chart": self.keep(),
            "values": {},
            "gracefulTerminationTimeout": 5,
            **changes,
        }

    def wish(self, key: str = "a", generation: int = 1, kind: str = "app", **changes: Any) -> None:
        """Wish for an app, as a PUT of the centre would."""
        spec = self.spec(key, **changes) if kind == "app" else changes
        self.rev += 1
        store.take([frame(kind, key, self.rev, generation, spec)])

    def unwish(self, key: str = "a", kind: str = "app", generation: int = 1, **spec: Any) -> None:
        """Send the tombstone of an app."""
        self.rev += 1
        store.take([frame(kind, key, self.rev, generation, spec, deleted=True)])

    def lose_disk(self) -> None:
        """Forget everything but what the runtime has."""
        for model in (Desired, Applied, Outbox, KV):
            model.objects.all().delete()
        self.mep.known.clear()

    def told(self, kind: str = "app", key: str = "a") -> dict[str, Any] | None:
        """Return the report that waits about something."""
        found = [each for each in store.waiting() if (each["kind"], each["key"]) == (kind, key)]
        return found[0] if found else None

    def state(self, key: str = "a") -> str:
        """Return the state in the report that waits about an app."""
        told = self.told(key=key)
        return told["status"]["state"] if told else ""


def frame(
    kind: str, key: str, rev: int, generation: int, spec: dict[str, Any], *, deleted: bool = False
) -> dict[str, Any]:
    """Return an object as it travels in a PUT."""
    digest = spec_digest(spec)
    return {
        "kind": kind,
        "key": key,
        "rev": rev,
        "generation": generation,
        "deleted": deleted,
        "spec": spec,
        "sha256": digest,
    }


@pytest.fixture
def edge(tmp_path: Path, settings: Any, db: None) -> Edge:
    """An agent without threads and link."""
    settings.VAR = tmp_path
    return Edge(tmp_path)


def trouble(kind: type[BreakwaterError], detail: str = "no") -> BreakwaterError:
    """Return an error of the runtime."""
    return kind(detail)


def blob_of(content: bytes) -> Blob:
    """Return how a file is named."""
    return Blob(hashlib.sha256(content).hexdigest(), len(content), name="file")
