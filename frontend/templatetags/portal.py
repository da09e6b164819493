"""How the pages write icons, states, sizes and times."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import yaml
from django import template
from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from core import spoken
from frontend import permissions, reasons
from frontend.releases.visibility import NAMES

register = template.Library()

#: state -> (look, icon, word)
STATES = {
    # packages
    "draft": ("busy", "loader", gettext_lazy("being checked")),
    "checked": ("ok", "circle-check", gettext_lazy("checked")),
    "rejected": ("bad", "circle-x", gettext_lazy("rejected")),
    "published": ("ok", "world", gettext_lazy("published")),
    "in-review": ("busy", "eye-check", gettext_lazy("in review")),
    "deprecated": ("warn", "archive", gettext_lazy("deprecated")),
    "yanked": ("quiet", "ban", gettext_lazy("yanked")),
    "quarantined": ("warn", "lock", gettext_lazy("quarantined")),
    "recalled": ("bad", "urgent", gettext_lazy("recalled")),
    # reviews and recalls
    "open": ("busy", "eye", gettext_lazy("open")),
    "approved": ("ok", "check", gettext_lazy("approved")),
    "declined": ("bad", "x", gettext_lazy("declined")),
    "retracted": ("quiet", "arrow-back-up", gettext_lazy("retracted")),
    "done": ("ok", "circle-check", gettext_lazy("done")),
    "under-way": ("busy", "loader", gettext_lazy("under way")),
    "dark": ("bad", "plug-connected-x", gettext_lazy("dark")),
    "lifted": ("quiet", "arrow-back-up", gettext_lazy("lifted")),
    "high": ("bad", "alert-triangle", gettext_lazy("high")),
    "medium": ("warn", "alert-triangle", gettext_lazy("medium")),
    "low": ("quiet", "info-circle", gettext_lazy("low")),
    # nodes
    "new": ("quiet", "circle-dashed", gettext_lazy("not enrolled")),
    "enrolled": ("warn", "clock", gettext_lazy("enrolled")),
    "online": ("ok", "circle-check", gettext_lazy("online")),
    "offline": ("bad", "circle-x", gettext_lazy("offline")),
    # deployments and workloads
    "pending": ("busy", "loader", gettext_lazy("waiting")),
    "progressing": ("busy", "loader", gettext_lazy("in progress")),
    "ready": ("ok", "circle-check", gettext_lazy("ready")),
    "failed": ("bad", "circle-x", gettext_lazy("failed")),
    "removing": ("busy", "loader", gettext_lazy("being removed")),
    "removed": ("quiet", "trash", gettext_lazy("removed")),
    "kept": ("ok", "circle-check", gettext_lazy("stays")),
    "abandoned": ("warn", "plug-connected-x", gettext_lazy("given up")),
    "absent": ("quiet", "circle-dashed", gettext_lazy("absent")),
    # rollouts and their nodes
    "planned": ("quiet", "clipboard-list", gettext_lazy("planned")),
    "paused": ("warn", "player-pause", gettext_lazy("paused")),
    "stopping": ("warn", "loader", gettext_lazy("stopping")),
    "aborted": ("quiet", "ban", gettext_lazy("aborted")),
    "rolled-back": ("quiet", "arrow-back-up", gettext_lazy("rolled back")),
    "waiting": ("quiet", "clock", gettext_lazy("not begun")),
    "going": ("busy", "loader", gettext_lazy("under way")),
    "skipped": ("quiet", "circle-minus", gettext_lazy("left out")),
    "returning": ("busy", "loader", gettext_lazy("going back")),
    "returned": ("quiet", "arrow-back-up", gettext_lazy("back as before")),
    "stuck": ("bad", "alert-circle", gettext_lazy("not brought back")),
    # operations
    "running": ("busy", "loader", gettext_lazy("running")),
    "succeeded": ("ok", "circle-check", gettext_lazy("succeeded")),
    "cancelled": ("quiet", "ban", gettext_lazy("cancelled")),
    # what a node's MEP says (MEC 011)
    "ACTIVE": ("ok", "circle-check", gettext_lazy("active")),
    "INACTIVE": ("quiet", "circle-dashed", gettext_lazy("inactive")),
    "SUSPENDED": ("warn", "alert-triangle", gettext_lazy("suspended")),
    "READY": ("ok", "circle-check", gettext_lazy("ready")),
    "TERMINATING": ("busy", "loader", gettext_lazy("terminating")),
    # partner stores and runs of certification
    "active": ("ok", "circle-check", gettext_lazy("active")),
    "suspended": ("warn", "alert-triangle", gettext_lazy("suspended")),
    "ended": ("quiet", "ban", gettext_lazy("ended")),
    "finished": ("ok", "circle-check", gettext_lazy("finished")),
    # alarms (ITU-T X.733); a warning is one of the findings below
    "critical": ("bad", "alert-circle", gettext_lazy("critical")),
    "major": ("bad", "alert-circle", gettext_lazy("major")),
    "minor": ("warn", "alert-triangle", gettext_lazy("minor")),
    "cleared": ("quiet", "circle-check", gettext_lazy("cleared")),
    # findings
    "error": ("bad", "alert-circle", gettext_lazy("error")),
    "warning": ("warn", "alert-triangle", gettext_lazy("warning")),
    "info": ("busy", "info-circle", gettext_lazy("note")),
}

#: kind of operation -> words
WORK = {
    "package.check": gettext_lazy("Check a package"),
    "package.sign": gettext_lazy("Sign a package"),
    "publisher.recheck": gettext_lazy("Look at a publisher's proof again"),
    "federation.sync": gettext_lazy("Follow a partner store"),
    "federation.feed": gettext_lazy("Make the feeds for partners"),
    "federation.import": gettext_lazy("Fetch a release from a partner"),
    "federation.deliver": gettext_lazy("Deliver messages to a partner"),
    "edgegallery.list": gettext_lazy("Read the list of an EdgeGallery store"),
    "edgegallery.pull": gettext_lazy("Fetch a package from an EdgeGallery store"),
    "trial.close": gettext_lazy("Clear a trial away"),
    "contents.inspect": gettext_lazy("Look into a package"),
    "certification.run": gettext_lazy("Certify a package"),
    "node.probe": gettext_lazy("Test the connection"),
    "node.watch": gettext_lazy("Look at a node"),
    "deployment.apply": gettext_lazy("Apply a deployment"),
    "deployment.observe": gettext_lazy("Look at a deployment"),
    "rollout.step": gettext_lazy("Go on with a rollout"),
    "recalls.spread": gettext_lazy("Give the nodes the recall list"),
    "recalls.renew": gettext_lazy("Sign the recall list anew"),
    "catalog.tell": gettext_lazy("Tell followers"),
    "catalog.deliver": gettext_lazy("Send a webhook"),
    "catalog.rebuild": gettext_lazy("Rebuild the catalogue"),
}
#: what made a generation of a deployment -> words
DEEDS = {
    "install": gettext_lazy("install"),
    "upgrade": gettext_lazy("upgrade"),
    "rollback": gettext_lazy("rollback"),
    "remove": gettext_lazy("remove"),
}
#: The length of a unit in seconds, and how to say a span of it that is past or to come.
UNITS = (
    (31_536_000, ngettext_lazy("%d year ago", "%d years ago"), ngettext_lazy("in %d year", "in %d years")),
    (2_592_000, ngettext_lazy("%d month ago", "%d months ago"), ngettext_lazy("in %d month", "in %d months")),
    (86_400, ngettext_lazy("%d day ago", "%d days ago"), ngettext_lazy("in %d day", "in %d days")),
    (3600, ngettext_lazy("%d hour ago", "%d hours ago"), ngettext_lazy("in %d hour", "in %d hours")),
    (60, ngettext_lazy("%d minute ago", "%d minutes ago"), ngettext_lazy("in %d minute", "in %d minutes")),
    (1, ngettext_lazy("%d second ago", "%d seconds ago"), ngettext_lazy("in %d second", "in %d seconds")),
)


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """Draw an icon of the vendored sprite; it is decoration, so screen readers skip it."""
    return _icon(name, extra, str(settings.STATIC_URL))


@lru_cache(maxsize=1000)
def _icon(name: str, extra: str, static_url: str) -> SafeString:
    # A page has a hundred of them, and finding the address of the sprite is the larger part of drawing one.
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
    # Motion belongs to work under way, not to notes.
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), word or usual)


@register.simple_tag
def state_word(value: Any) -> str:
    """Write a state as a word alone, for a list to choose from."""
    return str(STATES.get(str(value), ("", "", value))[2])


@register.filter
def in_language(text: Any) -> Any:
    """Write what a service said in the language of the page; what is known in English only stays so."""
    return spoken.in_language(text)


@register.filter
def size(value: Any) -> str:
    """Write bytes for people: 1536 -> 1.5 KiB."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _("unknown")
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            plain = unit == "B" or number >= 100 or number == int(number)
            return f"{number_format(number, 0 if plain else 1)} {unit}"
        number /= 1024
    return ""


