"""How pages write the outcomes of checks and the standing of certificates."""

from __future__ import annotations

import shlex
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from frontend.templatetags.portal import icon

register = template.Library()


@register.filter
def shell_word(text: Any) -> str:
    """Write the name of a file as one word of a shell command; a package that has none is `package.csar`."""
    return shlex.quote(str(text or "package.csar"))


#: outcome, verdict or standing -> (look, icon, word)
OUTCOMES = {
    "passed": ("ok", "circle-check", gettext_lazy("passed")),
    "warned": ("warn", "alert-triangle", gettext_lazy("passed with warnings")),
    "failed": ("bad", "circle-x", gettext_lazy("failed")),
    "skipped": ("quiet", "circle-minus", gettext_lazy("does not apply")),
    "crashed": ("bad", "bug", gettext_lazy("the check broke")),
    "timed-out": ("bad", "alarm", gettext_lazy("took too long")),
    "out-of-memory": ("bad", "cpu", gettext_lazy("took too much memory")),
    "stopped": ("quiet", "player-stop", gettext_lazy("stopped")),
    "waiting": ("warn", "user-check", gettext_lazy("waits for a person")),
    "": ("quiet", "circle-dashed", gettext_lazy("not begun")),
    "pending": ("quiet", "clock", gettext_lazy("waits for a worker")),
    "running": ("busy", "loader", gettext_lazy("running")),
    "finished": ("ok", "circle-check", gettext_lazy("finished")),
    "cancelled": ("quiet", "ban", gettext_lazy("stopped")),
    "valid": ("ok", "certificate", gettext_lazy("valid")),
    "revoked": ("bad", "ban", gettext_lazy("revoked")),
    "expired": ("warn", "calendar", gettext_lazy("expired")),
    "not yet valid": ("warn", "calendar", gettext_lazy("not yet valid")),
    "trusted": ("ok", "shield-check", gettext_lazy("trusted")),
    "ended": ("warn", "calendar", gettext_lazy("ended")),
}
LEVELS = {"basic": gettext_lazy("Basic"), "standard": gettext_lazy("Standard"), "telco": gettext_lazy("Telco")}


#: What checks are grouped by.
GROUPS = {
    "packaging": gettext_lazy("packaging"),
    "security": gettext_lazy("security"),
    "quality": gettext_lazy("quality"),
    "mec": gettext_lazy("MEC"),
    "legal": gettext_lazy("legal"),
    "lifecycle": gettext_lazy("life cycle"),
    "network": gettext_lazy("network"),
    "operation": gettext_lazy("operation"),
    "resources": gettext_lazy("resources"),
    "other": gettext_lazy("other"),
}


@register.filter
def check_group(name: str) -> str:
    """Write what group a check is in; one of a plugin that we have no words for stays as it is."""
    return str(GROUPS.get(name, name))


@register.simple_tag
def outcome(value: Any, word: str = "") -> SafeString:
    """Write an outcome as a word with a mark and a colour."""
    look, mark, usual = OUTCOMES.get(str(value or ""), ("quiet", "circle-dashed", str(value)))
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), word or usual)


@register.simple_tag
def level(value: Any) -> SafeString:
    """Write a certification level as a badge; no level in words."""
    if not value:
        return format_html('<span class="state state-quiet">{}{}</span>', icon("certificate"), _("no level"))
    word = LEVELS.get(str(value), str(value))
    return format_html('<span class="state state-ok cert-level">{}{}</span>', icon("certificate"), word)


@register.filter
def level_name(value: Any) -> str:
    """Write a level for people."""
    return str(LEVELS.get(str(value), value))
