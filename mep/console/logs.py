"""The last log lines of the node's processes."""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from mep.console import ring
from mep.console.frame import live, words_of

MOST = 200


@require_safe
def logs(request: HttpRequest) -> HttpResponse:
    """GET /logs"""
    folder = settings.VAR / "log"
    sought, level, process = words_of(request), words_of(request, "level"), words_of(request, "process")

    def build() -> dict[str, Any]:
        return {
            "lines": ring.read(folder, level=level, words=sought, process=process, most=MOST),
            "q": sought,
            "level": level,
            "process": process,
            "levels": ring.LEVELS,
            "processes": ring.processes(folder),
            "most": MOST,
        }

    # Files, not rows: their sizes tell whether anything was written.
    now = hashlib.sha256(ring.mark(folder).encode()).hexdigest()[:20]
    return live(request, "logs", now, build)
