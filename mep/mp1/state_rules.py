"""The rules of apps and the alarms of the node, in the state file."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mep.mp1 import wire
from mep.mp1.models import Alarm, Counter, DnsRule, TrafficRule
from mep.mp1.rules import traffic_members
from mep.mp1.state_identity import APPS, check_owner, upsert
from mep.mp1.states import Enforcement, RuleOrigin, RuleState, Severity
from mep.state.moves import give_revisions
from mep.state.sections import Count, Import, Moment, Revision, Row, Section, Segment, attempt, once, register

AppId = Annotated[str, Meta(max_length=64)]


class RuleRow(Row):
    app: AppId
    id: Segment
    state: RuleState
    origin: RuleOrigin
    chosen: bool
    revision: Revision


class TrafficRuleRow(RuleRow):
    rule: dict[str, Any]


class DnsRuleRow(RuleRow):
    domain_name: str
    ip_address_type: str
    ip_address: str
    ttl: Count | None
    scope: Annotated[str, Meta(max_length=64)]


class _Rules(Section):
    """Rules by app and id. What the user plane or the DNS server makes of them is found out anew."""

    needs = (APPS,)
    model: Any
    counter: str

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, ((row.app, row.id) for row in rows), job.problems)
        check_owner(self, rows, job)

    def wipe(self, job: Import) -> None:
        count, _ = self.model.objects.all().delete()
        job.kept[self.name] = count > 0

    def load(self, rows: list[Any], job: Import) -> None:
        revisions = give_revisions(self.counter, rows, job, gone=job.kept.get(self.name, False))
        made = [
            self.model(
                app_id=row.app, rule_id=row.id, state=row.state, origin=row.origin, chosen=row.chosen, revision=revision,
                enforcement=Enforcement.PENDING, **self.columns(row),
            )
            for row, revision in zip(rows, revisions, strict=True)
        ]  # fmt: skip
        upsert(self.model, made, ["app", "rule_id"])

    def columns(self, row: Any) -> dict[str, Any]:
        """Return the columns that only this kind of rule has."""
        raise TypeError(self.name)


@register
class TrafficRules(_Rules):
    """Traffic rules."""

    name, row, model, counter = "mp1.traffic_rules", TrafficRuleRow, TrafficRule, "traffic"

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            TrafficRuleRow(
                app=each.app_id, id=each.rule_id, state=RuleState(each.state), origin=RuleOrigin(each.origin),
                chosen=each.chosen, revision=each.revision, rule=each.body,
            )
            for each in TrafficRule.objects.order_by("app_id", "rule_id")
        ]  # fmt: skip

    def check(self, rows: list[Any], job: Import) -> None:
        super().check(rows, job)
        for at, row in enumerate(rows):
            read = attempt(job.problems, f"{self.name}[{at}].rule", wire.traffic_rule, row.rule)
            if read is not None:
                row.rule = traffic_members(read)

    def columns(self, row: Any) -> dict[str, Any]:
        return {"body": row.rule}


@register
class DnsRules(_Rules):
    """DNS rules."""

    name, row, model, counter = "mp1.dns_rules", DnsRuleRow, DnsRule, "dns"

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            DnsRuleRow(
                app=each.app_id, id=each.rule_id, state=RuleState(each.state), origin=RuleOrigin(each.origin),
                chosen=each.chosen, revision=each.revision, domain_name=each.domain_name,
                ip_address_type=each.family, ip_address=each.address, ttl=each.ttl, scope=each.scope,
            )
            for each in DnsRule.objects.order_by("app_id", "rule_id")
        ]  # fmt: skip

    def check(self, rows: list[Any], job: Import) -> None:
        super().check(rows, job)
        for at, row in enumerate(rows):
            raw = {"domainName": row.domain_name, "ipAddressType": row.ip_address_type, "ipAddress": row.ip_address}
            read = attempt(job.problems, f"{self.name}[{at}]", wire.dns_rule, {**raw, "ttl": row.ttl})
            if read is not None:
                row.domain_name, row.ip_address = read.domain_name, read.ip_address

    def columns(self, row: Any) -> dict[str, Any]:
        return {
            "domain_name": row.domain_name,
            "family": row.ip_address_type,
            "address": row.ip_address,
            "ttl": row.ttl,
            "scope": row.scope,
        }


class AlarmRow(Row):
    kind: Annotated[str, Meta(min_length=1, max_length=60)]
    subject: Annotated[str, Meta(min_length=1, max_length=255)]
    severity: Severity
    text: Annotated[str, Meta(max_length=500)]
    count: Count
    raised_at: Moment
    updated_at: Moment
    cleared_at: Moment | None


@register
class Alarms(Section):
    """Alarms that stand, and those that were cleared not long ago."""

    name, row = "mp1.alarms", AlarmRow

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            AlarmRow(
                kind=each.kind, subject=each.subject, severity=Severity(each.severity), text=each.text, count=each.count,
                raised_at=each.raised_at, updated_at=each.updated_at, cleared_at=each.cleared_at,
            )
            for each in Alarm.objects.order_by("kind", "subject")
        ]  # fmt: skip

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, ((row.kind, row.subject) for row in rows), job.problems)

    def wipe(self, job: Import) -> None:
        Alarm.objects.all().delete()

    def load(self, rows: list[Any], job: Import) -> None:
        upsert(Alarm, [Alarm(**msgspec.structs.asdict(row)) for row in rows], ["kind", "subject"])
        Counter.bump("alarms")
