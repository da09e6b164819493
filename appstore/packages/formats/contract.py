"""What every package format does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from appstore.packages.signatures import Signature
from core.appd import AppDescriptor
from core.archives import Archive
from core.findings import Finding


@dataclass(frozen=True, slots=True)
class ImageMember:
    """A container image inside the package: the member, and the name it is said to have."""

    member: str
    name: str


@dataclass(slots=True)
class Reading:
    """What a package says, and everything that is wrong with it.

    `chart` is the member that holds the Helm chart; the package itself when `chart_is_package`.
    """

    descriptor: AppDescriptor
    findings: list[Finding] = field(default_factory=list)
    chart: str = ""
    chart_is_package: bool = False
    images: tuple[ImageMember, ...] = ()
    signature: Signature = field(default_factory=Signature)


class Format(ABC):
    """One format. Knows nothing of the database; raises `core.errors.Invalid` only when nothing can be read at all."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def claim(cls, archive: Archive) -> int:
        """Return how sure this format is that the archive is its own: 0 is not at all, higher wins."""

    @abstractmethod
    def read(self, archive: Archive) -> Reading:
        """Read the package whole: every problem is a finding, all of them at once."""
