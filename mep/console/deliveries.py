"""Subscriptions and the state of their deliveries."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Max, Min, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from core.errors import Missing
from core.words import joined, say
from mep.console.frame import live, paged, token, words_of
from mep.mp1 import operator
from mep.mp1.models import Notice, Subscription

KINDS = {
    Subscription.AVAILABILITY: gettext_lazy("changes of services"),
    Subscription.TERMINATION: gettext_lazy("its own termination"),
}


def delivery(subscription: Any) -> str:
    """Return how the deliveries of a subscription (with `waiting`) go, as a state."""
    if subscription.failures:
        return "failing"
    if subscription.waiting:
        return "waiting"
    return "delivering" if subscription.delivered else "idle"


def criteria_in_words(criteria: dict[str, Any]) -> str:
    """Return what a subscription is about; everything when it does not say."""
    given = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in criteria.items()
        if value not in (None, [], "")
    }
    parts = []
    if "serNames" in given:
        parts.append(say("named {names}", names=given["serNames"]))
    if "serInstanceIds" in given:
        parts.append(say("instance {instances}", instances=given["serInstanceIds"]))
    if "states" in given:
        parts.append(say("when {states}", states=given["states"]))
    if "isLocal" in given:
        parts.append(say("local {local}", local=given["isLocal"]))
    categories = [str(each.get("name") or each.get("id")) for each in criteria.get("serCategories") or ()]
    if categories:
        parts.append(say("of {categories}", categories=", ".join(categories)))
    return joined("; ", parts) if parts else say("every service")


@require_safe
def subscriptions(request: HttpRequest) -> HttpResponse:
    """GET /subscriptions"""
    sought, show = words_of(request), words_of(request, "show")

    def build() -> dict[str, Any]:
        rows = Subscription.objects.select_related("app").order_by("created_at", "id")
        if sought:
            rows = rows.filter(
                Q(app__name__icontains=sought) | Q(callback__icontains=sought) | Q(id=sought) | Q(app__id=sought)
            )
        if show == "failing":
            rows = rows.filter(failures__gt=0)
        page = paged(request, rows)
        keys = [each.pk for each in page]
        waiting = dict(
            Notice.objects.filter(subscription__in=keys).order_by().values_list("subscription").annotate(Count("pk"))
        )
        for each in page:
            each.waiting = waiting.get(each.pk, 0)
            _dress(each)
        return {"rows": page, "q": sought, "show": show}

    now = token(
        Subscription.objects.aggregate(Count("pk"), Sum("delivered"), Sum("failures"), Sum("dropped")),
        Notice.objects.aggregate(Count("pk"), Max("pk")),
    )
    return live(request, "subscriptions", now, build)


@require_safe
def subscription(request: HttpRequest, key: str) -> HttpResponse:
    """GET /subscriptions/<id>"""
    found: Any = Subscription.objects.select_related("app").filter(pk=key).first()
    if found is None:
        raise Missing(say("There is no such subscription; its app may have ended it"))

    def build() -> dict[str, Any]:
        outbox = found.notices.aggregate(waiting=Count("pk"), oldest=Min("created_at"))
        found.waiting, found.oldest = outbox["waiting"], outbox["oldest"]
        _dress(found)
        return {"each": found}

    now = token(found.delivered, found.failures, found.dropped, found.last_error, found.notices.count())
    return live(request, "subscription", now, build)


@require_POST
def end(request: HttpRequest, key: str) -> HttpResponse:
    """POST /subscriptions/<id>/end"""
    gone = operator.end_subscription(key)
    messages.success(request, _("The subscription of %(name)s is ended.") % {"name": gone.app.name[:80]})
    return redirect("subscriptions")


def _dress(each: Any) -> None:
    each.delivery = delivery(each)
    each.about = KINDS.get(each.kind, each.kind)
    each.criteria_text = criteria_in_words(each.criteria) if each.kind == Subscription.AVAILABILITY else ""
