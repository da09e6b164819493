"""How much memory the MEP takes at rest: `manage.py mp1` with 1,000 services that were just read over TLS.

    python benchmarks/memory.py [--services 1000]

Prints VmRSS and PSS (which divides what processes share) of the process. Everything is in a temporary folder.
"""

from __future__ import annotations

import argparse
import http.client
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.discovery import QUERY, ROOT, goal, populate

SERVICES = QUERY.partition("?")[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--services", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as name:
        folder = Path(name) / "mep"
        environment, token = populate(folder, options.services)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment |= {"MEP_MP1_BIND": "127.0.0.1", "MEP_MP1_PORT": str(port), "MEP_LOG_LEVEL": "ERROR"}
        environment["MEP_API_ROOT"] = "https://mep:8443"
        command = [sys.executable, "manage.py", "mp1", "--settings", "mep.settings"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            report("started, nothing asked", process.pid, read(folder, port, "/mep/jwks.json", ""))
            # Discovery of all, twice, and a resource of the ordinary view, so that everything is loaded that serves apps.
            for path in (SERVICES, SERVICES, QUERY, "/mec_service_mgmt/v1/transports"):
                size = read(folder, port, path, token)
            size = read(folder, port, SERVICES, token)
            time.sleep(2)
            resident = report(f"{options.services:,} services, read", process.pid, size)
        finally:
            process.terminate()
            process.wait(20)
    goal(f"{resident:.0f} MiB resident", resident < 150, "under 150 MiB")


def report(label: str, pid: int, size: int) -> float:
    """Print a row and return the resident MiB."""
    resident = int(field("status", pid, "VmRSS:")) / 1024
    shared = int(field("smaps_rollup", pid, "Pss:")) / 1024
    print(f"{label:28} RSS {resident:6.1f} MiB  PSS {shared:6.1f} MiB  (last answer {size:,} B)")
    return resident


def field(file: str, pid: int, name: str) -> str:
    """Return a number of a file in /proc."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(name))


def read(folder: Path, port: int, path: str, token: str) -> int:
    """Return the size of an answer; waits for a server that starts."""
    for _ in range(300):
        try:
            context = ssl.create_default_context(cafile=str(folder / "tls" / "ca.pem"))
            line = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
            line.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = line.getresponse()
            body = answer.read()
            if answer.status != 200:
                sys.exit(f"{path} answers {answer.status}: {body[:300]!r}")
            return len(body)
        except OSError:
            time.sleep(0.2)
    sys.exit("the MEP does not start")


if __name__ == "__main__":
    main()
