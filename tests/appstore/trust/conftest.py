"""What tests of trust use beside those of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.appstore.trust import pki


@pytest.fixture
def make_package(organisation: Any) -> Callable[..., Any]:
    """Make a checked package row with a signature: `make_package("1.0", signature=...)`."""
    from django.utils import timezone

    from appstore.packages.models import Package

    def make(version: str = "1.0", **facts: Any) -> Package:
        defaults: dict[str, Any] = {
            "organisation": organisation, "filename": "hello.csar", "sha256": version.encode().hex().rjust(64, "0")[-64:],
            "size": 1, "format": "edgegallery-csar", "state": "checked", "provider": "Acme", "name": "hello",
            "checked_at": timezone.now(),
        }  # fmt: skip
        return Package.objects.create(version=version, **{**defaults, **facts})

    return make


@pytest.fixture(scope="session")
def known_signature(tmp_path_factory: Any) -> dict[str, Any]:
    """What is known of a package that SIGNER signed."""
    folder = Path(tmp_path_factory.mktemp("known"))
    reading = pki.read(folder, pki.signed(folder))
    assert not isinstance(reading, Exception)
    return reading.signature.as_dict()
