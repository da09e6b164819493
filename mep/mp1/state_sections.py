"""Mp1's part of the state file: app instances, what they offer, listen to and were promised, and what is under way."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from django.conf import settings
from msgspec import Meta

from mep.mp1 import (
    state_rules,  # noqa: F401 - registers its sections
    states,
    subscriptions,
    wire,
)
from mep.mp1.models import Counter, Interest, Notice, Service, Subscription
from mep.mp1.state_identity import APPS, BATCH, check_owner, check_same_owner, upsert
from mep.mp1.states import ServiceState
from mep.state.moves import give_revisions
from mep.state.sections import Count, Import, Moment, Revision, Row, Section, attempt, once, register

Id = Annotated[str, Meta(pattern=r"^(?!\.+\Z)[A-Za-z0-9._:~-]{1,32}\Z")]
AppId = Annotated[str, Meta(max_length=64)]
Root = Annotated[str, Meta(max_length=300, pattern=r"^https?://[A-Za-z0-9._\[\]:-]+(/[A-Za-z0-9._~-]+)*\Z")]


class ServiceRow(Row):
    id: Id
    app: AppId
    name: wire.Name
    version: wire.Word
    state: ServiceState
    category: dict[str, Any] | None
    transport: dict[str, Any]
    serializer: Annotated[str, Meta(pattern=r"^(JSON|XML|PROTOBUF3)\Z")]
    scope: wire.Scope
    consumed_local_only: bool
    interval: Annotated[int, Meta(ge=1, le=86400)] | None
    beat_at: Moment | None
    revision: Revision
    created_at: Moment


@register
class Services(Section):
    """Services with their identifiers and the last heartbeat; the next one is awaited anew."""

    name, row, needs = "mp1.services", ServiceRow, (APPS,)

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            ServiceRow(
                id=each.pk, app=each.app_id, name=each.name, version=each.version, state=ServiceState(each.state),
                category=each.category, transport=each.transport, serializer=each.serializer, scope=each.scope,  # type: ignore[arg-type]
                consumed_local_only=each.consumed_local_only, interval=each.interval, beat_at=each.beat_at,
                revision=each.revision, created_at=each.created_at,
            )
            for each in Service.objects.order_by("created_at", "id")
        ]  # fmt: skip

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, (row.id for row in rows), job.problems)
        check_owner(self, rows, job)
        check_same_owner(self, Service, rows, job)
        for at, row in enumerate(rows):
            place = f"{self.name}[{at}]"
            transport = attempt(job.problems, f"{place}.transport", wire.read, wire.TransportInfo, row.transport)
            if transport is not None:
                row.transport = attempt(job.problems, f"{place}.transport", transport.plain)
            if row.category is not None:
                row.category = _plain(
                    attempt(job.problems, f"{place}.category", wire.read, wire.CategoryRef, row.category)
                )

    def wipe(self, job: Import) -> None:
        count, _ = Service.objects.all().delete()
        job.kept[self.name] = count > 0

    def load(self, rows: list[Any], job: Import) -> None:
        gone = job.kept.get(self.name, False)
        revisions = give_revisions("services", rows, job, gone=gone)
        made = []
        for row, revision in zip(rows, revisions, strict=True):
            columns = {**msgspec.structs.asdict(row), "app_id": row.app, "revision": revision}
            del columns["app"]
            service = Service(**columns)
            service.due_at = states.due(row.state, row.interval, row.beat_at or 0.0, settings.LIVENESS_GRACE)
            if service.due_at is not None:  # nobody could send a heartbeat to a MEP that was not there
                service.due_at = max(service.due_at, job.now + (row.interval or 0) + settings.LIVENESS_GRACE)
            made.append(service)
        upsert(Service, made, ["id"])
        if gone:
            Counter.bump("removals")


class SubscriptionRow(Row):
    id: Id
    app: AppId
    kind: Annotated[str, Meta(pattern=rf"^({Subscription.AVAILABILITY}|{Subscription.TERMINATION})\Z")]
    callback: Annotated[str, Meta(max_length=2000)]
    websocket: bool
    criteria: dict[str, Any]
    root: Root
    created_at: Moment
    failures: Count
    delivered: Count
    dropped: Count
    last_error: Annotated[str, Meta(max_length=300)]


@register
class Subscriptions(Section):
    """Subscriptions and how their deliveries went; a pause after a failure is over."""

    name, row, needs = "mp1.subscriptions", SubscriptionRow, (APPS,)

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            SubscriptionRow(
                id=each.pk, app=each.app_id, kind=each.kind, callback=each.callback, websocket=each.websocket,
                criteria=each.criteria, root=each.root, created_at=each.created_at, failures=each.failures,
                delivered=each.delivered, dropped=each.dropped, last_error=each.last_error,
            )
            for each in Subscription.objects.order_by("created_at", "id")
        ]  # fmt: skip

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, (row.id for row in rows), job.problems)
        check_owner(self, rows, job)
        check_same_owner(self, Subscription, rows, job)
        for at, row in enumerate(rows):
            place = f"{self.name}[{at}]"
            job.problems.unless(
                bool(row.callback) != row.websocket, place, "must have a callback or a WebSocket, and not both"
            )
            if row.callback:
                # Only its form: whether it may be called is judged at each delivery, by the policy of this node.
                attempt(job.problems, f"{place}.callback", wire.callback, row.callback)
            if row.criteria:
                read = attempt(job.problems, f"{place}.criteria", wire.read, wire.FilteringCriteria, row.criteria)
                row.criteria = attempt(job.problems, f"{place}.criteria", subscriptions.read_criteria, read)

    def wipe(self, job: Import) -> None:
        Interest.objects.all().delete()
        Subscription.objects.all().delete()

    def load(self, rows: list[Any], job: Import) -> None:
        made = []
        for row in rows:
            columns = {**msgspec.structs.asdict(row), "app_id": row.app}
            del columns["app"]
            made.append(Subscription(**columns))
        upsert(Subscription, made, ["id"])
        for some in range(0, len(made), BATCH):
            Interest.objects.filter(subscription__in=[each.pk for each in made[some : some + BATCH]]).delete()
        subscriptions.index(made)


class NoticeRow(Row):
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
    subscription: Id
    body: dict[str, Any]
    created_at: Moment


@register
class Notices(Section):
    """Notifications that nobody has taken yet, in the order of their delivery."""

    name, row, needs = "mp1.notices", NoticeRow, (Subscriptions.name,)

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        return [
            NoticeRow(id=each.tag, subscription=each.subscription_id, body=each.body, created_at=each.created_at)
            for each in Notice.objects.order_by("pk")
        ]

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, ((row.subscription, row.id) for row in rows), job.problems)
        there = {row.id for row in job.rows[Subscriptions.name]}
        if not job.replace:
            there |= set(Subscription.objects.values_list("pk", flat=True))
        for at, row in enumerate(rows):
            job.problems.unless(
                row.subscription in there, f"{self.name}[{at}].subscription", f"there is none {row.subscription}"
            )

    def wipe(self, job: Import) -> None:
        Notice.objects.all().delete()

    def load(self, rows: list[Any], job: Import) -> None:
        # By a row number of this MEP, always above those of before: so they are found like any new one.
        present = set(Notice.objects.values_list("subscription", "tag"))
        Notice.objects.bulk_create(
            [
                Notice(subscription_id=row.subscription, tag=row.id, body=row.body, created_at=row.created_at)
                for row in rows
                if (row.subscription, row.id) not in present
            ],
            BATCH,
        )


def _plain(value: Any) -> Any:
    return None if value is None else msgspec.to_builtins(value)
