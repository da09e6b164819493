"""Webhooks as pages: make, change, test, and the log of what was sent."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from appstore.catalog import notices, webhooks
from appstore.catalog.models import Delivery, Webhook
from core.accounts import access
from core.errors import BreakwaterError, Denied, Missing
from frontend import tables, tenancy
from frontend.forms import PortalForm
from frontend.page import page, paged, told

LABELS = {
    "release": gettext_lazy("a new release"),
    "security": gettext_lazy("a release that closes a security hole"),
    "deprecation": gettext_lazy("a release is deprecated"),
    "yank": gettext_lazy("a release is withdrawn"),
    "quarantine": gettext_lazy("a release is quarantined"),
    "recall": gettext_lazy("a release is recalled"),
}


def told_of(events: list[str]) -> str:
    """Write the kinds of events for people; one that we have no words for stays as it is."""
    return "; ".join(str(LABELS.get(name, name)) for name in events)


class WebhookForm(PortalForm):
    """An address and what is sent to it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("What it is for, such as “chat of the night shift”."),
    )
    url = forms.CharField(
        label=gettext_lazy("Address"), max_length=500, help_text=gettext_lazy("https:// and an address that is public.")
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Tell it when"),
        choices=[(name, LABELS[name]) for name in notices.EVENTS],
        widget=forms.CheckboxSelectMultiple,
        initial=list(notices.EVENTS),
    )
    everything = forms.BooleanField(
        label=gettext_lazy("For all public applications, not only our own"), required=False, initial=True
    )


class ChangeForm(WebhookForm):
    """The same of one that is there."""

    active = forms.BooleanField(label=gettext_lazy("Switched on"), required=False)


@never_cache
@page
def webhooks_page(request: HttpRequest) -> HttpResponse:
    """List the webhooks of the current organisation; a POST makes one and shows its secret this once."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    if organisation is None:
        raise Denied(_("You are in no organisation."))
    actor.require("accounts.manage", organisation)
    form = WebhookForm(request.POST or None)
    secret, status = "", 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                secret = webhooks.create(organisation, actor=actor, **form.cleaned_data)[1]
            except BreakwaterError as error:
                form.blame(error)
            else:
                form, status = WebhookForm(), 200
    rows = Webhook.objects.filter(organisation=organisation)
    found = paged(request, rows, 100, table=tables.WEBHOOKS)
    for row in found:
        row.told_of = told_of(row.events)  # type: ignore[attr-defined]
    context = {"section": "webhooks", "form": form, "rows": found, "secret": secret, "labels": LABELS}
    return render(request, "frontend/catalog/webhooks.html", context, status=status)


@page
def webhook_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show a webhook with its log; a POST changes it."""
    actor = tenancy.actor_of(request)
    webhook = access.get(Webhook.objects.select_related("organisation"), actor, "accounts.manage", pk)
    facts = {name: getattr(webhook, name) for name in ("name", "url", "events", "everything", "active")}
    form, status = ChangeForm(request.POST or None, initial=facts), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                webhooks.change(webhook, actor=actor, **form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("The webhook is changed."))
                return redirect("frontend:webhook", pk)
    rows = paged(request, webhook.deliveries.all(), 20, table=tables.DELIVERIES)
    for row in rows:
        row.told_of = told_of([row.event])  # type: ignore[attr-defined]
    context = {"section": "webhooks", "webhook": webhook, "form": form, "rows": rows}
    return render(request, "frontend/catalog/webhook.html", context, status=status)


@require_POST
@page
def ping_webhook(request: HttpRequest, pk: Any) -> HttpResponse:
    """Send a test event."""
    actor = tenancy.actor_of(request)
    webhook = access.get(Webhook.objects.all(), actor, "accounts.manage", pk)
    with told(request, _("A test event is on its way; the log below tells what came of it.")):
        webhooks.ping(webhook, actor=actor)
    return redirect("frontend:webhook", pk)


@require_POST
@page
def resend_webhook(request: HttpRequest, pk: Any) -> HttpResponse:
    """Send a delivery that was given up again."""
    actor = tenancy.actor_of(request)
    webhook = access.get(Webhook.objects.all(), actor, "accounts.manage", pk)
    delivery = _delivery(webhook, request.POST.get("delivery", ""))
    with told(request, _("It is sent again.")):
        webhooks.again(delivery, actor=actor)
    return redirect("frontend:webhook", pk)


@require_POST
@page
def remove_webhook(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget a webhook and its log."""
    actor = tenancy.actor_of(request)
    webhook = access.get(Webhook.objects.all(), actor, "accounts.manage", pk)
    with told(request, _("{name} is gone.").format(name=webhook)):
        webhooks.remove(webhook, actor=actor)
    return redirect("frontend:webhooks")


def _delivery(webhook: Webhook, number: str) -> Delivery:
    try:
        found = webhook.deliveries.filter(pk=number).first()
    except (ValueError, forms.ValidationError):
        found = None
    if found is None:
        raise Missing(_("There is no such delivery."))
    return found
