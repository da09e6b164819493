"""What the host knows about time: MEC 011 7.1.2.2 (TimingCaps) and 7.1.2.3 (CurrentTime).

Whether the clock is synchronised the kernel says. The servers are those that a running chronyd tells of, or else those
in the configuration of the time daemons that the host may run; nothing is assumed.
"""

from __future__ import annotations

import ctypes
import ipaddress
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mep.mp1 import chrony

_STA_UNSYNC, _TIME_ERROR = 0x0040, 5
#: Seconds for which an answer about the daemons of the host is good.
_GOOD = 10
_Sources = Callable[[], list[chrony.Source] | None]


def current_time() -> dict[str, Any]:
    """Return CurrentTime; the source is TRACEABLE only when the kernel says that the clock is synchronised."""
    now = time.time_ns()
    return {
        "seconds": now // 1_000_000_000,
        "nanoSeconds": now % 1_000_000_000,
        "timeSourceStatus": "TRACEABLE" if synchronised() else "NONTRACEABLE",
    }


def capabilities(root: Path | None = None, sources: _Sources | None = None) -> dict[str, Any]:
    """Return TimingCaps; lists are left out when the host has no such servers."""
    now = time.time_ns()
    found: dict[str, Any] = {"timeStamp": {"seconds": now // 1_000_000_000, "nanoSeconds": now % 1_000_000_000}}
    if root is None and sources is None:
        ntp, ptp = _of_this_host(now // 1_000_000_000 // _GOOD)
    else:
        ntp, ptp = ntp_servers(root or Path("/"), sources or (lambda: None)), ptp_masters(root or Path("/"))
    if ntp:
        found["ntpServers"] = ntp
    if ptp:
        found["ptpMasters"] = ptp
    return found


@lru_cache(maxsize=1)
def _of_this_host(_: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return ntp_servers(Path("/"), chrony.sources), ptp_masters(Path("/"))


def synchronised() -> bool:
    """Return whether the kernel's clock discipline is locked; False when it cannot be asked."""
    library = ctypes.CDLL(None)
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


def ntp_servers(root: Path, sources: _Sources = lambda: None) -> list[dict[str, Any]]:
    """Return the NTP servers of a host whose files are under `root`: of the running chronyd, or as configured."""
    configured = _of_chrony_and_ntpd(root / "etc")
    running = sources()
    if running is not None:
        return [_as_told(each, configured.get(each.name)) for each in running]
    # systemd-timesyncd has a folder while it runs; its configuration is there on hosts that use another daemon, too.
    if not configured or (root / "run" / "systemd" / "timesync").exists():
        configured |= _of_timesyncd(root)
    return list(configured.values())


def _of_chrony_and_ntpd(etc: Path) -> dict[str, dict[str, Any]]:
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
            if address:
                found.setdefault(address, _server(address, words))
    return found


def _of_timesyncd(root: Path) -> dict[str, dict[str, Any]]:
    etc, run = root / "etc" / "systemd", root / "run" / "systemd"
    told: dict[str, str] = {}
    for line in _lines([etc / "timesyncd.conf", *sorted((etc / "timesyncd.conf.d").glob("*.conf"))]):
        key, _, value = line.partition("=")
        told[key.strip()] = value.strip()
    # What the network says (DHCP) counts beside NTP=, and FallbackNTP= only when neither names a server.
    names = told.get("NTP", "").split()
    for line in _lines(sorted((run / "netif" / "links").glob("*"))):
        key, _, value = line.partition("=")
        names += value.split() if key == "NTP" else []
    names = names or told.get("FallbackNTP", "").split()
    # systemd-timesyncd asks every 32 to 2048 seconds when nothing else is said.
    shortest, longest = (
        str(int(text).bit_length() - 1) if (text := told.get(key, "")).isdigit() and int(text) else usual
        for key, usual in (("PollIntervalMinSec", "5"), ("PollIntervalMaxSec", "11"))
    )
    return {name: _server(name, ["minpoll", shortest, "maxpoll", longest]) for name in names}


def ptp_masters(root: Path) -> list[dict[str, Any]]:
    """Return the unicast masters that ptp4l is configured with; multicast ones have no address to tell."""
    etc = root / "etc"
    found: dict[str, dict[str, Any]] = {}
    priority, interval = 128, 0
    for line in _lines([etc / "linuxptp" / "ptp4l.conf", etc / "ptp4l.conf"]):
        words = line.split()
        if len(words) != 2:
            continue
        if words[0] in ("UDPv4", "UDPv6") and _is_address(words[1]):
            found[words[1]] = {"ptpMasterIpAddress": words[1]}
        elif words[0] == "G.8275.defaultDS.localPriority" and words[1].isdigit():
            priority = int(words[1])
        elif words[0] == "logMinDelayReqInterval" and re.fullmatch(r"-?\d", words[1]):
            interval = int(words[1])
    # Packets a second; the interval is a power of two seconds, and the member a whole number.
    rest = {"ptpMasterLocalPriority": priority, "delayReqMaxRate": max(1, int(2.0**-interval))}
    return [master | rest for master in found.values()]


def _as_told(source: chrony.Source, configured: dict[str, Any] | None) -> dict[str, Any]:
    """Return a server with what chronyd makes of it now, within the bounds of its configuration."""
    found = configured or _server(source.name, [])
    poll = _poll(str(source.poll), 6)
    return found | {
        "minPollingInterval": min(found["minPollingInterval"], poll),
        "maxPollingInterval": max(found["maxPollingInterval"], poll),
        "localPriority": source.priority,
        "authenticationOption": source.authentication,
        "authenticationKeyNum": source.key,
    }


def _server(address: str, words: list[str]) -> dict[str, Any]:
    key = _after(words, "key")
    return {
        "ntpServerAddrType": "IP_ADDRESS" if _is_address(address) else "DNS_NAME",
        "ntpServerAddr": address,
        "minPollingInterval": _poll(_after(words, "minpoll"), 6),
        "maxPollingInterval": _poll(_after(words, "maxpoll"), 10),
        "localPriority": 1 if "prefer" in words else 2,
        "authenticationOption": "SYMMETRIC_KEY" if key else ("AUTO_KEY" if {"autokey", "nts"} & set(words) else "NONE"),
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
