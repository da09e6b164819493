"""Packing by hand says the same as dnspython, and no bytes break the reader."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mep.dns import wire
from mep.dns.records import Rule, record_sets
from mep.dns.responder import Forward, Responder
from mep.dns.table import Table

LOCAL = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
ROWS = [
    ("hello.example", "IP_V4", "10.1.2.3", 60),
    ("hello.example", "IP_V4", "10.1.2.4", 90),
    ("six.example", "IP_V6", "2001:db8::1", None),
    ("both.example", "IP_V4", "10.0.0.1", 5),
    ("both.example", "IP_V6", "2001:db8::2", 5),
    ("zero.example", "IP_V4", "10.0.0.9", 0),
]


def responder(*, forwards: bool = False, rows: Any = ROWS) -> Responder:
    rules = [Rule(number, *row) for number, row in enumerate(rows)]
    return Responder(LOCAL, forwards=forwards, table=Table(record_sets(rules, 30).values()))


def ask(query: dns.message.Message, *, udp: bool = True, made: Responder | None = None) -> dns.message.Message:
    data = (made or responder()).reply(query.to_wire(), "127.0.0.1", udp=udp)
    assert isinstance(data, bytes)
    answer = dns.message.from_wire(data)
    assert query.is_response(answer)
    return answer


def texts(section: Any) -> set[str]:
    return {line for each in section for line in each.to_text().splitlines()}


@pytest.mark.parametrize("edns", [None, 0])
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("hello.example", "A", {"hello.example. 60 IN A 10.1.2.3", "hello.example. 60 IN A 10.1.2.4"}),
        ("six.example", "AAAA", {"six.example. 30 IN AAAA 2001:db8::1"}),
        ("both.example", "A", {"both.example. 5 IN A 10.0.0.1"}),
        ("both.example", "AAAA", {"both.example. 5 IN AAAA 2001:db8::2"}),
        ("zero.example", "A", {"zero.example. 0 IN A 10.0.0.9"}),
    ],
)
def test_a_name_with_a_rule_has_its_addresses(name: str, kind: str, expected: set[str], edns: int | None) -> None:
    query = dns.message.make_query(name, kind, use_edns=edns)
    answer = ask(query)
    assert texts(answer.answer) == expected
    assert answer.flags & dns.flags.AA
    assert answer.flags & dns.flags.RD
    assert not answer.flags & dns.flags.RA
    assert answer.edns == (-1 if edns is None else 0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("hello.example", "AAAA"), ("six.example", "A"), ("hello.example", "HTTPS"), ("hello.example", "SVCB"),
        ("both.example", "CNAME"), ("hello.example", "TXT"),
    ],
)  # fmt: skip
def test_the_other_family_and_https_get_no_data_with_an_soa(name: str, kind: str) -> None:
    answer = ask(dns.message.make_query(name, kind))
    assert answer.rcode() == dns.rcode.NOERROR
    assert not answer.answer
    (soa,) = answer.authority
    assert soa.rdtype == dns.rdatatype.SOA
    assert soa.name == dns.name.from_text(name)
    assert soa[0].minimum == soa.ttl


def test_any_gets_a_short_answer() -> None:
    answer = ask(dns.message.make_query("both.example", "ANY"))
    assert [each.rdtype for each in answer.answer] == [dns.rdatatype.HINFO]


def test_the_case_of_the_question_is_echoed_and_does_not_matter() -> None:
    query = dns.message.make_query("HeLLo.exAMPle", "A", use_edns=None)
    data = responder().reply(query.to_wire(), "127.0.0.1", udp=True)
    assert isinstance(data, bytes)
    assert b"HeLLo\x07exAMPle" in data
    assert len(dns.message.from_wire(data).answer[0]) == 2


def test_unknown_names_are_refused_without_and_forwarded_with_upstreams() -> None:
    query = dns.message.make_query("other.example", "A")
    assert ask(query).rcode() == dns.rcode.REFUSED
    assert isinstance(responder(forwards=True).reply(query.to_wire(), "127.0.0.1", udp=True), Forward)
    # A name with a rule keeps its mail elsewhere, but never its addresses.
    for kind, there in (
        ("MX", True),
        ("TXT", True),
        ("AAAA", False),
        ("HTTPS", False),
        ("SVCB", False),
        ("CNAME", False),
        ("ANY", False),
    ):
        found = responder(forwards=True).reply(
            dns.message.make_query("hello.example", kind).to_wire(), "127.0.0.1", udp=True
        )
        assert isinstance(found, Forward) == there, kind
    assert ask(dns.message.make_query("hello.example", "A"), made=responder(forwards=True)).flags & dns.flags.RA


@pytest.mark.parametrize("source", ["10.0.0.1", "8.8.8.8", "2001:db8::1", "fe80::1%eth0", "::ffff:8.8.8.8"])
def test_strangers_are_refused(source: str) -> None:
    data = responder(forwards=True).reply(dns.message.make_query("hello.example", "A").to_wire(), source, udp=True)
    assert isinstance(data, bytes)
    assert dns.message.from_wire(data).rcode() == dns.rcode.REFUSED
    assert len(data) == 12, "nothing to amplify"


def test_friends_are_served_also_when_mapped() -> None:
    made = responder()
    assert made.serves("::ffff:127.0.0.1")
    assert made.serves("::1")


def test_what_is_too_long_for_udp_says_so_and_comes_whole_over_tcp() -> None:
    rows = [("big.example", "IP_V4", f"10.0.{number // 250}.{number % 250}", 1) for number in range(100)]
    for edns, payload, whole in ((None, 0, False), (0, 512, False), (0, 4096, False), (0, 1232, False)):
        query = dns.message.make_query("big.example", "A", use_edns=edns, payload=payload)
        answer = ask(query, made=responder(rows=rows))
        assert bool(answer.flags & dns.flags.TC) != whole
        assert not answer.answer
        assert len(ask(query, udp=False, made=responder(rows=rows)).answer[0]) == 100
    some = rows[:40]
    assert (
        not ask(dns.message.make_query("big.example", "A", use_edns=0, payload=1232), made=responder(rows=some)).flags
        & dns.flags.TC
    )
    assert (
        ask(dns.message.make_query("big.example", "A", use_edns=None), made=responder(rows=some)).flags & dns.flags.TC
    )


def test_other_opcodes_are_not_implemented_and_other_edns_versions_bad() -> None:
    update = dns.message.make_query("hello.example", "A")
    update.set_opcode(dns.opcode.NOTIFY)
    data = responder().reply(update.to_wire(), "127.0.0.1", udp=True)
    assert isinstance(data, bytes)
    assert dns.message.from_wire(data).rcode() == dns.rcode.NOTIMP
    assert ask(dns.message.make_query("hello.example", "A", use_edns=1)).rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize("length", [64, 0x80, 0xBF, 0xC0, 0xFF])
def test_a_label_is_at_most_63_long_and_a_question_is_not_compressed(length: int) -> None:
    data = (
        struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + bytes([length]) + b"a" * length + b"\0" + struct.pack("!2H", 1, 1)
    )
    found = responder(forwards=True).reply(data, "127.0.0.1", udp=True)
    assert isinstance(found, bytes)
    assert dns.message.from_wire(found).rcode() == dns.rcode.FORMERR


def test_answers_are_met_with_silence() -> None:
    query = dns.message.make_query("hello.example", "A")
    response = dns.message.make_response(query).to_wire()
    assert responder().reply(response, "127.0.0.1", udp=True) is None
    assert responder().reply(query.to_wire()[:11], "127.0.0.1", udp=True) is None


names = st.lists(st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True), min_size=1, max_size=6).map(
    ".".join
)


@given(names, st.integers(0, 65535), st.integers(0, 65535), st.none() | st.integers(0, 65535), st.booleans())
def test_every_well_formed_query_is_understood(
    name: str, kind: int, klass: int, payload: int | None, dnssec: bool
) -> None:
    query = dns.message.make_query(
        name, "A", use_edns=payload is not None or dnssec, payload=payload or 1232, want_dnssec=dnssec
    )
    query.question[0].rdtype = dns.rdatatype.RdataType(kind)
    query.question[0].rdclass = klass  # type: ignore[assignment]
    asked = wire.question(query.to_wire())
    assert asked.name == wire.wire_name(name) == dns.name.from_text(name).to_wire()
    assert (asked.kind, asked.klass) == (kind, klass)
    assert asked.udp_size == (max(512, query.payload) if query.edns == 0 else 0)


@given(st.binary(max_size=600))
@example(b"\0" * 12)
@example(b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x01\xc0")
def test_no_bytes_break_the_responder(data: bytes) -> None:
    for forwards in (False, True):
        found = responder(forwards=forwards).reply(data, "127.0.0.1", udp=True)
        if isinstance(found, bytes):
            assert found[:2] == data[:2]
            assert found[2] & 0x80
            assert len(found) <= 1232


@given(st.data())
def test_no_damage_to_a_good_query_breaks_the_responder(data: st.DataObject) -> None:
    good = bytearray(dns.message.make_query("hello.example", "A", want_dnssec=True).to_wire())
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    found = responder().reply(cut, "127.0.0.1", udp=True)
    if isinstance(found, bytes) and len(found) > 12:
        dns.message.from_wire(found, ignore_trailing=False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hello.example", "six.example", "other.example"]),
            st.integers(0, 2**13 - 1),
            st.sampled_from([1, 28, 33, 65, 97, 255]),
            st.sampled_from([0x0000, 0x0100, 0x0110, 0x4100]),
            st.sampled_from([b"", b"\0\0\x29\x04\xd0\0\0\0\0\0\0", b"\0\0\x29\x02\0\0\0\x80\0\0\0"]),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_an_answer_that_was_kept_is_the_one_that_would_be_made(asked: list[Any]) -> None:
    warm = responder()
    for number, (name, cases, kind, flags, edns) in enumerate(asked):
        name = "".join(letter.upper() if cases >> at & 1 else letter for at, letter in enumerate(name))
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        head = struct.pack("!6H", number, flags, 1, 0, 0, bool(edns))
        query = head + labels + b"\0" + struct.pack("!2H", kind, 1) + edns
        assert warm.reply(query, "127.0.0.1", udp=True) == responder().reply(query, "127.0.0.1", udp=True)
