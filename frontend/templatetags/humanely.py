"""How the pages of the catalogue write counts and stars, and where its releases are."""

from __future__ import annotations

import re
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from appstore.catalog import badges, notices
from appstore.catalog.models import Release
from frontend.templatetags.portal import icon, words

register = template.Library()

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Facts of the audit log that name an object with a page.
_PAGES = {name: f"frontend:{name}" for name in ("package", "node", "site", "deployment", "recall", "rollout", "alarm")}


@register.filter
def counted(value: Any) -> str:
    """Write a count for people: 1534 is 1.5k."""
    return badges.short(int(value or 0))


@register.filter
def address(release: Release) -> str:
    """Return the page about a release."""
    return notices.address_of(release)


@register.simple_tag
def stars(rating: Any) -> SafeString:
    """Draw a rating as five stars; the number is said to those who do not see them."""
    full = round(float(rating or 0))
    drawn = format_html_join("", "{}", ((icon("star", "star-full" if n < full else "star-empty"),) for n in range(5)))
    said = _("%s of 5 stars") % rating
    return format_html('<span class="stars" role="img" aria-label="{}">{}</span>', said, drawn)


@register.filter
def wordlist(text: str) -> list[str]:
    """Cut a text at its blanks, for a loop over a few fixed words."""
    return text.split()


@register.simple_tag
def fact(key: str, value: Any) -> SafeString | str:
    """Write a fact of the audit log; an id is cut to what eyes compare, whole in its title, and leads to its object."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return words(value)
    if key not in _PAGES:
        return format_html('<code title="{}">{}…</code>', value, value[:8])
    return format_html('<a href="{}" title="{}">{}…</a>', reverse(_PAGES[key], args=[value]), value, value[:8])
