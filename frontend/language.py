"""Which language the pages speak to somebody: chosen here and kept in a cookie, else what the browser prefers."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import activate, get_language
from django.views.decorators.http import require_POST


class PortalLanguage(LocaleMiddleware):
    """Pages speak the language of who asks; programs get English, whatever their library says that it accepts."""

    _PROGRAMS = ("/api/", "/v2/")

    def process_request(self, request: HttpRequest) -> None:
        """Choose the language: the one that was chosen here, else the browser's."""
        if request.path_info.startswith(self._PROGRAMS):
            activate(settings.LANGUAGE_CODE)
            request.LANGUAGE_CODE = settings.LANGUAGE_CODE
            return
        super().process_request(request)


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Remember the language for a year, and go back to where it was chosen; what is no language of ours changes nothing."""
    wanted = request.POST.get("language", "")
    back = request.POST.get("next", "/")
    ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    answer = redirect(back if ours else "/")
    if wanted in dict(settings.LANGUAGES):
        answer.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            wanted,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            samesite="Lax",
            httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
            secure=settings.LANGUAGE_COOKIE_SECURE,
        )
    return answer


def choices() -> list[tuple[str, str, bool]]:
    """Return code, own name and whether it is spoken now, for each language."""
    now = get_language() or settings.LANGUAGE_CODE
    return [(code, name, code == now) for code, name in settings.LANGUAGES]
