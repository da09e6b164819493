"""The way of packets past a rule as a picture: UE -> UPF -> rules -> application or internet. A template draws it.

Two layouts of the same: wide for desktops, narrow for phones, where text would be too small otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

#: Rules in a picture, the one that it is about among them.
MOST = 5


@dataclass(frozen=True, slots=True)
class Stop:
    """One rule on the way: what it is called, what it is about, where its packets go, and how it looks."""

    title: str
    about: str
    #: What the end is called, and its look: `app`, `drop` or `internet`.
    end: str
    look: str
    mine: bool = False
    active: bool = True
    #: The second line of the end; by default what follows from its look.
    note: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A box with two lines of text."""

    x: int
    y: int
    width: int
    title: str
    text: str
    look: str
    whole: str = ""
    height: int = 48

    @property
    def middle(self) -> int:
        """Return the height of its middle."""
        return self.y + self.height // 2

    @property
    def right(self) -> int:
        """Return its right edge."""
        return self.x + self.width


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything to draw; lines are paths with a look."""

    name: str
    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)


def draw(stops: Sequence[Stop], plane: str) -> list[Picture]:
    """Lay out the rules in the order in which they decide, in both layouts; the last way is that of everything else."""
    whole = [*stops[:MOST], Stop(_("Everything else"), _("no rule matches"), _("Internet"), "internet")]
    return [_wide(whole, _("UPF"), plane), _narrow(whole, _("UPF"), plane)]


def draw_names(stops: Sequence[Stop], name: str) -> list[Picture]:
    """Lay out who is told what about a name, in the order in which the node looks; the last way is that of other names."""
    other = Stop(_("Every other name"), _("no rule has it"), _("Upstream"), "internet", note=_("another resolver"))
    whole = [*stops[:MOST], other]
    return [_wide(whole, _("DNS"), name), _narrow(whole, _("DNS"), name)]


def _wide(stops: Sequence[Stop], gate: str, plane: str) -> Picture:
    row = 64
    picture = Picture("wide", 760, row * len(stops) + 4)
    middle = picture.height // 2 - 24
    ue = Box(2, middle, 74, _("UE"), _("devices"), "end")
    upf = Box(112, middle, 104, gate, _short(plane, 14), "plane", plane)
    picture.boxes.extend([ue, upf])
    picture.lines.append((_curve(ue.right, ue.middle, upf.x, upf.middle), "on"))
    for at, stop in enumerate(stops):
        y = 2 + at * row
        rule = Box(
            262, y, 270, _short(stop.title, 34), _short(stop.about, 44), _look(stop), f"{stop.title}: {stop.about}"
        )
        last = Box(578, y, 180, _short(stop.end, 24), _end_word(stop), stop.look, stop.end)
        picture.boxes.extend([rule, last])
        look = _line_look(stop)
        picture.lines.append((_curve(upf.right, upf.middle, rule.x, rule.middle), look))
        picture.lines.append((_curve(rule.right, rule.middle, last.x, last.middle), look))
    return picture


def _narrow(stops: Sequence[Stop], gate: str, plane: str) -> Picture:
    """UE and UPF, or DNS, on top, a trunk down the left side, one stop for each rule with its end beneath."""
    row, top = 96, 66
    picture = Picture("narrow", 330, top + row * len(stops))
    ue, upf = Box(2, 2, 90, _("UE"), _("devices"), "end"), Box(130, 2, 196, gate, _short(plane, 24), "plane", plane)
    picture.boxes.extend([ue, upf])
    picture.lines.append((_curve(ue.right, ue.middle, upf.x, upf.middle), "on"))
    for at, stop in enumerate(stops):
        y = top + at * row
        rule = Box(
            34, y, 292, _short(stop.title, 36), _short(stop.about, 46), _look(stop), f"{stop.title}: {stop.about}"
        )
        tail = Box(62, y + 52, 264, _short(f"→ {stop.end}", 44), "", "tail", stop.end, height=24)
        picture.boxes.extend([rule, tail])
        picture.lines.append((f"M150 50 V58 H14 V{rule.middle} H{rule.x}", _line_look(stop)))
    return picture


def _look(stop: Stop) -> str:
    return "mine" if stop.mine else "rest" if stop.look == "internet" and not stop.mine else "rule"


def _line_look(stop: Stop) -> str:
    return "off" if not stop.active else "mine" if stop.mine else "rest"


def _end_word(stop: Stop) -> str:
    ways = {"drop": _("goes nowhere"), "internet": _("the ordinary way (N6)")}
    return _short(stop.note, 28) or ways.get(stop.look, _("application"))


def _short(text: str, most: int) -> str:
    text = "".join(letter if letter.isprintable() else "·" for letter in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _curve(x: int, y: int, to_x: int, to_y: int) -> str:
    middle = (x + to_x) // 2
    return f"M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}"
