"""How the pages write icons, states, sizes and times."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
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
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

#: state -> (look, icon, word)
STATES = {
    # packages
    "draft": ("busy", "loader", "being checked"),
    "checked": ("ok", "circle-check", "checked"),
    "rejected": ("bad", "circle-x", "rejected"),
    "published": ("ok", "world", "published"),
    "in-review": ("busy", "eye-check", "in review"),
    "deprecated": ("warn", "archive", "deprecated"),
    "yanked": ("quiet", "ban", "yanked"),
    "quarantined": ("warn", "lock", "quarantined"),
    "recalled": ("bad", "urgent", "recalled"),
    # reviews and recalls
    "open": ("busy", "eye", "open"),
    "approved": ("ok", "check", "approved"),
    "declined": ("bad", "x", "declined"),
    "retracted": ("quiet", "arrow-back-up", "retracted"),
    "done": ("ok", "circle-check", "done"),
    "under-way": ("busy", "loader", "under way"),
    "dark": ("bad", "plug-connected-x", "dark"),
    "lifted": ("quiet", "arrow-back-up", "lifted"),
    "high": ("bad", "alert-triangle", "high"),
    "medium": ("warn", "alert-triangle", "medium"),
    "low": ("quiet", "info-circle", "low"),
    # nodes
    "new": ("quiet", "circle-dashed", "not enrolled"),
    "enrolled": ("warn", "clock", "enrolled"),
    "online": ("ok", "circle-check", "online"),
    "offline": ("bad", "circle-x", "offline"),
    # deployments and workloads
    "pending": ("busy", "loader", "waiting"),
    "progressing": ("busy", "loader", "in progress"),
    "ready": ("ok", "circle-check", "ready"),
    "failed": ("bad", "circle-x", "failed"),
    "removing": ("busy", "loader", "being removed"),
    "removed": ("quiet", "trash", "removed"),
    "absent": ("quiet", "circle-dashed", "absent"),
    # operations
    "running": ("busy", "loader", "running"),
    "succeeded": ("ok", "circle-check", "succeeded"),
    "cancelled": ("quiet", "ban", "cancelled"),
    # what a node's MEP says (MEC 011)
    "ACTIVE": ("ok", "circle-check", "active"),
    "INACTIVE": ("quiet", "circle-dashed", "inactive"),
    "SUSPENDED": ("warn", "alert-triangle", "suspended"),
    "READY": ("ok", "circle-check", "ready"),
    "TERMINATING": ("busy", "loader", "terminating"),
    # alarms (ITU-T X.733); a warning is one of the findings below
    "critical": ("bad", "alert-circle", "critical"),
    "major": ("bad", "alert-circle", "major"),
    "minor": ("warn", "alert-triangle", "minor"),
    # findings
    "error": ("bad", "alert-circle", "error"),
    "warning": ("warn", "alert-triangle", "warning"),
    "info": ("busy", "info-circle", "note"),
}

#: kind of operation -> words
WORK = {
    "package.check": "Check a package",
    "package.sign": "Sign a package",
    "publisher.recheck": "Look at a publisher's proof again",
    "federation.sync": "Follow a partner store",
    "federation.feed": "Make the feeds for partners",
    "federation.import": "Fetch a release from a partner",
    "federation.deliver": "Deliver messages to a partner",
    "edgegallery.list": "Read the list of an EdgeGallery store",
    "edgegallery.pull": "Fetch a package from an EdgeGallery store",
    "trial.close": "Clear a trial away",
    "contents.inspect": "Look into a package",
    "certification.run": "Certify a package",
    "node.probe": "Test the connection",
    "node.watch": "Look at a node",
    "deployment.apply": "Apply a deployment",
    "deployment.observe": "Look at a deployment",
    "recalls.spread": "Give the nodes the recall list",
    "recalls.renew": "Sign the recall list anew",
    "catalog.tell": "Tell followers",
    "catalog.deliver": "Send a webhook",
    "catalog.rebuild": "Rebuild the catalogue",
}
UNITS = (("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


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
    look, mark, usual = STATES.get(str(value), ("quiet", "circle-dashed", str(value or "unknown")))
    # Motion belongs to work under way, not to notes.
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), word or usual)


@register.filter
def size(value: Any) -> str:
    """Write bytes for people: 1536 -> 1.5 KiB."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "unknown"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            plain = unit == "B" or number >= 100 or number == int(number)
            return f"{number:.0f} {unit}" if plain else f"{number:.1f} {unit}"
        number /= 1024
    return ""


@register.filter
def cpus(value: Any) -> str:
    """Write thousandths of a CPU for people: 1500 -> 1.5 CPU."""
    try:
        return f"{float(value) / 1000:g} CPU"
    except (TypeError, ValueError):
        return "unknown"


@register.simple_tag
def ago(moment: datetime | str | None, never: str = "never") -> SafeString | str:
    """Write a moment as a distance from now; the exact time is in the title. Scripts keep it fresh."""
    if isinstance(moment, str):
        # What a node reports may be no time at all.
        try:
            moment = parse_datetime(moment)
        except ValueError:
            moment = None
    if moment is None:
        return never
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
        return "just now"
    for unit, length in UNITS:
        if span >= length:
            count = round(span / length)
            text = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {text}" if seconds > 0 else f"{text} ago"
    return "just now"


@register.filter
def tile(value: Any) -> int:
    """Choose one of eight colours by name, the same each time."""
    return zlib.crc32(str(value).encode()) % 8


@register.filter
def as_yaml(value: Any) -> str:
    """Write JSON data as YAML, in its order; nothing for nothing."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).strip() if value else ""


@register.filter
def get(mapping: Any, key: str) -> Any:
    """Look a key up; nothing where there is none."""
    return mapping.get(key) if isinstance(mapping, Mapping) else None


@register.filter
def work(kind: str) -> str:
    """Write a kind of operation for people; one we have no words for stays as it is."""
    return WORK.get(kind, kind)


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
    ("overview", "package", "Overview"),
    ("inside", "package-inside", "What is inside"),
    ("trust", "package-trust", "Signature"),
    ("certification", "package-certification", "Certification"),
    ("life", "package-life", "Life"),
    ("reviews", "package-reviews", "Reviews"),
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
