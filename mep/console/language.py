"""Which language the console speaks to somebody: chosen here and kept in a cookie, else what the browser prefers."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import get_language
from django.views.decorators.http import require_POST

from mep.console.door import way_back


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Remember the language for a year, and go back to where it was chosen; what is no language of ours changes nothing."""
    wanted = request.POST.get("language", "")
    answer = redirect(way_back(request))
    if wanted in dict(settings.LANGUAGES):
        answer.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            wanted,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            samesite=settings.LANGUAGE_COOKIE_SAMESITE,
            httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
            secure=settings.LANGUAGE_COOKIE_SECURE,
        )
    return answer


def choices() -> list[tuple[str, str, bool]]:
    """Return code, own name and whether it is spoken now, for each language."""
    now = get_language() or settings.LANGUAGE_CODE
    return [(code, name, code == now) for code, name in settings.LANGUAGES]
