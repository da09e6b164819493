"""How fast do two Celery workers drain a thousand operations?

    python benchmarks/operations_drain.py                       # embedded filesystem transport, SQLite
    python benchmarks/operations_drain.py --redis redis://127.0.0.1:6379/0
    python benchmarks/operations_drain.py --database postgres://user:password@127.0.0.1/name

Two real worker processes are started, each with one pair of hands. The operations are requested first (their bells
ring as in production) while no worker runs; then the workers start, and the clock runs from the first claim to the last end
as the rows themselves record it. The handler does nothing, so the figure is the cost of the queue: claim, lease,
finish, and the message. Each operation has its own target.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KIND = "benchmark.nothing"


def main() -> int:
    """Run the benchmark and print its figures; not 0 when an operation was lost or done twice."""
    options = argparse.ArgumentParser(description="1,000 operations drained by two Celery workers")
    options.add_argument("--operations", type=int, default=1000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--redis", default="", help="use this Redis as the broker, e.g. redis://127.0.0.1:6379/0")
    options.add_argument("--database", default="", help="use this database instead of a fresh SQLite file")
    options.add_argument("--timeout", type=float, default=300.0)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="breakwater-drain-") as folder:
        os.environ.update(_environment(folder, asked.redis, asked.database))
        return _measure(Path(folder), asked)


def _environment(folder: str, redis: str, database: str) -> dict[str, str]:
    found = {
        "DJANGO_SETTINGS_MODULE": "mecm.settings",
        "BREAKWATER_VAR": folder,
        "BREAKWATER_LOG_LEVEL": "WARNING",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}",
    }
    if redis:
        found["BREAKWATER_BROKER_URL"] = redis
    if database:
        found["BREAKWATER_DATABASE_URL"] = database
    return found


def _measure(folder: Path, asked: argparse.Namespace) -> int:
    sys.path.insert(0, str(ROOT))
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.db import connection
    from django.db.models import Max, Min

    from core.operations import services as operations
    from core.operations.models import Operation

    Operation.objects.filter(kind=KIND).delete()
    began = time.perf_counter()
    for number in range(asked.operations):
        operations.request(KIND, f"benchmark:{number}")
    requesting = time.perf_counter() - began
    print(
        f"database {connection.vendor}, broker {asked.redis.partition(':')[0] or 'filesystem'}, {asked.workers} workers"
    )
    print(f"requested {asked.operations} operations in {requesting:.2f} s, {asked.operations / requesting:.0f}/s")
    workers = [_worker(folder, number) for number in range(asked.workers)]
    try:
        deadline = time.monotonic() + asked.timeout
        while Operation.objects.filter(kind=KIND, state__in=["pending", "running"]).exists():
            if time.monotonic() > deadline:
                print(f"gave up after {asked.timeout:g} s", file=sys.stderr)
                return 1
            time.sleep(0.25)
    finally:
        _stop(workers)
    mine = Operation.objects.filter(kind=KIND)
    times = mine.aggregate(first=Min("started_at"), last=Max("finished_at"))
    elapsed = (times["last"] - times["first"]).total_seconds()
    done, again = mine.filter(state="succeeded").count(), mine.exclude(attempts=1).count()
    print(f"drained {done} in {elapsed:.2f} s, {done / elapsed:.0f} operations/s; done more than once: {again}")
    Operation.objects.filter(kind=KIND).delete()
    return 0 if done == asked.operations and not again else 1


def _worker(folder: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "mecm.celery", "worker", "--include", "drain_handlers"]
    command += ["--concurrency", "1", "--hostname", f"drain{number}@localhost", "--loglevel", "WARNING"]
    command += ["--without-gossip", "--without-mingle"]
    log = (folder / f"worker{number}.log").open("wb")
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    for worker in workers:
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


if __name__ == "__main__":
    sys.exit(main())
