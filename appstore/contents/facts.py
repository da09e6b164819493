"""The facts of what is inside a release: one plain document, the same for pages, checks, feeds and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that the chart asks for beyond what every container may do.

    `code` is stable (`privileged`, `host-network`, `host-path`, `capability`, `rbac`, `host-port`, `host-pid`,
    `host-ipc`, `run-as-root`, `privilege-escalation`, `device`, `cluster-scoped`, `service-account-token`, `hook`,
    `left-behind` ...),
    `severity` is `high`, `medium` or `low`, `words` says it to people without Kubernetes at their fingertips.
    """

    code: str
    severity: str
    place: str
    words: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class ImageFact:
    """One image that the chart runs: its digest when it is pinned or carried, and where it is."""

    reference: str
    digest: str = ""
    pinned: bool = False
    carried: bool = False
    size: int = 0
    architecture: str = ""
    #: Object and container that run it.
    used_by: tuple[str, ...] = ()
    #: The id of a carried image: the digest of its configuration, as the container runtime shows it.
    image_id: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """One row of the SBOM: what it is, by package URL where there is one."""

    kind: str
    name: str
    version: str = ""
    purl: str = ""
    licence: str = ""
    #: The chart, an image, or a member of the package in which it was found.
    place: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the changelog; `kind` is added, changed, deprecated, removed, fixed or security."""

    kind: str
    text: str


@dataclass(slots=True)
class Facts:
    """Everything that is known about the inside of one release; `problems` says what could not be read, and why."""

    permissions: list[Permission] = field(default_factory=list)
    images: list[ImageFact] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    category: str = ""
    #: Kind, name and namespace of each Kubernetes object of the rendered chart.
    objects: list[dict[str, str]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    maintainers: list[str] = field(default_factory=list)
    #: SHA-256 of the signer's certificate, and its subject; empty when the package is not signed.
    signer: str = ""
    signer_name: str = ""
    #: Whether the chart could be rendered with its own values: if not, what it asks for is not known.
    rendered: bool = True
    #: A digest for each part of the release (the words of `certification.contract.Part`); equal means unchanged.
    parts: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Facts:
        """Read facts as they were stored; members of a later version are dropped."""
        kinds: dict[str, Any] = {
            "permissions": Permission, "images": ImageFact, "components": Component, "changes": Change,
        }  # fmt: skip
        known: dict[str, Any] = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        for name, kind in kinds.items():
            fields = kind.__dataclass_fields__
            known[name] = [
                kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in fields})
                for row in known.get(name, [])
            ]
        return cls(**known)
