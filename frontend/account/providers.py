"""Identity providers, for the administrators of the organisation that runs the store."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from core.accounts import services as accounts
from core.accounts.models import Role
from core.errors import BreakwaterError, Denied, Missing
from core.sign_in import providers
from core.sign_in.models import Provider
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page, told


class ProviderForm(PortalForm):
    """What is known about a provider."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=80, help_text=gettext_lazy("What people read on the sign-in page.")
    )
    slug = forms.CharField(label=gettext_lazy("Short name"), max_length=40)
    issuer = forms.CharField(
        label=gettext_lazy("Issuer"),
        max_length=300,
        widget=forms.URLInput(attrs={"placeholder": "https://id.example.net/realms/staff"}),
        help_text=gettext_lazy("Exactly as the provider writes it, letter by letter."),
    )
    client_id = forms.CharField(label=gettext_lazy("Client id"), max_length=250)
    secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        max_length=1000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "It is sealed and never shown. Empty for a public client; when changing, empty keeps it."
        ),
    )
    scopes = forms.CharField(label=gettext_lazy("Scopes"), max_length=250, initial="openid profile email")
    groups_claim = forms.CharField(
        label=gettext_lazy("Claim with the groups"),
        max_length=120,
        initial="groups",
        help_text=gettext_lazy("realm_access.roles looks into an object."),
    )
    rules = forms.CharField(
        label=gettext_lazy("Roles by group"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(
            attrs={"rows": 5, "class": "code", "spellcheck": "false", "placeholder": "edge-admins = acme : admin"}
        ),
        help_text=gettext_lazy("One a line: group = organisation : role. They are given and taken at each sign-in."),
    )
    strong = forms.BooleanField(label=gettext_lazy("It asks for a second factor itself"), required=False)
    active = forms.BooleanField(label=gettext_lazy("People may sign in by it"), required=False)
    admits_all = forms.BooleanField(label=gettext_lazy("Admit people to whom it gives no role, too"), required=False)


def _allowed(request: HttpRequest) -> None:
    if not providers.may_connect(tenancy.actor_of(request)):
        raise Denied(_("Identity providers are connected by administrators of the organisation that runs this store."))


@never_cache
@sensitive_post_parameters("secret")
@page
def identity_providers(request: HttpRequest) -> HttpResponse:
    """List the providers; a POST connects one."""
    _allowed(request)
    form, status = ProviderForm(request.POST or None), 200
    # What is connected is open; closing it is a change.
    del form.fields["active"]
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                providers.connect(actor=tenancy.actor_of(request), **form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
                status = error.status if error.status < 500 else 400
            else:
                return redirect("frontend:identity-providers")
    context = {
        "section": "members",
        "rows": Provider.objects.all(),
        "form": form,
        "redirect_uri": providers.redirect_uri(),
        "roles": ", ".join(Role.values),
    }
    return render(request, "frontend/account/providers.html", context, status=status)


@never_cache
@sensitive_post_parameters("secret")
@page
def change_provider(request: HttpRequest, pk: Any) -> HttpResponse:
    """Change what is known about a provider."""
    row = _provider(request, pk)
    kept = {
        name: getattr(row, name)
        for name in ("name", "client_id", "scopes", "groups_claim", "strong", "active", "admits_all")
    }
    form, status = ProviderForm(request.POST or None, initial={**kept, "rules": providers.rules_text(row)}), 200
    for fixed in ("slug", "issuer"):
        del form.fields[fixed]
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                providers.change(row, actor=tenancy.actor_of(request), **form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                return redirect("frontend:identity-providers")
    context = {"section": "members", "row": row, "form": form, "roles": ", ".join(Role.values)}
    return render(request, "frontend/account/provider.html", context, status=status)


@require_POST
@page
def disconnect_provider(request: HttpRequest, pk: Any) -> HttpResponse:
    """Disconnect a provider."""
    row = _provider(request, pk)
    with told(request, _("%s is disconnected.") % row.name):
        providers.disconnect(row, actor=tenancy.actor_of(request))
    return redirect("frontend:identity-providers")


def _provider(request: HttpRequest, pk: Any) -> Provider:
    actor = tenancy.actor_of(request)
    row = Provider.objects.filter(pk=pk).first()
    try:
        from_operator = accounts.operator().pk in actor.roles
    except Missing:
        from_operator = False
    # Who does not belong to the operator learns not even that there is one.
    if row is None or not from_operator:
        raise Missing(_("There is no such provider."))
    _allowed(request)
    return row
