"""What the host knows about time: MEC 011 7.1.2.2 (TimingCaps) and 7.1.2.3 (CurrentTime).

Read from the kernel and from the configuration of the time daemons that the host may run; nothing is assumed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import ipaddress
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_STA_UNSYNC, _TIME_ERROR = 0x0040, 5
_ETC = Path("/etc")


def current_time() -> dict[str, Any]:
    """Return CurrentTime; the source is TRACEABLE only when the kernel says that the clock is synchronised."""
    now = time.time_ns()
    return {
        "seconds": now // 1_000_000_000,
        "nanoSeconds": now % 1_000_000_000,
        "timeSourceStatus": "TRACEABLE" if synchronised() else "NONTRACEABLE",
    }


def capabilities(etc: Path | None = None) -> dict[str, Any]:
    """Return TimingCaps; lists are left out when the host is not configured with such servers."""
    etc = etc or _ETC
    now = time.time_ns()
    found: dict[str, Any] = {"timeStamp": {"seconds": now // 1_000_000_000, "nanoSeconds": now % 1_000_000_000}}
    ntp, ptp = ntp_servers(etc), ptp_masters(etc)
    if ntp:
        found["ntpServers"] = ntp
    if ptp:
        found["ptpMasters"] = ptp
    return found


def synchronised() -> bool:
    """Return whether the kernel's clock discipline is locked; False when it cannot be asked."""
    library = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)
    # struct timex is 208 bytes on 64-bit Linux; `status` follows modes, offset, freq, maxerror and esterror.
    buffer = ctypes.create_string_buffer(512)
    try:
        state = library.adjtimex(buffer)
    except AttributeError:
        return False
    if state < 0 or state == _TIME_ERROR:
        return False
    at = 5 * ctypes.sizeof(ctypes.c_long)
    return not int.from_bytes(buffer.raw[at : at + 4], "little") & _STA_UNSYNC


def ntp_servers(etc: Path) -> list[dict[str, Any]]:
    """Return the NTP servers that chrony, ntpd or systemd-timesyncd are configured with."""
    found: dict[str, dict[str, Any]] = {}
    for line in _lines(
        [
            etc / "chrony.conf", etc / "chrony" / "chrony.conf", *sorted((etc / "chrony").glob("*/*.sources")),
            *sorted((etc / "chrony").glob("conf.d/*.conf")), etc / "ntp.conf", etc / "ntpsec" / "ntp.conf",
        ]
    ):  # fmt: skip
        words = line.split()
        if words[0] in ("server", "pool", "peer") and len(words) > 1:
            address = next((word for word in words[1:] if not re.fullmatch(r"-[46]", word)), "")
            found.setdefault(address, _server(address, words))
    for line in _lines(
        [etc / "systemd" / "timesyncd.conf", *sorted((etc / "systemd" / "timesyncd.conf.d").glob("*.conf"))]
    ):
        key, _, value = line.partition("=")
        if key.strip() in ("NTP", "FallbackNTP"):
            for address in value.split():
                # systemd-timesyncd asks every 32 to 2048 seconds when nothing else is said.
                found.setdefault(address, _server(address, ["minpoll", "5", "maxpoll", "11"]))
    return [server for address, server in found.items() if address]


def ptp_masters(etc: Path) -> list[dict[str, Any]]:
    """Return the unicast masters that ptp4l is configured with; multicast ones have no address to tell."""
    found = []
    for line in _lines([etc / "linuxptp" / "ptp4l.conf", etc / "ptp4l.conf"]):
        words = line.split()
        if words[0] in ("UDPv4", "UDPv6") and len(words) == 2 and _is_address(words[1]):
            found.append({"ptpMasterIpAddress": words[1], "ptpMasterLocalPriority": 128, "delayReqMaxRate": 1})
    return found


def _server(address: str, words: list[str]) -> dict[str, Any]:
    key = _after(words, "key")
    return {
        "ntpServerAddrType": "IP_ADDRESS" if _is_address(address) else "DNS_NAME",
        "ntpServerAddr": address,
        "minPollingInterval": _poll(_after(words, "minpoll"), 6),
        "maxPollingInterval": _poll(_after(words, "maxpoll"), 10),
        "localPriority": 1 if "prefer" in words else 2,
        "authenticationOption": "SYMMETRIC_KEY" if key else ("AUTO_KEY" if "autokey" in words else "NONE"),
        "authenticationKeyNum": int(key) if key.isdigit() else 0,
    }


def _after(words: list[str], name: str) -> str:
    return words[words.index(name) + 1] if name in words[:-1] else ""


def _poll(text: str, usual: int) -> int:
    # 7.1.2.2: 3 to 17, as a power of two seconds
    return max(3, min(17, int(text) if re.fullmatch(r"-?\d{1,3}", text) else usual))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            line = line.strip()
            if line and line[0] not in "#;!%":
                yield line
