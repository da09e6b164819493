"""What we write as Wireshark reads it: every element known, in its place and with the value that was meant."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw
from scapy.utils import PcapWriter

from tests.upf.pfcp.gallery import everything
from upf_adapter.pfcp.reading import Fields, decode

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark"),
]
GALLERY = everything()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pfcp") / "n4.pcap"
    with PcapWriter(str(path), linktype=101) as pcap:
        for datagram in GALLERY.values():
            pcap.write(IP(src="127.0.0.1", dst="127.0.0.1") / UDP(sport=8805, dport=8805) / Raw(datagram))
    return path


def tshark(capture: Path, *options: str) -> str:
    done = subprocess.run(["tshark", "-n", "-r", str(capture), *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def frames(capture: Path) -> dict[str, ElementTree.Element]:
    whole = ElementTree.fromstring(tshark(capture, "-T", "pdml"))
    found = [frame.find("proto[@name='pfcp']") for frame in whole.iter("packet")]
    assert len(found) == len(GALLERY)
    assert None not in found, "tshark does not take one of them for PFCP"
    return dict(zip(GALLERY, found, strict=True))  # type: ignore[arg-type]


def ours(fields: Fields, above: tuple[int, ...] = ()) -> Counter[tuple[int, ...]]:
    """Return how often each element occurs, by the numbers of the groups around it and its own."""
    found: Counter[tuple[int, ...]] = Counter()
    for number, values in fields.items():
        for value in values:
            found[*above, number] += 1
            if isinstance(value, Fields):
                found += ours(value, (*above, number))
    return found


def theirs(node: ElementTree.Element, above: tuple[int, ...] = ()) -> Counter[tuple[int, ...]]:
    found: Counter[tuple[int, ...]] = Counter()
    for field in node.findall("field"):
        kind = field.find("field[@name='pfcp.ie_type']")
        if kind is not None:
            path = (*above, int(kind.get("show", "")))
            found[path] += 1
            found += theirs(field, path)
    return found


@pytest.mark.parametrize("name", GALLERY)
def test_wireshark_finds_every_element_in_its_place(frames: dict[str, ElementTree.Element], name: str) -> None:
    assert theirs(frames[name]) == ours(decode(GALLERY[name]).ies)


def test_wireshark_finds_nothing_wrong(capture: Path) -> None:
    shown = tshark(capture, "-V")
    for word in ("Malformed", "Unknown", "Undecoded", "Expert Info", "not dissected"):
        assert word not in shown
    assert not tshark(capture, "-Y", "_ws.malformed || _ws.expert")


def shows(frame: ElementTree.Element, field: str) -> set[str]:
    return {each.get("show", "") for each in frame.iter("field") if each.get("name") == field}


def test_wireshark_reads_the_values_that_were_meant(frames: dict[str, ElementTree.Element]) -> None:
    frame = frames["establishment"]
    assert shows(frame, "pfcp.precedence") == {str(1 << 24), *(str(priority << 16) for priority in range(1, 7))}
    assert shows(frame, "pfcp.flow_desc") >= {
        "permit out 17 from 203.0.113.5 4000-4010 to 10.45.0.2",
        "permit out ip from 203.0.113.0/24 to 10.45.0.2",
        "permit out 47 from any to 10.45.0.2",
    }
    assert shows(frame, "pfcp.network_instance") == {"access", "internet", "mec.apps"}
    assert shows(frame, "pfcp.outer_hdr_creation.teid") == {"0x0000004d", "0xabcdef01", "0x00000099"}
    assert shows(frame, "pfcp.outer_hdr_creation.ipv4") == {"192.0.2.7", "198.51.100.9"}
    assert shows(frame, "pfcp.outer_hdr_creation.ipv6") == {"2001:db8::9"}
    assert shows(frame, "pfcp.ue_ip_addr_ipv4") == {"10.45.0.2"}
    assert shows(frame, "pfcp.tgpp_interface_type") == {"11", "15", "17"}
    assert shows(frame, "pfcp.dst_interface") == {"0", "1", "4"}
    assert shows(frame, "pfcp.apply_action.dupl") == {"0", "1"}
    assert shows(frame, "pfcp.qfi_value") == {"0x05"}
    assert shows(frames["establishment, drop by gate"], "pfcp.gate_status.ulgate") == {"1"}
    assert shows(frames["establishment over IPv6"], "pfcp.f_teid.ipv6_addr") == {"2001:db8:8::8"}
    assert shows(frames["setup by name"], "pfcp.node_id_fqdn") == {"mep.edge.example"}
    assert shows(frames["heartbeat"], "pfcp.seqno") == {str(0xFFFFFF)}
