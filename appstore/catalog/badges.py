"""Small SVG pictures that say one thing about an application, for READMEs. Made without fonts, scripts or outside parts."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from appstore.catalog.models import Listing
from core.errors import Missing
from core.words import say

_GREEN, _BLUE, _GREY, _AMBER = "#2b7a3f", "#1864ab", "#57606a", "#8a5a00"
LONGEST = 40


def _version(row: Listing) -> tuple[str, str, str]:
    version = row.release.version if row.release else ""
    old = row.release is not None and row.release.state == "deprecated"
    return "version", f"{version} (deprecated)" if old else version, _AMBER if old else _BLUE


def _certification(row: Listing) -> tuple[str, str, str]:
    level = str(row.release.data.get("certification") or "") if row.release else ""
    return "certified", level or "no", _GREEN if level else _GREY


def _downloads(row: Listing) -> tuple[str, str, str]:
    return "downloads", short(row.app.downloads), _BLUE


KINDS: dict[str, Callable[[Listing], tuple[str, str, str]]] = {
    "version": _version,
    "certification": _certification,
    "downloads": _downloads,
}


def badge(package_id: Any, kind: str) -> str:
    """Return the badge of the application that a package belongs to, as everybody may see it; `Missing` when it is not public."""
    make = KINDS.get(kind)
    row = (
        Listing.objects.filter(
            for_public=True, app__releases__package_id=package_id, app__releases__visibility="public"
        )
        .select_related("app", "release")
        .defer("release__text")
        .first()
    )
    if make is None or row is None:
        raise Missing(say("There is no such badge, or the application is not public."))
    return drawn(*make(row))


def drawn(label: str, text: str, colour: str) -> str:
    """Return an SVG with a grey left part and a coloured right one; any text is safe."""
    label, text = clean(label), clean(text)
    left, right = _width(label), _width(text)
    name = quoteattr(f"{label}: {text}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label={name}>'
        f"<title>{escape(f'{label}: {text}')}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="{colour}"/>'
        f'<path d="M3 0h{left - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#3d444d"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">{escape(label)}</text>'
        f'<text x="{left + right / 2:g}" y="14">{escape(text)}</text></g></svg>'
    )


def clean(text: str) -> str:
    """Return a text that XML can hold and that stays on one short line."""
    kept = "".join(c for c in text if unicodedata.category(c)[0] != "C" and c not in "\ufffe\uffff")
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 1] + "…"


def short(count: int) -> str:
    """Write a count for people: 1534 is 1.5k."""
    for size, mark in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + mark
    return str(count)


def mark(text: str) -> str:
    """Return what tells two badges apart, for caches."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _width(text: str) -> int:
    wide = sum(11 if unicodedata.east_asian_width(c) in "WF" else 4 if c in "il.,:'|1 " else 7 for c in text)
    return wide + 12
