"""What the state file is made of: sections, each with its rows, registered by the room that owns the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from django.utils.module_loading import autodiscover_modules
from msgspec import Meta, Struct

from core.errors import Conflict, Invalid

Text = Annotated[str, Meta(max_length=255)]
Moment = Annotated[float, Meta(ge=0, le=1e11)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Revision = Annotated[int, Meta(ge=0, le=2**53)]
#: What may stand as one segment of a path.
Segment = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?!\.{1,2}\Z)[^/\x00-\x1f\x7f]+\Z")]


class Row(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One row of a section; what is not written down in its class is a mistake."""


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(slots=True)
class Problems:
    """Everything that is wrong with a file, so that it is told at once."""

    found: list[dict[str, str]] = field(default_factory=list)

    def add(self, place: str, detail: str) -> None:
        """Note one mistake."""
        self.found.append({"field": place, "detail": detail})

    def unless(self, holds: bool, place: str, detail: str) -> None:
        """Note a mistake unless `holds`."""
        if not holds:
            self.add(place, detail)


@dataclass(slots=True)
class Import:
    """One import under way: every section's rows, and what sections tell each other."""

    rows: Mapping[str, list[Any]]
    revisions: Mapping[str, int]
    #: None: the file was written without secrets.
    secrets: Mapping[str, str] | None
    replace: bool
    now: float
    problems: Problems = field(default_factory=Problems)
    #: What a person should do afterwards.
    remarks: list[str] = field(default_factory=list)
    #: What a section keeps from `wipe` for `load`.
    kept: dict[str, Any] = field(default_factory=dict)

    def secret(self, section: str, key: str) -> str | None:
        """Return a secret of the file."""
        return None if self.secrets is None else self.secrets.get(f"{section}:{key}")


class Section:
    """One part of the state. The database is read and written inside the one transaction of an export or import."""

    #: `<room>.<what>`, the name in the file.
    name: ClassVar[str]
    row: ClassVar[type[Row]]
    #: Sections that are imported before this one.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Files of earlier versions lack it; then an import leaves alone what is there.
    optional: ClassVar[bool] = False

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        """Return the rows, in an order that does not depend on when they were imported.

        Secrets go into `secrets` as `<section>:<key>`, and nowhere when that is None.
        """
        raise TypeError(f"{self.name} cannot be exported")

    def check(self, rows: list[Any], job: Import) -> None:
        """Note in `job.problems` what is wrong beyond the types; nothing may be written yet."""

    def wipe(self, job: Import) -> None:
        """Delete what is there, for an import that replaces; called in the reverse order of `load`."""

    def load(self, rows: list[Any], job: Import) -> None:
        """Write the rows and raise the counters that other processes look at."""


_sections: dict[str, Section] = {}
AnySection = TypeVar("AnySection", bound=type[Section])


def register(kind: AnySection) -> AnySection:
    """Make a section part of the file."""
    _sections[kind.name] = kind()
    return kind


def known() -> list[Section]:
    """Return every section, each after those that it needs."""
    autodiscover_modules("state_sections")
    order: dict[str, Section] = {}

    def add(section: Section) -> None:
        for name in section.needs:
            add(_sections[name])
        order.setdefault(section.name, section)

    for name in sorted(_sections):
        add(_sections[name])
    return list(order.values())


def read(section: Section, raws: object, problems: Problems) -> list[Any]:
    """Return the rows of a section as its type; every mistake is noted with its place."""
    if not isinstance(raws, list):
        problems.add(section.name, "must be a list")
        return []
    rows = []
    for at, raw in enumerate(raws):
        try:
            rows.append(msgspec.convert(raw, section.row))
        except msgspec.ValidationError as problem:
            what, _, where = str(problem).partition(" - at `$")
            problems.add(f"{section.name}[{at}]{where.rstrip('`')}", what)
    return rows


def once(section: Section, keys: Iterable[Any], problems: Problems) -> None:
    """Note every key that is there twice."""
    seen = set()
    for at, key in enumerate(keys):
        problems.unless(key not in seen, f"{section.name}[{at}]", f"{_shown(key)} is there twice")
        seen.add(key)


def attempt(problems: Problems, place: str, reader: Any, *args: Any) -> Any:
    """Return what `reader` makes of its arguments, None when it says `Invalid` or `Conflict`, which is noted."""
    try:
        return reader(*args)
    except (Invalid, Conflict) as problem:
        problems.add(place, problem.detail)
        return None


def _shown(key: Any) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", " ".join(key) if isinstance(key, tuple) else str(key))[:120]
