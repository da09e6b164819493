"""Vehicle: finds the positioning service of its edge node through the platform, calls it and shows what it saw."""

from __future__ import annotations

import json
import math
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from typing import Any

from mp1 import Membership, Mp1, Mp1Error, now
from page import render
from vehicle import Vehicle
from web import Refused, serve

WANTED = os.environ.get("WANTED_SERVICE", "positioning")
PORT = int(os.environ.get("PORT", "8080"))
PAUSE = float(os.environ.get("CALL_INTERVAL", "1"))
LOOK_AGAIN = 15.0
LONGEST_ANSWER = 64 * 1024


class Driver(threading.Thread):
    """Asks for the vehicle's position again and again; looks for the service anew when told so, or when calls fail."""

    def __init__(self, mp1: Mp1 | None) -> None:
        super().__init__(name="driver", daemon=True)
        self.member = Membership(mp1, port=PORT, watched=[WANTED], on_change=self.told) if mp1 else None
        self.service: dict[str, Any] | None = None
        self.vehicle: Vehicle | None = None
        self.units: list[dict[str, Any]] = []
        self.answers: deque[dict[str, Any]] = deque(maxlen=20)
        self.notifications: deque[dict[str, Any]] = deque(maxlen=20)
        self.errors: deque[dict[str, Any]] = deque(maxlen=20)
        self.counts = {"answers": 0, "failures": 0}
        self._look = threading.Event()
        self._look.set()
        self._over = threading.Event()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(self) -> None:
        looked = 0.0
        while not self._over.wait(PAUSE):
            if self._look.is_set() or time.monotonic() - looked > LOOK_AGAIN:
                self._look.clear()
                looked = time.monotonic()
                self._discover()
            if self.service and self.service["state"] == "ACTIVE":
                self._ask(self.service["uri"])

    def told(self, reference: dict[str, Any]) -> None:
        """Take a notification about the service (MEC 011, 8.1.4.2)."""
        kept = {key: str(reference.get(key, ""))[:80] for key in ("serName", "serInstanceId", "state", "changeType")}
        self.notifications.appendleft({"at": now(), **kept})
        self._look.set()

    def stop(self) -> None:
        self._over.set()
        if self.member:
            self.member.stop()

    def as_dict(self) -> dict[str, Any]:
        return {
            "app": "vehicle",
            "wanted": WANTED,
            "platform": self.member.as_dict() if self.member else {"state": "off", "errors": []},
            "service": self.service,
            "radioUnits": self.units,
            "answers": list(self.answers),
            "notifications": list(self.notifications),
            "errors": list(self.errors) + (list(self.member.errors) if self.member else []),
            "counts": dict(self.counts),
        }

    def _discover(self) -> None:
        """Look for the service by its name; an active one is preferred."""
        if not self.member or not self.member.joined_once:
            self._look.set()
            return
        try:
            found = sorted(self.member.mp1.discover(WANTED), key=lambda one: one.get("state") != "ACTIVE")
            self.service = _described(found[0]) if found else None
        except (Mp1Error, KeyError, IndexError, TypeError) as problem:
            self._note(f"discovery: {problem}")
            self._look.set()

    def _ask(self, uri: str) -> None:
        started = time.time()
        try:
            if not self.vehicle:
                self.units = self._call(f"{uri}/v1/radio-units")["radioUnits"]
                self.vehicle = Vehicle(self.units)
            x, y = self.vehicle.position(started)
            answer = self._call(f"{uri}/v1/position", {"distances": self.vehicle.measure(started)})
            found = answer["position"]
            self.answers.appendleft(
                {
                    "at": now(),
                    "ok": True,
                    "truth": {"x": round(x, 2), "y": round(y, 2)},
                    "position": found,
                    "error_m": round(math.hypot(found["x"] - x, found["y"] - y), 2),
                    "method": answer["method"],
                    "version": answer["version"],
                    "answeredBy": answer["answeredBy"],
                    "milliseconds": round((time.time() - started) * 1000, 1),
                }
            )
            self.counts["answers"] += 1
        except (OSError, ValueError, KeyError, TypeError) as problem:
            text = f"{uri}: {getattr(problem, 'reason', problem)}"
            self.answers.appendleft({"at": now(), "ok": False, "error": text[:200]})
            self.counts["failures"] += 1
            self._note(text)
            self._look.set()

    def _call(self, url: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
        with self._opener.open(request, timeout=3) as answer:
            return json.loads(answer.read(LONGEST_ANSWER))

    def _note(self, text: str) -> None:
        self.errors.appendleft({"at": now(), "error": text[:300]})
        print(text[:300], flush=True)


def _described(service: dict[str, Any]) -> dict[str, Any]:
    """Keep of a ServiceInfo what we use; only http addresses are called."""
    endpoint = service["transportInfo"]["endpoint"]
    uri = (endpoint.get("uris") or [""])[0]
    if not uri and endpoint.get("addresses"):
        uri = f"http://{endpoint['addresses'][0]['host']}:{endpoint['addresses'][0]['port']}"
    if not uri.startswith(("http://", "https://")):
        raise TypeError(f"the service's address cannot be called: {uri!r}")
    kept = {key: service[key] for key in ("serInstanceId", "serName", "version", "state")}
    return {**kept, "uri": uri.rstrip("/")}


def main() -> None:
    driver = Driver(Mp1.from_environment())
    member = driver.member

    def ready(_: str, __: Any) -> tuple[int, Any]:
        if member and not (member.joined_once and member.state != "terminated"):
            raise Refused(503, f"The platform does not know us yet: {member.state}")
        return 200, {"ready": True}

    def alive(_: str, __: Any) -> tuple[int, Any]:
        if not driver.is_alive():
            raise Refused(503, "The thread that calls the service has ended")
        return 200, {"alive": True}

    def notification(path: str, body: Any) -> tuple[int, Any]:
        _, _, word, kind = [*path.split("/"), "", ""][:4]
        if not member or not isinstance(body, dict) or not member.notified(kind, word, body):
            raise Refused(404, "There is nothing here")
        return 204, None

    if member:
        member.start()
    driver.start()
    serve(
        {
            ("GET", "/"): lambda *_: (200, render(driver.as_dict())),
            ("GET", "/state.json"): lambda *_: (200, driver.as_dict()),
            ("GET", "/ready"): ready,
            ("GET", "/alive"): alive,
            ("POST", "/notifications/"): notification,
        },
        PORT,
        on_stop=driver.stop,
    )


if __name__ == "__main__":
    main()
