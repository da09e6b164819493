"""A code from another screen: what asks for the sign-in, and the decision."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core.accounts.models import Organisation
from core.device import services
from core.errors import BreakwaterError
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page


class CodeForm(PortalForm):
    """The code that a program shows."""

    user_code = forms.CharField(
        label=_("Code"),
        max_length=40,
        help_text=_("Eight letters, as your terminal shows them."),
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "autocapitalize": "characters",
                "spellcheck": "false",
                "class": "code",
            }
        ),
    )


class DecisionForm(PortalForm):
    """As what the program is let in."""

    organisation = forms.ChoiceField(
        label=_("Organisation"), required=False, help_text=_("The program sees nothing of your other organisations.")
    )

    def __init__(self, *args: Any, organisations: list[Organisation], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.organisations = {row.slug: row for row in organisations}
        self.fields["organisation"].choices = [  # type: ignore[attr-defined]
            ("", _("all of mine")),
            *((row.slug, row.name) for row in organisations),
        ]


@never_cache
@require_GET
@page
def device_page(request: HttpRequest) -> HttpResponse:
    """Ask for a code; with one, show what waits. A link alone approves nothing (RFC 8628, 5.4)."""
    if not request.GET.get("user_code"):
        return _ask(request, CodeForm())
    return _shown(request, CodeForm(request.GET))


@never_cache
@require_POST
@page
def decide(request: HttpRequest) -> HttpResponse:
    """Approve or refuse what waits with the code."""
    actor, code = tenancy.actor_of(request), CodeForm(request.POST)
    decision = DecisionForm(request.POST, organisations=tenancy.organisations_of(request))
    if not code.is_valid():
        return _ask(request, code, 400)
    if not decision.is_valid():
        return _shown(request, code, decision, 400)
    try:
        grant = services.look_up(code.cleaned_data["user_code"], actor=actor)
        if request.POST.get("decision") == "approve":
            chosen = decision.organisations.get(decision.cleaned_data["organisation"])
            services.approve(grant, actor=actor, organisation=chosen)
        else:
            services.refuse(grant, actor=actor)
    except BreakwaterError as error:
        code.blame(error)
        return _ask(request, code, error.status)
    return render(request, "frontend/device/decided.html", {"section": "profile", "grant": grant})


def _shown(
    request: HttpRequest, code: CodeForm, decision: DecisionForm | None = None, status: int = 200
) -> HttpResponse:
    """Show what waits with the code of the form."""
    if not code.is_valid():
        return _ask(request, code, 400)
    try:
        grant = services.look_up(code.cleaned_data["user_code"], actor=tenancy.actor_of(request))
    except BreakwaterError as error:
        code.blame(error)
        return _ask(request, code, error.status)
    form = decision or DecisionForm(organisations=tenancy.organisations_of(request))
    context = {"section": "profile", "grant": grant, "form": form}
    return render(request, "frontend/device/decide.html", context, status=status)


def _ask(request: HttpRequest, form: CodeForm, status: int = 200) -> HttpResponse:
    return render(request, "frontend/device/code.html", {"section": "profile", "form": form}, status=status)
