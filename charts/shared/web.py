"""A small threaded web server for the sample applications. Standard library only."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

LONGEST_BODY = 64 * 1024


class Refused(Exception):
    """The caller's mistake; becomes problem+json (RFC 9457)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


Route = Callable[[str, Any], tuple[int, Any]]
"""Takes the path and the JSON body (or None); returns the status and what to send: HTML as text, all else as JSON."""


def serve(routes: dict[tuple[str, str], Route], port: int, *, on_stop: Callable[[], None] = lambda: None) -> None:
    """Answer `routes` (by method and path prefix, the longest wins) until SIGTERM or SIGINT."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "sample", ""
        protocol_version = "HTTP/1.1"
        timeout = 30

        def handle_any(self) -> None:
            try:
                status, answer = self._route()
            except Refused as problem:
                status, answer = problem.status, problem
            except Exception as problem:
                # A bug must not end the thread that other callers share a connection pool with.
                print(f"error: {self.path}: {problem!r}", flush=True)
                status, answer = 500, Refused(500, "The application failed; its log says why")
            self._send(status, answer)

        do_GET = do_POST = do_HEAD = handle_any

        def _route(self) -> tuple[int, Any]:
            path = urlsplit(self.path).path
            method = "GET" if self.command == "HEAD" else self.command
            fitting = [route for route in routes if route[0] == method and _fits(route[1], path)]
            if not fitting:
                raise Refused(404, f"There is nothing at {path}")
            return routes[max(fitting, key=lambda route: len(route[1]))](path, self._body())

        def _body(self) -> Any:
            length = int(self.headers.get("Content-Length") or 0)
            if length > LONGEST_BODY:
                self.close_connection = True
                raise Refused(413, f"A body may have {LONGEST_BODY} bytes")
            if not length:
                return None
            try:
                return json.loads(self.rfile.read(length))
            except ValueError:
                raise Refused(400, "The body is not JSON") from None

        def _send(self, status: int, answer: Any) -> None:
            kind = "application/json"
            if isinstance(answer, str):
                kind, content = "text/html; charset=utf-8", answer.encode()
            elif isinstance(answer, Refused):
                kind = "application/problem+json"
                problem = {"type": "about:blank", "title": "Refused", "status": status, "detail": answer.detail}
                content = json.dumps(problem).encode()
            else:
                content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD" and status != 204:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass  # probes would fill the log

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True

    def stop(*_: object) -> None:
        on_stop()
        # shutdown() waits for serve_forever, which runs in the thread that a signal interrupts.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"listening on port {port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    print("stopped", flush=True)


def _fits(route: str, path: str) -> bool:
    return path == route or (route.endswith("/") and route != "/" and path.startswith(route))
