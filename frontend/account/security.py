"""One's own ways in: password, second factors, passkeys, identities elsewhere; and where one is signed in."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import qrcode
import qrcode.image.svg
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from core.accounts.models import User
from core.errors import BreakwaterError, Missing
from core.sign_in import factors, passkeys, services, totp
from core.sign_in.models import Identity, Passkey, Provider, RecoveryCode, Session, Totp
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page, paged, told


class PasswordForm(PortalForm):
    """The old password, and the new one twice."""

    old = forms.CharField(
        label=gettext_lazy("Present password"),
        max_length=400,
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        label=gettext_lazy("New password"),
        max_length=400,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy(
            "At least ten letters, none of the common ones and not like your name. A sentence is good."
        ),
    )
    again = forms.CharField(
        label=gettext_lazy("New password again"),
        max_length=400,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        """See that both are the same."""
        found = super().clean() or {}
        if found.get("new") and found.get("again") and found["new"] != found["again"]:
            self.add_error("again", _("It is not the same."))
        return found


class CodeForm(PortalForm):
    """The code of an application, or a recovery code."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}),
    )


class PasskeyForm(PortalForm):
    """A name for a new passkey, and what the authenticator said; a script fills that in."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=80, help_text=gettext_lazy("Such as the device that it is on.")
    )
    answer = forms.CharField(max_length=20_000, required=False, widget=forms.HiddenInput)


def person(request: HttpRequest) -> User:
    """Return who is signed in."""
    user = tenancy.actor_of(request).user
    assert user is not None  # `page` lets nobody else through
    return user


@never_cache
@require_GET
@page
def security(request: HttpRequest) -> HttpResponse:
    """Show all ways in, and where one is signed in."""
    user = person(request)
    identities = list(Identity.objects.filter(user=user).select_related("provider"))
    connected = {row.provider_id for row in identities}
    context = {
        "section": "profile",
        "application": Totp.objects.filter(user=user).first(),
        "passkeys": list(Passkey.objects.filter(user=user)),
        "passkeys_usable": passkeys.usable(),
        "codes_left": RecoveryCode.objects.filter(user=user).count(),
        "identities": identities,
        "connectable": [row for row in Provider.objects.filter(active=True) if row.pk not in connected],
        "sessions": paged(request, Session.objects.open().filter(user=user), size=20),
        "present": request.session.session_key,
        "has_password": user.has_usable_password(),
    }
    return render(request, "frontend/account/security.html", context)


@require_POST
@page
def end_session(request: HttpRequest, pk: Any) -> HttpResponse:
    """End one session, of one's own or of a member."""
    actor = tenancy.actor_of(request)
    row = services.managed(actor, pk)
    own = actor.user is not None and row.user_id == actor.user.pk
    with told(request, _("That session is ended.")):
        services.revoke(row, actor=actor)
    return redirect("frontend:security") if own else redirect("frontend:member", row.user_id)


@require_POST
@page
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End all sessions of one's own but this one."""
    ended = services.revoke_all(person(request), actor=tenancy.actor_of(request), but=request.session.session_key)
    messages.success(request, _("Sessions ended: %d.") % ended)
    return redirect("frontend:security")


@never_cache
@sensitive_post_parameters("old", "new", "again")
@page
def change_password(request: HttpRequest) -> HttpResponse:
    """Change the password; all other sessions end."""
    form = PasswordForm(request.POST or None)
    if not person(request).has_usable_password():
        del form.fields["old"]
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            facts = form.cleaned_data
            try:
                services.require_recent(request) if "old" not in facts else None
                services.change_password(
                    request, actor=tenancy.actor_of(request), old=facts.get("old", ""), new=facts["new"]
                )
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                messages.success(request, _("The password is changed, and all your other sessions are ended."))
                return redirect("frontend:security")
    context = {"section": "profile", "form": form}
    return render(request, "frontend/account/password.html", context, status=status)


def qr_picture(secret: str, user: User) -> str:
    """Return the QR code of a secret as a `data:` picture, which our policy allows."""
    address = totp.address(secret, issuer=settings.STORE_NAME, account=user.username)
    made = io.BytesIO()
    qrcode.make(address, image_factory=qrcode.image.svg.SvgPathFillImage, box_size=12, border=3).save(made)
    return "data:image/svg+xml;base64," + base64.b64encode(made.getvalue()).decode()


def shown_codes(request: HttpRequest, codes: list[str], *, then: str = "/profile/security") -> HttpResponse:
    """Show recovery codes, this once."""
    return render(request, "frontend/account/recovery_codes.html", {"section": "profile", "codes": codes, "then": then})


@never_cache
@page
def add_application(request: HttpRequest) -> HttpResponse:
    """Set up an authenticator application."""
    user = person(request)
    form, status = CodeForm(request.POST or None), 200
    if Totp.objects.filter(user=user).exists():
        messages.info(request, _("There is an authenticator application already; remove it first."))
        return redirect("frontend:security")
    secret = factors.propose(request.session, user)
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                services.require_recent(request)
                codes = factors.enrol(
                    user, secret=secret, code=form.cleaned_data["code"], address=services.address_of(request)
                )
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                factors.forget_proposal(request.session)
                services.strengthen(request)
                messages.success(request, _("The application is set up; you are asked for its code from now on."))
                return shown_codes(request, codes) if codes else redirect("frontend:security")
    context = {"section": "profile", "form": form, "secret": secret, "picture": qr_picture(secret, user)}
    return render(request, "frontend/account/application.html", context, status=status)


@require_POST
@page
def remove_application(request: HttpRequest) -> HttpResponse:
    """Forget the authenticator application."""
    with told(request, _("The authenticator application is removed.")):
        services.require_recent(request)
        factors.remove_application(person(request), actor=tenancy.actor_of(request))
    return redirect("frontend:security")


@never_cache
@require_POST
@page
def renew_recovery_codes(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes and show them, this once."""
    user = person(request)
    if not factors.has(user):
        raise Missing(_("Recovery codes stand in for a second factor, and you have none."))
    services.require_recent(request)
    return shown_codes(request, factors.renew_recovery_codes(user))


@never_cache
@page
def add_passkey(request: HttpRequest) -> HttpResponse:
    """Register a passkey; a script of ours asks the authenticator."""
    user = person(request)
    form, status, options = PasskeyForm(request.POST or None), 200, {}
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                services.require_recent(request)
                _made, codes = passkeys.register(request.session, user, **form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                services.strengthen(request)
                messages.success(request, _("The passkey is registered."))
                return shown_codes(request, codes) if codes else redirect("frontend:security")
    if passkeys.usable():
        options = passkeys.begin_registration(request.session, user)
    context = {
        "section": "profile",
        "form": form,
        "usable": passkeys.usable(),
        "options": json.dumps(options),
        "public_url": settings.PUBLIC_URL,
    }
    return render(request, "frontend/account/passkey.html", context, status=status)


@require_POST
@page
def remove_passkey(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget one of one's own passkeys."""
    with told(request, _("The passkey is removed. Remove it on the device, too.")):
        passkeys.remove(person(request), pk, actor=tenancy.actor_of(request))
    return redirect("frontend:security")
