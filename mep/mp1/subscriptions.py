"""Who wants to know, and what is put into the outbox for them. `outbox` delivers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet

from core.errors import Denied, Invalid, Missing
from mep.mp1 import alarms, callbacks, locality, outbox, states, wire
from mep.mp1.models import App, Interest, Notice, Service, Subscription
from mep.mp1.states import Action, AppState, Change

SERVICE_API, SUPPORT_API = "/mec_service_mgmt/v1", "/mec_app_support/v1"
#: Services that one notification tells of at most; a storm becomes several.
MOST_REFERENCES = 500
API = {Subscription.AVAILABILITY: SERVICE_API, Subscription.TERMINATION: SUPPORT_API}


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
    callback, websocket = _delivery(wanted)
    states.may_offer(AppState(app.state))
    if app.subscriptions.count() >= settings.MAX_SUBSCRIPTIONS_PER_APP:
        raise Denied(
            f"This app instance has {settings.MAX_SUBSCRIPTIONS_PER_APP} subscriptions, the most that one may have"
        )
    made = Subscription.objects.create(
        app=app, kind=kind, callback=callback, websocket=websocket, criteria=criteria, root=root, created_at=time.time()
    )
    index([made])
    if wanted.request_test_notification:  # MEC 009 6.12: it goes where every later one goes
        outbox.post(
            [(made, {"notificationType": "TestNotification", "_links": {"subscription": {"href": href(made)}}})]
        )
    return made


def _delivery(wanted: wire.AvailabilitySubscription | wire.TerminationSubscription) -> tuple[str, bool]:
    """Return the callback and whether a WebSocket is used: one of them (MEC 009 6.12: the server chooses).

    Who asks for a WebSocket cannot listen, whatever is written as callback beside it.
    """
    config = wanted.websock_notif_config
    if config is not None and config.request_websocket_uri:
        return "", True
    if wanted.callback_reference is None:
        raise Invalid(
            "callbackReference: is missing, and no WebSocket is asked for either",
            errors=[{"field": "callbackReference", "detail": "is missing"}],
        )
    callbacks.check_text(wire.callback(wanted.callback_reference))
    return wanted.callback_reference, False


def index(made: Sequence[Subscription]) -> None:
    """Write down what these availability subscriptions listen for."""
    Interest.objects.bulk_create([Interest(subscription=each, key=key) for each in made for key in _interests(each)])


def _interests(subscription: Subscription) -> list[str]:
    if subscription.kind != Subscription.AVAILABILITY:
        return []
    criteria = subscription.criteria
    named = {
        "id": criteria.get("serInstanceIds"),
        "name": criteria.get("serNames"),
        "category": [each["id"] for each in criteria.get("serCategories") or ()],
    }
    return sorted({_key(what, value) for what, values in named.items() for value in values or ()}) or ["*"]


def _key(what: str, value: str) -> str:
    return f"{what}={value}"[:270]


def find(app: App, kind: str, subscription_id: str) -> Subscription:
    """Return one of the app's own subscriptions."""
    found = Subscription.objects.filter(app=app, kind=kind, pk=subscription_id).first()
    if found is None:
        raise Missing(f"This app instance has no subscription {subscription_id!r}")
    return found


def unsubscribe(app: App, kind: str, subscription_id: str) -> None:
    """End a subscription; what is still in its outbox is dropped."""
    find(app, kind, subscription_id)
    end(app.subscriptions.filter(pk=subscription_id))


def end(ending: QuerySet[Subscription]) -> None:
    """End subscriptions: nobody waits for their notifications any more, so their alarms are over too."""
    alarms.clear(outbox.GIVEN_UP, [outbox.subject(pk) for pk in ending.values_list("pk", flat=True)])
    ending.delete()


