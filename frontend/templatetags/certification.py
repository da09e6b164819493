"""How pages write the outcomes of checks and the standing of certificates."""

from __future__ import annotations

import shlex
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from frontend.templatetags.portal import icon

register = template.Library()


@register.filter
def shell_word(text: Any) -> str:
    """Write the name of a file as one word of a shell command; a package that has none is `package.csar`."""
    return shlex.quote(str(text or "package.csar"))


#: outcome, verdict or standing -> (look, icon, word)
OUTCOMES = {
    "passed": ("ok", "circle-check", "passed"),
    "warned": ("warn", "alert-triangle", "passed with warnings"),
    "failed": ("bad", "circle-x", "failed"),
    "skipped": ("quiet", "circle-minus", "does not apply"),
    "crashed": ("bad", "bug", "the check broke"),
    "timed-out": ("bad", "alarm", "took too long"),
    "out-of-memory": ("bad", "cpu", "took too much memory"),
    "stopped": ("quiet", "player-stop", "stopped"),
    "waiting": ("warn", "user-check", "waits for a person"),
    "": ("quiet", "circle-dashed", "not begun"),
    "pending": ("quiet", "clock", "waits for a worker"),
    "running": ("busy", "loader", "running"),
    "finished": ("ok", "circle-check", "finished"),
    "cancelled": ("quiet", "ban", "stopped"),
    "valid": ("ok", "certificate", "valid"),
    "revoked": ("bad", "ban", "revoked"),
    "expired": ("warn", "calendar", "expired"),
    "not yet valid": ("warn", "calendar", "not yet valid"),
    "trusted": ("ok", "shield-check", "trusted"),
    "ended": ("warn", "calendar", "ended"),
}
LEVELS = {"basic": "Basic", "standard": "Standard", "telco": "Telco"}


@register.simple_tag
def outcome(value: Any, word: str = "") -> SafeString:
    """Write an outcome as a word with a mark and a colour."""
    look, mark, usual = OUTCOMES.get(str(value or ""), ("quiet", "circle-dashed", str(value)))
    return format_html('<span class="state state-{}">{}{}</span>', look, icon(mark), word or usual)


@register.simple_tag
def level(value: Any) -> SafeString:
    """Write a certification level as a badge; no level in words."""
    if not value:
        return format_html('<span class="state state-quiet">{}{}</span>', icon("certificate"), "no level")
    word = LEVELS.get(str(value), str(value))
    return format_html('<span class="state state-ok cert-level">{}{}</span>', icon("certificate"), word)


@register.filter
def level_name(value: Any) -> str:
    """Write a level for people."""
    return LEVELS.get(str(value), str(value))
