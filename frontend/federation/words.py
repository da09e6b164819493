"""The terms of an agreement as the page writes them: in groups, and in the language of the reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from appstore.federation.terms import Change

PLACES: dict[str, Promise] = {
    "Valid until": _("Valid until"),
    "We offer": _("We offer"),
    "They offer": _("They offer"),
    "Our contact": _("Our contact"),
    "Their contact": _("Their contact"),
    "categories": _("categories"),
    "licences": _("licences"),
    "providers": _("providers"),
    "least certification": _("least certification"),
    "least signature": _("least signature"),
    "releases at most": _("releases at most"),
    "largest package": _("largest package"),
    "in a day": _("in a day"),
    "requests a minute": _("requests a minute"),
    "recommendations a day": _("recommendations a day"),
}
VALUES: dict[str, Promise] = {
    "for ever": _("for ever"),
    "nothing": _("nothing"),
    "releases": _("releases"),
    "all": _("all"),
    "none": _("none"),
    "unsigned": _("unsigned"),
}


@dataclass
class Group:
    """Terms that belong together, such as all that we offer; what stands alone has no title."""

    title: str
    rows: list[tuple[str, str]] = field(default_factory=list)


def place(name: str) -> str:
    """Write where a term stands: "We offer: categories"."""
    return ": ".join(str(PLACES.get(part, part)) for part in name.split(": "))


def value(text: str) -> str:
    """Write what a term says; a number or a name stays as it is."""
    return str(VALUES.get(text, text))


def grouped(lines: Iterable[Change]) -> list[Group]:
    """Return all terms of a version: those of each side below its name, then those that stand alone."""
    groups: dict[str, Group] = {}
    for line in lines:
        side, _colon, rest = line.place.partition(": ")
        key = side if side in ("We offer", "They offer") else ""
        group = groups.setdefault(key, Group(place(key) if key else ""))
        if rest or not key:
            group.rows.append((place(rest or side), value(line.after)))
        elif line.after != "releases":
            group.rows.append((place(side), value(line.after)))
    alone = groups.pop("", Group(""))
    return [*groups.values(), alone]


def changed(lines: Iterable[Change]) -> list[tuple[str, str, str]]:
    """Return what differs: the place, what was said before, and what is said now."""
    return [(place(line.place), value(line.before), value(line.after)) for line in lines]
