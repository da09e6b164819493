"""What the Linux data plane costs, beside the goals: `python benchmarks/nftables.py` as root.

UE, edge, app and internet are network namespaces; the helper runs in that of the edge, as on a node. Times are the best of
several, because other work on the machine only ever adds to them. On a busy machine look at the CPU time of the helper
beside them: that is what it would take on a quiet one.
"""

from __future__ import annotations

import json
import signal
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
#: An address that no rule is about.
NOBODY = "192.0.2.200"
#: For each line that it reads, times short batches of datagrams and prints the nanoseconds that one took in each.
PACE = """
import json, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
data = b"quiet" + bytes(59)
for _ in sys.stdin:
    times = []
    for _ in range(60):
        start = time.perf_counter_ns()
        for _ in range(300):
            s.send(data)
        times.append((time.perf_counter_ns() - start) / 300)
    print(json.dumps(times), flush=True)
"""
#: Runs of packets without and with rules, in turns.
TURNS = 40


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


class Stopwatch:
    """Times work on the clock, and on the CPU of the helper."""

    def __init__(self, process: int) -> None:
        self._process = process
        self.clock: list[float] = []
        self.cpu: list[float] = []

    def _used(self) -> float:
        # Nanoseconds on a CPU (proc_pid_schedstat).
        return int(Path(f"/proc/{self._process}/schedstat").read_text().split()[0]) / 1e6

    def __call__(self, work: Callable[[], object]) -> None:
        """Do the work."""
        used = self._used()
        self.clock.append(timed(work))
        self.cpu.append(self._used() - used)

    def report(self, what: str, goal: int) -> None:
        """Print the best beside the goal."""
        best = min(self.clock)
        figure = f"{best:.1f} ms, median {statistics.median(self.clock):.1f}, CPU {min(self.cpu):.1f}"
        report(what, figure, f"{goal} ms", best < goal)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that the work took."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def report(what: str, figure: str, goal: str, reached: bool) -> None:
    """Print a figure beside its goal."""
    print(f"{what:48} {figure:>40}   goal: {goal:16} {'reached' if reached else 'MISSED'}", flush=True)


def whole(upf: UpfAdapter, process: int) -> None:
    first, again = Stopwatch(process), Stopwatch(process)
    for n in range(8):
        upf.replace([])
        upf.intact()
        sets = rules(2 * n), rules(2 * n + 1)
        first(lambda sets=sets: upf.replace(sets[0]))
        # As steering does, and so that what is left to do behind one replacement is not counted to the next.
        upf.intact()
        again(lambda sets=sets: upf.replace(sets[1]))
        upf.intact()
    first.report(f"{COUNT:,} rules read, compiled, in force", 400)
    again.report("all of them replaced by others", 400)


def single(upf: UpfAdapter, process: int) -> None:
    wanted = rules(0)
    upf.replace(wanted)
    upf.intact()
    new, changed, gone, looked, counted = (Stopwatch(process) for _ in range(5))
    for n in range(40):
        extra = TrafficRule("app-y/extra", "FLOW", 3, ({"dstAddress": [f"192.0.2.{n}"]},), "DROP")
        other = TrafficRule("app-y/extra", "FLOW", 4, ({"dstAddress": [f"192.0.2.{n}"], "dstPort": ["80"]},), "DROP")
        new(lambda rule=extra: upf.put(rule))
        changed(lambda rule=other: upf.put(rule))
        gone(lambda: upf.delete("app-y/extra"))
    new.report(f"one rule put, {COUNT:,} in force", 10)
    changed.report("one rule changed", 10)
    gone.report("one rule deleted", 10)
    upf.intact()
    for _ in range(5):
        looked(upf.intact)
        counted(upf.counters)
    print(f"{'a look whether all is intact':48} {min(looked.clock):.1f} ms, CPU {min(looked.cpu):.1f}")
    print(f"{'all counters read':48} {min(counted.clock):.0f} ms, CPU {min(counted.cpu):.0f}", flush=True)


def per_packet(lab: Lab, upf: UpfAdapter) -> None:
    """Compare what a datagram costs from the UE to the internet while our tables sleep, without a hook, and while they work."""
    lab.run("internet", "nft", f"add table ip sink; add chain ip sink in {{ type filter hook prerouting priority raw; }}; "
        f"add rule ip sink in ip daddr {NOBODY} drop")  # fmt: skip
    upf.replace(rules(0))
    sender = lab.start("ue", sys.executable, "-c", PACE, NOBODY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert sender.stdin
    assert sender.stdout
    times: dict[str, list[list[float]]] = {"flags dormant;": [], "": []}
    for turn in range(TURNS):
        # Which of the two comes first changes, because the machine may become slower or quicker meanwhile.
        for flags in list(times)[:: 1 if turn % 2 else -1]:
            lab.run(
                "edge", "nft", "; ".join(f"add table {family} breakwater {{ {flags} }}" for family in ("ip", "ip6"))
            )
            sender.stdin.write(b"go\n")
            sender.stdin.flush()
            times[flags].append(json.loads(sender.stdout.readline()))
    none, many = ([min(each) for each in found] for found in times.values())
    for what, choose in (("best", min), ("median of the best", statistics.median)):
        more = choose(many) / choose(none) - 1
        figure = f"{choose(none):.0f} -> {choose(many):.0f} ns, {more:+.1%}"
        report(f"a packet that no rule is about, {what} of {TURNS}", figure, "within 15 %", more < 0.15)
    upf.replace([])


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
    # Ended from outside, it still takes its namespaces away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Lab((4000,)) as lab, tempfile.TemporaryDirectory() as folder:
        helper = Helper(lab, Path(folder))
        upf = create("nftables", {"socket": str(helper.socket)})
        try:
            whole(upf, helper.pid)
            single(upf, helper.pid)
            per_packet(lab, upf)
            under_load(lab, upf)
        finally:
            upf.close()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as problem:
        sys.exit(f"{problem}: {problem.stderr}")
