"""The audit trail: who did what, when, to what."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from core.accounts import access
from core.audit.models import Entry
from core.errors import Denied
from frontend import tenancy
from frontend.page import page, paged, words_of


@require_GET
@page
def audit_page(request: HttpRequest) -> HttpResponse:
    """List entries of the organisations in which the person may read them, newest first."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("audit.read"):
        raise Denied("Your roles do not show you the audit log.")
    words = words_of(request)
    rows = access.scoped(Entry.objects.all(), actor, "audit.read")
    if words:
        rows = rows.filter(Q(actor__icontains=words) | Q(action__icontains=words) | Q(object_name__icontains=words))
    context = {"section": "audit", "rows": paged(request, rows, size=50), "q": words}
    return render(request, "frontend/account/audit.html", context)
