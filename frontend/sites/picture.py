"""The topology of a site as boxes and lines with coordinates; the template only writes them down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from mecm.sites.topology import Part, Topology

WIDTH, TOP = 1080, 34
BOX, TALL, GAP = 176, 58, 14
#: Left edges of the columns: radio side, UPF, MEP, applications, services.
COLUMNS = (8, 232, 468, 690, 896)
#: Where the picture begins when nothing is known of the radio side: an empty column says nothing, and fills a phone.
WITHOUT_RADIO = COLUMNS[1] - COLUMNS[0]
#: Letters that fit into a box.
FIT = 22


@dataclass(frozen=True)
class Box:
    """One box; `href` leads to what it stands for."""

    x: int
    y: int
    name: str
    full: str
    more: str
    look: str
    word: str
    href: str = ""

    @property
    def right(self) -> int:
        """Return the right edge."""
        return self.x + BOX

    @property
    def middle(self) -> int:
        """Return the height of its middle."""
        return self.y + TALL // 2


@dataclass(frozen=True)
class Line:
    """A line from box to box, with a word on it maybe."""

    path: str
    look: str
    word: str = ""
    x: int = 0
    y: int = 0


@dataclass(frozen=True)
class Picture:
    """All of it; `heads` are the titles of the columns."""

    height: int
    boxes: list[Box]
    lines: list[Line]
    heads: list[tuple[int, str]]
    width: int = WIDTH
    left: int = 0


def draw(topology: Topology) -> Picture:
    """Lay the topology out from left to right."""
    boxes: list[Box] = []
    lines: list[Line] = []
    y = TOP
    planes: list[Box] = []
    for stand in topology.stands:
        rows = max(len(stand.apps), len(stand.services), 1)
        middle = y + (rows * (TALL + GAP) - GAP - TALL) // 2
        plane, mep = _box(stand.plane, 1, middle), _box(stand.mep, 2, middle)
        planes.append(plane)
        lines.append(_line(plane, mep, stand.steering.look))
        apps = _stack(stand.apps, 3, y, rows)
        services = _stack(stand.services, 4, y, rows)
        lines += [_line(mep, app, app.look) for app in apps]
        offering = {part.instance: app for part, app in zip(stand.apps, apps, strict=True) if part.instance}
        for part, service in zip(stand.services, services, strict=True):
            app = offering.get(part.instance)
            lines.append(_line(app, service, service.look) if app else _past(mep, apps, service))
        boxes += [plane, mep, *apps, *services]
        x, at = (plane.right + mep.x) // 2, (plane.middle + mep.middle) // 2
        lines.append(Line("", stand.steering.look, stand.steering.name, x, at - 9))
        y += rows * (TALL + GAP) + GAP
    bottom = max(y, TOP + len(topology.access) * (TALL + GAP))
    access = _stack(topology.access, 0, TOP, max(1, (bottom - TOP) // (TALL + GAP)))
    lines += [_line(one, plane, one.look) for one in access for plane in planes]
    heads = [_("radio side"), _("user plane"), _("MEP"), _("applications"), _("services")]
    titles = list(zip(COLUMNS, heads, strict=True))
    if access:
        return Picture(bottom, [*access, *boxes], lines, titles)
    return Picture(bottom, boxes, lines, titles[1:], WIDTH - WITHOUT_RADIO, WITHOUT_RADIO)


def _stack(parts: list[Part], column: int, y: int, rows: int) -> list[Box]:
    start = y + max(0, (rows - len(parts)) * (TALL + GAP) // 2)
    return [_box(part, column, start + index * (TALL + GAP)) for index, part in enumerate(parts)]


def _box(part: Part, column: int, y: int) -> Box:
    return Box(COLUMNS[column], y, _fit(part.name), part.name, _fit(part.more, 27), part.look, part.word, _href(part))


def _line(one: Box, other: Box, look: str) -> Line:
    half = (other.x - one.right) // 2
    bend = f"C{one.right + half} {one.middle} {other.x - half} {other.middle} {other.x} {other.middle}"
    return Line(f"M{one.right} {one.middle}{bend}", look if look != "info" else "quiet")


def _past(mep: Box, apps: list[Box], service: Box) -> Line:
    """Return the line of a service that the MEP itself offers: it goes between the applications, not from one of them."""
    if not apps:
        return _line(mep, service, service.look)
    gaps = [apps[0].y - GAP // 2, *(app.y + TALL + GAP // 2 for app in apps)]
    level = min(gaps, key=lambda gap: abs(gap - service.middle))
    left, right = apps[0].x, apps[0].right
    out, back = (left - mep.right) // 2, (service.x - right) // 2
    path = (
        f"M{mep.right} {mep.middle}C{mep.right + out} {mep.middle} {left - out} {level} {left} {level}H{right}"
        f"C{right + back} {level} {service.x - back} {service.middle} {service.x} {service.middle}"
    )
    return Line(path, service.look if service.look != "info" else "quiet")


def _fit(text: str, most: int = FIT) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _href(part: Part) -> str:
    for name, pk in (("site", part.site), ("node", part.node), ("deployment", part.deployment)):
        if pk is not None:
            return _address(name, pk)
    return ""


def _address(name: str, pk: Any) -> str:
    return reverse(f"frontend:{name}", args=[pk])
