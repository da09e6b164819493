"""Upload: with scripts the browser sends parts to the API and goes on after a break; without, the form arrives here."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_POST

from appstore.packages import resumable, services
from appstore.packages.models import Upload
from core.accounts import access
from core.errors import BreakwaterError
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page, told


class UploadForm(PortalForm):
    """One file."""

    file = forms.FileField(label=gettext_lazy("Package"), max_length=200)


@page
def upload(request: HttpRequest) -> HttpResponse:
    """Take a package in for the current organisation."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    actor.require("packages.write", organisation)
    form, status = UploadForm(), 200
    if request.method == "POST":
        form, status = UploadForm(request.POST, request.FILES), 400
        if form.is_valid():
            file = form.cleaned_data["file"]
            try:
                package = services.receive(
                    file.chunks(),
                    actor=actor,
                    organisation=organisation,  # type: ignore[arg-type]
                    filename=file.name,
                )
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect("frontend:package", package.pk)
    begun = Upload.objects.under_way().filter(organisation=organisation, sender=actor.user)
    context = {
        "section": "upload",
        "form": form,
        "limit": settings.MAX_PACKAGE_BYTES,
        "part": settings.UPLOAD_PART,
        "words": json.dumps(_words()),
        "unfinished": list(begun[: settings.UPLOADS_AT_ONCE]),
    }
    return render(request, "frontend/store/upload.html", context, status=status)


@require_POST
@page
def cancel_upload(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget an unfinished upload and its bytes."""
    actor = tenancy.actor_of(request)
    begun = access.get(Upload.objects.present(), actor, "packages.write", pk)
    with told(request, gettext("%(file)s is cancelled; nothing of it is kept.") % {"file": begun.filename}):
        resumable.cancel(begun, actor=actor)
    return redirect("frontend:upload")


def _words() -> dict[str, str]:
    """Return what the script of the page says."""
    return {
        "ready": gettext("Ready"),
        "known": gettext("Begun before: only the rest is sent."),
        "waiting": gettext("Waits for its turn"),
        "beginning": gettext("Beginning …"),
        "of": gettext("{sent} of {size}"),
        "left": gettext("{time} left"),
        "storing": gettext("Storing and reading the package …"),
        "retrying": gettext("The line broke; it goes on in a moment."),
        "offline": gettext("No connection; it goes on when there is one."),
        "broken": gettext("The store does not answer. What arrived is kept for a day; resume when you like."),
        "paused": gettext("Paused at {sent} of {size}"),
        "pausedShort": gettext("Paused"),
        "pause": gettext("Pause"),
        "resume": gettext("Resume"),
        "cancel": gettext("Cancel"),
        "cancelled": gettext("{name} is taken off the list."),
        "done": gettext("Uploaded"),
        "answered": gettext("The server answered with {status}. Try again; if it stays so, tell the administrator."),
        "empty": gettext("{name} is empty."),
        "large": gettext("{name} has {size}; the store takes up to {limit}."),
    }