@register.filter
def cpus(value: Any) -> str:
    """Write thousandths of a CPU for people: 1500 -> 1.5 CPU."""
    try:
        return f"{number_format(Decimal(format(float(value) / 1000, 'g')))} CPU"
    except (TypeError, ValueError):
        return _("unknown")


@register.simple_tag
def ago(moment: datetime | str | None, never: str = "") -> SafeString | str:
    """Write a moment as a distance from now; the exact time is in the title. Scripts keep it fresh."""
    if isinstance(moment, str):
        # What a node reports may be no time at all.
        try:
            moment = parse_datetime(moment)
        except ValueError:
            moment = None
    if moment is None:
        return never or _("never")
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, UTC)
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        moment.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
        distance((moment - timezone.now()).total_seconds()),
    )


def distance(seconds: float) -> str:
    """Write a span from now for people: -180 is "3 minutes ago", 7200 is "in 2 hours"."""
    span = abs(seconds)
    if span < 5:
        return _("just now")
    length, past, future = next(unit for unit in UNITS if span >= unit[0])
    return str((future if seconds > 0 else past) % round(span / length))


@register.filter
def tile(value: Any) -> int:
    """Choose one of eight colours by name, the same each time."""
    return zlib.crc32(str(value).encode()) % 8


@register.filter
def as_yaml(value: Any) -> str:
    """Write JSON data as YAML, in its order; nothing for nothing."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).strip() if value else ""


@register.filter
def as_value(value: Any) -> str:
    """Write one value of a chart as people type it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@register.filter
