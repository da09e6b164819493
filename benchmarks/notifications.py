"""How soon a subscriber hears of a service change: 1,000 subscriptions, of which 10 match.

    python benchmarks/notifications.py [--changes 200] [--subscriptions 1000] [--matching 10]

Real processes on loopback: `manage.py mp1` (HTTPS, in a temporary folder), a subscriber of its own process that takes
all notifications, and this one, which updates one service again and again. A time is counted from the answer
to the PUT until the subscriber has read the notification. The goal is p95 under 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
GOAL = 50.0
SERVICES = "/mec_service_mgmt/v1/applications/{}/services"
SUBSCRIPTIONS = "/mec_service_mgmt/v1/applications/{}/subscriptions"


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--changes", type=int, default=200)
    options.add_argument("--subscriptions", type=int, default=1000)
    options.add_argument("--matching", type=int, default=10)
    options.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    wanted = options.parse_args()
    if wanted.receive:
        asyncio.run(receive())
        return
    from tests.mep.process import Process

    command = [sys.executable, __file__, "--receive"]
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        ears = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        mep = Process(
            Path(folder) / "node", CALLBACK_NETWORKS="loopback", MAX_SUBSCRIPTIONS_PER_APP=wanted.subscriptions
        )
        try:
            assert ears.stdout is not None
            port = int(ears.stdout.readline())
            arrivals: queue.Queue[float] = queue.Queue()
            threading.Thread(target=listen, args=(ears.stdout, arrivals), daemon=True).start()
            mep.start().wait()
            run(mep, f"http://127.0.0.1:{port}", arrivals, wanted)
        finally:
            ears.kill()
            ears.wait()
            mep.stop()


def run(mep: Any, url: str, arrivals: queue.Queue[float], wanted: argparse.Namespace) -> None:
    """Subscribe, change, wait, count."""
    from tests.mep.conftest import service

    with mep.app("consumer") as consumer, mep.app("producer") as producer:
        path = SUBSCRIPTIONS.format("consumer")
        for number in range(wanted.subscriptions):
            name = "measured" if number < wanted.matching else f"other-{number}"
            body = {
                "subscriptionType": "SerAvailabilityNotificationSubscription",
                "callbackReference": f"{url}/{number}",
                "filteringCriteria": {"serNames": [name]},
            }
            assert consumer.post(path, json=body).status_code == 201
        made = producer.post(SERVICES.format("producer"), json=service(serName="measured")).json()
        take(arrivals, wanted.matching)
        own = f"{SERVICES.format('producer')}/{made['serInstanceId']}"
        times, answers = [], []
        for number in range(wanted.changes):
            time.sleep(0.02)
            began = time.time()
            assert producer.put(own, json=service(serName="measured", version=f"2.{number}")).status_code == 200
            answered = time.time()
            answers.append(answered - began)
            times += [max(0.0, at - answered) for at in take(arrivals, wanted.matching)]
    report(times, answers, wanted)


def report(times: list[float], answers: list[float], wanted: argparse.Namespace) -> None:
    """Print the figures beside the goal."""
    cuts = [cut * 1000 for cut in statistics.quantiles(times, n=100, method="inclusive")]
    print(
        f"service change answered -> notification at the subscriber; {wanted.subscriptions} subscriptions, "
        f"{wanted.matching} match; {wanted.changes} changes, {len(times)} notifications"
    )
    print(f"  p50 {cuts[49]:7.1f} ms\n  p95 {cuts[94]:7.1f} ms   goal: under {GOAL:g} ms")
    print(f"  p99 {cuts[98]:7.1f} ms\n  max {max(times) * 1000:7.1f} ms")
    print(f"  (the PUT itself: p50 {statistics.median(answers) * 1000:.1f} ms)")
    print("  reached" if cuts[94] < GOAL else "  NOT REACHED")


def take(arrivals: queue.Queue[float], count: int) -> list[float]:
    """Return the next arrivals."""
    return [arrivals.get(timeout=30) for _ in range(count)]


def listen(stream: Any, arrivals: queue.Queue[float]) -> None:
    """Read the times that the subscriber prints."""
    for line in stream:
        arrivals.put(float(line))


class Subscriber(asyncio.Protocol):
    """Answers every POST with 204 and prints when it had read it."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            print(time.time(), flush=True)
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def receive() -> None:
    """Print the port, then the time of every notification."""
    server = await asyncio.get_running_loop().create_server(Subscriber, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
