"""Celery: the doorbell and the set of hands. What is to be done is in the operation rows."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")

app = Celery("breakwater")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["mecm"])


def ring(operation_id: str, delay: float) -> None:
    """Tell some worker that this operation is due in `delay` seconds."""
    app.send_task("operations.run", args=[operation_id], countdown=delay or None, retry=False, ignore_result=True)


@worker_init.connect
def _require_keys(**_: Any) -> None:
    from core.sealing.services import require_keys  # models are there once Celery has set Django up
    from core.vault import KeyMissing

    try:
        require_keys()
    except KeyMissing as problem:
        # What signals raise is logged and forgotten; this ends the worker.
        raise SystemExit(problem.detail) from None


@worker_ready.connect
def _sweep_at_start(**_: Any) -> None:
    app.send_task("operations.sweep", retry=False)
