"""What every certification check is, and what it gets. Knows no Django: checks run in a process of their own.

A check is one file with one class. It is given the package as files and plain facts, never a model or a database; it
yields findings, and progress while it works. What it needs beyond reading (a sandbox node, the network) it declares;
nothing else is there for it.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from core.archives import Archive
from core.findings import Finding


class Kind(enum.StrEnum):
    """How a check comes to its result."""

    STATIC = "static"
    LIVE = "live"
    #: A person fills in a form and attaches evidence.
    MANUAL = "manual"


class Need(enum.StrEnum):
    """What a check may use beyond the files of the package."""

    NETWORK = "network"
    SANDBOX = "sandbox"


class Part(enum.StrEnum):
    """A part of a release that a check looks at; a check runs again only when one of its parts differs."""

    MANIFEST = "manifest"
    SIGNATURE = "signature"
    DESCRIPTOR = "descriptor"
    CHART = "chart"
    IMAGES = "images"
    DOCUMENTS = "documents"
    #: Name, provider, version, and everything else: such a check runs for each release.
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Option:
    """A setting of a check that a profile may change; `choices` limits it when it is not empty."""

    name: str
    default: Any
    help: str
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """One question of a manual check: `kind` is `text`, `choice`, `number`, `yes-no` or `file`."""

    name: str
    label: str
    kind: str = "text"
    required: bool = True
    choices: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a check is, in percent, and what it does now."""

    percent: int
    note: str = ""


class Skip(Exception):
    """Raised by a check that does not apply to this package; the text says why."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A container image that the package carries."""

    name: str
    path: Path
    sha256: str
    size: int


@dataclass(slots=True)
class Subject:
    """The package under test.

    `path` is the package file, `chart` the packed chart (None for a VM application), `descriptor` an `AppDescriptor`
    as JSON, `signature` what verification found (`appstore.packages.signatures.Signature` and the trust standing),
    `findings` those of the package check, `contents` the facts of `appstore.contents` (images, licences, permissions,
    SBOM components; empty when they are not known), `previous` the same facts of the release before, or None.
    `advisories` is the offline advisory database when the operator has one.
    """

    path: Path
    sha256: str
    format: str
    name: str
    provider: str
    version: str
    descriptor: Mapping[str, Any]
    chart: Path | None = None
    images: tuple[ImageFile, ...] = ()
    signature: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    contents: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] | None = None
    advisories: Path | None = None
    #: Values that the chart is rendered with beside its own; the profile may set them.
    values: Mapping[str, Any] = field(default_factory=dict)


class Tools(Protocol):
    """What the runner lends to a check; all of it is made on first use."""

    def archive(self) -> Archive:
        """Return the opened package."""

    def chart_archive(self) -> Archive:
        """Return the opened chart; raises `Skip` when the package has none."""

    def objects(self) -> Sequence[Mapping[str, Any]]:
        """Return the Kubernetes objects of the rendered chart; raises `Skip` without a chart, `Invalid` when Helm refuses."""

    def hooks(self) -> Sequence[tuple[tuple[str, ...], Mapping[str, Any]]]:
        """Return Helm's moments and the object of each hook; raises as `objects` does."""

    def crds(self) -> Sequence[Mapping[str, Any]]:
        """Return the objects of `crds/`, whatever their kind; raises as `objects` does."""

    @property
    def sandbox(self) -> Sandbox:
        """Return the node on which a live check may run the application; only for `Need.SANDBOX`."""


class Sandbox(Protocol):
    """A node on which one application is tried. Arguments and answers are JSON values: it may be far away.

    Everything is about the one instance that `deploy` made. `simulated` says that no real runtime is behind it; the
    certificate then says so, too.
    """

    def about(self) -> Mapping[str, Any]:
        """Return `node`, `engine`, `engine_version`, `mep_version`, `simulated`, `architecture`."""

    def deploy(self, values: Mapping[str, Any], timeout: float = 120.0) -> Mapping[str, Any]:
        """Deploy and wait until it is ready, failed, or the time is over; returns `state()`."""

    def state(self) -> Mapping[str, Any]:
        """Return `state`, `reason`, `message`, `workloads`, `endpoints`, `restarts`."""

    def services(self) -> Sequence[Mapping[str, Any]]:
        """Return what the instance has registered on Mp1: `serName`, `version`, `state`, `serInstanceId`."""

    def rules(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return `dns` and `traffic` rules of the instance with the state that is applied, not only wished."""

    def usage(self) -> Sequence[Mapping[str, Any]]:
        """Return for each container `pod`, `container`, `memory_bytes`, `memory_limit`, `cpu_millis`, `oom_killed`."""

    def request(self, port: int, path: str = "/", timeout: float = 5.0, scheme: str = "http") -> Mapping[str, Any]:
        """Send a GET to a port of the application's Service: `status`, `bytes`, `milliseconds`, or `problem`."""

    def restart(self, timeout: float = 60.0) -> Mapping[str, Any]:
        """Kill the containers of the application and wait until it is ready again; returns `state()`."""

    def cut_link(self, seconds: float) -> Mapping[str, Any]:
        """Cut the node off from its centre for a while: `was_cut`, and `state` as the node reports afterwards."""

    def terminate(self, timeout: float = 30.0) -> Mapping[str, Any]:
        """Announce the termination and remove: `notified`, `confirmed`, `seconds`, `grace`."""

    def leftovers(self) -> Sequence[str]:
        """Return what of the removed application is still there: containers, networks, services, rules."""

    def logs(self, lines: int = 200) -> Sequence[str]:
        """Return the last lines that the application wrote."""


class Check(ABC):
    """One check. `name` is its short name in the registry; a change of behaviour raises `version`.

    `severity` of its findings is the check's own; the profile decides which severities gate. `seconds` and
    `memory_mib` bound the process in which it runs.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    #: Why it matters, for people who read the report.
    reason: ClassVar[str]
    version: ClassVar[str] = "1"
    kind: ClassVar[Kind] = Kind.STATIC
    #: The group under which the report shows it: security, packaging, lifecycle, network, quality, legal ...
    group: ClassVar[str] = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    needs: ClassVar[frozenset[Need]] = frozenset()
    options: ClassVar[tuple[Option, ...]] = ()
    form: ClassVar[tuple[Field, ...]] = ()
    seconds: ClassVar[float] = 20.0
    memory_mib: ClassVar[int] = 512
    #: Live checks run one after the other on one sandbox, by this number and then by name.
    order: ClassVar[int] = 100

    @abstractmethod
    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        """Yield what is wrong (an error fails the check, a warning and an info do not), and progress.

        `Skip` says that the check does not apply. Any other exception is reported as a crash of the check.
        """


class Outcome(enum.StrEnum):
    """How a check ended."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    SKIPPED = "skipped"
    #: The check itself broke, was too slow, or took too much: never a pass.
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    STOPPED = "stopped"
    #: A manual check that nobody has filled in yet.
    WAITING = "waiting"


@dataclass(slots=True)
class Result:
    """What came of one check."""

    check: str
    version: str
    outcome: Outcome
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""
    #: The result of an earlier run that still holds, because no part that the check looks at differs.
    carried: bool = False
