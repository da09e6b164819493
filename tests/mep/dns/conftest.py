"""What all tests of DNS share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def free_rules(settings: Any) -> None:
    """Let applications change their rules as they like: here it matters how a change is served, not who may make it."""
    settings.APP_RULES = "free"
