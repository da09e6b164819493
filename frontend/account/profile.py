"""One's own profile: roles, and API tokens that are shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from core.accounts import services as accounts
from core.accounts.models import ApiToken, Organisation
from core.errors import BreakwaterError, Missing
from frontend import permissions, tenancy
from frontend.forms import PortalForm
from frontend.page import page, told

LIFETIMES = [
    ("30", gettext_lazy("30 days")),
    ("90", gettext_lazy("90 days")),
    ("365", gettext_lazy("one year")),
    ("", gettext_lazy("no end")),
]


class TokenForm(PortalForm):
    """What a new token may do, and for how long."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("What it is for, such as “CI of the video app”."),
    )
    organisation = forms.ChoiceField(
        label=gettext_lazy("Organisation"),
        required=False,
        help_text=gettext_lazy("The token sees nothing of your other organisations."),
    )
    days = forms.ChoiceField(label=gettext_lazy("Valid for"), choices=LIFETIMES, required=False, initial="90")
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("May"),
        required=False,
        choices=list(permissions.WORDS.items()),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None chosen: all that you may do yourself."),
    )

    def __init__(self, *args: Any, organisations: list[Organisation], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.organisations = {row.slug: row for row in organisations}
        self.fields["organisation"].choices = [  # type: ignore[attr-defined]
            ("", _("all of mine")),
            *((row.slug, row.name) for row in organisations),
        ]

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of `issue_token`."""
        facts = self.cleaned_data
        days = facts["days"]
        return {
            "name": facts["name"],
            "organisation": self.organisations.get(facts["organisation"]),
            "scopes": facts["scopes"],
            "expires_at": timezone.now() + timedelta(days=int(days)) if days else None,
        }


@never_cache
@page
def profile(request: HttpRequest) -> HttpResponse:
    """Show roles and tokens; a POST makes a token and shows it this once."""
    actor = tenancy.actor_of(request)
    organisations = tenancy.organisations_of(request)
    form = TokenForm(request.POST or None, organisations=organisations)
    secret, status = "", 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                _token, secret = accounts.issue_token(actor.user, actor=actor, **form.wanted())  # type: ignore[arg-type]
            except BreakwaterError as error:
                form.blame(error)
            else:
                form, status = TokenForm(organisations=organisations), 200
    context = {
        "section": "profile",
        "form": form,
        "secret": secret,
        "tokens": ApiToken.objects.filter(user=actor.user).select_related("organisation"),
        "memberships": [(row, sorted(actor.roles[row.pk])) for row in organisations],
    }
    return render(request, "frontend/account/profile.html", context, status=status)


@require_POST
@page
def revoke_token(request: HttpRequest, pk: Any) -> HttpResponse:
    """Close the door for one of one's own tokens."""
    actor = tenancy.actor_of(request)
    token = ApiToken.objects.filter(pk=pk, user=actor.user).select_related("organisation").first()
    if token is None:
        raise Missing(_("There is no such token, or it is not yours."))
    with told(request, _("The token %s opens nothing any more.") % token.name):
        accounts.revoke_token(token, actor=actor)
    return redirect("frontend:profile")