def get(mapping: Any, key: str) -> Any:
    """Look a key up; nothing where there is none."""
    return mapping.get(key) if isinstance(mapping, Mapping) else None


@register.filter
def work(kind: str) -> str:
    """Write a kind of operation for people; one we have no words for stays as it is."""
    return str(WORK.get(kind, kind))


@register.filter
def deed(action: str) -> str:
    """Write what made a generation of a deployment for people."""
    return str(DEEDS.get(action, action))


@register.filter
def rights(names: Any) -> str:
    """Write permissions or roles, one or a list, for people."""
    return permissions.told([names] if isinstance(names, str) else names)


@register.filter
def seen_by(visibility: str) -> str:
    """Write who sees a release."""
    return str(NAMES.get(visibility, visibility))


@register.filter
def reason_words(reason: Any) -> str:
    """Write a reason of placement in the language of the page."""
    return reasons.words(reason)


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
    for name, value in changes.items():
        params.pop(name, None)
        if value not in (None, ""):
            params[name] = str(value)
    return "?" + params.urlencode()


#: The pages about one package, each by the topic that owns it.
PACKAGE_TABS = (
    ("overview", "package", gettext_lazy("Overview")),
    ("inside", "package-inside", gettext_lazy("What is inside")),
    ("trust", "package-trust", gettext_lazy("Signature")),
    ("certification", "package-certification", gettext_lazy("Certification")),
    ("life", "package-life", gettext_lazy("Life")),
    ("reviews", "package-reviews", gettext_lazy("Reviews")),
)


@register.inclusion_tag("frontend/parts/package_tabs.html")
def package_tabs(package: Any, active: str) -> dict[str, Any]:
    """Show the pages about a package as tabs."""
    tabs = []
    for key, name, label in PACKAGE_TABS:
        try:
            tabs.append(
                {"label": label, "url": reverse(f"frontend:{name}", args=[package.pk]), "active": key == active}
            )
        except NoReverseMatch:
            continue
    return {"tabs": tabs}
