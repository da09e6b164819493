"""How the console writes icons, states, counts and times."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mep.console.picture import packets_in_words

register = template.Library()

#: state -> (look, icon, word)
STATES = {
    "PROVISIONED": ("quiet", "circle-dashed", "not ready yet"),
    "READY": ("ok", "circle-check", "ready"),
    "TERMINATING": ("busy", "loader", "terminating"),
    "STOPPED": ("quiet", "player-stop", "stopped"),
    "TERMINATED": ("quiet", "ban", "terminated"),
    "ACTIVE": ("ok", "circle-check", "active"),
    "INACTIVE": ("quiet", "circle-dashed", "inactive"),
    "SUSPENDED": ("warn", "alert-triangle", "suspended"),
    # what became of a rule
    "pending": ("busy", "loader", "pending"),
    "in-force": ("ok", "circle-check", "in force"),
    "withdrawn": ("quiet", "circle-dashed", "not in force"),
    "refused": ("bad", "circle-x", "refused"),
    # alarms
    "critical": ("bad", "alert-circle", "critical"),
    "major": ("bad", "alert-triangle", "major"),
    "minor": ("warn", "alert-triangle", "minor"),
    "warning": ("warn", "info-circle", "warning"),
    "cleared": ("quiet", "circle-check", "cleared"),
    # the link to the centre
    "connected": ("ok", "circle-check", "connected"),
    "cut-off": ("bad", "plug", "cut off"),
    "not-joined": ("quiet", "circle-dashed", "not joined"),
    "silent": ("warn", "alert-triangle", "unknown"),
    # deliveries
    "delivering": ("ok", "circle-check", "delivering"),
    "idle": ("quiet", "circle-dashed", "nothing to send yet"),
    "waiting": ("busy", "loader", "on its way"),
    "failing": ("bad", "circle-x", "failing"),
    # log lines
    "DEBUG": ("quiet", "circle-dashed", "debug"),
    "INFO": ("quiet", "info-circle", "info"),
    "WARNING": ("warn", "alert-triangle", "warning"),
    "ERROR": ("bad", "alert-circle", "error"),
    "CRITICAL": ("bad", "alert-circle", "critical"),
}
UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """Draw an icon of the vendored sprite; it is decoration, so screen readers skip it."""
    return format_html(
        '<svg class="icon {}" width="20" height="20" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>',
        extra,
        static("vendor/icons/icons.svg"),
        name,
    )


@register.simple_tag
def state(value: Any, word: str = "") -> SafeString:
    """Write a state as a word with a mark and a colour."""
    look, mark, usual = STATES.get(str(value), ("quiet", "circle-dashed", str(value or "unknown")))
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), word or usual)


@register.simple_tag
def ago(epoch: float | None, never: str = "never") -> SafeString | str:
    """Write epoch seconds as a distance from now; the exact time is in the title. Scripts keep it fresh."""
    if not epoch:
        return never
    moment = datetime.fromtimestamp(epoch, UTC)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        distance(epoch - time.time()),
    )


@register.simple_tag
def clock(epoch: float) -> SafeString:
    """Write epoch seconds as a time of day, with the date for screen readers and in the title."""
    moment = datetime.fromtimestamp(epoch, UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        f"{moment:%H:%M:%S}",
    )


def distance(seconds: float) -> str:
    """Write a span from now for people: -180 is "3 minutes ago", 7200 is "in 2 hours"."""
    span = abs(seconds)
    if span < 5:
        return "just now"
    for unit, length in UNITS:
        if span >= length:
            count = round(span / length)
            text = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {text}" if seconds > 0 else f"{text} ago"
    return "just now"


@register.filter
def count(value: Any) -> str:
    """Write a count for people: 1234567 -> 1.23 M."""
    try:
        return packets_in_words(int(value))
    except (TypeError, ValueError):
        return "–"


@register.filter
def size(value: Any) -> str:
    """Write bytes for people: 1536 -> 1.5 KiB."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    return ""


@register.filter
def words(value: Any) -> str:
    """Write a list as text, a dash for an empty one."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(str(item) for item in value) or "–"
    return "–" if value in (None, "", {}) else str(value)


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """Return the present query string with some members changed; None takes one away."""
    request: HttpRequest = context["request"]
    params = request.GET.copy()
    params.pop("seen", None)
    for name, value in changes.items():
        params.pop(name, None)
        if value not in (None, ""):
            params[name] = str(value)
    return "?" + params.urlencode()


@register.simple_tag(takes_context=True)
def here(context: template.Context) -> str:
    """Return the address of this page, for a part that refreshes itself."""
    request: HttpRequest = context["request"]
    return request.path + query(context)
