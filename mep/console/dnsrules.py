"""DNS rules: the list, the query tester, one rule and its form."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from core.errors import BreakwaterError, Missing
from mep.console import rules
from mep.console.forms import LookupForm
from mep.console.frame import live, paged, token, words_of
from mep.console.lookup import by_rules, by_wire
from mep.console.rule_forms import DnsForm
from mep.mp1 import operator
from mep.mp1.models import DnsRule
from mep.mp1.rules import etag
from mep.mp1.states import RuleOrigin


@require_safe
def dns(request: HttpRequest) -> HttpResponse:
    """GET /dns"""

    def build() -> dict[str, Any]:
        sought = words_of(request)
        rows = rules.shown(request, DnsRule.objects.select_related("app").order_by("domain_name", "pk"))
        if sought:
            rows = rows.filter(
                Q(domain_name__icontains=sought)
                | Q(address__icontains=sought)
                | Q(rule_id__icontains=sought)
                | Q(app__name__icontains=sought)
            )
        page = paged(request, rows)
        for rule in page:
            rule.outcome = rules.outcome(rule)
        return {"rows": page, **rules.asked(request)}

    # The tester asks by GET, so that a query can be kept as a link.
    form = LookupForm({"source": "127.0.0.1", **request.GET.dict()}) if "name" in request.GET else LookupForm()
    tested: dict[str, Any] = {}
    if not request.headers.get("HX-Request") and form.is_bound and form.is_valid():
        name, kind, source = (form.cleaned_data[each] for each in ("name", "kind", "source"))
        try:
            tested = {"asked": f"{name} {kind}", "found": by_rules(name, kind, source), "wire": by_wire(name, kind)}
        except BreakwaterError as error:
            form.blame(error)
    return live(request, "dns", token(), build, form=form, **tested)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """GET and POST /dns/new"""
    form = DnsForm(request.POST or None, initial={"app": request.GET.get("app", ""), "active": True})
    if request.method == "POST" and form.is_valid():
        try:
            rule = operator.create_dns(
                form.cleaned_data["app"], form.cleaned_data["rule_id"], form.raw(), scope=form.cleaned_data["scope"]
            )
        except BreakwaterError as error:
            form.blame(error)
        else:
            messages.success(request, _("The rule for %(name)s is made.") % {"name": rule.domain_name[:80]})
            return redirect("dns-rule", pk=rule.pk)
    return render(request, "console/dns_new.html", {"form": form}, status=400 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def rule(request: HttpRequest, pk: int) -> HttpResponse:
    """GET and POST /dns/<pk>: the rule, and its form when the operator made it"""
    found = operator.find(DnsRule, pk)
    ours = found.origin == RuleOrigin.OPERATOR
    form = DnsForm(request.POST or None, rule=found, initial={**DnsForm.told(found), "if_match": etag(found)})
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                data = form.cleaned_data
                operator.change_dns(pk, form.raw(), scope=data["scope"], if_match=data["if_match"] or None)
            except Missing:
                raise
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("The rule is changed."))
                return redirect("dns-rule", pk=pk)

    def build() -> dict[str, Any]:
        return {"rule": found, "etag": etag(found), "outcome": rules.outcome(found), "ours": ours}

    answer = live(request, "dns_rule", token(), build, form=form)
    if not request.headers.get("HX-Request"):
        answer.status_code = status
    return answer


switch = rules.switcher(DnsRule, "dns-rule")
remove = rules.remover(DnsRule, "dns")
