"""The panel of the fleet's dashboard: rollouts that run, and those that wait because they failed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, Value, When
from django.http import HttpRequest
from django.utils import timezone

from core.accounts.models import Organisation
from frontend import tenancy
from frontend.fleet.panels import panel
from mecm.rollouts.models import Place, Rollout

SHOWN = 6
#: What failed longer ago than this is found in the list of rollouts.
REMEMBERED = timedelta(days=14)
_OPEN = [Place.State.WAITING, Place.State.GOING, Place.State.RETURNING]


@panel
def rollouts(request: HttpRequest, organisation: Organisation) -> tuple[str, dict[str, Any]] | None:
    """Return the rollouts of the organisation that are under way or held, the failed ones first; one query."""
    if not tenancy.actor_of(request).may("deployments.read", organisation.pk):
        return None
    at = Rollout.State
    going = Q(state__in=[at.RUNNING, at.PAUSED, at.STOPPING])
    failed = Q(state=at.FAILED) & (Q(finished_at=None) | Q(finished_at__gte=timezone.now() - REMEMBERED))
    places = Q(places__wave__gt=0)
    rows = (
        Rollout.objects.filter(going | failed, organisation=organisation)
        .annotate(
            size=Count("places", filter=places),
            ended=Count("places", filter=places & ~Q(places__state__in=_OPEN)),
            failures=Count("places", filter=places & Q(places__state=Place.State.FAILED, places__excused=False)),
            rank=Case(When(state=at.FAILED, then=Value(0)), default=Value(1), output_field=IntegerField()),
        )
        .order_by("rank", "-created_at")
        .only("pk", "title", "state", "goal", "why", "wave", "wave_count")
    )
    found = list(rows[:SHOWN])
    return ("frontend/rollouts/panel.html", {"rows": found}) if found else None
