"""Verbs of webhooks: make, change, remove, ping; queue an event, deliver it, try again, give up."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from appstore.catalog import notices, wire
from appstore.catalog.models import Delivery, Notice, Release, Webhook
from core import addresses
from core.accounts.access import Actor
from core.accounts.models import Membership, Organisation, Role
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid
from core.operations import services as operations
from core.vault import Vault
from core.words import say

DELIVER = "catalog.deliver"
#: Seconds between the attempts; after the last one a delivery is given up. About a day in all.
WAITS = (10, 60, 300, 1800, 7200, 21600, 43200)
EVENTS = (*notices.EVENTS, "ping")
MOST = 20
#: Deliveries of a webhook that are kept for its log.
LOG = 200
_SECRET_PREFIX = "whsec_"  # noqa: S105  (a mark that secret scanners find, no secret)


@transaction.atomic
def create(
    organisation: Organisation, *, actor: Actor, name: str, url: str, events: Iterable[str], everything: bool = False
) -> tuple[Webhook, str]:
    """Make a webhook; return it with its secret, which is never shown again. `Invalid` names the field that is wrong."""
    actor.require("accounts.manage", organisation)
    if Webhook.objects.filter(organisation=organisation).count() >= MOST:
        raise Conflict(say("An organisation has at most {most} webhooks; remove one first.", most=MOST))
    webhook = Webhook(organisation=organisation, everything=everything, created_by=actor.user)
    _fill(webhook, name=name, url=url, events=events)
    secret = _SECRET_PREFIX + secrets.token_urlsafe(32)
    webhook.sealed_secret = _vault().seal(secret.encode(), webhook.purpose)
    webhook.save(force_insert=True)
    audit.record(actor, "webhook.create", webhook, url=webhook.url, events=webhook.events)
    return webhook, secret


@transaction.atomic
def change(
    webhook: Webhook, *, actor: Actor, name: str, url: str, events: Iterable[str], everything: bool, active: bool
) -> Webhook:
    """Change a webhook; its secret stays."""
    actor.require("accounts.manage", webhook.organisation_id)
    _fill(webhook, name=name, url=url, events=events)
    webhook.everything, webhook.active = everything, active
    webhook.save()
    audit.record(actor, "webhook.change", webhook, url=webhook.url, events=webhook.events, active=active)
    return webhook


@transaction.atomic
def remove(webhook: Webhook, *, actor: Actor) -> None:
    """Forget a webhook and its log; what waits is not sent any more."""
    actor.require("accounts.manage", webhook.organisation_id)
    audit.record(actor, "webhook.remove", webhook, url=webhook.url)
    webhook.delete()


@transaction.atomic
def ping(webhook: Webhook, *, actor: Actor) -> Delivery:
    """Send a test event, whatever events the webhook has chosen."""
    actor.require("accounts.manage", webhook.organisation_id)
    return _queue(webhook, "ping", {"by": str(actor)})


@transaction.atomic
def again(delivery: Delivery, *, actor: Actor) -> Delivery:
    """Try a delivery that was given up once more, with the same body."""
    actor.require("accounts.manage", delivery.webhook.organisation_id)
    if delivery.state != Delivery.State.FAILED:
        raise Conflict(
            say("Only a delivery that was given up is sent again; this one is {state}.", state=delivery.state)
        )
    delivery.state, delivery.attempts, delivery.finished_at = Delivery.State.WAITING, 0, None
    delivery.save(update_fields=["state", "attempts", "finished_at"])
    _ask(delivery)
    return delivery


@transaction.atomic
def announce(events: Mapping[str, str], serial: int) -> int:
    """Queue these events (release key -> event) for every webhook that wants them; done twice it is done once."""
    rows = list(Release.objects.filter(key__in=events).select_related("app").defer("text"))
    owners = {row.organisation_id for row in rows if row.organisation_id}
    hooks = list(Webhook.objects.filter(Q(everything=True) | Q(organisation__in=owners), active=True))
    made = 0
    for release in rows:
        event = notices.exact(events[release.key], release)
        for hook in hooks:
            own = release.organisation_id is not None and release.organisation_id == hook.organisation_id
            if event in hook.events and (own or (hook.everything and release.visibility == "public")):
                _queue(hook, event, {"release": about(release)}, once=f"{release.key}:{serial}")
                made += 1
    return made


def about(release: Release) -> dict[str, Any]:
    """Return what an event says of a release."""
    return {
        "name": release.app.name,
        "provider": release.app.provider,
        "version": release.version,
        "state": release.state,
        "package": str(release.package_id) if release.package_id else None,
        "app": release.app_id,
        "store": release.data.get("origin", ""),
        "sha256": release.data.get("sha256", ""),
        "url": settings.PUBLIC_URL + notices.address_of(release),
    }


def deliver(delivery_id: Any) -> None:
    """Send a delivery, write down what came of it, and ask for the next attempt or give up."""
    delivery = Delivery.objects.select_related("webhook").filter(pk=delivery_id).first()
    if delivery is None or delivery.state != Delivery.State.WAITING:
        return
    if not delivery.webhook.active and delivery.event != "ping":
        _settle(delivery, Delivery.State.FAILED, note=say("The webhook is switched off"))
        return
    began, status, problem, final = time.monotonic(), None, "", False
    try:
        target = wire.resolve(delivery.webhook.url, addresses.networks(settings.WEBHOOK_NETWORKS))
        status = wire.post(target, delivery.body.encode(), headers(delivery, int(time.time())))
        # A redirect is not followed: it would lead past the check of the address.
        problem = "" if 200 <= status < 300 else say("Answered {status}", status=status)
        final = status == 410
    except BreakwaterError as error:
        problem, final = error.detail, isinstance(error, Invalid)
    delivery.attempts += 1
    delivery.status = status
    delivery.milliseconds = int((time.monotonic() - began) * 1000)
    if not problem:
        _settle(delivery, Delivery.State.DELIVERED, note="")
    elif final or delivery.attempts > len(WAITS) or delivery.event == "ping":
        _give_up(delivery, problem)
    else:
        wait = WAITS[delivery.attempts - 1]
        delivery.note = f"{problem}; tried again in {_words(wait)}"[:300]
        with transaction.atomic():
            delivery.save(update_fields=["attempts", "status", "milliseconds", "note"])
            _ask(delivery, timezone.now() + timedelta(seconds=wait))


def headers(delivery: Delivery, moment: int) -> dict[str, str]:
    """Return what is sent beside the body: the signature is over the moment, a dot, and the body."""
    secret = _vault().open(bytes(delivery.webhook.sealed_secret), delivery.webhook.purpose)
    return {
        "Content-Type": "application/json",
        "User-Agent": "Breakwater-Webhook/1",
        "Breakwater-Event": delivery.event,
        "Breakwater-Delivery": str(delivery.pk),
        "Breakwater-Signature": f"t={moment},v1={sign(secret, moment, delivery.body.encode())}",
    }


def sign(secret: bytes, moment: int, body: bytes) -> str:
    """Return the HMAC-SHA256 in hex that proves sender, time and content."""
    return hmac.new(secret, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


def verify(secret: bytes, signature: str, body: bytes, *, now: float, tolerance: float = 300) -> bool:
    """Return whether a signature header is right and not older than `tolerance` seconds: what a receiver does."""
    parts = dict(piece.split("=", 1) for piece in signature.split(",") if "=" in piece)
    moment = parts.get("t", "")
    if not moment.isdigit() or abs(now - int(moment)) > tolerance:
        return False
    return hmac.compare_digest(parts.get("v1", ""), sign(secret, int(moment), body))


def _fill(webhook: Webhook, *, name: str, url: str, events: Iterable[str]) -> None:
    wanted = list(dict.fromkeys(events))
    unknown = [event for event in wanted if event not in notices.EVENTS]
    if not name.strip():
        raise Invalid(say("A webhook needs a name"), errors=[{"field": "name", "detail": say("must not be empty")}])
    if unknown or not wanted:
        known = ", ".join(notices.EVENTS)
        raise Invalid(
            say("Choose events among {known}", known=known),
            errors=[{"field": "events", "detail": say("choose among {known}", known=known)}],
        )
    if len(url) > 500:
        raise Invalid(
            say("The address is too long"), errors=[{"field": "url", "detail": say("at most 500 characters")}]
        )
    allowed = addresses.networks(settings.WEBHOOK_NETWORKS)
    parts = wire.parse(url.strip(), allowed)
    try:
        # A literal address is refused now; what a name leads to is looked up each time it is sent to.
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        pass
    else:
        if wire.forbidden(address, allowed):
            detail = say("is not public; the operator allows networks by WEBHOOK_NETWORKS")
            raise Invalid(say("The address {detail}", detail=detail), errors=[{"field": "url", "detail": detail}])
    webhook.name, webhook.url, webhook.events = name.strip()[:80], url.strip(), wanted


def _queue(webhook: Webhook, event: str, facts: Mapping[str, Any], once: str = "") -> Delivery:
    fresh = Delivery(webhook=webhook, event=event)
    if once:
        # The same event has the same id, so that a worker that runs twice queues it once.
        fresh.pk = _uuid_of(f"{webhook.pk}:{event}:{once}")
        if present := Delivery.objects.filter(pk=fresh.pk).first():
            return present
    fresh.body = json.dumps(
        {
            "id": str(fresh.pk),
            "event": event,
            "at": fresh.created_at.isoformat(),
            "store": settings.PUBLIC_URL,
            **facts,
        },
        separators=(",", ":"),
    )
    fresh.save(force_insert=True)
    _ask(fresh)
    return fresh


def _uuid_of(text: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, text)


def _ask(delivery: Delivery, when: datetime | None = None) -> None:
    operations.request(
        DELIVER,
        f"webhook-delivery:{delivery.pk}",
        organisation=delivery.webhook.organisation_id,
        run_after=when,
        delivery=str(delivery.pk),
    )


def _settle(delivery: Delivery, state: str, *, note: str) -> None:
    delivery.state, delivery.note, delivery.finished_at = state, note[:300], timezone.now()
    delivery.save()
    kept = (
        Delivery.objects.filter(webhook=delivery.webhook_id).order_by("-created_at").values_list("pk", flat=True)[:LOG]
    )
    finished = Delivery.objects.filter(webhook=delivery.webhook_id).exclude(state=Delivery.State.WAITING)
    finished.exclude(pk__in=list(kept)).delete()


@transaction.atomic
def _give_up(delivery: Delivery, problem: str) -> None:
    _settle(
        delivery,
        Delivery.State.FAILED,
        note=say("Given up after {attempts} attempts: {problem}", attempts=delivery.attempts, problem=problem),
    )
    if delivery.event == "ping":
        return
    webhook = delivery.webhook
    admins = Membership.objects.filter(organisation=webhook.organisation_id, role=Role.ADMIN).values_list(
        "user_id", flat=True
    )
    text = f"The webhook {webhook.name} could not be reached; an event was given up: {problem}"[:300]
    Notice.objects.bulk_create(
        [
            Notice(
                user_id=pk, kind="webhook", text=text, url=f"/webhooks/{webhook.pk}", about=f"delivery:{delivery.pk}"
            )
            for pk in sorted({*admins, *filter(None, [webhook.created_by_id])})
        ],
        ignore_conflicts=True,
    )


def _words(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _vault() -> Vault:
    return Vault(settings.VAULT_KEY)
