"""Applications: their state, what they offer, listen to and steer; and how they are ended."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from core.errors import Missing
from core.words import say
from mep.console.forms import TerminationForm
from mep.console.frame import live, paged, token, words_of
from mep.console.templatetags.console import state_word
from mep.mp1 import operator, subscriptions
from mep.mp1.models import App
from mep.mp1.states import Action, AppState

#: A page about one app shows this many of each; the lists have all.
SHOWN = 20


@require_safe
def instances(request: HttpRequest) -> HttpResponse:
    """GET /apps"""
    sought = words_of(request)

    def build() -> dict[str, Any]:
        rows = App.objects.order_by("name", "id")
        if sought:
            rows = rows.filter(Q(name__icontains=sought) | Q(id__icontains=sought) | Q(provider__icontains=sought))
        page = paged(request, rows)
        keys = [app.pk for app in page]
        # Counted for the apps of this page alone: one query each, however many rules there are.
        for name in ("services", "subscriptions", "trafficrules", "dnsrules"):
            counts = dict(App.objects.filter(pk__in=keys).annotate(n=Count(name)).values_list("pk", "n"))
            for app in page:
                setattr(app, f"count_{name}", counts.get(app.pk, 0))
        return {"rows": page, "q": sought}

    return live(request, "apps", token(), build)


@require_safe
def instance(request: HttpRequest, key: str) -> HttpResponse:
    """GET /apps/<id>"""
    form = TerminationForm(initial={"timeout": settings.GRACEFUL_TIMEOUT, "action": Action.TERMINATING})
    app = _app(key)
    return live(request, "app", token(), lambda: _about(app), form=form)


@require_POST
def end(request: HttpRequest, key: str) -> HttpResponse:
    """POST /apps/<id>/end"""
    app = _app(key)
    form = TerminationForm(request.POST)
    if not form.is_valid():
        context = {**_about(app), "form": form, "now": "", "ask": True}
        return render(request, "console/app.html", context, status=400)
    app = operator.begin_termination(
        app.pk, action=Action(form.cleaned_data["action"]), timeout=form.cleaned_data["timeout"]
    )
    if app.state == AppState.TERMINATING:
        messages.success(
            request,
            _("%(name)s was told; it has %(seconds)s seconds.")
            % {"name": app.name[:80], "seconds": form.cleaned_data["timeout"]},
        )
    else:
        messages.success(
            request,
            _("%(name)s is %(state)s: there was nobody to wait for.")
            % {"name": app.name[:80], "state": state_word(app.state)},
        )
    return redirect("app", key=app.pk)


def _about(app: App) -> dict[str, Any]:
    return {
        "app": app,
        "registration": _pairs(app.registration),
        "required": [
            str(each.get("serName", "")) for each in app.declared.get("required", []) if isinstance(each, dict)
        ],
        "services": app.services.all()[:SHOWN],
        "subscriptions": app.subscriptions.annotate(waiting=Count("notices"))[:SHOWN],
        "dns_rules": app.dnsrules.all()[:SHOWN],
        "traffic_rules": app.trafficrules.all()[:SHOWN],
        "may_end": app.state not in (AppState.TERMINATING, AppState.TERMINATED),
        "listens": app.subscriptions.filter(kind=subscriptions.Subscription.TERMINATION).exists(),
        "shown": SHOWN,
    }


def _pairs(registration: Any) -> list[tuple[str, str]]:
    if not isinstance(registration, dict):
        return []
    return [(str(key), str(value)[:300]) for key, value in registration.items() if value not in (None, "", [], {})]


def _app(key: str) -> App:
    app = App.objects.filter(pk=key).first()
    if app is None:
        raise Missing(say("There is no such application on this node; it may have been removed"))
    return app
