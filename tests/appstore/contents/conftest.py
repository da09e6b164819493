"""Packages in the store whose inside was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appstore.contents import services
from appstore.packages.models import Package
from core.operations import services as operations


@pytest.fixture
def read(checked: Any) -> Callable[..., Any]:
    """Send bytes, let a worker check and read them, and give the contents: `read(csar())`."""

    def send(content: bytes, filename: str = "hello.csar") -> Any:
        told = checked(content, filename)
        assert told["state"] == "checked", told["findings"]
        operations.run_due()
        contents = services.of(Package.objects.get(pk=told["id"]))
        assert contents is not None
        return contents

    return send


@pytest.fixture
def release(read: Any, actor: Any) -> Callable[..., Any]:
    """The same, and publish it."""
    from appstore.packages import services as packages

    def send(content: bytes, filename: str = "hello.csar", **facts: Any) -> Any:
        contents = read(content, filename)
        package = packages.publish(Package.objects.get(pk=contents.package_id), actor=actor)
        if facts:
            Package.objects.filter(pk=package.pk).update(**facts)
        return Package.objects.get(pk=package.pk)

    return send
