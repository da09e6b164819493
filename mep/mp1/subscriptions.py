"""Who wants to know, and what is put into the outbox for them. `outbox` delivers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Count

from core.errors import Denied, Invalid, Missing
from mep.mp1 import bell, callbacks, states, wire
from mep.mp1.models import App, Notice, Service, Subscription
from mep.mp1.states import Action, AppState, Change

SERVICE_API, SUPPORT_API = "/mec_service_mgmt/v1", "/mec_app_support/v1"
_API = {Subscription.AVAILABILITY: SERVICE_API, Subscription.TERMINATION: SUPPORT_API}


@transaction.atomic
def subscribe(app: App, kind: str, raw: Any, root: str) -> Subscription:
    """Record a subscription of `kind`; `root` is how the subscriber knows us, for links in notifications."""
    wanted: wire.AvailabilitySubscription | wire.TerminationSubscription
    criteria: dict[str, Any] = {}
    if kind == Subscription.AVAILABILITY:
        wanted = wire.read(wire.AvailabilitySubscription, raw)
        criteria = read_criteria(wanted.filtering_criteria)
    else:
        wanted = wire.read(wire.TerminationSubscription, raw)
        if wanted.app_instance_id != app.pk:
            raise Denied("appInstanceId must be the subscriber's own: nobody hears of the end of others")
    callbacks.check_text(wire.callback(wanted.callback_reference))
    states.may_offer(AppState(app.state))
    if app.subscriptions.count() >= settings.MAX_SUBSCRIPTIONS_PER_APP:
        raise Denied(
            f"This app instance has {settings.MAX_SUBSCRIPTIONS_PER_APP} subscriptions, the most that one may have"
        )
    made = Subscription.objects.create(
        app=app, kind=kind, callback=wanted.callback_reference, criteria=criteria, root=root, created_at=time.time()
    )
    if wanted.request_test_notification:  # MEC 009 6.12
        _post(made, {"notificationType": "TestNotification", "_links": {"subscription": {"href": href(made)}}})
    return made


def find(app: App, kind: str, subscription_id: str) -> Subscription:
    """Return one of the app's own subscriptions."""
    found = Subscription.objects.filter(app=app, kind=kind, pk=subscription_id).first()
    if found is None:
        raise Missing(f"This app instance has no subscription {subscription_id!r}")
    return found


def unsubscribe(app: App, kind: str, subscription_id: str) -> None:
    """End a subscription; what is still in its outbox is dropped."""
    find(app, kind, subscription_id).delete()


def tell(changes: Sequence[tuple[Service, Change]]) -> None:
    """Put one notification per matching subscription into the outbox, in the transaction of the change."""
    if not changes:
        return
    for subscription in Subscription.objects.filter(kind=Subscription.AVAILABILITY):
        references = [
            _reference(subscription.root, service, change)
            for service, change in changes
            if matches(subscription.criteria, service)
        ]
        if references:
            _post(
                subscription,
                {
                    "notificationType": "SerAvailabilityNotification",
                    "serviceReferences": references,
                    "_links": {"subscription": {"href": href(subscription)}},
                },
            )


def announce_termination(app: App, action: Action, grace: float) -> None:
    """Tell the app through each of its termination subscriptions (7.1.4.3)."""
    for subscription in app.subscriptions.filter(kind=Subscription.TERMINATION):
        confirm = f"{subscription.root}{SUPPORT_API}/applications/{app.pk}/confirm_termination"
        _post(
            subscription,
            {
                "notificationType": "AppTerminationNotification",
                "operationAction": action,
                "maxGracefulTimeout": max(1, int(grace)),
                "_links": {"subscription": {"href": href(subscription)}, "confirmTermination": {"href": confirm}},
            },
        )


def read_criteria(wanted: wire.FilteringCriteria | None) -> dict[str, Any]:
    """Return filteringCriteria as stored; `Invalid` when more than one list names services (8.1.3.2)."""
    if wanted is None:
        return {}
    named = [name for name in ("ser_instance_ids", "ser_names", "ser_categories") if getattr(wanted, name) is not None]
    if len(named) > 1:
        raise Invalid("filteringCriteria: only one of serInstanceIds, serNames, serCategories may be given")
    return wire.without_nulls(msgspec.to_builtins(wanted))  # type: ignore[no-any-return]


def matches(criteria: dict[str, Any], service: Service) -> bool:
    """Return whether a change of `service`, as it is after the change, is wanted; all criteria must agree.

    An empty list says nothing, like an absent one.
    """
    categories = [each["id"] for each in criteria.get("serCategories") or ()]
    return (
        _in(service.pk, criteria.get("serInstanceIds"))
        and _in(service.name, criteria.get("serNames"))
        and _in((service.category or {}).get("id"), categories)
        and _in(service.state, criteria.get("states"))
        # Every service of this catalogue is local to every app that may subscribe here.
        and criteria.get("isLocal", True)
    )


def body(subscription: Subscription) -> dict[str, Any]:
    """Return the subscription as its owner sees it."""
    found: dict[str, Any] = {
        "subscriptionType": subscription.kind,
        "callbackReference": subscription.callback,
    }
    if subscription.kind == Subscription.TERMINATION:
        found["appInstanceId"] = subscription.app_id
    elif subscription.criteria:
        found["filteringCriteria"] = subscription.criteria
    return {**found, "_links": {"self": {"href": href(subscription)}}}


def href(subscription: Subscription) -> str:
    """Return the URI of the subscription as its owner knows it."""
    return f"{subscription.root}{_API[subscription.kind]}/applications/{subscription.app_id}/subscriptions/{subscription.pk}"


def waiting() -> dict[str, int]:
    """Return how many notifications wait, per subscription that has any."""
    return dict(Notice.objects.order_by().values_list("subscription").annotate(Count("id")))


def _in(value: str | None, wanted: list[str] | None) -> bool:
    return not wanted or value in wanted


def _reference(root: str, service: Service, change: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "serName": service.name,
        "serInstanceId": service.pk,
        "state": service.state,
        "changeType": change,
    }
    if change is not Change.REMOVED:
        found["link"] = {"href": f"{root}{SERVICE_API}/services/{service.pk}"}
    return found


def _post(subscription: Subscription, message: dict[str, Any]) -> None:
    Notice.objects.create(subscription=subscription, body=message, created_at=time.time())
    bell.ring_on_commit()
