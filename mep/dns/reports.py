"""What became of the DNS rules, written on their rows in bulk."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection, transaction

from mep.mp1.models import Counter, DnsRule
from mep.mp1.states import Enforcement, RuleState

#: Changes with each report, so that the centre and the console look again.
COUNTER = "dns_reports"
Verdict = tuple[Enforcement, str]
#: What the embedded responder makes of each rule that it has seen. In SQL, because the thread that runs it shares the
#: interpreter with the responder, which must not wait for it.
_SEEN = """
    SELECT id, now, why FROM (
        SELECT id, enforcement, reason,
            CASE WHEN state = 'INACTIVE' THEN 'withdrawn'
                 WHEN scope = '' OR scope IN (SELECT name FROM dns_dnsscope) THEN 'in-force' ELSE 'refused' END AS now,
            CASE WHEN state = 'INACTIVE' OR scope = '' OR scope IN (SELECT name FROM dns_dnsscope) THEN ''
                 ELSE 'There is no DNS scope ' || scope || ' on this node, so nobody gets this answer' END AS why
        FROM mp1_dnsrule WHERE revision <= %s
    ) WHERE enforcement <> now OR reason <> why
"""
_UPDATE = f"""
    UPDATE mp1_dnsrule SET enforcement = seen.now, reason = seen.why FROM ({_SEEN}) AS seen
    WHERE seen.id = mp1_dnsrule.id
"""  # noqa: S608 - two constants


def in_force(version: int) -> None:
    """Report for the embedded responder, which answers all rules up to `version` of the counter `dns`."""
    with connection.cursor() as cursor:
        # Most of the time there is nothing to say; asking first spares everybody the write lock.
        cursor.execute(f"{_SEEN} LIMIT 1", [version])
        if cursor.fetchone() is None:
            return
        with transaction.atomic():
            cursor.execute(_UPDATE, [version])
            Counter.bump(COUNTER)


def report(verdicts: Mapping[int, Verdict], version: int) -> int:
    """Write what became of the ACTIVE rules, by their keys; INACTIVE ones are withdrawn. Returns how many changed.

    Rules that are newer than `version` are still to come and not touched.
    """
    withdrawn: Verdict = (Enforcement.WITHDRAWN, "")
    rows = DnsRule.objects.filter(revision__lte=version)
    news = []
    for pk, revision, state, *before in rows.values_list("pk", "revision", "state", "enforcement", "reason"):
        now = withdrawn if state == RuleState.INACTIVE else verdicts.get(pk)
        if now is not None and (now[0], now[1][:500]) != tuple(before):
            news.append((str(now[0]), now[1][:500], pk, revision))
    if not news:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany("UPDATE mp1_dnsrule SET enforcement = %s, reason = %s WHERE id = %s AND revision = %s", news)
        Counter.bump(COUNTER)
    return len(news)
