"""What the pages about DNS rules and about traffic rules share: filters of the list, switching, removing."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from core.errors import BreakwaterError, Missing
from core.spoken import in_language
from core.words import say
from mep.console.frame import words_of
from mep.mp1 import operator
from mep.mp1.models import DnsRule, TrafficRule
from mep.mp1.states import Enforcement, RuleOrigin, RuleState

#: value of ?show= -> (words, condition)
SHOWS: dict[str, tuple[Promise, Q]] = {
    "active": (gettext_lazy("Active"), Q(state=RuleState.ACTIVE)),
    "inactive": (gettext_lazy("Inactive"), Q(state=RuleState.INACTIVE)),
    "refused": (gettext_lazy("Refused"), Q(state=RuleState.ACTIVE, enforcement=Enforcement.REFUSED)),
    "operator": (gettext_lazy("Made here"), Q(origin=RuleOrigin.OPERATOR)),
}


def shown(request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rules that `?show=` asks for."""
    show = words_of(request, "show")
    return rows.filter(SHOWS[show][1]) if show in SHOWS else rows


def asked(request: HttpRequest) -> dict[str, Any]:
    """Return what the filters above a list of rules show."""
    return {
        "q": words_of(request),
        "show": words_of(request, "show"),
        "shows": [(key, words) for key, (words, _) in SHOWS.items()],
    }


def outcome(rule: TrafficRule | DnsRule) -> str:
    """Return what became of a rule, in one sentence."""
    if rule.state != RuleState.ACTIVE:
        return say("Switched off.")
    dns = isinstance(rule, DnsRule)
    if rule.enforcement == Enforcement.IN_FORCE:
        if dns:
            return say("The name server has it.")
        return say("The user plane has it: packets that match are treated so.")
    if rule.enforcement == Enforcement.REFUSED:
        return say("Refused: {reason}", reason=rule.reason) if rule.reason else say("Refused; no reason was given.")
    who = say("the name server") if dns else say("the user plane")
    if rule.reason:
        return say("Waits for {who}: {reason}", who=who, reason=rule.reason)
    return say("Waits until {who} has said that it has it.", who=who)


def switcher(kind: type[Any], back: str) -> Any:
    """Return the view that switches rules of `kind` on or off."""

    @require_POST
    def switch(request: HttpRequest, pk: int) -> HttpResponse:
        wanted = RuleState.ACTIVE if request.POST.get("state") == RuleState.ACTIVE else RuleState.INACTIVE
        try:
            rule = operator.set_state(kind, pk, wanted, if_match=request.POST.get("if_match") or None)
        except Missing:
            raise
        except BreakwaterError as error:
            messages.error(request, in_language(error.detail))
        else:
            on = wanted is RuleState.ACTIVE
            told = _("Rule %(name)s is active.") if on else _("Rule %(name)s is switched off.")
            messages.success(request, told % {"name": rule.rule_id[:80]})
        return redirect(back, pk=pk)

    return switch


def remover(kind: type[Any], back: str) -> Any:
    """Return the view that removes rules of `kind`."""

    @require_POST
    def remove(request: HttpRequest, pk: int) -> HttpResponse:
        rule = operator.remove(kind, pk)
        messages.success(request, _("Rule %(name)s is removed.") % {"name": rule.rule_id[:80]})
        return redirect(back)

    return remove
