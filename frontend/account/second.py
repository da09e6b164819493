"""The second step of signing in: a code or a passkey, or setting one up because an organisation wants it."""

from __future__ import annotations

from contextlib import suppress

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from core.accounts.models import User
from core.errors import BreakwaterError, Unauthenticated
from core.http import problem_response
from core.sign_in import factors, passkeys, services
from frontend.account.leading import safe_next
from frontend.account.security import CodeForm, qr_picture, shown_codes

#: Where to go when the session is open; kept while it is half open.
NEXT = "sign_in_next"
_STEPS = {"second": "frontend:second-factor", "enrol": "frontend:enrol-at-sign-in"}


def admitted(request: HttpRequest, user: User, *, how: str, then: str, strong: bool = False) -> HttpResponse:
    """Let somebody in and go where they wanted to, or to the step that is missing."""
    missing = services.admit(request, user, how=how, strong=strong)
    if not missing:
        return redirect(then)
    request.session[NEXT] = then
    return redirect(_STEPS[missing])


@never_cache
@sensitive_post_parameters("code")
def second_factor(request: HttpRequest) -> HttpResponse:
    """Ask for the code; or for a passkey, which a script does."""
    try:
        user = services.halfway(request, "second")
    except Unauthenticated as error:
        return _again(request, error)
    form, status = CodeForm(request.POST or None), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                by = factors.verify(user, form.cleaned_data["code"], address=services.address_of(request))
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                then = request.session.get(NEXT, "/")
                services.complete(request, by=by)
                if by == "recovery code":
                    messages.warning(request, _("You used a recovery code. Make new ones before they run out."))
                return redirect(then)
    context = {"form": form, "passkeys_usable": passkeys.usable(), "application": hasattr(user, "totp")}
    return render(request, "frontend/account/second.html", context, status=status)


@never_cache
@sensitive_post_parameters("code")
def enrol(request: HttpRequest) -> HttpResponse:
    """Set up an authenticator application, without which an organisation lets nobody in."""
    try:
        user = services.halfway(request, "enrol")
    except Unauthenticated as error:
        return _again(request, error)
    secret = factors.propose(request.session, user)
    form, status = CodeForm(request.POST or None), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                codes = factors.enrol(user, secret=secret, code=form.cleaned_data["code"])
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                then = request.session.get(NEXT, "/")
                factors.forget_proposal(request.session)
                services.complete(request, by="code")
                return shown_codes(request, codes, then=then)
    context = {"form": form, "secret": secret, "picture": qr_picture(secret, user), "username": user.username}
    return render(request, "frontend/account/enrol.html", context, status=status)


@require_POST
def passkey_question(request: HttpRequest) -> HttpResponse:
    """Return the challenge for `navigator.credentials.get`."""
    try:
        options = passkeys.begin(request.session)
    except BreakwaterError as error:
        return problem_response(error, request)
    if not request.session.get("_auth_user_id"):
        # A visitor's session that exists for a challenge only need not live longer than the answer takes.
        request.session.set_expiry(services.PATIENCE)
    return JsonResponse(options)


@never_cache
@require_POST
def passkey_answer(request: HttpRequest) -> HttpResponse:
    """Open the session of whoever's passkey answered."""
    half = None
    with suppress(Unauthenticated):
        half = services.halfway(request, "second")
    then = request.session.get(NEXT, "/") if half else safe_next(request)
    try:
        # Signatures are not guessed, so misses count for nothing: one old key must not close an office's door.
        user = passkeys.verify(request.session, answer=request.POST.get("answer", ""), expected=half)
        if half:
            services.complete(request, by="passkey")
            return redirect(then)
        return admitted(request, user, how="passkey", strong=True, then=then)
    except BreakwaterError as error:
        messages.error(request, error.detail)
    return redirect("frontend:second-factor" if half else "frontend:sign-in")


def _again(request: HttpRequest, error: Unauthenticated) -> HttpResponse:
    messages.info(request, error.detail)
    return redirect("frontend:sign-in")
