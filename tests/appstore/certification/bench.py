"""A package to try checks on without a process of their own: files that are really there, objects as Helm would give them."""

from __future__ import annotations

import copy
import importlib
import pkgutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import appstore.certification.checks as folder
from appstore.certification.contract import Check, ImageFile, Progress, Skip, Subject
from appstore.packages import formats
from core.archives import Archive, open_archive, read_archive
from core.findings import Finding, Level
from tests.appstore.making import chart_bytes, edgegallery_files, image_bytes, manifest_of, zip_bytes

IMAGE = "localhost/breakwater/hello:1.0"
OBJECTS = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: certification-hello
  labels: {app.kubernetes.io/name: hello, app.kubernetes.io/instance: certification}
spec:
  replicas: 1
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 30
      containers:
        - name: web
          image: localhost/breakwater/hello:1.0
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}
          readinessProbe: {httpGet: {path: /, port: http}}
          livenessProbe: {httpGet: {path: /, port: http}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            runAsNonRoot: true
            capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: certification-hello}
spec:
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http}]
"""
CHART_YAML = (
    "apiVersion: v2\nname: hello\nversion: 1.2.0\nappVersion: 1.2.0\ndescription: Says hello to everybody\n"
    "maintainers: [{name: Acme}]\n"
)
README = "# hello\n\nGreets whoever asks, by HTTP on port 80. Set `replicas` to have more of it; it keeps no data.\n"


# Most faults are made in what Helm gives, or in what is told of a package: the package itself is the same in hundreds of
# tests, and is packed and read once.
@cache
def _objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(OBJECTS))


@cache
def _files() -> dict[str, bytes | str]:
    return edgegallery_files()


@cache
def _chart(files: tuple[tuple[str, str], ...]) -> bytes:
    return chart_bytes("hello", **dict(files))


@cache
def _zip(files: tuple[tuple[str, bytes | str], ...]) -> bytes:
    return zip_bytes(dict(files))


@cache
def _reading(content: bytes, filename: str) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Return the descriptor that is read from a package, which nobody may change, and the findings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / filename
        path.write_bytes(content)
        with open_archive(path) as archive:
            reading = formats.detect(archive).read(archive)
    return reading.descriptor.to_dict(), tuple(reading.findings)


class Bench:
    """One package under test; change what it holds, then `try_out` a check on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: list[dict[str, Any]] = copy.deepcopy(_objects())
        self.hooks: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.crds: list[dict[str, Any]] = []
        self.chart: dict[str, str] = {
            "Chart.yaml": CHART_YAML,
            "values.yaml": "replicas: 1\n",
            "values.schema.json": '{"type": "object", "properties": {"replicas": {"type": "integer"}}}',
            "README.md": README,
            "templates/hello.yaml": OBJECTS,
        }
        self.files = dict(_files())
        self.files["Artifacts/ChangeLog.txt"] = "1.2.0: greets in colour\n"
        self.manifest: Callable[[Mapping[str, bytes | str]], str] = lambda files: manifest_of(files)
        self.descriptor: dict[str, Any] = {}
        self.signature: dict[str, Any] = {"state": "valid", "standing": "trusted", "fingerprint": "aa"}
        self.contents: dict[str, Any] = {
            "licences": ["Apache-2.0"],
            "images": [{"reference": IMAGE, "architecture": "amd64"}],
            "components": [],
            "permissions": [],
        }
        self.previous: dict[str, Any] | None = None
        self.advisories: Path | None = None
        self.extra: list[tuple[str, bytes]] = []
        self.plain_chart = False
        self.no_chart = False
        self.version = "1.2.0"

    @property
    def pod(self) -> dict[str, Any]:
        """The pod spec of the Deployment."""
        return self.objects[0]["spec"]["template"]["spec"]  # type: ignore[no-any-return]

    @property
    def web(self) -> dict[str, Any]:
        """Its one container."""
        return self.pod["containers"][0]  # type: ignore[no-any-return]

    def pack(self) -> tuple[Path, Path | None]:
        """Write the files and return package and chart."""
        packed = _chart(tuple(self.chart.items()))
        chart = self.folder / "hello.tgz"
        chart.write_bytes(packed)
        if self.plain_chart:
            return chart, chart
        files = dict(self.files)
        if "Artifacts/Deployment/Charts/hello.tgz" in files:
            files["Artifacts/Deployment/Charts/hello.tgz"] = packed
        files["hello.mf"] = self.manifest(files)
        path = self.folder / "hello.csar"
        path.write_bytes(_zip(tuple((name, content) for name, content in files.items() if content is not None)))
        return path, None if self.no_chart else chart

    def subject(self) -> Subject:
        """Return the package as a check gets it."""
        path, chart = self.pack()
        told, findings = _reading(path.read_bytes(), path.name)
        image = self.folder / "hello.tar"
        image.write_bytes(image_bytes(IMAGE))
        descriptor = {
            **copy.deepcopy(told),
            "appName": "hello",
            "appDescription": "Greets whoever asks, by HTTP",
            "compute": {"cpu_millis": 1000, "memory_bytes": 256 << 20, "architecture": "X86"},
            **copy.deepcopy(self.descriptor),
        }
        return Subject(
            path=path,
            sha256="0" * 64,
            format="helm-chart" if self.plain_chart else "edgegallery-csar",
            name="hello",
            provider="Acme",
            version=self.version,
            descriptor=descriptor,
            chart=chart,
            images=(ImageFile(IMAGE, image, "0" * 64, image.stat().st_size),),
            signature=self.signature,
            findings=findings,
            contents=self.contents,
            previous=self.previous,
            advisories=self.advisories,
        )

    def try_out(self, name: str, **options: Any) -> list[Finding]:
        """Return the findings of a check; a skipped one raises `Skip`."""
        check = checks()[name]()
        subject = self.subject()
        defaults = {option.name: option.default for option in check.options}
        with ExitStack() as stack:
            tools = _Tools(subject, self, stack)
            found = list(check.run(subject, {**defaults, **options}, tools))
        return [each for each in found if not isinstance(each, Progress)]

    def fails(self, name: str, **options: Any) -> set[str]:
        """Return the codes of the errors that a check finds; empty when it passes, `{"skipped"}` when it does not apply."""
        try:
            return {each.code for each in self.try_out(name, **options) if each.level is Level.ERROR}
        except Skip:
            return {"skipped"}

    def says(self, name: str, **options: Any) -> set[str]:
        """Return the codes of everything that a check finds."""
        return {each.code for each in self.try_out(name, **options)}


