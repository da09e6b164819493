"""An application's side of the MEC platform (ETSI GS MEC 011, reference point Mp1). Standard library only.

`Mp1` is the client: one method per thing an application may ask. `Membership` is the thread that uses it to keep the
application known to the platform, whatever happens to either of them.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import Any

MANAGEMENT = "/mec_service_mgmt/v1"
SUPPORT = "/mec_app_support/v1"
LONGEST_ANSWER = 1 << 20
Json = dict[str, Any]


class Mp1Error(Exception):
    """The platform refused: `status` is its HTTP status, the text its own words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class Mp1:
    """Talks to one platform as one application instance."""

    def __init__(
        self, url: str, token_url: str, ca_cert: str, client_id: str, client_secret: str, app_instance_id: str
    ) -> None:
        self.url, self.token_url, self.app_instance_id = url.rstrip("/"), token_url, app_instance_id
        self._basic = base64.b64encode(f"{_quoted(client_id)}:{_quoted(client_secret)}".encode()).decode()
        context = ssl.create_default_context(cadata=ca_cert)
        # The platform is a neighbour on the node: no proxy of the environment is ever between us.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        self._token, self._token_until = "", 0.0
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls) -> Mp1 | None:
        """Return the platform that the chart told us of; None when it is switched off."""
        names = ("MEP_URL", "MEP_TOKEN_URL", "MEP_CA_CERT", "MEP_CLIENT_ID", "MEP_CLIENT_SECRET", "APP_INSTANCE_ID")
        values = [os.environ.get(name, "") for name in names]
        if not values[0]:
            return None
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if missing:
            raise SystemExit(f"The platform is switched on but not fully described: {', '.join(missing)} missing")
        return cls(*values)

    def own_address(self) -> str:
        """Return our address as the platform sees it, for callbacks."""
        parts = urllib.parse.urlsplit(self.url)
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=5) as connection:
            return str(connection.getsockname()[0])

    def confirm_ready(self) -> None:
        """Say that the application runs (MEC 011, 5.2.2); said twice is fine."""
        try:
            self._call("POST", f"{self._support}/confirm_ready", {"indication": "READY"})
        except Mp1Error as problem:
            if problem.status != 409:  # it knows already
                raise

    def register(self, service: Json) -> Json:
        """Make `service` known (5.2.4), or bring the one of that name up to date; return what the platform keeps."""
        path = f"{MANAGEMENT}/applications/{self.app_instance_id}/services"
        for present in self._call("GET", path):
            if present["serName"] == service["serName"]:
                known = {**service, "serInstanceId": present["serInstanceId"], "_links": present.get("_links", {})}
                return {**present, **(self._call("PUT", f"{path}/{present['serInstanceId']}", known) or {})}
        return self._call("POST", path, service)

    def deregister(self, service_id: str) -> None:
        """Take a service back (5.2.4)."""
        self._call("DELETE", f"{MANAGEMENT}/applications/{self.app_instance_id}/services/{service_id}")

    def heartbeat(self, href: str) -> None:
        """Say that the service behind the liveness link is alive (5.2.10, 8.1.2.4)."""
        self._call("PATCH", urllib.parse.urlsplit(href).path, {"state": "ACTIVE"})

    def discover(self, name: str) -> list[Json]:
        """Return the services called `name` (5.2.5)."""
        found = self._call("GET", f"{MANAGEMENT}/services?{urllib.parse.urlencode({'ser_name': name})}")
        return list(found)

    def watch_services(self, names: list[str], callback: str) -> str:
        """Ask to be told when services of these names come, change or go (5.2.6.2); return the subscription's path."""
        return self._subscribe(
            MANAGEMENT,
            {
                "subscriptionType": "SerAvailabilityNotificationSubscription",
                "callbackReference": callback,
                "filteringCriteria": {"serNames": names},
            },
        )

    def watch_termination(self, callback: str) -> str:
        """Ask to be told before we are ended (5.2.6.1); return the subscription's path."""
        return self._subscribe(
            SUPPORT,
            {
                "subscriptionType": "AppTerminationNotificationSubscription",
                "callbackReference": callback,
                "appInstanceId": self.app_instance_id,
            },
        )

    def confirm_termination(self, action: str) -> None:
        """Say that we are done and may be ended (5.2.3)."""
        self._call("POST", f"{self._support}/confirm_termination", {"operationAction": action})

    def check(self, path: str) -> None:
        """Raise `Mp1Error` 404 when the platform no longer knows the subscription at `path`."""
        self._call("GET", path)

    @property
    def _support(self) -> str:
        return f"{SUPPORT}/applications/{self.app_instance_id}"

    def _subscribe(self, api: str, wanted: Json) -> str:
        """Subscribe anew; an earlier subscription of ours whose address no longer answers goes first."""
        path = f"{api}/applications/{self.app_instance_id}/subscriptions"
        listed = self._call("GET", path).get("_links", {}).get("subscriptions", [])
        for href in (urllib.parse.urlsplit(link["href"]).path for link in listed):
            try:
                present = self._call("GET", href)
                if present["subscriptionType"] == wanted["subscriptionType"] and _is_gone(present["callbackReference"]):
                    self._call("DELETE", href)
            except Mp1Error as problem:
                if problem.status != 404:
                    raise
        made = self._call("POST", path, wanted)
        return urllib.parse.urlsplit(made["_links"]["self"]["href"]).path

    def _call(self, method: str, path: str, body: Json | None = None) -> Any:
        """Send one request; a token that is refused is replaced once (RFC 6750, 3.1)."""
        for attempt in (1, 2):
            try:
                return self._send(method, self.url + path, body, {"Authorization": f"Bearer {self._bearer()}"})
            except Mp1Error as problem:
                if problem.status != 401 or attempt == 2:
                    raise
                self._token_until = 0.0
        raise AssertionError("unreachable")

    def _bearer(self) -> str:
        """Return a token, fetched with the client credentials (RFC 6749, 4.4) and kept until shortly before its end."""
        with self._lock:
            if time.monotonic() >= self._token_until:
                form = b"grant_type=client_credentials"
                answer = self._send("POST", self.token_url, form, {"Authorization": f"Basic {self._basic}"})
                lifetime = float(answer.get("expires_in", 300))
                self._token, self._token_until = answer["access_token"], time.monotonic() + max(1.0, lifetime - 30)
            return self._token

    def _send(self, method: str, url: str, body: Json | bytes | None, headers: dict[str, str]) -> Any:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/x-www-form-urlencoded" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(
            url,
            data,
            {**headers, "Accept": "application/json", **({"Content-Type": kind} if data else {})},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=10) as answer:
                content = answer.read(LONGEST_ANSWER)
        except urllib.error.HTTPError as problem:
            raise Mp1Error(problem.code, _detail(problem.read(LONGEST_ANSWER))) from None
        except (OSError, urllib.error.URLError) as problem:
            raise Mp1Error(0, f"the platform does not answer: {getattr(problem, 'reason', problem)}") from None
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise Mp1Error(0, "the platform's answer is not JSON") from None


