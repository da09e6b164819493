"""What the catalogue is told about a release, whoever tells: our own packages or a partner's feed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One release as the catalogue shows it.

    `key` is unique: `package:<uuid>` for a package of this store (also one fetched from a partner), or
    `remote:<store id>:<uuid>` for a release of which only the metadata is here. `app_key` is the same for all releases
    of one application: `<store id or empty>/<organisation slug>/<provider>/<name>`.
    """

    key: str
    app_key: str
    name: str
    provider: str
    version: str
    published_at: datetime
    state: str
    visibility: str = "public"
    organisation_id: Any = None
    package_id: Any = None
    #: Empty for our own; else id and name of the store that it comes from.
    origin: str = ""
    origin_name: str = ""
    origin_ref: str = ""
    description: str = ""
    #: The words of the README, for the full text.
    text: str = ""
    category: str = ""
    keywords: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    #: Names of MEC services that it uses or offers.
    services: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    #: The highest level that a valid certificate gives, empty without one.
    certification: str = ""
    #: unsigned, unknown, trusted or broken.
    signature: str = "unsigned"
    sha256: str = ""
    size: int = 0
    icon: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
