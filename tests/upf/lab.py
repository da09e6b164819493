"""A small edge in network namespaces: UE, edge, app, internet, joined by veth. Needs root; leaves nothing behind.

The same server addresses exist in the app and in the internet namespace, so the answer tells which way a packet went.

    with Lab() as lab:
        lab.ask("203.0.113.5", 4000)        # "internet", "app" or None

           ue  10.45.0.2 --- ue0 [edge] app0 --- 10.60.0.2  app
                                   |   n6 ------ 10.70.0.2  internet
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

UE = {4: "10.45.0.2", 6: "fd45::2"}
APP = {4: "10.60.0.2", 6: "fd60::2"}
INTERNET = {4: "10.70.0.2", 6: "fd70::2"}
SERVERS = {4: "203.0.113.0/24", 6: "2001:db8:cafe::/64"}
ROLES = ("ue", "edge", "app", "internet")
ROOT = Path(__file__).resolve().parents[2]
#: Marks live tests that need the lab, and skips them where it cannot be.
needs_lab = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2"
)

#: Seconds after which nobody is taken to answer. Who does may take longer on a busy machine.
SILENCE = 0.25

#: Answers every UDP datagram with its own name, from the address that was asked, and keeps what it saw.
ECHO = """
import socket, struct, sys, threading
name, port = sys.argv[1].encode(), int(sys.argv[2])
def serve(family, level, option, packet_info):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(level, option, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
    s.bind(("", port))
    while True:
        data, ancillary, _, sender = s.recvmsg(2048, 256)
        if data.startswith(b"quiet"):
            continue
        reply = [(level, packet_info, x[2]) for x in ancillary if x[1] == packet_info]
        if family == socket.AF_INET:
            local = reply[0][2][8:12]
            reply = [(level, packet_info, struct.pack("=I", 0) + local + bytes(4))]
        else:
            reply = [(level, packet_info, reply[0][2][:16] + bytes(4))]
        s.sendmsg([name + b" " + data], reply, 0, sender)
threading.Thread(target=serve, args=(socket.AF_INET6, socket.IPPROTO_IPV6, 49, 50), daemon=True).start()
serve(socket.AF_INET, socket.IPPROTO_IP, 8, 8)
"""
#: Sends datagrams and prints a line of JSON with the answers to each.
ASK = """
import json, socket, sys
for line in sys.stdin:
    ask = json.loads(line)
    s = socket.socket(socket.AF_INET6 if ":" in ask["to"] else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in ask["to"]:
        s.setsockopt(socket.IPPROTO_IPV6, 67, ask["tos"])
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ask["tos"])
    s.bind(("", ask["from"]))
    found = []
    try:
        s.sendto(b"ask", (ask["to"], ask["port"]))
        s.settimeout(ask["wait"])
        while len(found) < ask["most"]:
            found.append(s.recv(2048).split()[0].decode())
    except OSError:
        pass
    s.close()
    print(json.dumps(sorted(found)), flush=True)
"""

#: Sends whole IP packets, each given as a line of hexadecimal digits.
SHOOT = """
import socket, sys
four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
for line in sys.stdin:
    packet = bytes.fromhex(line)
    if packet[0] >> 4 == 4:
        four.sendto(packet, (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0))
    else:
        six.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))
"""

#: Sends datagrams as fast as it can, for so many seconds, and prints how many.
FLOOD = """
import socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
end = time.monotonic() + float(sys.argv[3])
sent = 0
while time.monotonic() < end:
    for _ in range(200):
        try:
            s.send(b"quiet")
            sent += 1
        except OSError:
            pass
