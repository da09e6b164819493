"""What the host says about time is read, not assumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mep.mp1 import timing


def write(etc: Path, name: str, text: str) -> None:
    path = etc / name
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


@pytest.mark.parametrize("text", ["server", "server -4", "\x00\xff", "=", "NTP=", "server a minpoll", "UDPv4 nonsense"])
def test_odd_lines_break_nothing(tmp_path: Path, text: str) -> None:
    for name in ("ntp.conf", "systemd/timesyncd.conf", "ptp4l.conf"):
        write(tmp_path, name, text)
    for server in timing.capabilities(tmp_path).get("ntpServers", []):
        assert server["ntpServerAddr"]
