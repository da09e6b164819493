"""A small MEP on loopback that speaks as much of Mm5 as the direct applier needs, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "management-token"


class FakeMep:
    """Its state: app instances and wishes for rules by id, whether an app takes its time to end, whether it answers at all.

    `lose()` empties its store. An `older` one does not tell which wishes it holds.
    """

    def __init__(self) -> None:
        self.apps: dict[str, dict[str, Any]] = {}
        self.wishes: dict[str, int] = {}
        self.older = False
        self.lives = 0
        self.asked: list[str] = []
        self.url = ""
        self.slow_goodbye = False
        self.status = 0

    def lose(self) -> None:
        """Forget everything; who is provisioned from now on gets another secret."""
        self.apps, self.wishes, self.lives = {}, {}, self.lives + 1

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Answer one request."""
        self.asked.append(f"{method} {path.replace('/mm5/v1/', '')}")
        if self.status:
            return self.status, {"detail": "not today"}
        if path == "/mm5/v1/state":
            wishes = [
                {"appInstanceId": app, "generation": generation, "state": self._became(app)}
                for app, generation in self.wishes.items()
            ]
            told = {"apps": list(self.apps.values()), "services": [{"serName": "greeting", "state": "ACTIVE"}]}
            return 200, told if self.older else {**told, "rule_wishes": wishes}
        app, _, verb = path.removeprefix("/mm5/v1/app_instances/").partition("/")
        if method == "PUT" and verb == "rules":
            self.wishes[app] = body["generation"]
            return 200, {"state": self._became(app), "rules": []}
        if method == "PUT":
            self.apps.setdefault(app, {"appInstanceId": app, "over": False}).update(body)
            access = {"url": "https://mep:8443", "tokenUrl": "https://mep:8443/mep/token", "caCert": "PEM"}
            return 200, {"clientId": f"client-{app}", "clientSecret": f"secret-{self.lives}", **access}
        if method == "DELETE":
            self.apps.pop(app, None)
            return 204, None
        known = self.apps.get(app)
        if known is None:
            return 404, {"detail": "no such app"}
        if verb == "terminate":
            if not known.get("announced"):  # asking again does not announce again
                known.update(announced=True, over=not self.slow_goodbye)
            return 202, {}
        return 200, {"terminationOver": known["over"]}

    def _became(self, app: str) -> str:
        return "applied" if app in self.apps else "waiting"


@contextmanager
def running() -> Iterator[FakeMep]:
    """Lend a fake MEP that listens on 127.0.0.1."""
    mep = FakeMep()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length) or b"{}")
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, told = mep.answer(self.command, self.path, body) if allowed else (401, {})
            content = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mep.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield mep
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
