"""Sign in, sign out, choose the organisation that the lists are about."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from core.accounts import services as accounts
from core.errors import BreakwaterError, Missing
from core.sign_in import passkeys, providers
from core.sign_in import services as sign_in
from core.sign_in.models import Provider
from core.sign_in.sessions import FACTS
from frontend import tenancy
from frontend.account.leading import safe_next
from frontend.account.second import admitted
from frontend.forms import PortalForm
from frontend.page import page

#: Where to sign out elsewhere, for the page after signing out here.
_OUT_OF = "sign_in_out_of"


class SignInForm(PortalForm):
    """A user name and a password."""

    username = forms.CharField(
        label=gettext_lazy("User name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True, "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=400,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


@method_decorator([never_cache, sensitive_post_parameters("password")], name="dispatch")
class SignIn(View):
    """The door."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show the form; whoever is in already goes on."""
        if tenancy.actor_of(request).authenticated:
            return redirect(safe_next(request))
        return self._form(request, SignInForm(), 200)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Open a session, or say why not."""
        form = SignInForm(request.POST)
        if not form.is_valid():
            return self._form(request, form, 400)
        try:
            user = accounts.sign_in(request, address=sign_in.address_of(request), **form.cleaned_data)
            return admitted(request, user, how="password", then=safe_next(request))
        except BreakwaterError as error:
            form.add_error(None, error.detail)
            return self._form(request, form, error.status)

    def _form(self, request: HttpRequest, form: SignInForm, status: int) -> HttpResponse:
        then = safe_next(request)
        context = {
            "form": form,
            "next": then,
            "passkeys_usable": passkeys.usable(),
            "providers": [
                {"provider": row, "query": urlencode({"provider": row.slug, **({"next": then} if then != "/" else {})})}
                for row in Provider.objects.filter(active=True)
            ],
            "signed_out_of": request.session.pop(_OUT_OF, None),
        }
        return render(request, "frontend/account/sign_in.html", context, status=status)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Close the session; who came from a provider that has such a place is shown where to sign out there, too."""
    elsewhere = _place_elsewhere(request)
    logout(request)
    if elsewhere:
        # A link and no redirect: our policy lets forms lead to ourselves only.
        request.session[_OUT_OF] = elsewhere
        request.session.set_expiry(300)
    messages.success(request, _("You are signed out."))
    return redirect("frontend:sign-in")


def _place_elsewhere(request: HttpRequest) -> dict[str, str] | None:
    how = str(request.session.get(FACTS, {}).get("how", ""))
    provider = (
        Provider.objects.filter(slug=how.removeprefix("at ").split(" ")[0]).first() if how.startswith("at ") else None
    )
    if provider is None:
        return None
    try:
        url = providers.sign_out_url(provider)
    except BreakwaterError:
        # Signing out here must work when the provider does not.
        return None
    return {"name": provider.name, "url": url} if url else None


@require_POST
@page
def choose_organisation(request: HttpRequest) -> HttpResponse:
    """Remember for this session which organisation the lists are about."""
    wanted = request.POST.get("organisation", "")
    chosen = next((row for row in tenancy.organisations_of(request) if wanted in (row.slug, str(row.pk))), None)
    if chosen is None:
        raise Missing(_("There is no such organisation, or you are no member of it."))
    request.session[tenancy.SESSION_KEY] = str(chosen.pk)
    return redirect(safe_next(request))
