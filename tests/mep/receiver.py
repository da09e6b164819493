"""A subscriber on loopback that keeps what it is sent and can be made to misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """`with Receiver() as subscriber:`; `status` is what it answers, `delay` how long that takes."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.bodies: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.hosts: list[str] = []
        self.times: list[float] = []
        self.answers: list[int] = []
        #: Names of services; the first notification about each is refused.
        self.refuse: set[str] = set()
        self.status, self.delay, self.location = 204, 0.0, ""
        self._open: list[socket.socket] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._open.append(self.connection)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(outer.delay)
                outer.times.append(time.time())
                outer.ids.append(self.headers["X-Notification-Id"])
                outer.hosts.append(self.headers["Host"])
                outer.bodies.append(body)
                names = {each["serName"] for each in body.get("serviceReferences", ())}
                status = 500 if outer.refuse & names else outer.status
                outer.refuse -= names
                outer.answers.append(status)
                self.send_response(status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self._server = Server((host, port), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}/hear"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def changes(self) -> list[str]:
        """Return the changeType of every first reference, in the order of arrival."""
        return [body["serviceReferences"][0]["changeType"] for body in self.bodies if "serviceReferences" in body]

    def versions(self) -> list[str]:
        """Return the serName of every first reference, in the order of arrival."""
        return [body["serviceReferences"][0]["serName"] for body in self.bodies if "serviceReferences" in body]

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *args: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self) -> int:
        """Return how many connections were made so far."""
        return len(self._open)
