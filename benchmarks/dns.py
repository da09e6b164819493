"""How fast the DNS responder is: 10,000 names, one core; and how soon a changed rule is answered.

    python benchmarks/dns.py [--seconds 5] [--runs 3]

Needs `dnsperf` and `taskset`, and two cores: the responder is pinned to one, dnsperf to the other. Everything is on
loopback and in a temporary folder; the rate limit is on, only too high to be reached.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# This file is called as dnspython's package is; that one is meant by `import dns`.
sys.path[0] = str(ROOT)
NAMES = 10_000
GOAL_RATE, GOAL_CHANGE = 90_000, 5.0
#: What Python's own sockets can do on this machine at this moment, without looking anything up.
BARE = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
udp.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, source = udp.recvfrom(4096)
    end = data.find(0, 12) + 5
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x1e\\0\\4\\x0a\\1\\2\\3"
    udp.sendto(data[:2] + b"\\x84\\0\\0\\1\\0\\1\\0\\0\\0\\0" + data[12:end] + record, source)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    for tool, package in (("dnsperf", "dnsperf"), ("taskset", "util-linux")):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed: apt-get install {package}")
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        measure(Path(folder), options)


def populate(folder: Path) -> None:
    """Fill a database with 10,000 ACTIVE rules of one app, and 1,000 scopes that do not concern us."""
    os.environ.update(MEP_VAR=str(folder), DJANGO_SETTINGS_MODULE="mep.settings")
    import django

    django.setup()
    from mep.dns.models import DnsScope
    from mep.dns.services import put_scope
    from mep.mp1 import database, services

    database.prepare()
    rules = [
        {"dnsRuleId": f"d{number}", "domainName": f"n{number}.edge.example", "ipAddressType": "IP_V4",
         "ipAddress": f"10.1.{number // 250}.{number % 250}", "ttl": 30}
        for number in range(NAMES)
    ]  # fmt: skip
    services.provision("app", app_name="app", dns_rules=rules)
    services.confirm_ready("app")
    DnsScope.objects.bulk_create(
        DnsScope(name=f"ue-{number}", kind="ue", networks=[f"10.{number // 250}.{number % 250}.0/24"])
        for number in range(1000)
    )
    put_scope("here", kind="zone", networks=["127.0.0.0/8"])


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Start the responder, load it, change rules under it."""
    populate(folder)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    exact, mixed = folder / "names", folder / "mixed"
    order = random.Random(1)
    exact.write_text("".join(f"n{order.randrange(NAMES)}.edge.example A\n" for _ in range(100_000)))
    mixed.write_text("".join(f"{shuffled(order)} A\n" for _ in range(100_000)))
    print(
        f"{NAMES:,} names, 1,001 scopes, one core, 100 queries outstanding, best of {options.runs} x {options.seconds} s"
    )
    print(f"{'':44}{'answers/s':>12}{'goal':>10}{'avg ms':>9}{'us CPU each':>13}")
    bare = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", BARE, str(port)])
    try:
        wait_for(port)
        row("a bare loop that sends one constant answer", "", bare.pid, port, exact, options)
    finally:
        bare.kill()
        bare.wait(20)
    environment = os.environ | {"MEP_DNS_PORT": str(port), "MEP_DNS_BIND": "127.0.0.1", "MEP_DNS_RATE": "1000000"}
    command = ["taskset", "-c", "0", sys.executable, "manage.py", "dns", "--settings", "mep.settings"]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        row("names as written", f"{GOAL_RATE:,}", server.pid, port, exact, options)
        row("names in random case (0x20)", "", server.pid, port, mixed, options)
        changes(port)
        print(f"memory of the responder: {memory(server.pid):.0f} MiB")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def row(label: str, goal: str, pid: int, port: int, file: Path, options: argparse.Namespace) -> None:
    """Load a server and print how it did."""
    rate, latency, cost = max(dnsperf(pid, port, file, options.seconds) for _ in range(options.runs))
    print(f"{label:44}{rate:>12,.0f}{goal:>10}{latency:>9.2f}{cost:>13.2f}")


def shuffled(order: random.Random) -> str:
    """Return one of the names with letters in random case."""
    name = f"n{order.randrange(NAMES)}.edge.example"
    return "".join(letter.upper() if order.random() < 0.5 else letter for letter in name)


def dnsperf(pid: int, port: int, file: Path, seconds: int) -> tuple[float, float, float]:
    """Return answers a second, average latency in ms and CPU of the responder in us; exits when answers were wrong."""
    before = cpu(pid)
    command = ["taskset", "-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-l", str(seconds)]
    out = subprocess.run([*command, "-c", "4", "-q", "100"], capture_output=True, text=True, check=True).stdout
    codes = re.search(r"Response codes:\s+(.*)", out)
    lost = int(re.search(r"Queries lost:\s+(\d+)", out)[1])  # type: ignore[index]
    if codes is None or not codes[1].startswith("NOERROR") or "," in codes[1] or lost > 20:
        sys.exit(f"dnsperf met something else than answers:\n{out}")
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", out)[1])  # type: ignore[index]
    done = int(re.search(r"Queries completed:\s+(\d+)", out)[1])  # type: ignore[index]
    latency = 1000 * float(re.search(r"Average Latency \(s\):\s+([\d.]+)", out)[1])  # type: ignore[index]
    return rate, latency, 1e6 * (cpu(pid) - before) / done


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def changes(port: int) -> None:
    """Print how long after the commit of another process (this one) the first answer has the new address."""
    import dns.message

    from mep.mp1 import rules
    from mep.mp1.models import App

    app = App.objects.get()
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(5)
        for number in range(100):
            name, address = f"n{number * 97}.edge.example", f"10.9.{number}.1"
            query = dns.message.make_query(name, "A").to_wire()
            packed = socket.inet_aton(address)
            body = {"domainName": name, "ipAddressType": "IP_V4", "ipAddress": address, "ttl": 30}
            rules.put_dns(app, f"d{number * 97}", body, None)
            began = time.perf_counter()
            while True:
                client.send(query)
                if packed in client.recv(2000):
                    break
            times.append(1000 * (time.perf_counter() - began))
    times.sort()
    print(
        f"a changed rule is answered after {times[50]:.2f} ms (p50), {times[95]:.2f} ms (p95), {times[-1]:.2f} ms (worst);"
        f" goal: under {GOAL_CHANGE:g} ms"
    )


def wait_for(port: int) -> None:
    """Wait until the responder answers."""
    import dns.exception
    import dns.message
    import dns.query

    for _ in range(100):
        try:
            dns.query.udp(dns.message.make_query("n0.edge.example", "A"), "127.0.0.1", port=port, timeout=0.3)
        except (dns.exception.Timeout, OSError):
            time.sleep(0.1)
        else:
            return
    sys.exit("the responder did not start")


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


if __name__ == "__main__":
    main()
