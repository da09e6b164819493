"""A NEF, a BSF and a PCF of our own: real HTTP servers on loopback that take only what the standards allow.

They are the tests' peers, not products; each can be told to misbehave in the ways that real ones do.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.upf.core5g import schemas

Reply = tuple[int, Any, dict[str, str]]


class Peer:
    """One server. `with Peer() as peer:`; what it was sent is in `requests`, oldest first."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.moods: dict[str, Any] = {}
        self.away = False
        self.lock = threading.RLock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                outer.handle(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._kinds = (Server, Handler)
        self._open(0)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _open(self, port: int) -> None:
        server, handler = self._kinds
        self._server = server(("127.0.0.1", port), handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def cut(self) -> None:
        """Be unreachable: nobody listens, and connections that are open are closed at their next use."""
        self.away = True
        self._server.shutdown()
        self._server.server_close()

    def mend(self) -> None:
        """Be reachable again, at the same port."""
        self.away = False
        self._open(self.port)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *args: Any) -> None:
        if not self.away:
            self.cut()

    def misbehave(self, **moods: Any) -> None:
        """Misbehave from now on, no keyword: behave.

        `delay` seconds; `status` and `body` in place of any work; `lose=True` does the work and closes without an answer;
        `only` limits it to one method; `times` to so many requests.
        """
        self.moods = moods

    def sent(self, method: str) -> list[Any]:
        """Return the bodies of all requests of a method."""
        return [body for verb, _, body in self.requests if verb == method]

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        """Do the work of one request."""
        raise AssertionError

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if self.away:
            handler.close_connection = True
            return
        kind = handler.headers.get("Content-Type", "")
        body = json.loads(raw) if raw and "json" in kind else raw.decode() or None
        parts = urlsplit(handler.path)
        path = [unquote(each) for each in parts.path.strip("/").split("/")]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        with self.lock:
            self.requests.append((handler.command, handler.path, body))
            self.headers.append({key.lower(): value for key, value in handler.headers.items()})
            moods = self._moods(handler.command)
        time.sleep(moods.get("delay", 0))
        if "status" in moods:
            reply: Reply = (moods["status"], moods.get("body", b""), moods.get("headers", {}))
        else:
            with self.lock:
                reply = self.answer(handler.command, path, query, body, self.headers[-1])
        if moods.get("lose"):
            handler.close_connection = True
            return
        self._reply(handler, reply, moods)

    def _moods(self, method: str) -> dict[str, Any]:
        if self.moods.get("only", method) != method:
            return {}
        moods = self.moods
        if "times" in moods:
            self.moods = {**moods, "times": moods["times"] - 1} if moods["times"] > 1 else {}
        return moods

    def _reply(self, handler: BaseHTTPRequestHandler, reply: Reply, moods: dict[str, Any]) -> None:
        status, body, headers = reply
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        content = moods.get("garbage", content)
        try:
            handler.send_response(status)
            usual = {"Content-Type": moods.get("content_type", "application/json"), "Content-Length": str(len(content))}
            for name, value in {**usual, **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            pass  # the client has had enough


def problem(status: int, title: str, **more: Any) -> Reply:
    return status, {"title": title, **more}, {"Content-Type": "application/problem+json"}


class Nef(Peer):
    """TS 29.522 traffic influence. `forget` names members that it drops when it echoes, as some do."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.acks: list[Any] = []
        self.drops: set[str] = set()
        self.puts = True
        self.with_location = True
        self._next = 0

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        if path[0] == "ack":
            if wrong := schemas.complaint(body, schemas.AF_ACK):
                return problem(400, "Bad AfAckInfo", detail=wrong)
            self.acks.append(body)
            return 204, None, {}
        if path[:2] != ["3gpp-traffic-influence", "v1"] or len(path) not in (4, 5) or path[3] != "subscriptions":
            return problem(404, "No such resource")
        if path[2] != "breakwater af":
            return problem(403, "Unknown AF")
        if method in ("POST", "PUT"):
            if headers.get("content-type") != "application/json":
                return problem(415, "JSON please")
            if wrong := schemas.complaint(body, schemas.TRAFFIC_INFLUENCE):
                return problem(400, "Not a TrafficInfluSub", detail=wrong)
        if len(path) == 4:
            return self._collection(method, body)
        if path[4] not in self.subscriptions:
            return problem(404, "No such subscription")
        if method == "DELETE":
            del self.subscriptions[path[4]]
            return 204, None, {}
        if method == "PUT" and self.puts:
            self.subscriptions[path[4]] = body
        elif method != "GET":
            return problem(405, "Not possible here")
        return 200, self._echo(path[4]), {}

    def _collection(self, method: str, body: Any) -> Reply:
        if method == "GET":
            return 200, [self._echo(key) for key in self.subscriptions], {}
        if method != "POST":
            return problem(405, "Not possible here")
        self._next += 1
        key = f"sub {self._next}"
        self.subscriptions[key] = body
        # Behind a proxy the NEF does not know how it is reached.
        location = (
            f"http://nef.internal:8080/3gpp-traffic-influence/v1/breakwater%20af/subscriptions/sub%20{self._next}"
        )
        return 201, self._echo(key), {"Location": location} if self.with_location else {}

    def _echo(self, key: str) -> dict[str, Any]:
        body = {
            name: value
            for name, value in self.subscriptions[key].items()
            if name not in self.drops and value is not False
        }
        # Met in the field: a route with a profile is shown with a routeInfo that nobody gave.
        shown = [{"routeInfo": {"portNumber": 0}, **route} for route in body.get("trafficRoutes", [])]
        return {
            **body,
            "trafficRoutes": shown,
            "self": f"http://nef.internal/x/subscriptions/{key.replace(' ', '%20')}",
        }


class Bsf(Peer):
    """TS 29.521: `bindings` maps an address of a UE to the URL of its PCF."""

    def __init__(self) -> None:
        super().__init__()
        self.bindings: dict[str, str] = {}

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        if path != ["nbsf-management", "v1", "pcfBindings"] or method != "GET":
            return problem(404, "No such resource")
        if set(query) not in ({"ipv4Addr"}, {"ipv6Prefix"}):
            return problem(400, "One UE address please")
        pcf = self.bindings.get(query.get("ipv4Addr") or query["ipv6Prefix"])
        if pcf is None:
            return 204, None, {}
        host, _, port = pcf.removeprefix("http://").partition(":")
        ends = [{"ipv4Address": host, "port": int(port)}]
        return 200, {"pcfIpEndPoints": ends, "snssai": {"sst": 1, "sd": ""}, "dnn": "internet"}, {}


class Pcf(Peer):
    """TS 29.514 policy authorization. `features` is what it supports; `known` makes it answer 303 to a repetition."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, dict[str, Any]] = {}
        self.features = "1"
        self.knows_repetitions = False
        self._next = 0

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        if path[:3] != ["npcf-policyauthorization", "v1", "app-sessions"]:
            return problem(404, "No such resource")
        work: dict[tuple[str, int], Callable[[], Reply]] = {
            ("POST", 3): lambda: self._create(body),
            ("GET", 4): lambda: (200, self.sessions[path[3]], {}),
            ("PATCH", 4): lambda: self._patch(path[3], body, headers),
            ("POST", 5): lambda: self._delete(path[3]),
        }
        if len(path) > 3 and path[3] not in self.sessions:
            return problem(404, "APPLICATION_SESSION_CONTEXT_NOT_FOUND", cause="APPLICATION_SESSION_CONTEXT_NOT_FOUND")
        if (method, len(path)) not in work or path[4:] not in ([], ["delete"]):
            return problem(405, "Not possible here")
        return work[method, len(path)]()

    def _create(self, body: Any) -> Reply:
        if wrong := schemas.complaint(body, schemas.APP_SESSION):
            return problem(400, "Not an AppSessionContext", detail=wrong)
        asked = body["ascReqData"]
        if self.knows_repetitions:
            for key, present in self.sessions.items():
                if present["ascReqData"]["medComponents"] == asked["medComponents"]:
                    return 303, None, {"Location": f"{self.url}/npcf-policyauthorization/v1/app-sessions/{key}"}
        self._next += 1
        both = f"{int(self.features, 16) & int(asked['suppFeat'], 16):x}"
        self.sessions[str(self._next)] = {**body, "ascRespData": {"suppFeat": both}}
        location = f"http://pcf.internal:7777/npcf-policyauthorization/v1/app-sessions/{self._next}"
        return 201, self.sessions[str(self._next)], {"Location": location}

    def _patch(self, key: str, body: Any, headers: dict[str, str]) -> Reply:
        if headers.get("content-type") != "application/merge-patch+json":
            return problem(415, "A merge patch please")
        if wrong := schemas.complaint(body, schemas.APP_SESSION_PATCH):
            return problem(400, "Not an AppSessionContextUpdateDataPatch", detail=wrong)
        merged = merge(self.sessions[key]["ascReqData"], body["ascReqData"])
        whole = {"ascReqData": merged}
        if wrong := schemas.complaint(whole, schemas.APP_SESSION):
            return problem(400, "The session would not be valid", detail=wrong)
        self.sessions[key] = {**self.sessions[key], **whole}
        return 200, self.sessions[key], {}

    def _delete(self, key: str) -> Reply:
        del self.sessions[key]
        return 204, None, {}


def merge(target: Any, patch: Any) -> Any:
    """Apply a merge patch as RFC 7396 2 writes it down."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result
