"""Further panels of the dashboard: topics above the fleet, such as rollouts, add theirs without being known here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from core.accounts.models import Organisation

#: Returns the template and its context, or None when there is nothing to show.
Panel = Callable[[HttpRequest, Organisation], tuple[str, dict[str, Any]] | None]

_panels: list[Panel] = []


def panel(make: Panel) -> Panel:
    """Decorate a function that makes a panel: one query at most, it is on a page with a budget."""
    if make not in _panels:
        _panels.append(make)
    return make


def of(request: HttpRequest, organisation: Organisation) -> list[dict[str, Any]]:
    """Return the panels that have something to show, each with its `template` and `context`."""
    made = [each(request, organisation) for each in _panels]
    return [{"template": template, "context": context} for template, context in filter(None, made)]
