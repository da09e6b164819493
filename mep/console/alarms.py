"""Alarms: what a person has to know, acknowledged or cleared."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import messages
from django.db.models import Case, Count, IntegerField, Max, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from core.errors import Missing
from core.words import say
from mep.console.frame import live, paged, token, words_of
from mep.console.models import Acknowledgement
from mep.mp1 import operator
from mep.mp1.models import Alarm
from mep.mp1.states import Severity


def seen(alarm: Alarm) -> bool:
    """Return whether somebody has acknowledged the alarm since it was last raised."""
    note = getattr(alarm, "acknowledgement", None)
    return note is not None and note.at >= alarm.updated_at


def worst_first(rows: QuerySet[Alarm]) -> QuerySet[Alarm]:
    """Return alarms by severity, the newest of each first."""
    ranks = (When(severity=each, then=Value(at)) for at, each in enumerate(Severity))
    return rows.order_by(Case(*ranks, output_field=IntegerField()), "-updated_at")


@require_safe
def alarms(request: HttpRequest) -> HttpResponse:
    """GET /alarms"""
    sought, show = words_of(request), words_of(request, "show")

    def build() -> dict[str, Any]:
        rows = Alarm.objects.select_related("acknowledgement").filter(cleared_at__isnull=show != "cleared")
        rows = rows.order_by("-updated_at") if show == "cleared" else worst_first(rows)
        if sought:
            rows = rows.filter(Q(text__icontains=sought) | Q(kind__icontains=sought) | Q(subject__icontains=sought))
        page = paged(request, rows)
        for alarm in page:
            alarm.seen = seen(alarm)
        return {"rows": page, "q": sought, "show": show}

    now = token(
        Alarm.objects.aggregate(Count("pk"), Max("updated_at"), Max("cleared_at")),
        Acknowledgement.objects.aggregate(Count("pk"), Max("at")),
    )
    return live(request, "alarms", now, build)


@require_POST
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """POST /alarms/<pk>/acknowledge"""
    alarm = Alarm.objects.filter(pk=pk).first()
    if alarm is None:
        raise Missing(say("This alarm is gone"))
    Acknowledgement.objects.update_or_create(alarm=alarm, defaults={"at": time.time()})
    messages.success(request, _("Acknowledged. It stays in the list until it is cleared."))
    return redirect("alarms")


@require_POST
def clear(request: HttpRequest, pk: int) -> HttpResponse:
    """POST /alarms/<pk>/clear"""
    operator.clear_alarm(pk)
    messages.success(request, _("Cleared. It comes back if its cause is still there."))
    return redirect("alarms")
