"""When the centre was last backed up, when that was last proved, by whom, and what no backup holds."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from appstore.packages.life import of_the_store
from core.errors import Denied
from frontend import tables, tenancy
from frontend.page import page, paged
from mecm.backup import services
from mecm.backup.models import Backup

#: What `mecm.backup` writes into each backup, in the language of the page.
NOT_INSIDE = (
    gettext_lazy("the settings of this installation (environment variables): keep them where the service is defined"),
    gettext_lazy("the key of sessions: everybody signs in again after a restore"),
    gettext_lazy("what edge nodes hold themselves: they go on, and are told everything anew after a restore"),
    gettext_lazy("root keys of the federation feed that were made offline: they lie where you put them"),
    gettext_lazy(
        "logs, half-finished uploads and messages of the broker: what was under way is asked for again from its rows"
    ),
)


@require_GET
@page
def backup_page(request: HttpRequest) -> HttpResponse:
    """Show the record of backups to those who look after the store."""
    if not of_the_store(tenancy.actor_of(request), "accounts.manage"):
        raise Denied(_("Only administrators of the organisation that runs this store see its backups."))
    made, proved = services.last()
    context = {
        "section": "backup",
        "made": made,
        "proved": proved,
        "rows": paged(request, Backup.objects.all(), table=tables.BACKUPS),
        "not_inside": NOT_INSIDE,
    }
    return render(request, "frontend/fleet/backup.html", context)
