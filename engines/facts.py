"""What a runtime says of the walls between its tenants, as plain JSON values: a part of the report about a node."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from core.errors import BreakwaterError
from engines.contract import Engine
from engines.limits import Isolation


def tenancy_of(engine: Engine) -> dict[str, Any]:
    """Return `isolation` and `limits`; a cluster that may not be asked leaves them unknown."""
    try:
        isolation = engine.isolation()
    except BreakwaterError:
        isolation = Isolation()
    try:
        limits = engine.limits()
    except BreakwaterError:
        limits = None
    return {"isolation": asdict(isolation), "limits": asdict(limits) if limits else {}}
