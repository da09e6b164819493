"""Counts downloads and deployments without a write for each.

A process collects its counts and writes them together: every `COUNT_EVERY` seconds while there are some, and when it
ends. A process that is killed loses what it has not yet written: at most the downloads of those seconds. What is counted
is a whole answer (200), or the first part of one that is fetched in parts; HEAD and 304 are none.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import F, Sum
from django.http import HttpRequest, HttpResponseBase

from appstore.catalog import services
from appstore.catalog.models import App, Release

logger = logging.getLogger("breakwater.catalogue")
#: So many different packages are written at once, without waiting.
FULL = 500


class Buffer:
    """The counts of this process that are not yet written."""

    def __init__(self) -> None:
        self._counts: Counter[UUID] = Counter()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, package_id: UUID) -> None:
        """Count one download; costs a dictionary entry."""
        with self._lock:
            self._counts[package_id] += 1
            wait = 0.0 if len(self._counts) >= FULL else float(settings.COUNT_EVERY)
            if wait and self._timer is None:
                self._timer = threading.Timer(wait, self._on_time)
                self._timer.daemon = True
                self._timer.start()
        if not wait:
            self.flush()

    def flush(self) -> int:
        """Write what was counted; return how many downloads. What cannot be written is kept for the next time."""
        with self._lock:
            counts, self._counts, self._timer = self._counts, Counter(), None
        if not counts:
            return 0
        try:
            record(counts)
        except Exception:
            logger.warning("%s downloads could not be counted yet", counts.total(), exc_info=True)
            with self._lock:
                self._counts.update(counts)
            return 0
        return counts.total()

    def _on_time(self) -> None:
        close_old_connections()
        try:
            self.flush()
        finally:
            close_old_connections()


buffer = Buffer()
atexit.register(buffer.flush)


def downloaded(package_id: UUID) -> None:
    """Count one download of a package; called by whatever hands out its content."""
    buffer.add(package_id)


@transaction.atomic
def record(counts: Counter[UUID]) -> None:
    """Add downloads to releases and their applications: a statement for each different count, not for each package."""
    rows = Release.objects.filter(package_id__in=list(counts)).values_list("package_id", "app_id")
    known = {pk: app for pk, app in rows if pk is not None}
    if not known:
        return
    serial = services.turn()
    apps: Counter[int] = Counter()
    by_count: dict[int, list[UUID]] = {}
    for pk, app in known.items():
        apps[app] += counts[pk]
        by_count.setdefault(counts[pk], []).append(pk)
    for count, ids in sorted(by_count.items()):
        Release.objects.filter(package_id__in=ids).update(downloads=F("downloads") + count)
    by_sum: dict[int, list[int]] = {}
    for app, count in apps.items():
        by_sum.setdefault(count, []).append(app)
    for count, app_ids in sorted(by_sum.items()):
        App.objects.filter(pk__in=app_ids).update(downloads=F("downloads") + count)
    services.touch(apps, serial)


@transaction.atomic
def deployed(package_id: Any) -> None:
    """Count one deployment of a package; called in the transaction of the deed."""
    app = Release.objects.filter(package_id=package_id).values_list("app_id", flat=True).first()
    if app is not None:
        serial = services.turn()
        Release.objects.filter(package_id=package_id).update(deployments=F("deployments") + 1)
        total = Release.objects.filter(app=app).aggregate(total=Sum("deployments"))["total"] or 0
        App.objects.filter(pk=app).update(deployments=total)
        services.touch([app], serial)


class CountDownloads:
    """Middleware that counts the downloads of package files, which a topic below this one hands out."""

    sync_capable, async_capable = True, False
    _NAMES = frozenset({"api-package-content"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, and count when it was a download."""
        response = self.get_response(request)
        match = request.resolver_match
        if match is not None and match.url_name in self._NAMES and request.method == "GET" and _whole(response):
            downloaded(match.kwargs["pk"])
        return response


def _whole(response: HttpResponseBase) -> bool:
    if response.status_code == 206:
        return response.get("Content-Range", "").startswith("bytes 0-")
    return response.status_code == 200
