"""What tests of the store use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.operations import services as operations
from tests.appstore import making


@pytest.fixture
def chart_folder(tmp_path: Path) -> Path:
    """A chart as a folder."""
    folder = tmp_path / "hello"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(making.CHART_YAML)
    (folder / "values.yaml").write_text("replicas: 1\n")
    (folder / "templates" / "hello.yaml").write_text(making.DEPLOYMENT)
    return folder


@pytest.fixture
def upload(api: Any) -> Callable[..., Any]:
    """Send bytes as a package: `upload(content, "a.csar")` gives the response."""

    def send(content: bytes, filename: str = "hello.csar", client: Any = None, **headers: str) -> Any:
        return (client or api).post(
            f"/api/v1/packages?filename={filename}",
            data=content,
            content_type="application/octet-stream",
            headers=headers,
        )

    return send


@pytest.fixture
def checked(upload: Any, api: Any) -> Callable[..., Any]:
    """Send bytes, let a worker check them, and give the package as the API tells it."""

    def send(content: bytes, filename: str = "hello.csar", client: Any = None) -> Any:
        response = upload(content, filename, client)
        assert response.status_code == 201, response.content
        operations.run_due()
        return (client or api).get(f"/api/v1/packages/{response.json()['id']}").json()

    return send
