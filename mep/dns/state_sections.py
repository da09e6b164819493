"""The DNS scopes in the state file; see `docs/mep-state.md`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from mep.dns import services
from mep.dns.models import DnsScope
from mep.mp1.models import Counter
from mep.state.sections import Import, Row, Section, attempt, once, register


class ScopeRow(Row):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    kind: str
    networks: Annotated[list[str], Meta(max_length=services.MOST_NETWORKS)]


@register
class Scopes(Section):
    """DNS scopes, by name."""

    name, row, optional = "dns.scopes", ScopeRow, True

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            ScopeRow(name=each.name, kind=each.kind, networks=each.networks)
            for each in DnsScope.objects.order_by("name")
        ]

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, (row.name for row in rows), job.problems)
        there = {"", *(row.name for row in rows)}
        if not job.replace:
            there |= set(DnsScope.objects.values_list("pk", flat=True))
        for at, rule in enumerate(job.rows.get("mp1.dns_rules", [])):
            job.problems.unless(rule.scope in there, f"mp1.dns_rules[{at}].scope", "there is no such DNS scope")

    def wipe(self, job: Import) -> None:
        DnsScope.objects.all().delete()

    def load(self, rows: list[Any], job: Import) -> None:
        for at, row in enumerate(rows):
            place = f"{self.name}[{at}]"
            attempt(
                job.problems, place, lambda one=row: services.put_scope(one.name, kind=one.kind, networks=one.networks)
            )
        Counter.bump("dns_scopes")