class _Tools:
    def __init__(self, subject: Subject, bench: Bench, stack: ExitStack) -> None:
        self.subject, self._bench, self.stack = subject, bench, stack
        self._archive: Archive | None = None
        self._chart: Archive | None = None

    def archive(self) -> Archive:
        if self._archive is None:
            self._archive = self.stack.enter_context(open_archive(self.subject.path))
        return self._archive

    def chart_archive(self) -> Archive:
        if self.subject.chart is None:
            raise Skip("no chart")
        if self._chart is None:
            self._chart = read_archive(self.stack.enter_context(self.subject.chart.open("rb")))
        return self._chart

    def objects(self) -> Sequence[Mapping[str, Any]]:
        if self.subject.chart is None:
            raise Skip("no chart")
        return self._bench.objects

    def hooks(self) -> Sequence[tuple[tuple[str, ...], Mapping[str, Any]]]:
        self.objects()
        return self._bench.hooks

    def crds(self) -> Sequence[Mapping[str, Any]]:
        self.objects()
        return self._bench.crds

    @property
    def sandbox(self) -> Any:
        raise Skip("no sandbox")


@cache
def checks() -> dict[str, type[Check]]:
    """Return every check of the folder by name; one class a module."""
    found: dict[str, type[Check]] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.startswith("_"):
            continue
        loaded = importlib.import_module(f"{folder.__name__}.{module.name}")
        classes = [
            each
            for each in vars(loaded).values()
            if isinstance(each, type) and issubclass(each, Check) and each.__module__ == loaded.__name__
        ]
        assert len(classes) == 1, f"{module.name} must hold one check"
        found[classes[0].name] = classes[0]
    return found


__all__ = ["Bench", "checks"]
