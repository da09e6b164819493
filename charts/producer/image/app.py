"""Positioning: a service that other applications of the edge node find through the platform and call.

It knows where the radio units of its site stand. A caller sends the distances it measured to them and gets its position.

    GET  /v1/radio-units                      -> {"site": ..., "radioUnits": [{"id", "x", "y"}, ...]}
    POST /v1/position {"distances": {id: m}}  -> {"position": {"x", "y", ...}, "method", "version", "answeredBy"}
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import solver
from mp1 import Membership, Mp1
from web import Refused, serve

SERVICE_NAME = os.environ.get("SERVICE_NAME", "positioning")
HOST = os.environ.get("SERVICE_HOST", "")
PORT = int(os.environ.get("PORT", "8080"))


def main() -> None:
    site = json.loads(Path(os.environ.get("CONFIG", "/etc/app/site.json")).read_text("utf-8"))
    units = {unit["id"]: (float(unit["x"]), float(unit["y"])) for unit in site["radioUnits"]}
    mp1 = Mp1.from_environment()
    member = Membership(mp1, port=PORT, services=[description(mp1)]) if mp1 else None
    served = {"calls": 0, "refused": 0}

    def position(_: str, body: Any) -> tuple[int, Any]:
        try:
            answer = solver.solve(measurements(units, body))
        except ValueError as problem:
            served["refused"] += 1
            raise Refused(400, str(problem)) from None
        served["calls"] += 1
        return 200, {
            "position": answer,
            "method": solver.METHOD,
            "version": solver.VERSION,
            "answeredBy": socket.gethostname(),
        }

    def ready(_: str, __: Any) -> tuple[int, Any]:
        if member and not (member.joined_once and member.state != "terminated"):
            raise Refused(503, f"The platform does not know us yet: {member.state}")
        return 200, {"ready": True}

    def alive(_: str, __: Any) -> tuple[int, Any]:
        if member and not member.is_alive() and member.state not in ("terminating", "terminated"):
            raise Refused(503, "The thread that keeps us known to the platform has ended")
        return 200, {"alive": True}

    def state(_: str, __: Any) -> tuple[int, Any]:
        platform = member.as_dict() if member else {"state": "off"}
        return 200, {"app": SERVICE_NAME, "version": solver.VERSION, "served": served, "platform": platform}

    if member:
        member.start()
    serve(
        {
            ("GET", "/v1/radio-units"): lambda *_: (200, site),
            ("POST", "/v1/position"): position,
            ("GET", "/ready"): ready,
            ("GET", "/alive"): alive,
            ("GET", "/state.json"): state,
            ("POST", "/notifications/"): lambda path, body: notification(member, path, body),
        },
        PORT,
        on_stop=member.stop if member else lambda: None,
    )


def description(mp1: Mp1) -> dict[str, Any]:
    """Return our ServiceInfo (MEC 011, 8.1.2.2)."""
    return {
        "serName": SERVICE_NAME,
        "serCategory": {"href": "/positioning", "id": "positioning", "name": "Positioning", "version": "1"},
        "version": solver.VERSION,
        "state": "ACTIVE",
        "serializer": "JSON",
        "scopeOfLocality": "MEC_HOST",
        "consumedLocalOnly": True,
        "livenessInterval": int(os.environ.get("LIVENESS_INTERVAL", "10")),
        "transportInfo": {
            "id": "positioning-rest",
            "name": "REST",
            "description": "Positions from measured distances",
            "type": "REST_HTTP",
            "protocol": "HTTP",
            "version": "1.1",
            "endpoint": {"uris": [f"http://{reachable_host(mp1)}:{PORT}"]},
            "security": {},
        },
    }


def reachable_host(mp1: Mp1) -> str:
    """Return the name other applications reach us by; where the cluster has no DNS, an address."""
    try:
        socket.getaddrinfo(HOST, PORT)
    except OSError:
        # Kubernetes tells the address of each Service that was there before us (env of the same name).
        short = HOST.partition(".")[0].upper().replace("-", "_")
        return os.environ.get(f"{short}_SERVICE_HOST") or mp1.own_address()
    return HOST


def measurements(units: dict[str, tuple[float, float]], body: Any) -> list[solver.Measurement]:
    """Read `{"distances": {id: metres}}`; ValueError says what is wrong with it."""
    distances = body.get("distances") if isinstance(body, dict) else None
    if not isinstance(distances, dict):
        raise ValueError('send {"distances": {radio unit: metres}}')
    unknown = sorted(set(distances) - set(units))
    if unknown:
        raise ValueError(f"there is no radio unit {unknown[0]!r} at this site")
    if not all(type(metres) in (int, float) and 0 <= metres < 1e7 for metres in distances.values()):
        raise ValueError("a distance is a number of metres")
    return [(*units[unit], float(metres)) for unit, metres in distances.items()]


def notification(member: Membership | None, path: str, body: Any) -> tuple[int, Any]:
    """Take what the platform tells us."""
    _, _, word, kind = [*path.split("/"), "", ""][:4]
    if not member or not isinstance(body, dict) or not member.notified(kind, word, body):
        raise Refused(404, "There is nothing here")
    return 204, None


if __name__ == "__main__":
    main()
