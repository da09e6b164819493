"""Signing in by an identity provider, and connecting an account there to one's own."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core.errors import BreakwaterError, Missing
from core.sign_in import invitations, providers, services
from core.sign_in.models import Provider
from frontend import tenancy
from frontend.account.leading import safe_next
from frontend.account.second import admitted
from frontend.account.security import person
from frontend.page import page, told

#: The provider that somebody who is signed in wants to connect; set by a form, taken by the link after it.
_WISH = "sign_in_wish"


def named(slug: str) -> Provider:
    """Return the provider of that short name."""
    row = Provider.objects.filter(slug=slug[:40], active=True).first()
    if row is None:
        raise Missing(_("There is no such provider."))
    return row


@never_cache
@require_GET
def sign_in_with(request: HttpRequest) -> HttpResponse:
    """Go to the provider. A link and no form: our policy lets forms lead to ourselves only."""
    then = safe_next(request)
    if tenancy.actor_of(request).authenticated:
        return redirect(then)
    try:
        return redirect(
            providers.begin(request, named(request.GET.get("provider", "")), then=then, invited=_invited(then))
        )
    except BreakwaterError as error:
        return _refused(request, error)


def _invited(then: str) -> bool:
    """Return whether somebody comes with an invitation that opens something, and goes back to it afterwards."""
    start, _slash, secret = then.rpartition("/")
    if start != "/invitations":
        return False
    try:
        invitations.find(secret)
    except Missing:
        return False
    return True


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Take what the provider answers."""
    if not request.GET:
        return redirect("frontend:sign-in")
    was_in = tenancy.actor_of(request).authenticated
    try:
        user, provider, then = providers.finish(request)
        if was_in and user == request.user:
            messages.success(request, _("%s is connected: you can sign in by it from now on.") % provider.name)
            return redirect(then)
        return admitted(request, user, how=providers.how(provider), strong=provider.strong, then=then)
    except BreakwaterError as error:
        return _refused(request, error, "frontend:security" if was_in else "frontend:sign-in")


@require_POST
@page
def connect_identity(request: HttpRequest) -> HttpResponse:
    """Remember which account somebody wants to connect; the page after it has the link that leads out."""
    with told(request):
        services.require_recent(request)
        request.session[_WISH] = named(request.POST.get("provider", "")).slug
        return redirect("frontend:connect-now")
    return redirect("frontend:security")


@never_cache
@require_GET
@page
def connect_now(request: HttpRequest) -> HttpResponse:
    """Say what connecting means, and lead to the provider."""
    wish = request.session.get(_WISH, "")
    if not wish:
        return redirect("frontend:security")
    provider = named(wish)
    if "go" not in request.GET:
        return render(request, "frontend/account/connect.html", {"section": "profile", "provider": provider})
    # The wish came by a form of ours, which no other site can send; it is good for one trip.
    request.session.pop(_WISH, None)
    with told(request):
        return redirect(providers.begin(request, provider, then="/profile/security", link=True))
    return redirect("frontend:security")


@require_POST
@page
def disconnect_identity(request: HttpRequest, pk: Any) -> HttpResponse:
    """Disconnect an account of one's own elsewhere."""
    with told(request, _("It is disconnected.")):
        providers.unlink(person(request), pk, actor=tenancy.actor_of(request))
    return redirect("frontend:security")


def _refused(request: HttpRequest, error: BreakwaterError, where: str = "frontend:sign-in") -> HttpResponse:
    messages.error(request, error.detail)
    return redirect(where)
