"""The AdvantEDGE files of MEC 011 V2.2.1, as schemathesis reads them, asking the MEP in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: Beside the repository, or beside the folder that this work tree is in.
PLACES = [folder / "shared" / "openapi" / "etsi-mec" for folder in Path(__file__).resolve().parents[4:6]]
APIS = {
    "mec_service_mgmt": "mec011-service-mgmt-2.2.1-advantedge.yaml",
    "mec_app_support": "mec011-app-support-2.2.1-advantedge.yaml",
}


def document(name: str) -> dict[str, Any]:
    """Return one of the ETSI files; the test is skipped where they are not."""
    import yaml

    file = next((place / name for place in PLACES if (place / name).is_file()), None)
    if file is None:
        pytest.skip("the ETSI OpenAPI files are not at ../shared/openapi/etsi-mec")
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def schema(api: str) -> Any:
    """Return the schema of one API with this MEP behind it."""
    import schemathesis
    from django.core.handlers.wsgi import WSGIHandler

    raw = document(APIS[api])
    raw["servers"] = [{"url": f"http://localhost/{api}/v1"}]  # AdvantEDGE has a sandbox name before it
    made = schemathesis.openapi.from_dict(raw)
    made.app = WSGIHandler()
    return made


def operations(api: str) -> list[Any]:
    """Return the operations of one API."""
    return [result.ok() for result in schema(api).get_all_operations()]


@pytest.fixture
def one_connection() -> Iterator[None]:
    """Let requests of this thread use the test's connection and its transaction, as Django's test client does."""
    from django.core import signals
    from django.db import close_old_connections

    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)
