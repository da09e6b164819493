"""Our codec beside two others: what we write scapy and pycrate read as it was meant, and we read what they write."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from pycrate_mobile.TS29244_PFCP import VolumeMeasurement, parse_PFCP
from scapy.contrib import pfcp as sc
from scapy.packet import NoPayload, Packet, Raw

from tests.upf.pfcp.gallery import everything
from upf_adapter.pfcp.reading import Fields, decode
from upf_adapter.pfcp.wire import FSeid, Ie, Sdf, Tunnel, UeIp, Volume

GALLERY = everything()
ip = ipaddress.ip_address


def numbers(fields: Fields) -> set[int]:
    """Return the numbers of all elements, those in groups included."""
    found = set(fields)
    for values in fields.values():
        for value in values:
            found |= numbers(value) if isinstance(value, Fields) else set()
    return found


def test_the_gallery_has_every_element_that_we_write() -> None:
    seen: set[int] = set()
    for datagram in GALLERY.values():
        seen |= numbers(decode(datagram).ies)
    only_read = {
        Ie.CREATED_PDR, Ie.UPDATE_URR, Ie.UPDATE_QER, Ie.REPORT_TYPE, Ie.OFFENDING_IE, Ie.UP_FEATURES, Ie.CP_FEATURES,
        Ie.USAGE_REPORT_TRIGGER, Ie.VOLUME_MEASUREMENT, Ie.USAGE_REPORT_MODIFIED, Ie.USAGE_REPORT_DELETED, Ie.USAGE_REPORT,
        Ie.DOWNLINK_DATA_REPORT, Ie.ERROR_INDICATION_REPORT, Ie.UR_SEQN, Ie.RELEASE_REQUEST, Ie.FAILED_RULE_ID,
    }  # fmt: skip
    known = {value for name, value in vars(Ie).items() if name.isupper()}
    assert known - seen == only_read


# pycrate


@pytest.mark.parametrize("name", GALLERY)
def test_pycrate_reads_every_octet_that_we_write(name: str) -> None:
    read, problem = parse_PFCP(GALLERY[name])
    assert problem == 0
    assert "unknown" not in read.show().lower()
    # Written again from the values that it understood, by its own code.
    again = type(read)(val=read.get_val_d())
    assert again.to_bytes() == GALLERY[name]
    assert decode(again.to_bytes()) == decode(GALLERY[name])


def _leaf(read: Any, *path: str) -> Any:
    """Return the value that pycrate has under a path of names, the first of each name."""
    values = read.get_val_d()
    for name in path:
        values = values[name] if isinstance(values, dict) else next(each[name] for each in values if name in each)
    return values


def test_pycrate_understands_what_we_mean() -> None:
    read, _ = parse_PFCP(GALLERY["establishment"])
    shown = read.show()
    for text in (
        "<SEID : 1234605616436508552>",
        "<IPv4Addr : 127.0.0.1>",
        "<Val : 16777216>",  # the precedence of what catches the rest
        "<Val : 65536>",  # the precedence of priority 1
        "<If : 0 (Access)>",
        "<If : 1 (Core)>",
        "<CHID : 1>",
        "<CHOOSE_ID : 1>",
        "<Val : 11 (N3 3GPP Access)>",
        "<Val : 17 (N6)>",
        "<TEID : 2882400001>",
        "<IPv6Addr : 2001:db8::9>",
        "<DROP : 1>",
        "<DUPL : 1>",
        "<VOLUM : 1>",
        "<MNOP : 1>",
        "<QFI : 5>",
        "<ToSTrafficClass : 0xb8fc>",
    ):
        assert text in shown, text
    sdf = b"permit out 17 from 203.0.113.5 4000-4010 to 10.45.0.2"
    assert f"<Val : 0x{sdf.hex()}>" in shown


# scapy


def _rebuilt(packet: Packet) -> bytes:
    """Return what scapy makes of the values that it has read, with all lengths counted anew."""
    copy = packet.copy()
    waiting: list[Packet] = [copy]
    while waiting:
        each = waiting.pop()
        assert not isinstance(each, Raw | sc.IE_NotImplemented), each
        each.raw_packet_cache = None
        each.wirelen = None
        if "length" in each.fields:
            each.fields["length"] = None
        waiting += list(each.fields.get("IE_list") or [])
        if not isinstance(each.payload, NoPayload):
            waiting.append(each.payload)
    return bytes(copy)


@pytest.mark.parametrize("name", GALLERY)
def test_scapy_reads_every_octet_that_we_write(name: str) -> None:
    read = sc.PFCP(GALLERY[name])
    assert _rebuilt(read) == GALLERY[name]


def _from_scapy(elements: list[Any], payload: Any = sc.PFCPSessionModificationRequest, **head: Any) -> Fields:
    whole = sc.PFCP(version=1, S=1, seid=0x0102030405060708, seq=0xABCDEF, **head) / payload(IE_list=elements)
    read = decode(bytes(whole))
    assert (read.sequence, read.seid) == (0xABCDEF, 0x0102030405060708)
    return read.ies


@pytest.mark.parametrize(
    ("element", "number", "meant"),
    [
        (sc.IE_Cause(cause=73), Ie.CAUSE, 73),
        (sc.IE_NodeId(id_type=0, ipv4="192.0.2.1"), Ie.NODE_ID, "192.0.2.1"),
        (sc.IE_NodeId(id_type=1, ipv6="2001:db8::1"), Ie.NODE_ID, "2001:db8::1"),
        (sc.IE_NodeId(id_type=2, id="upf.edge.example"), Ie.NODE_ID, "upf.edge.example"),
        (sc.IE_RecoveryTimeStamp(timestamp=3900000001), Ie.RECOVERY_TIME_STAMP, 3900000001),
        (sc.IE_FSEID(v4=1, seid=7, ipv4="192.0.2.1"), Ie.F_SEID, FSeid(7, ip("192.0.2.1"))),
        (
            sc.IE_FSEID(v4=1, v6=1, seid=7, ipv4="192.0.2.1", ipv6="2001:db8::1"),
            Ie.F_SEID,
            FSeid(7, ip("192.0.2.1"), ip("2001:db8::1")),
        ),
        (sc.IE_FTEID(V4=1, TEID=9, ipv4="192.0.2.1"), Ie.F_TEID, Tunnel(9, ip("192.0.2.1"))),
        (sc.IE_FTEID(V6=1, TEID=9, ipv6="2001:db8::1"), Ie.F_TEID, Tunnel(9, ip("2001:db8::1"))),
        (sc.IE_FTEID(V4=1, CH=1, CHID=1, choose_id=1), Ie.F_TEID, None),
        (sc.IE_NetworkInstance(instance="mec.apps"), Ie.NETWORK_INSTANCE, "mec.apps"),
        (
            sc.IE_SDF_Filter(FD=1, TTC=1, flow_description="permit out ip from any to assigned", tos_traffic_class=184,
                             tos_traffic_mask=252),
            Ie.SDF_FILTER,
            Sdf("permit out ip from any to assigned", (184, 252)),
        ),
        (sc.IE_UE_IP_Address(V4=1, ipv4="10.45.0.2"), Ie.UE_IP_ADDRESS, UeIp(ip("10.45.0.2"))),
        (
            sc.IE_UE_IP_Address(V4=1, V6=1, SD=1, ipv4="10.45.0.2", ipv6="2001:db8::"),
            Ie.UE_IP_ADDRESS,
            UeIp(ip("10.45.0.2"), ip("2001:db8::"), True),
        ),
        (
            sc.IE_OuterHeaderCreation(GTPUUDPIPV4=1, TEID=5, ipv4="192.0.2.1"),
            Ie.OUTER_HEADER_CREATION,
            Tunnel(5, ip("192.0.2.1")),
        ),
        (sc.IE_OuterHeaderCreation(UDPIPV4=1, ipv4="192.0.2.1", port=1), Ie.OUTER_HEADER_CREATION, None),
        (
            sc.IE_VolumeMeasurement(TOVOL=1, ULVOL=1, DLVOL=1, total=3, uplink=1, downlink=2),
            Ie.VOLUME_MEASUREMENT,
            Volume(3, 1, 2),
        ),
        (sc.IE_FailedRuleId(type=0, pdr_id=4), Ie.FAILED_RULE_ID, "PDR 4"),
        (sc.IE_FailedRuleId(type=1, far_id=70000), Ie.FAILED_RULE_ID, "FAR 70000"),
        (sc.IE_OffendingIE(type=29), Ie.OFFENDING_IE, 29),
        (sc.IE_ApplyAction(FORW=1), Ie.APPLY_ACTION, 2),
        (sc.IE_UPFunctionFeatures(FTUP=1, length=2), Ie.UP_FEATURES, 1 << 4),
        (sc.IE_ReportType(UPIR=0, ERIR=0, USAR=1, DLDR=1), Ie.REPORT_TYPE, 3),
        (sc.IE_PFCPAssociationReleaseRequest(SARR=1), Ie.RELEASE_REQUEST, 1),
        (sc.IE_GateStatus(ul=1, dl=1), Ie.GATE_STATUS, 5),
        (sc.IE_Precedence(precedence=16777216), Ie.PRECEDENCE, 16777216),
        (sc.IE_PDR_Id(id=65535), Ie.PDR_ID, 65535),
        (sc.IE_UR_SEQN(number=4), Ie.UR_SEQN, 4),
        (sc.IE_QFI(QFI=9), Ie.QFI, 9),
    ],
)  # fmt: skip
def test_we_read_what_scapy_writes(element: Any, number: int, meant: Any) -> None:
    assert _from_scapy([element]).one(number) == meant


def test_groups_of_scapy_are_read_as_deep_as_they_go() -> None:
    pdi = sc.IE_PDI(IE_list=[sc.IE_SourceInterface(interface=1), sc.IE_FTEID(V4=1, TEID=9, ipv4="192.0.2.1")])
    fields = _from_scapy(
        [sc.IE_CreatePDR(IE_list=[sc.IE_PDR_Id(id=1), pdi]), sc.IE_CreatePDR(IE_list=[sc.IE_PDR_Id(id=2)])]
    )
    first, second = fields.all(Ie.CREATE_PDR)
    assert (first.one(Ie.PDI).one(Ie.SOURCE_INTERFACE), first.one(Ie.PDI).one(Ie.F_TEID).teid) == (1, 9)
    assert second.one(Ie.PDR_ID) == 2


def test_a_message_with_a_priority_is_read() -> None:
    assert _from_scapy([sc.IE_Cause(cause=1)], MP=1, priority=9).one(Ie.CAUSE) == 1


def test_elements_that_we_do_not_know_are_skipped() -> None:
    fields = _from_scapy(
        [
            sc.IE_EnterpriseSpecific(ietype=0x8001, enterprise_id=10415, data=b"x"),
            sc.IE_APN_DNN(apn_dnn="internet"),
            sc.IE_Cause(cause=1),
        ]
    )
    assert dict(fields) == {Ie.CAUSE: [1]}


def test_octets_behind_the_known_part_of_an_element_are_skipped() -> None:
    assert _from_scapy([sc.IE_FTEID(V4=1, TEID=9, ipv4="192.0.2.1", extra_data=b"later")]).one(Ie.F_TEID).teid == 9


# pycrate again, as the writer


def test_we_read_packets_counted_as_pycrate_writes_them() -> None:
    """scapy is older than the packet counters of Volume Measurement."""

    element = VolumeMeasurement(
        val={"TOVOL": 1, "TONOP": 1, "ULNOP": 1, "TotalVolume": 1000, "TotalNumPackets": 10, "UplinkNumPackets": 4}
    )
    datagram = bytes(sc.PFCP(version=1, S=1, seid=1, seq=1) / sc.PFCPSessionReportRequest())
    octets = element.to_bytes()
    datagram = datagram[:2] + (12 + 4 + len(octets)).to_bytes(2, "big") + datagram[4:]
    datagram += Ie.VOLUME_MEASUREMENT.to_bytes(2, "big") + len(octets).to_bytes(2, "big") + octets
    assert decode(datagram).ies.one(Ie.VOLUME_MEASUREMENT) == Volume(octets=1000, packets=10, uplink_packets=4)
