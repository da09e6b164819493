"""The way of packets as a picture: UE -> UPF -> rule -> app or internet. Plain geometry; a template draws it.

Two layouts of the same: wide for desktops, narrow for phones, where text would be too small otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from unicodedata import east_asian_width

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from mep.console.packet import targets
from mep.mp1.models import TrafficRule
from mep.mp1.states import Enforcement, RuleState

#: member of a TrafficFilter -> what it looks for
_FILTERS = {
    "protocol": "%(value)s",
    "srcAddress": gettext_lazy("from %(value)s"),
    "srcPort": gettext_lazy("source port %(value)s"),
    "dstAddress": gettext_lazy("to %(value)s"),
    "dstPort": gettext_lazy("port %(value)s"),
    "dSCP": "DSCP %(value)s",
    "tC": gettext_lazy("class %(value)s"),
    "qCI": "QCI %(value)s",
    "tag": gettext_lazy("tag %(value)s"),
    "uri": "URI %(value)s",
    "packetLabel": gettext_lazy("label %(value)s"),
    "srcTunnelAddress": gettext_lazy("tunnel from %(value)s"),
    "tgtTunnelAddress": gettext_lazy("tunnel to %(value)s"),
    "srcTunnelPort": gettext_lazy("tunnel source port %(value)s"),
    "dstTunnelPort": gettext_lazy("tunnel port %(value)s"),
}
#: More rules than this make no picture; the table has them all.
MOST = 12


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the picture: where it is, what is written in it, and how it looks."""

    x: int
    y: int
    width: int
    height: int
    title: str
    text: str = ""
    look: str = ""
    whole: str = ""
    href: str = ""
    figures: str = ""

    @property
    def left(self) -> tuple[int, int]:
        """Where lines arrive."""
        return self.x, self.y + self.height // 2

    @property
    def right(self) -> tuple[int, int]:
        """Where lines leave."""
        return self.x + self.width, self.y + self.height // 2


