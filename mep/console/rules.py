"""What the pages about DNS rules and about traffic rules share: filters of the list, switching, removing."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from core.errors import BreakwaterError, Missing
from mep.console.frame import words_of
from mep.mp1 import operator
from mep.mp1.models import DnsRule, TrafficRule
from mep.mp1.states import Enforcement, RuleOrigin, RuleState

#: value of ?show= -> (words, condition)
SHOWS: dict[str, tuple[str, Q]] = {
    "active": ("Active", Q(state=RuleState.ACTIVE)),
    "inactive": ("Inactive", Q(state=RuleState.INACTIVE)),
    "refused": ("Refused", Q(state=RuleState.ACTIVE, enforcement=Enforcement.REFUSED)),
    "operator": ("Made here", Q(origin=RuleOrigin.OPERATOR)),
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
        return "Switched off."
    dns = isinstance(rule, DnsRule)
    if rule.enforcement == Enforcement.IN_FORCE:
        return "The name server has it." if dns else "The user plane has it: packets that match are treated so."
    if rule.enforcement == Enforcement.REFUSED:
        return f"Refused: {rule.reason}" if rule.reason else "Refused; no reason was given."
    who = "the name server" if dns else "the user plane"
    if rule.reason:
        return f"Waits for {who}: {rule.reason}"
    return f"Waits until {who} has said that it has it."


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
            messages.error(request, error.detail)
        else:
            done = "active" if wanted is RuleState.ACTIVE else "switched off"
            messages.success(request, f"Rule {rule.rule_id[:80]} is {done}.")
        return redirect(back, pk=pk)

    return switch


def remover(kind: type[Any], back: str) -> Any:
    """Return the view that removes rules of `kind`."""

    @require_POST
    def remove(request: HttpRequest, pk: int) -> HttpResponse:
        rule = operator.remove(kind, pk)
        messages.success(request, f"Rule {rule.rule_id[:80]} is removed.")
        return redirect(back)

    return remove
