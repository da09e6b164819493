"""What the host says about time is read, not assumed."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mep.mp1 import chrony, timing
from mep.mp1.chrony import Source
from tests.waiting import until


def write(root: Path, name: str, text: str) -> None:
    path = root / "etc" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_host_without_time_servers_tells_of_none(tmp_path: Path) -> None:
    assert set(timing.capabilities(tmp_path)) == {"timeStamp"}


@pytest.mark.parametrize(
    "name", ["chrony.conf", "chrony/chrony.conf", "ntp.conf", "ntpsec/ntp.conf", "chrony/sources.d/a.sources"]
)
def test_servers_of_chrony_and_ntpd_are_told_with_their_options(tmp_path: Path, name: str) -> None:
    write(
        tmp_path,
        name,
        "# server 192.0.2.9\n\nserver 192.0.2.1 iburst minpoll 4 maxpoll 20 prefer key 17\n"
        "pool ntp.example minpoll -2\ndriftfile /x\n",
    )
    assert timing.capabilities(tmp_path)["ntpServers"] == [
        {
            "ntpServerAddrType": "IP_ADDRESS", "ntpServerAddr": "192.0.2.1", "minPollingInterval": 4, "maxPollingInterval": 17,
            "localPriority": 1, "authenticationOption": "SYMMETRIC_KEY", "authenticationKeyNum": 17,
        },
        {
            "ntpServerAddrType": "DNS_NAME", "ntpServerAddr": "ntp.example", "minPollingInterval": 3, "maxPollingInterval": 10,
            "localPriority": 2, "authenticationOption": "NONE", "authenticationKeyNum": 0,
        },
    ]  # fmt: skip


def test_servers_of_systemd_timesyncd_are_told(tmp_path: Path) -> None:
    write(tmp_path, "systemd/timesyncd.conf", "[Time]\n#NTP=no.example\nNTP=a.example 2001:db8::1\n")
    found = timing.ntp_servers(tmp_path)
    assert [(each["ntpServerAddr"], each["minPollingInterval"]) for each in found] == [
        ("a.example", 5),
        ("2001:db8::1", 5),
    ]


def test_unicast_ptp_masters_are_told(tmp_path: Path) -> None:
    write(tmp_path, "linuxptp/ptp4l.conf", "[unicast_master_table]\nUDPv4 192.0.2.5\nL2 00:11:22\nlogQueryInterval 2\n")
    assert [each["ptpMasterIpAddress"] for each in timing.capabilities(tmp_path)["ptpMasters"]] == ["192.0.2.5"]


def test_the_options_of_a_ptp_master_are_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        "linuxptp/ptp4l.conf",
        "[global]\nG.8275.defaultDS.localPriority 7\nlogMinDelayReqInterval -4\n[unicast_master_table]\nUDPv6 2001:db8::5\n",
    )
    assert timing.ptp_masters(tmp_path) == [
        {"ptpMasterIpAddress": "2001:db8::5", "ptpMasterLocalPriority": 7, "delayReqMaxRate": 16}
    ]


def test_timesyncd_uses_what_the_network_says_and_falls_back_only_without_it(tmp_path: Path) -> None:
    write(tmp_path, "systemd/timesyncd.conf", "[Time]\nFallbackNTP=fallback.example\nPollIntervalMinSec=64\n")
    assert [each["ntpServerAddr"] for each in timing.ntp_servers(tmp_path)] == ["fallback.example"]
    links = tmp_path / "run" / "systemd" / "netif" / "links"
    links.mkdir(parents=True)
    (links / "2").write_text("ADMIN_STATE=configured\nNTP=192.0.2.7\n")
    told = timing.ntp_servers(tmp_path)
    assert [(each["ntpServerAddr"], each["minPollingInterval"]) for each in told] == [("192.0.2.7", 6)]


def test_the_configuration_of_timesyncd_says_nothing_where_another_daemon_is_used(tmp_path: Path) -> None:
    write(tmp_path, "systemd/timesyncd.conf", "[Time]\nNTP=a.example\n")
    write(tmp_path, "chrony/chrony.conf", "server b.example\n")
    assert [each["ntpServerAddr"] for each in timing.ntp_servers(tmp_path)] == ["b.example"]
    (tmp_path / "run" / "systemd" / "timesync").mkdir(parents=True)
    assert [each["ntpServerAddr"] for each in timing.ntp_servers(tmp_path)] == ["b.example", "a.example"]


def test_a_running_chronyd_tells_more_than_its_configuration(tmp_path: Path) -> None:
    write(tmp_path, "chrony/chrony.conf", "server a.example minpoll 5 maxpoll 7\nserver gone.example\n")
    running = [Source("a.example", "+", 8, "SYMMETRIC_KEY", 9), Source("192.0.2.1", "*", 2)]
    told = timing.ntp_servers(tmp_path, lambda: running)
    assert [each["ntpServerAddr"] for each in told] == ["a.example", "192.0.2.1"]
    assert [(each["minPollingInterval"], each["maxPollingInterval"]) for each in told] == [(5, 8), (3, 10)]
    assert [each["localPriority"] for each in told] == [2, 1]
    assert [(each["authenticationOption"], each["authenticationKeyNum"]) for each in told] == [
        ("SYMMETRIC_KEY", 9),
        ("NONE", 0),
    ]
    assert timing.ntp_servers(tmp_path, list) == [], "it runs and has no server"


def test_what_chronyc_prints_is_read_and_odd_lines_are_not() -> None:
    told = "^,*,a.example,2,6,377,23,0.1,0.1,0.1\n#,+,PPS0,0,4,377,1,0,0,0\n^,?,a.example,0,x,0\n=,-,peer,1,x,0\nnonsense\n\x00\n"
    assert list(chrony.read(told, "a.example,NTS,0,0\npeer,SK,7,1\nshort\n")) == [
        Source("a.example", "*", 6, "AUTO_KEY", 0),
        Source("peer", "-", 6, "SYMMETRIC_KEY", 7),
    ]


def test_a_host_without_chrony_or_with_one_that_is_silent_is_no_error(tmp_path: Path) -> None:
    assert chrony.sources([str(tmp_path / "chronyc")]) is None
    assert chrony.sources([shutil.which("false") or "/bin/false"]) is None


def test_the_kernel_says_whether_the_clock_is_synchronised() -> None:
    # ntp_gettime is another way to the same state: 5 is TIME_ERROR.
    state = ctypes.CDLL(None).ntp_gettime(ctypes.create_string_buffer(256))
    assert timing.synchronised() == (state != 5)
    assert timing.current_time()["timeSourceStatus"] == ("NONTRACEABLE" if state == 5 else "TRACEABLE")


@pytest.fixture
def chronyd(tmp_path: Path) -> Iterator[list[str]]:
    """A real chronyd that touches no clock (-x) and talks to loopback only; returns how to ask it."""
    program = shutil.which("chronyd") or shutil.which("chronyd", path="/usr/sbin")
    if program is None or shutil.which("chronyc") is None:
        pytest.skip("chrony is not installed")
    run = tmp_path / "run"
    run.mkdir(mode=0o750)
    keys, config = tmp_path / "keys", tmp_path / "chrony.conf"
    keys.write_text("7 MD5 HEX:0123456789abcdef0123456789abcdef\n")
    config.write_text(
        "server 127.0.0.1 port 11123 minpoll 4 maxpoll 6\nserver ::1 port 11124 key 7\n"
        f"keyfile {keys}\nbindcmdaddress {run}/chronyd.sock\npidfile {run}/chronyd.pid\ncmdport 0\nport 0\n"
    )
    command = [program, "-x", "-U", "-u", "root", "-d", "-f", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        ask = ["chronyc", "-h", str(run / "chronyd.sock")]
        try:
            until(lambda: chrony.sources(ask) is not None, what="chronyd")
            yield ask
        finally:
            running.terminate()


@pytest.mark.live
def test_a_real_chronyd_is_asked(chronyd: list[str]) -> None:
    assert chrony.sources(chronyd) == [
        Source("127.0.0.1", "?", 4, "NONE", 0),
        Source("::1", "?", 6, "SYMMETRIC_KEY", 7),
    ]


@pytest.mark.parametrize("text", ["server", "server -4", "\x00\xff", "=", "NTP=", "server a minpoll", "UDPv4 nonsense"])
def test_odd_lines_break_nothing(tmp_path: Path, text: str) -> None:
    for name in ("ntp.conf", "systemd/timesyncd.conf", "ptp4l.conf"):
        write(tmp_path, name, text)
    for server in timing.capabilities(tmp_path).get("ntpServers", []):
        assert server["ntpServerAddr"]
