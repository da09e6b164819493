"""Just enough of an API client to bring the cluster up; the engine under test has a real one."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any


class Api:
    """Talks to the API server as the administrator."""

    def __init__(self, pki: Path, port: int) -> None:
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def ready(self) -> bool:
        """Say whether the server serves; OSError when nobody listens."""
        return self._ask("GET", "/readyz")[0] == 200

    def get(self, path: str) -> Any:
        """Return an object, or None when there is no such thing."""
        status, body = self._ask("GET", path)
        return json.loads(body) if status == 200 else None

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Create an object; there already is fine."""
        status, answer = self._ask("POST", path, json.dumps(body))
        if status not in (200, 201, 409):
            raise SystemExit(f"the API server refused {path}: {answer[:500]!r}")

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=5, context=self._tls)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, ssl.SSLError) as problem:
            raise OSError(str(problem)) from problem
        finally:
            connection.close()
