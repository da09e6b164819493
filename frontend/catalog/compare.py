"""Two applications, or two releases of one, side by side."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from appstore.catalog import comparing, search
from appstore.catalog.comparing import Row, Side
from appstore.catalog.search import Query
from core.accounts.access import Actor
from frontend import tenancy
from frontend.page import open_page, words_of

GROUPS = {
    "what": gettext_lazy("What it is"),
    "use": gettext_lazy("How it is used"),
    "trust": gettext_lazy("Trust"),
    "needs": gettext_lazy("What it needs"),
    "services": gettext_lazy("MEC services"),
    "inside": gettext_lazy("What is inside"),
}
NAMES = {
    "provider": gettext_lazy("Provider"),
    "version": gettext_lazy("Version"),
    "published": gettext_lazy("Published"),
    "store": gettext_lazy("Store"),
    "category": gettext_lazy("Category"),
    "state": gettext_lazy("State"),
    "licences": gettext_lazy("Licence"),
    "size": gettext_lazy("Size of the package"),
    "format": gettext_lazy("Format"),
    "rating": gettext_lazy("Rating"),
    "downloads": gettext_lazy("Downloads"),
    "deployments": gettext_lazy("Deployments"),
    "signature": gettext_lazy("Signature"),
    "certification": gettext_lazy("Certification"),
    "cpu": gettext_lazy("CPU"),
    "memory": gettext_lazy("Memory"),
    "storage": gettext_lazy("Storage"),
    "architectures": gettext_lazy("Architecture"),
    "latency": gettext_lazy("Longest delay it bears"),
    "traffic-rules": gettext_lazy("Traffic rules"),
    "dns-rules": gettext_lazy("DNS rules"),
    "produced": gettext_lazy("Offers"),
    "used": gettext_lazy("Uses"),
    "required": gettext_lazy("Must have"),
    "optional": gettext_lazy("Can use"),
    "permissions": gettext_lazy("What it asks for"),
    "images": gettext_lazy("Images"),
    "components": gettext_lazy("Components (SBOM)"),
    "kinds": gettext_lazy("Kinds of components"),
    "weaknesses": gettext_lazy("Known weaknesses"),
}
_OFFERED = 8


@require_GET
@open_page
def compare_page(request: HttpRequest) -> HttpResponse:
    """Show two releases side by side; with less than two chosen, ask for the others.

    `a` and `b` are numbers of applications, `av` and `bv` versions of them; `app` comes from the boxes on the cards.
    """
    chosen = [each for each in dict.fromkeys(request.GET.getlist("app")) if _number(each)]
    if len(chosen) == 2:
        return redirect(_address(a=chosen[0], b=chosen[1]))
    actor = tenancy.actor_of(request)
    first = _number(request.GET.get("a")) or (_number(chosen[0]) if len(chosen) == 1 else None)
    second = _number(request.GET.get("b"))
    context: dict[str, Any] = {"section": "catalogue", "too_many": len(chosen) > 2, "q": words_of(request)}
    if first is None:
        return render(request, "frontend/catalog/compare_choose.html", context)
    wanted = [(first, request.GET.get("av", ""))]
    if second is not None:
        wanted.append((second, request.GET.get("bv", "")))
    found = comparing.sides(actor, *wanted)
    if len(found) == 1:
        context |= {"left": found[0], "offered": _offered(actor, found[0], context["q"])}
        return render(request, "frontend/catalog/compare_choose.html", context)
    left, right = found
    only = request.GET.get("only") == "differences"
    rows = comparing.rows(left, right)
    context |= {
        "left": left,
        "right": right,
        "sides": found,
        "groups": _groups([row for row in rows if row.differs or not only]),
        "differing": sum(row.differs for row in rows),
        "compared": len(rows),
        "only": only,
        "inside": bool(left.contents and right.contents),
        "turned": _address(a=right.app.pk, av=right.release.version, b=left.app.pk, bv=left.release.version),
    }
    return render(request, "frontend/catalog/compare.html", context)


def _offered(actor: Actor, side: Side, words: str) -> list[dict[str, Any]]:
    """Return what the first release can be compared with: other releases of it, or applications that match the words."""
    mine = {"a": side.app.pk, "av": side.release.version}
    if not words:
        return [
            {"name": side.app.name, "version": row.version, "url": _address(**mine, b=side.app.pk, bv=row.version)}
            for row in side.releases
            if row.version != side.release.version
        ][:_OFFERED]
    found = search.search(Query(text=words, size=_OFFERED), actor, values=1)
    return [
        {
            "name": row.app.name,
            "version": row.release.version if row.release else "",
            "url": _address(**mine, b=row.app_id),
        }
        for row in found.rows
        if row.app_id != side.app.pk
    ]


def _groups(rows: list[Row]) -> list[dict[str, Any]]:
    order = list(GROUPS)
    rows = sorted(rows, key=lambda row: order.index(row.group))
    return [
        {"label": GROUPS[group], "rows": [_shown(row) for row in members]}
        for group, members in groupby(rows, key=lambda row: row.group)
    ]


def _shown(row: Row) -> dict[str, Any]:
    """Return a row as the page writes it: in lists, each line knows whether the other side has it, too."""
    cells: list[Any] = [row.left, row.right]
    if isinstance(row.left, tuple) and row.kind in ("lines", "permissions"):
        cells = [
            [(line, line not in other) for line in mine]
            for mine, other in ((row.left, row.right), (row.right, row.left))
        ]
    return {"label": NAMES[row.name], "kind": row.kind, "differs": row.differs, "cells": cells}


def _address(**asked: Any) -> str:
    return f"{reverse('frontend:compare')}?{urlencode(asked)}"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None
