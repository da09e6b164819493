"""Traffic rules: the picture, the table with counters, the packet tester, one rule and its form."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, IntegerField, Max, Q, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from core.errors import BreakwaterError, Missing
from mep.console import picture, rules
from mep.console.forms import PacketForm
from mep.console.frame import adapter, live, paged, token, words_of
from mep.console.packet import by_database, fate, targets
from mep.console.rule_forms import IN_WORDS, TrafficForm, fits
from mep.mp1 import operator, wire
from mep.mp1.models import TrafficRule
from mep.mp1.rules import etag, traffic_members
from mep.mp1.states import RuleOrigin
from mep.mp1.steering import as_rule


@require_safe
def traffic(request: HttpRequest) -> HttpResponse:
    """GET /traffic"""

    def build() -> dict[str, Any]:
        # Sorted by keys alone: with ten thousand rules their bodies would be most of the work.
        page = paged(request, _sought(request).values_list("pk", flat=True))
        found = TrafficRule.objects.select_related("app").in_bulk(list(page))
        page.object_list = [found[pk] for pk in page if pk in found]
        for row in page:
            _dress(row)
        return {
            "rows": page,
            **rules.asked(request),
            "pictures": _pictures(list(page)),
            "drawn": min(len(page), picture.MOST),
            "total": TrafficRule.objects.aggregate(packets=Sum("packets"), octets=Sum("octets"), at=Max("counted_at")),
        }

    form = PacketForm(request.GET) if "src" in request.GET else PacketForm()
    tested: dict[str, Any] = {}
    if not request.headers.get("HX-Request") and form.is_bound and form.is_valid():
        verdict = by_database(form.packet())
        tested = {"verdict": verdict, "fate": fate(verdict.now), "fate_wished": fate(verdict.wished)}
    return live(request, "traffic", token(_counted()), build, form=form, **tested)


def _sought(request: HttpRequest) -> Any:
    # The order in which they decide, so that the picture and the table tell the same.
    rows = TrafficRule.objects.alias(priority=Cast(KT("body__priority"), IntegerField()))
    rows = rules.shown(request, rows.order_by("priority", "app_id", "rule_id"))
    sought = words_of(request)
    if not sought:
        return rows
    return rows.filter(
        Q(rule_id__icontains=sought)
        | Q(app__name__icontains=sought)
        | Q(app__id=sought)
        # Addresses and ports are in the body; as text it can be searched.
        | Q(body__icontains=sought)
    )


def _counted() -> dict[str, Any]:
    return TrafficRule.objects.aggregate(Sum("packets"), Max("counted_at"), Count("pk"))


def _dress(row: TrafficRule) -> None:
    """Add what templates show of a rule."""
    shown: Any = row
    shown.outcome = rules.outcome(row)
    shown.matching = picture.matches_in_words(row)
    shown.does = IN_WORDS.get(str(row.body.get("action")), str(row.body.get("action")))
    shown.targets = targets(row.body)


def _pictures(rows: list[TrafficRule]) -> list[picture.Picture]:
    drawn = rows[: picture.MOST]
    hrefs = [reverse("traffic-rule", kwargs={"pk": row.pk}) for row in drawn]
    plane = f"{settings.UPF}"
    names: dict[str, tuple[str, str]] = {}
    for row in drawn:
        where = list(dict.fromkeys([*filter(None, [names.get(row.app_id, ("", ""))[1]]), *targets(row.body)]))
        names[row.app_id] = (row.app.name, ", ".join(where))
    return [
        picture.name_apps(picture.draw(drawn, hrefs, plane), names),
        picture.draw(drawn, hrefs, plane, narrow=True),
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """GET and POST /traffic/new"""
    start = {"app": request.GET.get("app", ""), "action": "FORWARD_DECAPSULATED", "interface": "IP"}
    form = TrafficForm(request.POST or None, initial=start)
    if request.method == "POST" and form.is_valid():
        try:
            data = form.cleaned_data
            _check(f"{data['app']}/{data['rule_id']}", form)
            rule = operator.create_traffic(data["app"], data["rule_id"], form.raw())
        except BreakwaterError as error:
            form.blame(error)
        else:
            messages.success(request, _("Rule %(name)s is made.") % {"name": rule.rule_id[:80]})
            return redirect("traffic-rule", pk=rule.pk)
    return render(request, "console/traffic_new.html", {"form": form}, status=400 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def rule(request: HttpRequest, pk: int) -> HttpResponse:
    """GET and POST /traffic/<pk>: the rule, and its form when the operator made it"""
    found = operator.find(TrafficRule, pk)
    ours = found.origin == RuleOrigin.OPERATOR
    form = TrafficForm(request.POST or None, rule=found, initial={**TrafficForm.told(found), "if_match": etag(found)})
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                _check(f"{found.app_id}/{found.rule_id}", form)
                operator.change_traffic(pk, form.raw(), if_match=form.cleaned_data["if_match"] or None)
            except Missing:
                raise
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("The rule is changed."))
                return redirect("traffic-rule", pk=pk)

    def build() -> dict[str, Any]:
        _dress(found)
        return {"rule": found, "etag": etag(found), "ours": ours, "pictures": _pictures([found])}

    answer = live(request, "traffic_rule", token(_counted()), build, form=form, editable=ours and fits(found))
    if not request.headers.get("HX-Request"):
        answer.status_code = status
    return answer


def _check(key: str, form: TrafficForm) -> None:
    """Ask the user plane's adapter whether it could do that; it says so before anything is stored."""
    wanted = wire.traffic_rule(form.raw())
    adapter().check(as_rule(key, TrafficRule(body=traffic_members(wanted))))


switch = rules.switcher(TrafficRule, "traffic-rule")
remove = rules.remover(TrafficRule, "traffic")
