"""The registration of an app instance with what it says about itself (new in MEC 011 V3.1.1, 7.2.13 and 7.2.14)."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import transaction

from core.errors import Denied, Invalid, Missing
from mep.mp1 import catalogue, wire
from mep.mp1.models import App, Counter


@transaction.atomic
def register(app: App, raw: Any) -> dict[str, Any]:
    """Register the app; `Denied` when it is registered already (its PUT changes that)."""
    if app.registration is not None:
        raise Denied("This app instance is registered already; update the registration with PUT")
    _store(app, _checked(app, raw))
    return read(app)


def read(app: App) -> dict[str, Any]:
    """Return the AppInfo of the app; `Missing` when it is not registered."""
    if app.registration is None:
        raise Missing("This app instance is not registered")
    found = {**app.registration, "appInstanceId": app.pk}
    if app.app_d_id:
        # An AppD is here, so it tells what the app needs, not the app (7.1.2.6).
        found["appDId"] = app.app_d_id
        for member, key in (("appServiceRequired", "required"), ("appServiceOptional", "optional")):
            if app.declared.get(key):
                found[member] = app.declared[key]
    return found


@transaction.atomic
def update(app: App, raw: Any) -> None:
    """Replace what the app says about itself."""
    read(app)
    _store(app, _checked(app, raw))


@transaction.atomic
def deregister(app: App) -> None:
    """Take the registration back; what the app offers and listens to goes with it."""
    read(app)
    catalogue.withdraw(app)
    _store(app, None)


def _checked(app: App, raw: Any) -> dict[str, Any]:
    wanted = wire.read(wire.AppInfo, raw)
    if wanted.app_instance_id not in (None, app.pk):
        raise Denied("appInstanceId must be that of the access token; an app registers only itself")
    # Only the management knows whose app it is. False is what many clients send for "not said": it is the default.
    by_mec = bool(app.app_d_id)
    if wanted.is_ins_by_mec and not by_mec:
        raise Invalid(
            "isInsByMec: this app instance was admitted by the operator, not instantiated by the MEC management",
            errors=[{"field": "isInsByMec", "detail": "must be false"}],
        )
    if by_mec and wanted.app_d_id not in (None, app.app_d_id):
        raise Invalid(f"appDId must be {app.app_d_id}", errors=[{"field": "appDId", "detail": "is another app's"}])
    if not by_mec and wanted.endpoint is None:
        raise Invalid(
            "endpoint: is missing; it is needed when isInsByMec is false",
            errors=[{"field": "endpoint", "detail": "is missing"}],
        )
    if wanted.endpoint is not None:
        wanted.endpoint = wire.read(wire.EndPointInfo, wanted.endpoint).only()
    body = wire.without_nulls(msgspec.to_builtins(wanted))
    body.pop("appInstanceId", None)  # `read` tells it
    if app.app_d_id:
        for member in (
            "appDId",
            "appServiceRequired",
            "appServiceOptional",
            "appFeatureRequired",
            "appFeatureOptional",
        ):
            body.pop(member, None)
    return {**body, "isInsByMec": by_mec}


def _store(app: App, body: dict[str, Any] | None) -> None:
    app.registration = body
    app.save(update_fields=["registration"])
    Counter.bump("apps")
