"""One application: its versions with their notes; what one likes and follows."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from appstore.catalog import apps_of, notices, reviews
from appstore.catalog.models import Favourite, Follow, Notice
from core.errors import Missing
from frontend import tenancy
from frontend.page import open_page, page, paged
from frontend.store.packages import visible


@require_GET
@open_page
def app_page(request: HttpRequest, app: int) -> HttpResponse:
    """Show an application with all releases that the person may see, newest first, each with its notes."""
    actor = tenancy.actor_of(request)
    found = apps_of.get(actor, app)
    releases = apps_of.releases(actor, found)
    package_id = next((row.package_id for row in releases if row.package_id), None)
    context = {
        "section": "catalogue",
        "app": found,
        "release": releases[0],
        "data": releases[0].data,
        "releases": [(row, apps_of.changes(row)) for row in releases],
        "standing": apps_of.standing(actor, found),
        "package_id": package_id,
        "may_deploy": bool(actor.organisations("deployments.write")),
        "badges": package_id and releases[0].visibility == "public",
    }
    return render(request, "frontend/catalog/app.html", context)


@require_GET
@page
def app_of_package(request: HttpRequest, pk: Any) -> HttpResponse:
    """Lead from a package to its application; one that the catalogue does not know has none."""
    found = apps_of.of_package(visible(request, pk).pk)
    if found is None:
        raise Missing(_("This package belongs to no application of the catalogue yet."))
    return redirect("frontend:catalogue-app", found.pk)


@require_GET
@open_page
def app_by_name(request: HttpRequest, organisation: str, provider: str, name: str) -> HttpResponse:
    """Lead to the newest release of an application that the person may see."""
    actor = tenancy.actor_of(request)
    rows = apps_of.releases(actor, apps_of.named(actor, organisation, provider, name))
    if not rows:
        raise Missing(_("There is no such application, or you may not see it."))
    if not actor.authenticated:
        # Packages are for those who signed in.
        return redirect("frontend:catalogue-app", rows[0].app_id)
    return redirect(notices.address_of(rows[0]))


@require_POST
@page
def favour_app(request: HttpRequest, app: int) -> HttpResponse:
    """Make an application a favourite, or no longer."""
    actor = tenancy.actor_of(request)
    notices.favour(actor, apps_of.get(actor, app), on=request.POST.get("on") == "yes")
    return _back(request, app)


@require_POST
@page
def follow_app(request: HttpRequest, app: int) -> HttpResponse:
    """Follow an application or its provider, or no longer."""
    actor = tenancy.actor_of(request)
    found, on = apps_of.get(actor, app), request.POST.get("on") == "yes"
    if request.POST.get("what") == "provider" and found.provider:
        notices.follow(actor, provider=found.provider, on=on)
        whom = _("everything of {provider}").format(provider=found.provider)
    else:
        notices.follow(actor, app=found, on=on)
        whom = found.name
    messages.success(
        request, (_("You now hear of {whom}.") if on else _("You no longer hear of {whom}.")).format(whom=whom)
    )
    return _back(request, app)


@require_GET
@page
def notices_page(request: HttpRequest) -> HttpResponse:
    """List one's notices, and what one follows and likes."""
    actor = tenancy.actor_of(request)
    visible = apps_of.visible(actor).values("app")
    context = {
        "section": "notices",
        "rows": paged(request, notices.of(actor), 30),
        "unread": notices.unread(actor.user.pk if actor.user else None),
        "follows": list(
            Follow.objects.filter(Q(app=None) | Q(app__in=visible), user=actor.user)
            .select_related("app")
            .order_by("-created_at")[:100]
        ),
        "favourites": list(
            Favourite.objects.filter(user=actor.user, app__in=visible)
            .select_related("app")
            .order_by("-created_at")[:100]
        ),
        "reported": reviews.reported().count() if reviews.moderates(actor) else 0,
        "may_hook": bool(actor.organisations("accounts.manage")),
    }
    return render(request, "frontend/catalog/notices.html", context)


@require_POST
@page
def read_notices(request: HttpRequest) -> HttpResponse:
    """Mark all notices as read; or one, and go where it leads."""
    actor = tenancy.actor_of(request)
    number = request.POST.get("notice", "")
    one = notices.of(actor).filter(pk=int(number)).first() if number.isdigit() and len(number) < 18 else None
    if one is None:
        notices.mark_read(actor)
        return redirect("frontend:notices")
    notices.mark_read(actor, one.pk)
    return _to(request, one)


@require_POST
@page
def unfollow(request: HttpRequest) -> HttpResponse:
    """Follow something no longer, from the list."""
    actor = tenancy.actor_of(request)
    number = request.POST.get("follow", "")
    if number.isdigit() and len(number) < 18:
        Follow.objects.filter(user=actor.user, pk=int(number)).delete()
    return redirect("frontend:notices")


def _to(request: HttpRequest, notice: Notice) -> HttpResponse:
    safe = url_has_allowed_host_and_scheme(notice.url, allowed_hosts={request.get_host()})
    return redirect(notice.url if notice.url and safe else "frontend:notices")


def _back(request: HttpRequest, app: int) -> HttpResponse:
    return redirect("frontend:catalogue-app", app)
