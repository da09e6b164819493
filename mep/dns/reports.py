"""What became of the DNS rules, written on their rows in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import transaction
from django.db.models import Q, QuerySet

from mep.dns.models import DnsScope
from mep.mp1.models import Counter, DnsRule
from mep.mp1.states import Enforcement, RuleState

#: Changes with each report, so that the centre and the console look again.
COUNTER = "dns_reports"


def in_force(version: int) -> None:
    """Report for the embedded responder, which answers all rules up to `version` of the counter `dns`."""
    scopes = list(DnsScope.objects.values_list("pk", flat=True))
    homeless = set(DnsRule.objects.exclude(scope="").exclude(scope__in=scopes).values_list("scope", flat=True))
    reasons = {
        Q(scope=scope): f"There is no DNS scope {scope!r} on this node, so nobody gets this answer" for scope in homeless
    }
    report(Q(revision__lte=version), reasons)


def report(which: Q, refused: Mapping[Q, str], *, away: str = "", pending: Iterable[int] = ()) -> None:
    """Report on some rules: INACTIVE ones are withdrawn, ACTIVE ones in force but for the `refused` ones.

    `away` is why none of the active ones can be in force at the moment; `pending` are those that are still to come.
    """
    todo: list[tuple[Q, Enforcement, str]] = [(which & Q(state=RuleState.INACTIVE), Enforcement.WITHDRAWN, "")]
    active = which & Q(state=RuleState.ACTIVE)
    left = active & ~Q(pk__in=list(pending)) if pending else active
    for those, reason in refused.items():
        todo.append((active & those, Enforcement.REFUSED, reason[:500]))
        left &= ~those
    todo.append((left, Enforcement.PENDING if away else Enforcement.IN_FORCE, away[:500]))
    # Most of the time there is nothing to say; asking first spares everybody the write lock.
    news = [each for each in todo if _other(*each).exists()]
    if not news:
        return
    with transaction.atomic():
        for each in news:
            _other(*each).update(enforcement=each[1], reason=each[2])
        Counter.bump(COUNTER)


def _other(which: Q, enforcement: Enforcement, reason: str) -> QuerySet[DnsRule]:
    return DnsRule.objects.filter(which).exclude(enforcement=enforcement, reason=reason)
