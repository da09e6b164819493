"""`mec_service_mgmt/v1`, MEC 011 V3.1.1 clause 8.2: services, transports, subscriptions, liveness."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path

from core.errors import Denied, Missing
from mep.mp1 import catalogue, subscriptions
from mep.mp1.conditions import tag_of
from mep.mp1.discovery import Offer, Query, list_etag, render
from mep.mp1.http import Call, Endpoint, answer, empty, encode, tagged
from mep.mp1.locality import offered
from mep.mp1.models import App, Service, Subscription
from mep.mp1.subscriptions import SERVICE_API

KIND = Subscription.AVAILABILITY


def discover(call: Call) -> HttpResponse:
    """GET /services"""
    _ = call.app
    return _listing(call, None)


def discover_one(call: Call, service_id: str) -> HttpResponse:
    """GET /services/{serviceId}"""
    service = Service.objects.filter(pk=service_id).first()
    if service is None:
        raise Missing(f"There is no service {service_id!r}")
    if not offered(service.scope, service.consumed_local_only, call.near):
        raise Denied("This service is for consumers in its own locality only, and you ask from elsewhere")
    return _one(call, service)


def transports(call: Call) -> HttpResponse:
    """GET /transports"""
    return answer(catalogue.transports())


def own_services(call: Call, app: str) -> HttpResponse:
    """GET /applications/{appInstanceId}/services"""
    return _listing(call, call.own(app))


def register(call: Call, app: str) -> HttpResponse:
    """POST /applications/{appInstanceId}/services"""
    owner = call.own(app)
    call.no_query()
    service = catalogue.register(owner, call.json)
    where = Offer.of(service).links(call.root)["self"]["href"]
    return tagged(call, _body(call, service), catalogue.etag(service, call.near), 201, Location=where)


def own_service(call: Call, app: str, service_id: str) -> HttpResponse:
    """GET /applications/{appInstanceId}/services/{serviceId}"""
    return _one(call, catalogue.find(call.own(app), service_id))


def update(call: Call, app: str, service_id: str) -> HttpResponse:
    """PUT /applications/{appInstanceId}/services/{serviceId}"""
    return _one(call, catalogue.update(call.own(app), service_id, call.json, call.if_match))


def remove(call: Call, app: str, service_id: str) -> HttpResponse:
    """DELETE /applications/{appInstanceId}/services/{serviceId}"""
    catalogue.remove(call.own(app), service_id, call.if_match)
    return empty()


def liveness(call: Call, app: str, service_id: str) -> HttpResponse:
    """GET on the liveness resource (8.2.10)"""
    return answer(_liveness(catalogue.alive(call.own(app), service_id)))


def beat(call: Call, app: str, service_id: str) -> HttpResponse:
    """PATCH on the liveness resource; PUT too, as older clients send it"""
    owner = call.own(app)
    if call.if_match is not None:
        call.unless_changed(_liveness(catalogue.alive(owner, service_id)))
    body = _liveness(catalogue.beat(owner, service_id, call.json))
    return tagged(call, body, tag_of(encode(body)))


def _listing(call: Call, owner: App | None) -> HttpResponse:
    query = Query.read(call.request.META.get("QUERY_STRING", ""))
    rows = Service.objects.all() if owner is None else Service.objects.filter(app=owner)
    if query.names:  # the database narrows down what it has an index for; `wants` decides
        rows = rows.filter(name__in=query.names)
    if query.ids:
        rows = rows.filter(pk__in=query.ids)
    # Its own services an app sees wherever it is; those of others only where they are meant to be consumed.
    near, passes = call.near, query.wants if owner is None else query.agrees
    body = render((offer for row in rows if passes(offer := Offer.of(row), near)), call.root, near)
    return tagged(call, body, list_etag(body))


def _one(call: Call, service: Service) -> HttpResponse:
    return tagged(call, _body(call, service), catalogue.etag(service, call.near))


def _body(call: Call, service: Service) -> bytes:
    return Offer.of(service).json(call.root, call.near)


def _liveness(service: Service) -> dict[str, Any]:
    at = service.beat_at or 0.0
    return {
        "state": service.state,
        "timeStamp": {"seconds": int(at), "nanoSeconds": int(at % 1 * 1_000_000_000)},
        "interval": service.interval,
    }


# --- subscriptions, the same for both APIs -----------------------------------------------------------------------------


def subscription_views(kind: str, api: str) -> dict[str, Any]:
    """Return the views of the subscriptions of one kind."""

    def links(call: Call, app: str) -> HttpResponse:
        rows = call.own(app).subscriptions.filter(kind=kind)
        found = [{"href": subscriptions.href(row), "subscriptionType": row.kind, "rel": row.kind} for row in rows]
        own = f"{call.root}{api}/applications/{app}/subscriptions"
        return answer({"_links": {"self": {"href": own}, "subscriptions": found}})

    def subscribe(call: Call, app: str) -> HttpResponse:
        made = subscriptions.subscribe(call.own(app), kind, call.json, call.root)
        body = subscriptions.body(made)
        return tagged(call, body, tag_of(encode(body)), 201, Location=subscriptions.href(made))

    def read(call: Call, app: str, subscription_id: str) -> HttpResponse:
        return answer(subscriptions.body(subscriptions.find(call.own(app), kind, subscription_id)))

    def end(call: Call, app: str, subscription_id: str) -> HttpResponse:
        owner = call.own(app)
        if call.if_match is not None:
            call.unless_changed(subscriptions.body(subscriptions.find(owner, kind, subscription_id)))
        subscriptions.unsubscribe(owner, kind, subscription_id)
        return empty()

    return {"many": Endpoint(get=links, post=subscribe), "one": Endpoint(get=read, delete=end)}


_subscriptions = subscription_views(KIND, SERVICE_API)
_own = "applications/<str:app>"
urlpatterns = [
    path("services", Endpoint(get=discover, query=True)),
    path("services/<str:service_id>", Endpoint(get=discover_one)),
    path("transports", Endpoint(get=transports)),
    path(f"{_own}/services", Endpoint(get=own_services, post=register, query=True)),
    path(f"{_own}/services/<str:service_id>", Endpoint(get=own_service, put=update, delete=remove)),
    path(f"{_own}/services/<str:service_id>/liveness", Endpoint(get=liveness, patch=beat, put=beat)),
    path(f"{_own}/subscriptions", _subscriptions["many"]),
    path(f"{_own}/subscriptions/<str:subscription_id>", _subscriptions["one"]),
]
