"""Alarms: what is wrong in the fleet, who looks after it, and what was before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST, require_safe

from core.accounts import access
from core.errors import BreakwaterError, Denied, Invalid
from frontend import tenancy
from frontend.download import download
from frontend.fleet import context
from frontend.forms import PortalForm
from frontend.page import page, paged, words_of
from mecm.fleet import services
from mecm.fleet.api import sought
from mecm.fleet.causes import CAUSES, SOURCES
from mecm.fleet.models import Alarm, AlarmQuerySet, Severity

#: Source kind -> the page about such a thing.
PAGES = {
    "node": "frontend:node",
    "deployment": "frontend:deployment",
    "partner": "frontend:partner",
    "recall": "frontend:recall",
    "rollout": "frontend:rollout",
}
#: What one must be allowed to see there, where nodes alone are not enough.
NEEDS = {"partner": "federation.manage", "rollout": "deployments.read"}  # fmt: skip
SHOWN = [
    ("standing", gettext_lazy("that stand")),
    ("open", gettext_lazy("that nobody looks after")),
    ("acknowledged", gettext_lazy("that somebody looks after")),
    ("cleared", gettext_lazy("that were cleared")),
    ("all", gettext_lazy("of all times")),
]
COLUMNS = (
    "id", "severity", "cause", "source_kind", "source_id", "source_name", "text", "advice", "times", "raised_at",
    "changed_at", "cleared_at", "acknowledged_at", "acknowledged_by", "note",
)  # fmt: skip


class AcknowledgeForm(PortalForm):
    """Which alarms somebody looks after, and what is being done."""

    alarm = forms.CharField(label=gettext_lazy("Alarms"), widget=forms.MultipleHiddenInput, required=False)
    note = forms.CharField(
        label=gettext_lazy("What is being done about it"), max_length=services.LONGEST_NOTE, required=False
    )

    def clean_alarm(self) -> list[str]:
        """Return the ids that are ids, at most as many as are taken at once."""
        ticked = self.data.getlist("alarm")[: services.MOST_AT_ONCE]  # type: ignore[attr-defined]
        return [key for key in ticked if _is_id(key)]


@require_GET
@page
def alarms_page(request: HttpRequest) -> HttpResponse:
    """List alarms, the worst first."""
    return _alarms(request, AcknowledgeForm())


def _alarms(request: HttpRequest, form: AcknowledgeForm, status: int = 200) -> HttpResponse:
    found = paged(request, _found(request).select_related("organisation"))
    actor = tenancy.actor_of(request)
    ticked = form.clean_alarm() if form.is_bound else []
    for alarm in found:
        alarm.may_write = actor.may("nodes.write", alarm.organisation_id)
        alarm.ticked = str(alarm.pk) in ticked
    shown = {
        "section": "alarms",
        "rows": found,
        "form": form,
        "may_acknowledge": any(alarm.may_write and alarm.cleared_at is None for alarm in found),
        "wanted": {name: words_of(request, name) for name in ("show", "severity", "source", "q")},
        "filtered": any(words_of(request, name) for name in ("severity", "source", "q"))
        or words_of(request, "show") not in ("", "standing"),
        "shown": SHOWN,
        "severities": Severity.values,
        "sources": {kind: _(word) for kind, word in SOURCES.items()},
        "note_limit": services.LONGEST_NOTE,
    }
    live = bool(request.htmx)  # type: ignore[attr-defined]
    return render(request, f"frontend/fleet/alarms{'_live' if live else ''}.html", shown, status=status)


@require_GET
@page
def alarm_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show one alarm, what happened to it, and the earlier times of the same trouble."""
    return _alarm(request, access.get(Alarm.objects.select_related("organisation"), _actor(request), "nodes.read", pk))


@require_POST
@page
def acknowledge(request: HttpRequest) -> HttpResponse:
    """Write down that the person looks after the alarms that are ticked."""
    actor = _actor(request)
    if not actor.organisations("nodes.write"):
        raise Denied(_("Your roles do not let you acknowledge alarms."))
    form = AcknowledgeForm(request.POST)
    rows: list[Alarm] = []
    back = request.POST.get("back", "")
    if form.is_valid():
        chosen = Alarm.objects.filter(pk__in=form.cleaned_data["alarm"])
        rows = list(access.scoped(chosen, actor, "nodes.write"))
        try:
            if not rows:
                raise Invalid(_("Tick the alarms that you look after."))
            services.acknowledge(rows, actor=actor, note=form.cleaned_data["note"])
            context.forget(request)
        except BreakwaterError as error:
            form.blame(error)
    if form.errors:
        # One alarm has a page of its own.
        one = form.clean_alarm()[:1] if back == "one" else []
        alarm = (
            access.scoped(Alarm.objects.select_related("organisation"), actor, "nodes.write").filter(pk__in=one).first()
        )
        return _alarm(request, alarm, form) if alarm else _alarms(request, form, 400)
    text = ngettext("You look after %(count)d alarm.", "You look after %(count)d alarms.", len(rows))
    messages.success(request, text % {"count": len(rows)})
    if len(rows) == 1 and back == "one":
        return redirect("frontend:alarm", rows[0].pk)
    return redirect("frontend:alarms")


@require_safe
@page
def download_alarms(request: HttpRequest) -> HttpResponseBase:
    """Send the alarms of the list as a file."""
    rows = _found(request).values_list(*COLUMNS)
    return download(words_of(request, "form") or "csv", "alarms", COLUMNS, rows.iterator(chunk_size=2000))


def _actor(request: HttpRequest) -> Any:
    return tenancy.actor_of(request)


def _found(request: HttpRequest) -> AlarmQuerySet:
    actor = tenancy.actor_of(request)
    if not actor.organisations("nodes.read"):
        raise Denied(_("Your roles do not show you alarms."))
    rows = Alarm.objects.visible_to(actor)
    try:
        return sought(rows, request.GET)
    except Invalid:
        return sought(rows, {"q": words_of(request)})


def _alarm(request: HttpRequest, alarm: Alarm, form: AcknowledgeForm | None = None) -> HttpResponse:
    needs = NEEDS.get(alarm.source_kind, "nodes.read")
    linked = alarm.source_kind in PAGES and _actor(request).may(needs, alarm.organisation_id)
    shown = {
        "section": "alarms",
        "alarm": alarm,
        "events": alarm.events.all()[:200],  # type: ignore[attr-defined]
        "earlier": services.earlier(alarm),
        "source_word": _said(SOURCES, alarm.source_kind),
        "cause_word": _said(CAUSES, alarm.cause),
        "source_page": _page_of(alarm) if linked else "",
        "node_page": reverse("frontend:node", args=[alarm.node_id]) if alarm.node_id else "",
        "may_write": _actor(request).may("nodes.write", alarm.organisation_id),
        "form": form or AcknowledgeForm(initial={"note": alarm.note}),
    }
    return render(request, "frontend/fleet/alarm.html", shown, status=400 if form else 200)


def _said(words: Mapping[str, str], code: str) -> str:
    """Return what people call it; a code that we have no words for stays as it is."""
    return _(words[code]) if code in words else code


def _page_of(alarm: Alarm) -> str:
    try:
        return reverse(PAGES[alarm.source_kind], args=[alarm.source_id])
    except NoReverseMatch:
        # Whoever raised it named its source as they liked.
        return ""


def _is_id(key: str) -> bool:
    try:
        return bool(UUID(key))
    except ValueError:
        return False
