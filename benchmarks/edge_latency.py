"""How long from a committed wish to an applied one, on one idle agent: p50 and p95.

Real processes on loopback: uvicorn with the centre on SQLite, a second process of the centre that makes the wishes, and an
agent with the memory engine (charts are really rendered by Helm, no container is started). "applied" is the moment at
which the centre has committed the node's report that this generation was taken by the engine: there and back again.

    python benchmarks/edge_latency.py [--changes 100] [--apps 20]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.flows.edgelab import Lab
from tests.waiting import until


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--changes", type=int, default=100, help="changes of one app, one after the other")
    options.add_argument("--apps", type=int, default=20, help="other apps that the node holds meanwhile")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-latency-") as folder, Lab(Path(folder)) as lab:
        lab.start_centre()
        lab.start_agent()
        joined = lab.enrol()
        if joined.returncode:
            raise SystemExit(joined.stderr)
        until(lambda: lab.ask("sync")["hub"], 30, what="the node to be linked")
        for index in range(wanted.apps):
            lab.app(f"other-{index}")
        spec = lab.app("measured")
        for key in [*(f"other-{index}" for index in range(wanted.apps)), "measured"]:
            lab.until_reported(key, "ready", timeout=60)
        times: list[float] = []
        for generation in range(2, wanted.changes + 2):
            changed = {**spec, "values": {"note": f"generation {generation}"}}
            times.append(lab.ask("measure", kind="app", key="measured", generation=generation, spec=changed))
            time.sleep(0.05)  # the agent is idle when the next one comes
        told(times, wanted.apps)


def told(times: list[float], apps: int) -> None:
    """Print the figures."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    print(f"desired change to applied, {len(times)} changes, one idle agent with {apps} other apps, memory engine:")
    print(f"  p50 {cuts[49] * 1000:6.1f} ms")
    print(f"  p95 {cuts[94] * 1000:6.1f} ms")
    print(f"  min {min(times) * 1000:6.1f} ms, max {max(times) * 1000:.1f} ms")


if __name__ == "__main__":
    main()
