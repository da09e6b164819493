"""How one node was over time: drawings made on the server, the same figures as a table, and as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_safe

from core.accounts import access
from frontend import tenancy
from frontend.download import download
from frontend.page import page, words_of
from mecm.fleet import figures
from mecm.fleet.models import Resolution
from mecm.nodes.models import Node

#: Name, words, how far back, and the samples.
SPANS: dict[str, tuple[Any, timedelta, str]] = {
    "day": (gettext_lazy("24 hours"), timedelta(days=1), Resolution.FIVE),
    "week": (gettext_lazy("7 days"), timedelta(days=7), Resolution.HOUR),
}
WIDE, HIGH = 600, 120
#: Rows of the table; a day has 288 moments, of which people read one an hour.
ROWS = 60


@dataclass(frozen=True)
class Line:
    """One line of a drawing: its parts (there are gaps where nothing was measured), its look, and its newest value."""

    words: str
    look: str
    parts: list[str]
    last: str


@dataclass(frozen=True)
class Drawing:
    """One drawing: what the top of it means, and its lines."""

    name: str
    title: str
    top: str
    lines: list[Line]

    @property
    def summary(self) -> str:
        """Return in words what one sees, for those who do not see it."""
        return ", ".join(f"{line.words}: {line.last}" for line in self.lines)


@require_GET
@page
def health(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show how a node was, as a page, or as the part of its page that is fetched after it; one query of our own."""
    node = _node(request, pk)
    name = words_of(request, "span") if words_of(request, "span") in SPANS else "day"
    told = _series(node, name)
    step = 3600 if SPANS[name][2] == Resolution.HOUR else 60 * figures.node_minutes()
    every = max(1, len(told["at"]) // ROWS)
    context = {
        "section": "nodes",
        "node": node,
        "span": name,
        "spans": [(value, words) for value, (words, *_rest) in SPANS.items()],
        "drawings": drawings(told["at"], told["series"], step) if told["at"] else [],
        "ends": [datetime.fromtimestamp(at, UTC) for at in (told["at"][0], told["at"][-1])] if told["at"] else [],
        "rows": list(_rows(told))[::-1][::every],
    }
    part = bool(request.htmx)  # type: ignore[attr-defined]
    return render(request, f"frontend/operator/node_health{'_part' if part else ''}.html", context)


@require_safe
@page
def download_health(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Send every sample of the span as a file."""
    node = _node(request, pk)
    told = _series(node, words_of(request, "span") if words_of(request, "span") in SPANS else "day")
    rows = (
        (datetime.fromtimestamp(at, UTC), *(told["series"][name][place] for name in figures.NODE_COLUMNS))
        for place, at in enumerate(told["at"])
    )
    return download(words_of(request, "form") or "csv", f"node-{node.name}", ("at", *figures.NODE_COLUMNS), rows)


def drawings(at: Sequence[int], series: dict[str, list[Any]], step: int) -> list[Drawing]:
    """Return the drawings of samples by column, `step` seconds from one to the next."""
    ready = [held - unready for held, unready in zip(series["deployments"], series["not_ready"], strict=True)]
    waiting = [unready - failed for unready, failed in zip(series["not_ready"], series["failed"], strict=True)]
    silent = [None if value is None else value / 60 for value in series["silence"]]
    most_silent, most_apps = max([1.0, *filter(None, silent)]), max([1, *series["deployments"]])
    cpu = _share(series["cpu_taken"], series["cpu_millis"])
    memory = _share(series["memory_taken"], series["memory_bytes"])
    fullest = max([100.0, *filter(None, cpu), *filter(None, memory)])

    def line(words: str, look: str, values: Sequence[float | None], top: float, unit: str = "") -> Line:
        last = next((value for value in reversed(values) if value is not None), None)
        said = _("not known") if last is None else f"{last:.0f}{unit}"
        return Line(words, look, _parts(at, values, top, step), said)

    minutes, percent = _("%(number)s min") % {"number": f"{most_silent:.0f}"}, f"{fullest:.0f} %"
    return [
        Drawing("heard", _("Heard of"), "100 %", [line(_("of the time"), "ok", series["heard"], 100, " %")]),
        Drawing("silence", _("Longest silence"), minutes, [line(_("minutes"), "warn", silent, most_silent)]),
        Drawing(
            "taken",
            _("Taken of its capacity"),
            percent,
            [line(_("CPU"), "info", cpu, fullest, " %"), line(_("memory"), "ok", memory, fullest, " %")],
        ),
        Drawing(
            "apps",
            _("Applications"),
            str(most_apps),
            [
                line(_("ready"), "ok", ready, most_apps),
                line(_("not ready yet"), "info", waiting, most_apps),
                line(_("failed"), "bad", series["failed"], most_apps),
            ],
        ),
    ]


def _parts(at: Sequence[int], values: Sequence[float | None], top: float, step: int) -> list[str]:
    """Return the points of a line, in parts: a gap longer than two steps is a gap, not a slope."""
    first, last = at[0], max(at[-1], at[0] + step)
    parts: list[list[str]] = []
    before = None
    for moment, value in zip(at, values, strict=True):
        if value is None:
            before = None
            continue
        if before is None or moment - before > 2.5 * step:
            parts.append([])
        x, y = WIDE * (moment - first) / (last - first), HIGH - HIGH * min(value, top) / top
        parts[-1].append(f"{x:.1f},{y:.1f}")
        before = moment
    # A single point has no length: it is drawn as a short line.
    return [" ".join(part if len(part) > 1 else [part[0], _beside(part[0])]) for part in parts]


def _beside(point: str) -> str:
    x, y = point.split(",")
    return f"{float(x) + 2:.1f},{y}"


def _share(taken: Sequence[int], whole: Sequence[int]) -> list[float | None]:
    return [100 * part / of if of else None for part, of in zip(taken, whole, strict=True)]


def _rows(told: dict[str, Any]) -> Any:
    series = told["series"]
    for place, at in enumerate(told["at"]):
        row = {name: series[name][place] for name in figures.NODE_COLUMNS}
        yield {**row, "at": datetime.fromtimestamp(at, UTC), "ready": row["deployments"] - row["not_ready"]}


def _series(node: Node, span: str) -> dict[str, Any]:
    _words, back, resolution = SPANS[span]
    now = timezone.now()
    return figures.node_series(node.pk, since=now - back, until=now + timedelta(seconds=1), resolution=resolution)


def _node(request: HttpRequest, pk: Any) -> Node:
    rows = Node.objects.select_related("organisation").defer("kubeconfig", "mep_token", "mep_ca", "facts")
    return access.get(rows, tenancy.actor_of(request), "nodes.read", pk)
