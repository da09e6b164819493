"""Upload: with scripts the browser streams to the API and shows how far it is; without, the form arrives here."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from appstore.packages import services
from core.errors import BreakwaterError
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page


class UploadForm(PortalForm):
    """One file."""

    file = forms.FileField(label="Package", max_length=200)


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
    context = {"section": "upload", "form": form, "limit": settings.MAX_PACKAGE_BYTES}
    return render(request, "frontend/store/upload.html", context, status=status)
