"""What the form of values asks for while somebody types: what is wrong, what differs, and the form in its other view."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from frontend import tenancy
from frontend.page import page
from frontend.store.packages import visible
from frontend.values.form import ValuesForm, asked


@require_POST
@page
def package_values(request: HttpRequest, pk: Any) -> HttpResponse:
    """Answer for a page that asks for the values of a package, such as a deployment or a rollout."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    actor.require("deployments.write", tenancy.current(request))
    return answer(request, asked(request, package, url=values_url(package.pk)))


def values_url(package_id: Any) -> str:
    """Return where the form of a package's values asks."""
    return reverse("frontend:package-values", args=[package_id])


def answer(request: HttpRequest, values: ValuesForm) -> HttpResponse:
    """Return the form when its other view or a reset was asked for, else what is to be said of what is typed."""
    if values.only_looks:
        return render(request, "frontend/values/form.html", {"values": values})
    values.is_valid()
    return render(request, "frontend/values/told.html", {"values": values})
