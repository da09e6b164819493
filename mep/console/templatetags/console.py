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
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from core import spoken
from mep.console.picture import packets_in_words

register = template.Library()

#: state -> (look, icon, word)
STATES = {
    "PROVISIONED": ("quiet", "circle-dashed", gettext_lazy("not ready yet")),
    "READY": ("ok", "circle-check", gettext_lazy("ready")),
    "TERMINATING": ("busy", "loader", gettext_lazy("terminating")),
    "STOPPED": ("quiet", "player-stop", gettext_lazy("stopped")),
    "TERMINATED": ("quiet", "ban", gettext_lazy("terminated")),
    "ACTIVE": ("ok", "circle-check", gettext_lazy("active")),
    "INACTIVE": ("quiet", "circle-dashed", gettext_lazy("inactive")),
    "SUSPENDED": ("warn", "alert-triangle", gettext_lazy("suspended")),
    # what became of a rule
    "pending": ("busy", "loader", gettext_lazy("pending")),
    "in-force": ("ok", "circle-check", gettext_lazy("in force")),
    "withdrawn": ("quiet", "circle-dashed", gettext_lazy("not in force")),
    "refused": ("bad", "circle-x", gettext_lazy("refused")),
    # alarms
    "critical": ("bad", "alert-circle", gettext_lazy("critical")),
    "major": ("bad", "alert-triangle", gettext_lazy("major")),
    "minor": ("warn", "alert-triangle", gettext_lazy("minor")),
    "warning": ("warn", "info-circle", gettext_lazy("warning")),
    "cleared": ("quiet", "circle-check", gettext_lazy("cleared")),
    # the link to the centre
    "connected": ("ok", "circle-check", gettext_lazy("connected")),
    "cut-off": ("bad", "plug", gettext_lazy("cut off")),
    "not-joined": ("quiet", "circle-dashed", gettext_lazy("not joined")),
    "silent": ("warn", "alert-triangle", gettext_lazy("unknown")),
    # deliveries
    "delivering": ("ok", "circle-check", gettext_lazy("delivering")),
    "idle": ("quiet", "circle-dashed", gettext_lazy("nothing to send yet")),
    "waiting": ("busy", "loader", gettext_lazy("on its way")),
    "failing": ("bad", "circle-x", gettext_lazy("failing")),
    # log lines
    "DEBUG": ("quiet", "circle-dashed", gettext_lazy("debug")),
    "INFO": ("quiet", "info-circle", gettext_lazy("info")),
    "WARNING": ("warn", "alert-triangle", gettext_lazy("warning")),
    "ERROR": ("bad", "alert-circle", gettext_lazy("error")),
    "CRITICAL": ("bad", "alert-circle", gettext_lazy("critical")),
}
#: The length of a unit in seconds, and how to say a span of it that is past or to come.
UNITS = (
    (86_400, ngettext_lazy("%d day ago", "%d days ago"), ngettext_lazy("in %d day", "in %d days")),
    (3600, ngettext_lazy("%d hour ago", "%d hours ago"), ngettext_lazy("in %d hour", "in %d hours")),
    (60, ngettext_lazy("%d minute ago", "%d minutes ago"), ngettext_lazy("in %d minute", "in %d minutes")),
    (1, ngettext_lazy("%d second ago", "%d seconds ago"), ngettext_lazy("in %d second", "in %d seconds")),
)


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
    look, mark, usual = STATES.get(str(value), ("quiet", "circle-dashed", str(value or _("unknown"))))
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), word or usual)


@register.simple_tag
def state_word(value: Any) -> str:
    """Write a state as a word alone, for a list to choose from and for sentences."""
    return str(STATES.get(str(value), ("", "", value))[2])


@register.filter
def in_language(text: Any) -> Any:
    """Write what a service said in the language of the page; what is known in English only stays so."""
    return spoken.in_language(text)


@register.simple_tag
def ago(epoch: float | None, never: str = "") -> SafeString | str:
    """Write epoch seconds as a distance from now; the exact time is in the title. Scripts keep it fresh."""
    if not epoch:
        return never or _("never")
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
        return _("just now")
    for length, past, future in UNITS:
        if span >= length:
            count = round(span / length)
            return str((future if seconds > 0 else past) % count)
    return _("just now")


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
