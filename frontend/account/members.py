"""The people of an organisation: who has which role, who was invited, what signing in asks of them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from core.accounts import access
from core.accounts import services as accounts
from core.accounts.models import Membership, Organisation, Role, User
from core.errors import BreakwaterError, Conflict, Denied, Missing
from core.sign_in import factors, invitations, policy, providers
from core.sign_in.models import Identity, Invitation, Passkey, Provider, Session, Totp
from frontend import permissions, tables, tenancy
from frontend.account.second import admitted
from frontend.deeds import Question, answered
from frontend.forms import PortalForm
from frontend.page import page, paged, told, words_of

RECOVERY = gettext_lazy(
    "The application, all passkeys and recovery codes are forgotten and all sessions end. Then the password alone opens the "
    "door. Be sure who asks: call back, or look at each other."
)


class InvitationForm(PortalForm):
    """Whom to invite, and to what."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        required=False,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Leave it empty to get a link that you hand over yourself."),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=list(permissions.ROLES.items()), initial=Role.VIEWER)


class RolesForm(PortalForm):
    """Roles as boxes."""

    roles = forms.MultipleChoiceField(
        label=gettext_lazy("Roles"),
        required=False,
        choices=list(permissions.ROLES.items()),
        widget=forms.CheckboxSelectMultiple,
    )


