"""What must be settled before a deed: topics above this one say no by raising `Conflict`, with the way out.

The signature policy, the certification profile and the life of a release are such topics. A gate reads, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol
from uuid import UUID

from core.registry import Registry

if TYPE_CHECKING:
    from appstore.packages.models import Package

#: `publish`: make it a release. `deploy`: run it on a node, also by an upgrade. `import`: take it in from another store.
#: `amend`: change what may be changed of a release for a while after its publication (notes, icon, screenshots).
Deed = Literal["publish", "deploy", "import", "amend"]


class Gate(Protocol):
    """Looks at one package before one deed of one organisation."""

    def __call__(self, deed: Deed, package: Package, organisation_id: UUID) -> None:
        """Pass, or raise `Conflict` with the reason and what would help."""


registry: Registry[Gate] = Registry(
    "package-gates",
    {
        "certification": "appstore.certification.gates:gate",
        "federation": "appstore.federation.gate:gate",
        "releases": "appstore.releases.gate:gate",
        "trust": "appstore.trust.gates:gate",
    },
)


def require(deed: Deed, package: Package, organisation_id: UUID) -> None:
    """Ask every gate, in the order of their names; the first that says no is the answer."""
    for _, gate in registry:
        gate(deed, package, organisation_id)