@dataclass(frozen=True, slots=True)
class Line:
    """A way that packets take; `width` grows with how many took it."""

    path: str
    look: str
    width: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything to draw."""

    name: str
    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def look_of(rule: TrafficRule) -> str:
    """Return how a rule is drawn: in force, on its way, refused, or off."""
    if rule.state != RuleState.ACTIVE:
        return "off"
    return {Enforcement.IN_FORCE: "on", Enforcement.REFUSED: "bad"}.get(Enforcement(rule.enforcement), "wait")


def draw(rules: Sequence[TrafficRule], hrefs: Sequence[str], upf: str, *, narrow: bool = False) -> Picture:
    """Lay out the first rules, in the order in which they decide; the last way is that of everything else."""
    return (_narrow if narrow else _wide)(rules[:MOST], hrefs, upf)


def _wide(rules: Sequence[TrafficRule], hrefs: Sequence[str], upf: str) -> Picture:
    row, top = 68, 14
    height = top * 2 + row * (len(rules) + 1) - 12
    picture = Picture("wide", 1120, height)
    middle = height // 2
    ue = Box(8, middle - 28, 108, 56, "UE", _("devices"), "end")
    plane = Box(186, middle - 34, 150, 68, "UPF", _short(upf, 20), "upf")
    internet = Box(918, top + row * len(rules), 194, 56, _("Internet"), _("the ordinary way (N6)"), "end")
    picture.boxes.extend([ue, plane])
    picture.lines.append(Line(_curve(ue.right, plane.left), "on", 3))
    wanted: dict[str, list[int]] = {}
    boxes = []
    for at, (rule, href) in enumerate(zip(rules, hrefs, strict=True)):
        boxes.append(_rule_box(rule, href, 430, top + row * at, 390, 44))
        for key in _ends(rule):
            wanted.setdefault(key, []).append(at)
    ends = _spread(wanted, top, row, internet)
    for rule, box in zip(rules, boxes, strict=True):
        width = _weight(rule.packets)
        picture.lines.append(Line(_curve(plane.right, box.left), look_of(rule), width))
        picture.lines.extend(Line(_curve(box.right, ends[key].left), look_of(rule), width) for key in _ends(rule))
    rest = Box(430, top + row * len(rules) + 6, 390, 44, _("Everything else"), _("no rule matches"), "rest")
    picture.lines.append(Line(_curve(plane.right, rest.left), "rest", 2))
    picture.lines.append(Line(_curve(rest.right, internet.left), "rest", 2))
    picture.boxes.extend([*boxes, rest, *ends.values()])
    if "internet" not in ends:
        picture.boxes.append(internet)
    return picture


def _narrow(rules: Sequence[TrafficRule], hrefs: Sequence[str], upf: str) -> Picture:
    """UE and UPF on top, a trunk down the left side, one stop for each rule with its end written beneath."""
    row, top = 92, 84
    picture = Picture("narrow", 340, top + row * len(rules) + 72)
    ue = Box(4, 6, 100, 52, "UE", _("devices"), "end")
    plane = Box(150, 6, 186, 52, "UPF", _short(upf, 22), "upf")
    picture.boxes.extend([ue, plane])
    picture.lines.append(Line(_curve(ue.right, plane.left), "on", 3))
    foot = (plane.x + plane.width // 2, plane.y + plane.height)
    for at, (rule, href) in enumerate(zip(rules, hrefs, strict=True)):
        box = _rule_box(rule, href, 40, top + row * at, 296, 44, narrow=True)
        picture.boxes.append(box)
        picture.boxes.append(
            Box(64, box.y + 50, 272, 24, _short(_end_in_words(rule), 42), look="tail", whole=_end_in_words(rule))
        )
        picture.lines.append(Line(_elbow(foot, box.left), look_of(rule), _weight(rule.packets)))
    rest = Box(40, top + row * len(rules), 296, 44, _("Everything else"), _("no rule matches"), "rest")
    picture.boxes.append(rest)
    picture.boxes.append(Box(64, rest.y + 46, 272, 20, _("→ internet, the ordinary way"), look="tail"))
    picture.lines.append(Line(_elbow(foot, rest.left), "rest", 2))
    return picture


def matches_in_words(rule: TrafficRule) -> str:
    """Return what a rule looks for, in one line."""
    filters = rule.body.get("trafficFilter") or []
    return _(" or ").join(_filter_in_words(each) for each in filters) or _("everything")


def _filter_in_words(raw: dict[str, object]) -> str:
    parts = []
    for name, words in _FILTERS.items():
        value = raw.get(name)
        if value in (None, "", [], ()):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        parts.append(str(words) % {"value": text})
    return " ".join(parts) or _("everything")


def _rule_box(rule: TrafficRule, href: str, x: int, y: int, width: int, height: int, *, narrow: bool = False) -> Box:
    matching = matches_in_words(rule)
    return Box(
        x,
        y,
        width,
        height,
        f"{rule.body.get('priority', '?')} · {_short(rule.rule_id, 20 if narrow else 30)}",
        _short(matching, 44 if narrow else 58),
        look_of(rule),
        f"{rule.rule_id}: {matching}",
        href,
        packets_in_words(rule.packets) if rule.counted_at is not None else "",
    )


def _ends(rule: TrafficRule) -> list[str]:
    action = str(rule.body.get("action", ""))
    if action == "DROP":
        return ["drop"]
    if action == "PASSTHROUGH":
        return ["internet"]
    app = f"app:{rule.app_id}"
    return ["internet", app] if action.startswith("DUPLICATE") else [app]


def _end_in_words(rule: TrafficRule) -> str:
    action, where = str(rule.body.get("action", "")), ", ".join(targets(rule.body))
    if action == "DROP":
        return _("→ dropped")
    if action == "PASSTHROUGH":
        return _("→ internet, the ordinary way")
    told = f"{rule.app.name} {where}"
    return _("→ internet, copied to %(app)s") % {"app": told} if action.startswith("DUPLICATE") else f"→ {told}"


def _spread(wanted: dict[str, list[int]], top: int, row: int, internet: Box) -> dict[str, Box]:
    """Give each end a place near its rules, none upon another; the internet is always the last."""
    ends: dict[str, Box] = {}
    free = 0.0
    for key in sorted(
        (key for key in wanted if key != "internet"), key=lambda key: sum(wanted[key]) / len(wanted[key])
    ):
        place = max(free, min(sum(wanted[key]) / len(wanted[key]), internet.y / row))
        free = place + 1
        y = round(top + row * place) - 6
        if key == "drop":
            ends[key] = Box(918, y, 194, 56, _("Dropped"), _("goes nowhere"), "drop")
        else:
            ends[key] = Box(918, y, 194, 56, "", "", "app", key.removeprefix("app:"))
    if "internet" in wanted:
        ends["internet"] = internet
    return ends


def name_apps(picture: Picture, names: dict[str, tuple[str, str]]) -> Picture:
    """Write the apps' names and addresses into their boxes."""
    boxes = []
    for box in picture.boxes:
        if box.look == "app":
            name, where = names.get(box.whole, (box.whole, ""))
            box = Box(
                box.x, box.y, box.width, box.height, _short(name, 20), _short(where, 26), "app", f"{name} {where}"
            )
        boxes.append(box)
    return Picture(picture.name, picture.width, picture.height, boxes, picture.lines)


def packets_in_words(number: int) -> str:
    """Return a count that fits into a small place: 1234567 -> 1.23 M."""
    for size, unit in ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**4, " k")):
        if number >= size:
            size = 1000 if unit == " k" else size
            return f"{number / size:.3g}{unit}"
    return str(number)


def _short(text: str, most: int) -> str:
    text = "".join(letter if letter.isprintable() else "·" for letter in text)
    widths = list(accumulate(2 if east_asian_width(letter) in "WF" else 1 for letter in text))
    if not widths or widths[-1] <= most:
        return text
    return f"{text[: sum(width < most for width in widths)]}…"


def _weight(packets: int) -> float:
    return round(1.5 + min(4.0, math.log10(packets + 1) / 2), 1)


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    middle = (start[0] + end[0]) // 2
    return f"M{start[0]} {start[1]} C{middle} {start[1]} {middle} {end[1]} {end[0]} {end[1]}"


def _elbow(foot: tuple[int, int], end: tuple[int, int]) -> str:
    trunk, turn = 18, foot[1] + 12
    down = f"M{foot[0]} {foot[1]} V{turn} H{trunk + 8} Q{trunk} {turn} {trunk} {turn + 8}"
    return f"{down} V{end[1] - 8} Q{trunk} {end[1]} {trunk + 8} {end[1]} H{end[0]}"