print(sent)
"""


class Lab:
    """Four namespaces of this lab's own, and the processes in them."""

    def __init__(self, ports: Iterable[int] = (4000,)) -> None:
        self._tag = uuid.uuid4().hex[:6]
        self._ports = tuple(ports)
        self._processes: list[subprocess.Popen[Any]] = []
        self._asker: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def name(self, role: str) -> str:
        """Return the name of a namespace."""
        return f"bw{self._tag}{role[:2]}"

    def run(self, role: str, *command: str, check: bool = True) -> str:
        """Run a command in a namespace and return what it said."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name(role), *command], capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def start(self, role: str, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a process in a namespace; it ends with the lab."""
        process = subprocess.Popen(["ip", "netns", "exec", self.name(role), *command], **options)
        self._processes.append(process)
        return process

    def ask(
        self, to: str, port: int = 4000, *, source_port: int = 0, tos: int = 0, wait: float = 20.0, most: int = 1
    ) -> list[str]:
        """Send a datagram from the UE and return who answered.

        It returns as soon as `most` have: only silence takes the whole `wait`, and whoever expects that says `SILENCE`.
        """
        import json

        if self._asker is None or self._asker.poll() is not None:
            self._asker = self.start(
                "ue", sys.executable, "-c", ASK, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._asker.stdin
        assert self._asker.stdout
        asked = {"to": to, "port": port, "from": source_port, "tos": tos, "wait": wait, "most": most}
        self._asker.stdin.write(json.dumps(asked) + "\n")
        self._asker.stdin.flush()
        return list(json.loads(self._asker.stdout.readline()))

    def flood(self, to: str, port: int, seconds: float) -> subprocess.Popen[str]:
        """Send datagrams from the UE as fast as can be, beside what the caller does; its output is how many."""
        return self.start(
            "ue", sys.executable, "-c", FLOOD, to, str(port), str(seconds), stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def watch(self, role: str, to: str) -> None:
        """Begin to count in a namespace what arrives for an address."""
        family = "ip6" if ":" in to else "ip"
        self.run(role, "nft", f"add table {family} seen; delete table {family} seen; add table {family} seen; "
            f"add chain {family} seen in {{ type filter hook prerouting priority raw; }}; "
            f"add rule {family} seen in {family} daddr {to} counter")  # fmt: skip

    def seen(self, role: str, to: str) -> int:
        """Return how many packets have arrived since `watch`."""
        listed = self.run(role, "nft", "list", "table", "ip6" if ":" in to else "ip", "seen")
        return int(listed.split("packets ")[1].split()[0])

    def shoot(self, packets: Iterable[bytes]) -> None:
        """Send whole IP packets from the UE, and wait until they are sent."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name("ue"), sys.executable, "-c", SHOOT],
            input="\n".join(packet.hex() for packet in packets), text=True, timeout=120, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """End every process and take the namespaces away."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        for role in ROLES:
            subprocess.run(["ip", "netns", "del", self.name(role)], capture_output=True)

    def _build(self) -> None:
        for role in ROLES:
            _run("ip", "netns", "add", self.name(role))
            self._ip(role, "link set lo up")
            for setting in ("all/rp_filter=0", "default/rp_filter=0"):
                self._set(role, f"ipv4/conf/{setting}")
            for setting in ("all/accept_dad=0", "default/accept_dad=0"):
                self._set(role, f"ipv6/conf/{setting}")
        for role, device, near, far in (
            ("ue", "ue0", ("10.45.0.1/24", "fd45::1/64"), ("10.45.0.2/24", "fd45::2/64")),
            ("app", "app0", ("10.60.0.1/24", "fd60::1/64"), ("10.60.0.2/24", "fd60::2/64")),
            ("internet", "n6", ("10.70.0.1/24", "fd70::1/64"), ("10.70.0.2/24", "fd70::2/64")),
        ):
            _run(
                "ip", "link", "add", device, "netns", self.name("edge"), "type", "veth",
                "peer", "name", "eth0", "netns", self.name(role),
            )  # fmt: skip
            for place, link, addresses in (("edge", device, near), (role, "eth0", far)):
                for address in addresses:
                    self._ip(place, f"addr add {address} dev {link} {'nodad' if ':' in address else ''}")
                self._ip(place, f"link set {link} up")
            for address in near:
                family = "-6" if ":" in address else "-4"
                self._ip(role, f"{family} route add default via {address.split('/')[0]}")
        # A second UE and a second address of the app.
        for role, extra in (("ue", ("10.45.0.3/24", "fd45::3/64")), ("app", ("10.60.0.3/24", "fd60::3/64"))):
            for address in extra:
                self._ip(role, f"addr add {address} dev eth0 {'nodad' if ':' in address else ''}")
        for family, address in INTERNET.items():
            self._ip("edge", f"-{family} route add default via {address}")
        self._set("edge", "ipv4/conf/all/forwarding=1")
        self._set("edge", "ipv6/conf/all/forwarding=1")
        for role in ("app", "internet"):
            self._set(role, "ipv6/ip_nonlocal_bind=1")
            for family, network in SERVERS.items():
                # Every address of the network is here: whoever asks any of them gets an answer.
                self._ip(role, f"-{family} route add local {network} dev lo")
            for port in self._ports:
                self.start(role, sys.executable, "-c", ECHO, role, str(port))

    def _ip(self, role: str, command: str) -> None:
        _run("ip", "-n", self.name(role), *command.split())

    def _set(self, role: str, setting: str) -> None:
        path, _, value = setting.partition("=")
        self.run(role, "sh", "-c", f"echo {value} > /proc/sys/net/{path}")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"


class Helper:
    """The helper of the nftables adapter, as a process in the edge namespace of a lab."""

    def __init__(self, lab: Lab, folder: Path, options: Sequence[str] = ("--interface", "ue0")) -> None:
        self.lab, self.socket, self._options = lab, folder / "upf.sock", options
        # Whoever it becomes must be able to read our code.
        self._process: subprocess.Popen[Any] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.socket.unlink(missing_ok=True)
        self._process = self.lab.start(
            "edge", sys.executable, "-m", "upf_adapter.nftables.helper", "--socket", str(self.socket), *self._options,
            cwd=ROOT,
        )  # fmt: skip
        from tests.waiting import until

        process = self._process

        def listens() -> bool:
            assert process.poll() is None, "the helper ended"
            return self.socket.exists()

        until(listens, 20, what="the helper listens")

    def kill(self) -> None:
        """End it at once."""
        assert self._process
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """The process itself."""
        assert self._process
        return self._process.pid