class RecoveryForm(PortalForm):
    """Why somebody gets help."""

    reason = forms.CharField(
        label=gettext_lazy("Why, and how you know who asks"),
        max_length=300,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class AcceptForm(PortalForm):
    """A new account."""

    username = forms.CharField(
        label=gettext_lazy("User name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=400,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy(
            "At least ten letters, none of the common ones and not like your name. A sentence is good."
        ),
    )


def managed(request: HttpRequest) -> Organisation:
    """Return the current organisation; `Denied` to who does not manage its accounts."""
    organisation = tenancy.current(request)
    if organisation is None:
        raise Denied(_("You belong to no organisation yet."))
    tenancy.actor_of(request).require("accounts.manage", organisation)
    return organisation


@never_cache
@page
def members(request: HttpRequest) -> HttpResponse:
    """List members and invitations; a POST invites and shows the link, this once."""
    organisation = managed(request)
    form, status, made = InvitationForm(request.POST or None), 200, None
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                made = invitations.invite(organisation, actor=tenancy.actor_of(request), **form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                form, status = InvitationForm(), 200
    return _members(request, organisation, form, made, status)


def _members(request: HttpRequest, organisation: Organisation, form: Any, made: Any, status: int = 200) -> HttpResponse:
    words = words_of(request)
    people = User.objects.filter(memberships__organisation=organisation).distinct().order_by("username")
    if words:
        people = people.filter(username__icontains=words)
    rows = paged(request, people, size=50, table=tables.MEMBERS)
    roles: dict[Any, list[str]] = {}
    here = Membership.objects.filter(organisation=organisation, user__in=list(rows)).order_by("role")
    for user_id, role in here.values_list("user_id", "role"):
        roles.setdefault(user_id, []).append(role)
    ids = [row.pk for row in rows]
    secured = set(Totp.objects.filter(user__in=ids).values_list("user_id", flat=True)) | set(
        Passkey.objects.filter(user__in=ids).values_list("user_id", flat=True)
    )
    waiting = Invitation.objects.filter(organisation=organisation, accepted_at=None, withdrawn_at=None)
    context = {
        "section": "members",
        "rows": rows,
        "people": [(row, roles.get(row.pk, []), row.pk in secured) for row in rows],
        "q": words,
        "form": form,
        "made": made,
        "invitations": waiting.select_related("invited_by")[: invitations.MOST],
        "may_connect": providers.may_connect(tenancy.actor_of(request)),
        "policy": RolesForm(initial={"roles": policy.roles_of(organisation)}),
    }
    return render(request, "frontend/account/members.html", context, status=status)


@require_POST
@page
def set_sign_in_policy(request: HttpRequest) -> HttpResponseBase:
    """Say for which roles a second factor is wanted."""
    organisation = managed(request)
    actor = tenancy.actor_of(request)
    row = getattr(request.session, "row", None)

    def act(roles: list[str]) -> None:
        mine = actor.roles.get(organisation.pk, frozenset())
        if mine & set(roles) and not (row and row.strong):
            raise Conflict(_("You would shut yourself out: set up a second factor and sign in with it first."))
        ended = policy.set_roles(organisation, roles, actor=actor)
        messages.success(request, _("It holds from now on. Sessions ended: %d.") % ended)

    question = Question(_("Second factor wanted"), _("Save"), _("Who has one of these roles gets in with one only."))
    return answered(request, RolesForm(request.POST), question, act=act, back=reverse("frontend:members"))


def _member(request: HttpRequest, pk: Any) -> tuple[Organisation, User]:
    """Return a member and the organisation of ours in which they are one: the current one, or else any that we manage."""
    actor = tenancy.actor_of(request)
    rows = Membership.objects.filter(user_id=pk).select_related("organisation", "user")
    mine = [row for row in rows if row.organisation_id in actor.roles]
    if not mine:
        raise Missing(_("There is no such member."))
    current = tenancy.current(request)
    allowed = [row for row in mine if actor.may("accounts.manage", row.organisation_id)]
    if not allowed:
        raise Denied(_("Members are looked after by administrators."))
    found = next((row for row in allowed if current and row.organisation_id == current.pk), allowed[0])
    return found.organisation, found.user


@never_cache
@require_GET
@page
def member(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one member: roles, ways in, sessions."""
    organisation, user = _member(request, pk)
    roles = list(
        Membership.objects.filter(user=user, organisation=organisation).select_related("claimed__identity__provider")
    )
    context = {
        "section": "members",
        "person": user,
        "where": organisation,
        "form": RolesForm(initial={"roles": [row.role for row in roles]}),
        "claimed": [row for row in roles if hasattr(row, "claimed")],
        "application": Totp.objects.filter(user=user).exists(),
        "passkeys": Passkey.objects.filter(user=user).count(),
        "identities": Identity.objects.filter(user=user).select_related("provider"),
        "sessions": Session.objects.open().filter(user=user)[:50],
        "present": request.session.session_key,
        "recovery": RecoveryForm(),
    }
    return render(request, "frontend/account/member.html", context)


@require_POST
@page
def set_member_roles(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Give and take roles."""
    organisation, user = _member(request, pk)
    return answered(
        request, RolesForm(request.POST), Question(_("Roles of %s") % user.username, _("Change the roles")),
        act=lambda roles: accounts.set_roles(user, organisation, roles, actor=tenancy.actor_of(request)),
        back=reverse("frontend:member", args=[user.pk]), done=_("The roles are changed."),
    )  # fmt: skip


@require_POST
@page
def remove_member(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take all roles away."""
    organisation, user = _member(request, pk)
    with told(request, _("%s is no member any more.") % user.username):
        accounts.remove_member(user, organisation, actor=tenancy.actor_of(request))
        return redirect("frontend:members")
    return redirect("frontend:member", user.pk)


@require_POST
@page
def recover_member(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Take lost second factors away."""
    _organisation, user = _member(request, pk)
    return answered(
        request, RecoveryForm(request.POST), Question(_("Take all second factors away?"), _("Take them away"), RECOVERY, True),
        act=lambda reason: factors.recover(user, actor=tenancy.actor_of(request), reason=reason),
        back=reverse("frontend:member", args=[user.pk]),
        done=_("The second factors are taken away and the sessions ended. They set up new ones at the next sign-in."),
    )  # fmt: skip


def _invitation(request: HttpRequest, pk: Any) -> Invitation:
    return access.get(
        Invitation.objects.select_related("organisation"), tenancy.actor_of(request), "accounts.manage", pk
    )


@never_cache
@require_POST
@page
def renew_invitation(request: HttpRequest, pk: Any) -> HttpResponse:
    """Make and show a new link, this once."""
    row = _invitation(request, pk)
    with told(request):
        made = invitations.send_again(row, actor=tenancy.actor_of(request))
        return _members(request, row.organisation, InvitationForm(), made)
    return redirect("frontend:members")


@require_POST
@page
def withdraw_invitation(request: HttpRequest, pk: Any) -> HttpResponse:
    """Make a link open nothing any more."""
    row = _invitation(request, pk)
    with told(request, _("The invitation is withdrawn; its link opens nothing any more.")):
        invitations.withdraw(row, actor=tenancy.actor_of(request))
    return redirect("frontend:members")


@never_cache
@sensitive_post_parameters("password")
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Accept an invitation: as who one is, with a new account, or by an identity provider."""
    try:
        row = invitations.find(secret)
    except Missing as error:
        return render(request, "frontend/account/no_invitation.html", {"error": error}, status=404)
    actor = tenancy.actor_of(request)
    form, status = AcceptForm(request.POST if request.method == "POST" and not actor.authenticated else None), 200
    if request.method == "POST" and actor.user is not None:
        try:
            invitations.accept(secret, actor.user)
        except BreakwaterError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, _("You belong to %s now.") % row.organisation.name)
        return redirect("/")
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                user = invitations.accept_as_new(secret, **form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                return admitted(request, user, how="invitation", then="/")
    context = {"row": row, "form": form, "secret": secret, "providers": Provider.objects.filter(active=True)}
    return render(request, "frontend/account/invitation.html", context, status=status)
