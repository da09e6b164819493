"""What the Linux data plane costs, beside the goals: `python benchmarks/nftables.py` as root.

UE, edge, app and internet are network namespaces; the helper runs in that of the edge, as on a node. Times are the best of
several, because other work on the machine only ever adds to them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.upf.lab import APP, Helper, Lab
from upf_adapter import create
from upf_adapter.contract import TrafficRule, UpfAdapter

COUNT = 10_000
SERVER = "203.0.113.5"
#: Times each batch of datagrams, and prints the nanoseconds that one took in the quickest and in the middle batch.
PACE = """
import json, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
data = b"quiet" + bytes(59)
times = []
for _ in range(150):
    start = time.perf_counter_ns()
    for _ in range(1000):
        s.send(data)
    times.append((time.perf_counter_ns() - start) / 1000)
times.sort()
print(json.dumps([times[0], times[len(times) // 2]]))
"""


def rules(generation: int, count: int = COUNT) -> list[TrafficRule]:
    """Return a set; of the next generation every rule differs. One of each keeps our server with the app."""
    to_app = ({"interfaceType": "IP", "dstIpAddress": APP[4]},)
    found = [
        TrafficRule(
            f"app-{n % 100}/rule-{n}",
            "FLOW",
            n % 250,
            ({"dstAddress": [f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}"], "dstPort": [str(1 + generation)],
              "protocol": ["UDP"]},),
            "FORWARD_DECAPSULATED",
            to_app,
        )
        for n in range(count - 1)
    ]  # fmt: skip
    mine = {"dstAddress": [SERVER], "dstPort": [f"{1 + generation % 5}-9999"]}
    return [*found, TrafficRule("app-x/mine", "FLOW", 9, (mine,), "FORWARD_DECAPSULATED", to_app)]


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that the work took."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def report(what: str, figure: str, goal: str, reached: bool) -> None:
    """Print a figure beside its goal."""
    print(f"{what:58} {figure:>26}   goal: {goal:16} {'reached' if reached else 'MISSED'}", flush=True)


def whole(upf: UpfAdapter) -> None:
    first, again = [], []
    for n in range(5):
        upf.replace([])
        sets = rules(2 * n), rules(2 * n + 1)
        first.append(timed(lambda sets=sets: upf.replace(sets[0])))
        again.append(timed(lambda sets=sets: upf.replace(sets[1])))
    report(
        f"{COUNT:,} rules put as a set, read, compiled, in force", f"{min(first):.0f} ms", "400 ms", min(first) < 400
    )
    report("all of them replaced by others under the same ids", f"{min(again):.0f} ms", "400 ms", min(again) < 400)


def single(upf: UpfAdapter) -> None:
    wanted = rules(0)
    upf.replace(wanted)
    upf.intact()
    new, changed, gone = [], [], []
    for n in range(30):
        extra = TrafficRule("app-y/extra", "FLOW", 3, ({"dstAddress": [f"192.0.2.{n}"]},), "DROP")
        other = TrafficRule("app-y/extra", "FLOW", 4, ({"dstAddress": [f"192.0.2.{n}"], "dstPort": ["80"]},), "DROP")
        new.append(timed(lambda rule=extra: upf.put(rule)))
        changed.append(timed(lambda rule=other: upf.put(rule)))
        gone.append(timed(lambda: upf.delete("app-y/extra")))
    for what, times in (("put", new), ("changed", changed), ("deleted", gone)):
        figure = f"{min(times):.1f} ms (median {statistics.median(times):.1f})"
        report(f"one rule {what}, {COUNT:,} in force", figure, "10 ms", min(times) < 10)
    print(f"{'looked whether all is intact, nothing changed':58} {min(timed(upf.intact) for _ in range(20)):>23.1f} ms")
    print(f"{'all counters read':58} {min(timed(upf.counters) for _ in range(5)):>23.0f} ms")


def paced(lab: Lab) -> list[float]:
    return list(json.loads(lab.run("ue", sys.executable, "-c", PACE, "192.0.2.200")))


def per_packet(lab: Lab, upf: UpfAdapter) -> None:
    none, many = [], []
    for _ in range(6):
        lab.run("edge", "nft", "flush", "ruleset")
        none.append(paced(lab)[0])
        upf.replace(rules(0))
        many.append(paced(lab)[0])
    more = min(many) / min(none) - 1
    figure = f"{min(none):.0f} -> {min(many):.0f} ns, {more:+.1%}"
    report(f"a packet that no rule is about, without and with {COUNT:,}", figure, "within 15 %", more < 0.15)


def under_load(lab: Lab, upf: UpfAdapter) -> None:
    upf.replace(rules(0))
    for role in ("app", "internet"):
        lab.watch(role, SERVER)
    flood = lab.flood(SERVER, 4000, 120)
    while lab.seen("app", SERVER) < 1000:
        time.sleep(0.1)
    for n in range(1, 21):
        upf.replace(rules(n))
    flood.kill()
    astray, right = lab.seen("internet", SERVER), lab.seen("app", SERVER)
    report(f"20 replacements of {COUNT:,} rules under load", f"{astray} of {right + astray:,} astray", "0", astray == 0)


def main() -> None:
    """Measure all."""
    with Lab((4000,)) as lab, tempfile.TemporaryDirectory() as folder:
        helper = Helper(lab, Path(folder))
        upf = create("nftables", {"socket": str(helper.socket)})
        try:
            whole(upf)
            single(upf)
            per_packet(lab, upf)
            under_load(lab, upf)
        finally:
            upf.close()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as problem:
        sys.exit(f"{problem}: {problem.stderr}")
