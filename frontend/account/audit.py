"""The audit trail: who did what, when, to what; searched, paged by key, and taken home as a file."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_safe

from core.accounts import access
from core.audit import search
from core.audit.models import Entry
from core.errors import Denied, Invalid
from frontend import tenancy
from frontend.download import download
from frontend.page import page, words_of

PAGE_SIZE = 50
FIELDS = ("q", "actor", "action", "target", "since", "until")
COLUMNS = ("id", "at", "actor", "action", "object_type", "object_id", "object_name", "facts")


@require_GET
@page
def audit_page(request: HttpRequest) -> HttpResponse:
    """List entries of the organisations in which the person may read them, newest first."""
    rows, problems, sought = _rows(request), {}, search.Sought()
    try:
        sought = search.read(request.GET)
    except Invalid as error:
        problems = {each["field"]: each["detail"] for each in error.context["errors"]}
    after = words_of(request, "after")
    try:
        found, key = search.page(sought.within(rows), after, PAGE_SIZE)
    except Invalid:
        after = ""
        found, key = search.page(sought.within(rows), after, PAGE_SIZE)
    typed = {name: words_of(request, name) for name in FIELDS}
    context = {
        "section": "audit",
        "rows": [] if problems else found,
        "next_key": "" if problems else key,
        "after": after,
        "typed": typed,
        "filtered": any(typed.values()),
        "problems": problems,
        # What was not looked through is said, or a search would seem to prove that nothing was done.
        "begins": sought.begins if sought.since is None and not problems else None,
    }
    return render(request, "frontend/account/audit.html", context)


@require_safe
@page
def download_audit(request: HttpRequest) -> HttpResponseBase:
    """Send the entries that are sought as a file, read in pieces."""
    rows: Any = search.read(request.GET).within(_rows(request)).values_list(*COLUMNS)
    return download(words_of(request, "form") or "csv", "audit", COLUMNS, rows.iterator(chunk_size=2000))


def _rows(request: HttpRequest) -> QuerySet[Entry]:
    actor = tenancy.actor_of(request)
    if not actor.organisations("audit.read"):
        raise Denied(_("Your roles do not show you the audit log."))
    return access.scoped(Entry.objects.all(), actor, "audit.read")
