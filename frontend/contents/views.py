"""What is inside a package: what it may do, what it is made of, what is new, and what differs from the release before."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.contents import schema_rows, services
from appstore.contents.comparing import Difference, Step
from appstore.contents.facts import Component, Facts
from appstore.packages import states
from appstore.packages.models import Package
from core.accounts import access
from core.operations.models import Operation
from frontend import tables, tenancy
from frontend.page import page, paged, told, words_of
from frontend.store.packages import PACKAGES, visible

_TOPICS = {
    "permissions": gettext_lazy("Permissions"),
    "images": gettext_lazy("Images"),
    "components": gettext_lazy("Software"),
    "licences": gettext_lazy("Licences"),
    "objects": gettext_lazy("Kubernetes objects"),
    "ports": gettext_lazy("Ports"),
}
#: Steps of one topic that are shown; the API tells all.
_MOST_STEPS = 40
_ROWS = 25


@require_GET
@page
def inside(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show what a worker found inside."""
    package, actor = visible(request, pk), tenancy.actor_of(request)
    mine = actor.may("packages.read", package.organisation_id)
    contents = services.of(package)
    facts = contents.read() if contents else Facts()
    words, kind = words_of(request), request.GET.get("kind", "")
    difference = services.difference(package, actor=actor) if contents else None
    work = Operation.objects.about(services.target_of(package)).filter(kind=services.INSPECT).first() if mine else None
    context = {
        "section": "packages" if mine and not package.released else "catalogue",
        "package": package,
        "contents": contents,
        "facts": facts,
        "work": work,
        "reading": work is not None and not work.finished,
        "may_read_again": actor.may("packages.write", package.organisation_id) and _can_be_read(package),
        "severities": Counter(each.severity for each in facts.permissions),
        "difference": difference,
        "topics": topics_of(difference),
        "licences_inside": Counter(each.licence for each in facts.components if each.licence).most_common(40),
        "kinds": sorted(Counter(each.kind for each in facts.components).items()),
        "rows": paged(request, _matching(facts, words, kind), _ROWS, table=tables.COMPONENTS),
        "q": words,
        "kind_wanted": kind,
        "schema": schema_rows.rows(contents.values_schema) if contents else [],
    }
    return render(request, "frontend/contents/inside.html", context)


@require_POST
@page
def inspect(request: HttpRequest, pk: Any) -> HttpResponse:
    """Have the package read again."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.write", pk)
    with told(request, _("The package is being read again.")):
        services.request_inspection(package, actor=actor)
    return redirect("frontend:package-inside", pk)


def _can_be_read(package: Package) -> bool:
    return package.state not in (states.DRAFT, states.REJECTED)


def _matching(facts: Facts, words: str, kind: str) -> list[Component]:
    """Return the components in which every word occurs, in name, version, licence or place."""
    wanted = words.lower().split()
    found = facts.components if not kind else [each for each in facts.components if each.kind == kind]
    if not wanted:
        return found
    return [
        c for c in found if all(w in f"{c.name} {c.version} {c.licence} {c.place} {c.kind}".lower() for w in wanted)
    ]


def topics_of(difference: Difference | None) -> list[dict[str, Any]]:
    """Return what differs, ready to be listed: each step with a sign that says which way it went."""
    shown: list[dict[str, Any]] = []
    for name, topic in difference.topics() if difference else ():
        steps: list[tuple[str, Step]] = [
            *(("added", each) for each in topic.added),
            *(("changed", each) for each in topic.changed),
            *(("removed", each) for each in topic.removed),
        ]
        if steps:
            rest = max(0, len(steps) - _MOST_STEPS)
            shown.append({"name": name, "label": _TOPICS[name], "steps": steps[:_MOST_STEPS], "rest": rest})
    return shown
