"""A tenant with a checked package and a sandbox whose agent a test plays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mecm.trials.conftest import agent, make_node, make_package, node, package

__all__ = ["agent", "make_node", "make_package", "node", "package"]


@pytest.fixture
def dora(make_user: Any, organisation: Any) -> Any:
    """A developer of the tenant."""
    return make_user("dora", organisation, "developer")


@pytest.fixture
def developer(dora: Any) -> Any:
    """The developer, acting."""
    from core.accounts.access import Actor

    return Actor(dora)