def tell(changes: Sequence[tuple[Service, Change]]) -> None:
    """Put one notification per matching subscription into the outbox, in the transaction of the change.

    The queries do not grow with the subscriptions, and only those are read that may match.
    """
    if not changes:
        return
    messages = []
    for subscription in _candidates([service for service, _ in changes]):
        references = [
            _reference(subscription.root, service, change)
            for service, change in changes
            if matches(subscription.criteria, service, locality.listening(subscription.callback))
        ]
        messages += [
            (
                subscription,
                {
                    "notificationType": "SerAvailabilityNotification",
                    "serviceReferences": references[at : at + MOST_REFERENCES],
                    "_links": {"subscription": {"href": href(subscription)}},
                },
            )
            for at in range(0, len(references), MOST_REFERENCES)
        ]
    outbox.post(messages)


def _candidates(services: Sequence[Service]) -> list[Subscription]:
    keys = {"*"}
    for service in services:
        keys |= {_key("id", service.pk), _key("name", service.name)}
        if service.category:
            keys.add(_key("category", service.category["id"]))
    found = {
        each.pk: each
        for some in outbox.chunks(keys)
        for each in Subscription.objects.filter(pk__in=Interest.objects.filter(key__in=some).values("subscription"))
    }
    return list(found.values())


def announce_termination(app: App, action: Action, grace: float) -> None:
    """Tell the app through each of its termination subscriptions (7.1.4.3)."""
    outbox.post(
        [
            (
                each,
                {
                    "notificationType": "AppTerminationNotification",
                    "operationAction": action,
                    "maxGracefulTimeout": max(1, int(grace)),
                    "_links": {
                        "subscription": {"href": href(each)},
                        "confirmTermination": {
                            "href": f"{each.root}{SUPPORT_API}/applications/{app.pk}/confirm_termination"
                        },
                    },
                },
            )
            for each in app.subscriptions.filter(kind=Subscription.TERMINATION)
        ]
    )


def read_criteria(wanted: wire.FilteringCriteria | None) -> dict[str, Any]:
    """Return filteringCriteria as stored; `Invalid` when more than one list names services (8.1.3.2)."""
    if wanted is None:
        return {}
    named = [name for name in ("ser_instance_ids", "ser_names", "ser_categories") if getattr(wanted, name) is not None]
    if len(named) > 1:
        raise Invalid("filteringCriteria: only one of serInstanceIds, serNames, serCategories may be given")
    return wire.without_nulls(msgspec.to_builtins(wanted))  # type: ignore[no-any-return]


def matches(criteria: dict[str, Any], service: Service, near: locality.Near = locality.EVERYWHERE) -> bool:
    """Return whether a change of `service`, as it is after the change, is wanted; all criteria must agree.

    An empty list says nothing, like an absent one. Nobody hears of a service that it would not be offered.
    """
    categories = [each["id"] for each in criteria.get("serCategories") or ()]
    return (
        _in(service.pk, criteria.get("serInstanceIds"))
        and _in(service.name, criteria.get("serNames"))
        and _in((service.category or {}).get("id"), categories)
        and _in(service.state, criteria.get("states"))
        and criteria.get("isLocal") in (None, service.scope in near)
        and locality.offered(service.scope, service.consumed_local_only, near)
    )


def body(subscription: Subscription) -> dict[str, Any]:
    """Return the subscription as its owner sees it."""
    found: dict[str, Any] = {"subscriptionType": subscription.kind}
    if subscription.websocket:
        found["websockNotifConfig"] = {"requestWebsocketUri": True, "websocketUri": websocket_uri(subscription)}
    else:
        found["callbackReference"] = subscription.callback
    if subscription.kind == Subscription.TERMINATION:
        found["appInstanceId"] = subscription.app_id
    elif subscription.criteria:
        found["filteringCriteria"] = subscription.criteria
    return {**found, "_links": {"self": {"href": href(subscription)}}}


def href(subscription: Subscription) -> str:
    """Return the URI of the subscription as its owner knows it."""
    return f"{subscription.root}{API[subscription.kind]}/applications/{subscription.app_id}/subscriptions/{subscription.pk}"


def websocket_uri(subscription: Subscription) -> str:
    """Return where the subscriber fetches its notifications."""
    return f"wss{href(subscription).removeprefix('https')}/websocket"


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
