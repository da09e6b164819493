"""The door: one password of the operator, sessions that end, guesses that get slower."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import BreakwaterError, Throttled
from core.spoken import in_language
from core.words import say
from mep.console import keep
from mep.console.forms import SignInForm

#: Pages for people who are not signed in.
OPEN = {"sign-in", "language"}


class Throttle:
    """So many guesses at once, then one every few seconds: for each address, and for all together."""

    def __init__(self, most: int = 5, every: float = 10.0, addresses: int = 1000) -> None:
        self._most, self._every, self._addresses = most, every, addresses
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._guard = threading.Lock()

    def take(self, address: str, now: float | None = None) -> None:
        """Count one guess; `Throttled` says when the next may come."""
        now = time.monotonic() if now is None else now
        with self._guard:
            # The one for all is wider: a stranger elsewhere slows the operator down, but does not lock him out.
            for key, most, every in ((address, self._most, self._every), ("*", self._most * 8, self._every / 8)):
                left, at = self._left.pop(key, (float(most), now))
                left = min(float(most), left + (now - at) / every)
                self._left[key] = (max(0.0, left - 1), now)
                if left < 1:
                    wait = int((1 - left) * every) + 1
                    told = say("Too many attempts. The next one may come in {wait} seconds.", wait=wait)
                    raise Throttled(told, retry_after=wait)
            while len(self._left) > self._addresses:
                self._left.popitem(last=False)

    def forgive(self, address: str) -> None:
        """Forget the guesses of somebody who knew the password."""
        with self._guard:
            self._left.pop(address, None)


throttle = Throttle()


def hashed(plain: str) -> str:
    """Return a password as it is stored."""
    return make_password(plain)


def guard(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: nothing without a session but the sign-in page; our errors as pages; nothing is kept by caches."""

    class Guard:
        def __call__(self, request: HttpRequest) -> HttpResponseBase:
            answer = get_response(request)
            answer.headers.setdefault("Cache-Control", "no-store")
            answer.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
            return answer

        def process_view(self, request: HttpRequest, view: object, *_: object) -> HttpResponseBase | None:
            match = request.resolver_match
            if match and match.url_name not in OPEN and not signed_in(request):
                return _to_sign_in(request)
            return None

        def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
            if isinstance(error, BreakwaterError):
                return render(request, "console/error.html", {"error": error}, status=error.status)
            return None

    return Guard()


def signed_in(request: HttpRequest) -> bool:
    """Return whether the request carries a session that still counts."""
    session = request.session
    kept = keep.load(settings.VAR)
    return (
        bool(kept.password)
        and session.get("mark") == kept.mark
        and float(session.get("until", 0)) > time.time()
        and session.get("id") not in kept.signed_out
    )


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Show the form; open a session for whoever knows the password."""
    back = way_back(request)
    if request.method != "POST":
        if signed_in(request):
            return redirect(back)
        return _form(request, SignInForm(), 200)
    form = SignInForm(request.POST)
    if not form.is_valid():
        return _form(request, form, 400)
    address = request.META.get("REMOTE_ADDR", "")
    try:
        throttle.take(address)
    except Throttled as error:
        form.add_error(None, in_language(error.detail))
        answer = _form(request, form, error.status)
        answer.headers["Retry-After"] = str(error.context["retry_after"])
        return answer
    kept = keep.load(settings.VAR)
    if not kept.password or not check_password(form.cleaned_data["password"], kept.password):
        form.add_error("password", _("This is not the password of this node."))
        return _form(request, form, 403)
    throttle.forgive(address)
    request.session.flush()
    request.session.update(
        {"id": secrets.token_hex(16), "mark": kept.mark, "until": time.time() + settings.CONSOLE_SESSION}
    )
    return redirect(back)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session, wherever a copy of its cookie may lie."""
    keep.sign_out(settings.VAR, str(request.session["id"]), float(request.session["until"]))
    request.session.flush()
    messages.success(request, _("You are signed out."))
    return redirect("sign-in")


def stranger(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The answer to a form that did not come from one of our pages (CSRF)."""
    return render(request, "console/stranger.html", status=403)


def _form(request: HttpRequest, form: SignInForm, status: int) -> HttpResponse:
    first = keep.first_password_file(settings.VAR)
    context = {"form": form, "next": way_back(request), "first_password": first if first.exists() else None}
    return render(request, "console/sign_in.html", context, status=status)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    live = bool(request.headers.get("HX-Request"))
    back = request.get_full_path() if request.method == "GET" and not live else "/"
    target = reverse("sign-in")
    url = f"{target}?{urlencode({'next': back})}" if back != "/" else target
    # A part that refreshes itself takes the whole page along.
    return HttpResponse(status=204, headers={"HX-Redirect": url}) if live else redirect(url)


def way_back(request: HttpRequest) -> str:
    """Return where to go afterwards: a path of ours, nothing else."""
    wanted = request.POST.get("next") or request.GET.get("next") or "/"
    ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None, require_https=True)
    return wanted if ours and wanted.startswith("/") else "/"