class Membership(threading.Thread):
    """Keeps the application known to its platform: ready, registered, subscribed, alive.

    When the platform forgot us (it was reinstalled, say) or was away, we start over. `services` are what we offer,
    `watched` the names whose coming and going interests us; `on_change` is called for each such notification.
    """

    def __init__(
        self,
        mp1: Mp1,
        *,
        port: int,
        services: list[Json] | None = None,
        watched: list[str] | None = None,
        on_change: Callable[[Json], None] = lambda reference: None,
    ) -> None:
        super().__init__(name="membership", daemon=True)
        self.mp1, self.port, self.services, self.watched = mp1, port, services or [], watched or []
        self.on_change = on_change
        self.joined_once = False
        self.state = "joining"
        self.errors: deque[Json] = deque(maxlen=20)
        # Only the platform learns this word, so only the platform can call us back.
        self.secret = secrets.token_urlsafe(18)
        self._registered: dict[str, Json] = {}
        self._subscriptions: list[str] = []
        self._leave = threading.Event()
        self._leaving_action = ""

    def run(self) -> None:
        failures = 0
        while not self._leave.is_set():
            try:
                self._join()
                failures = 0
                self._stay()
            except (Mp1Error, OSError, KeyError, TypeError) as problem:
                self.state = "joining"
                self.note(str(problem) or type(problem).__name__)
                self._leave.wait(min(0.5 * 2**failures, 10.0))
                failures += 1
        if self._leaving_action:
            self._part()

    def notified(self, kind: str, word: str, notification: Json) -> bool:
        """Take a callback of the platform; False when it does not know our secret word."""
        if not secrets.compare_digest(word.encode(), self.secret.encode()):
            return False
        if kind == "termination":
            self._leaving_action = str(notification.get("operationAction") or "TERMINATING")
            self.state = "terminating"
            self._leave.set()
        for reference in notification.get("serviceReferences") or []:
            if isinstance(reference, dict):
                self.on_change(reference)
        return True

    def stop(self) -> None:
        """End without a word: the platform sees the heartbeats stop, or our successor's."""
        self._leave.set()

    def note(self, text: str) -> None:
        """Remember an error for the page and the log."""
        self.errors.appendleft({"at": now(), "error": text})
        print(f"platform: {text}", flush=True)

    def as_dict(self) -> Json:
        """Return what `/state.json` shows of us."""
        return {
            "state": self.state,
            "appInstanceId": self.mp1.app_instance_id,
            "services": [
                {"serName": name, "serInstanceId": made["serInstanceId"], "interval": made.get("livenessInterval", 0)}
                for name, made in self._registered.items()
            ],
            "errors": list(self.errors),
        }

    def _join(self) -> None:
        own = f"http://{_in_url(self.mp1.own_address())}:{self.port}/notifications/{self.secret}"
        self.mp1.confirm_ready()
        self._subscriptions = [self.mp1.watch_termination(f"{own}/termination")]
        if self.watched:
            self._subscriptions.append(self.mp1.watch_services(self.watched, f"{own}/services"))
        self._registered = {service["serName"]: self.mp1.register(service) for service in self.services}
        self.state, self.joined_once = "joined", True
        print(f"platform: joined, offering {list(self._registered) or 'nothing'}", flush=True)

    def _stay(self) -> None:
        """Send heartbeats at twice the pace asked for, and look now and then whether we are still subscribed."""
        beats = [
            (made["_links"]["liveness"]["href"], float(made.get("livenessInterval") or 10))
            for made in self._registered.values()
            if "liveness" in made.get("_links", {})
        ]
        pause = min([interval / 2 for _, interval in beats] + [5.0])
        while not self._leave.wait(max(pause, 0.5)):
            for href, _ in beats:
                self.mp1.heartbeat(href)
            for path in self._subscriptions:
                self.mp1.check(path)

    def _part(self) -> None:
        """Take back what we offered and confirm that we may be ended."""
        try:
            for made in self._registered.values():
                self.mp1.deregister(made["serInstanceId"])
            self.mp1.confirm_termination(self._leaving_action)
            self.state = "terminated"
            print("platform: termination confirmed", flush=True)
        except Mp1Error as problem:
            self.note(str(problem))


def now() -> str:
    """Return the time as people and programs read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _is_gone(callback: str) -> bool:
    parts = urllib.parse.urlsplit(callback)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1).close()
    except OSError:
        return True
    return False


def _detail(content: bytes) -> str:
    try:
        problem = json.loads(content)
        return str(problem.get("detail") or problem.get("error_description") or problem.get("title") or problem)[:300]
    except (ValueError, AttributeError):
        return content[:120].decode("utf-8", "replace")


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")  # RFC 6749, 2.3.1


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
