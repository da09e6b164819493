"""Changes of a session: whatever is asked in whatever order, the UPF ends with what was wanted, rule by rule."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.upf.pfcp.gallery import prepared
from tests.upf.pfcp.gallery import settings as chosen
from upf_adapter.contract import TrafficRule
from upf_adapter.pfcp import plan
from upf_adapter.pfcp.compile import Image, Key
from upf_adapter.pfcp.plan import Numbers, Writer
from upf_adapter.pfcp.reading import Fields, decode
from upf_adapter.pfcp.wire import Ie, Tunnel, message

FILTERS: list[dict[str, Any]] = [
    {"dstAddress": ["203.0.113.5"]},
    {"dstPort": ["80", "90"], "protocol": ["TCP"]},
    {"protocol": ["UDP"], "dSCP": 46},
    {"srcAddress": ["203.0.113.5"], "dstAddress": ["10.45.0.2"], "qCI": 9},
]
TARGETS: dict[str, tuple[Any, ...]] = {
    "FORWARD_DECAPSULATED": (
        {"interfaceType": "IP", "dstIpAddress": "10.60.0.2"},
        {"interfaceType": "IP", "dstIpAddress": "10.61.0.2"},
    ),
    "FORWARD_ENCAPSULATED": tuple(
        {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": address,
                                                   "tunnelSpecificData": {"teid": 5}}}
        for address in ("198.51.100.9", "2001:db8::9")
    ),
}  # fmt: skip
TARGETS["DUPLICATE_ENCAPSULATED"] = TARGETS["FORWARD_ENCAPSULATED"]
INSTANCES = {"10.60.0.0/16": "mec.apps", "10.61.0.0/16": ""}

rule_sets = st.dictionaries(
    st.sampled_from(["app/1", "app/2", "app/3", "app/4"]),
    st.tuples(
        st.sampled_from(["FLOW", "PACKET"]),
        st.integers(0, 1),
        st.lists(st.sampled_from(FILTERS), min_size=1, max_size=3),
        st.sampled_from(["DROP", "PASSTHROUGH", *TARGETS]),
        st.integers(0, 1),
    ),
)


def rules(some: dict[str, Any]) -> tuple[TrafficRule, ...]:
    return tuple(
        TrafficRule(
            key, kind, priority, tuple(parts), action, TARGETS[action][which : which + 1] if action in TARGETS else ()
        )
        for key, (kind, priority, parts, action, which) in some.items()
    )


_NUMBERS = {Ie.PDR_ID, Ie.FAR_ID, Ie.URR_ID, Ie.QER_ID}


class Mirror:
    """What a UPF holds after the messages that it got; strict about numbers."""

    def __init__(self) -> None:
        self.held: dict[str, dict[int, Fields]] = {"pdr": {}, "far": {}, "urr": {}, "qer": {}}

    def take(self, body: bytes) -> None:
        ies = decode(message(52, 1, body, seid=1)).ies
        numbers = {"pdr": Ie.PDR_ID, "far": Ie.FAR_ID, "urr": Ie.URR_ID, "qer": Ie.QER_ID}
        removals = {"pdr": Ie.REMOVE_PDR, "far": Ie.REMOVE_FAR, "urr": Ie.REMOVE_URR, "qer": Ie.REMOVE_QER}
        creations = {"pdr": Ie.CREATE_PDR, "far": Ie.CREATE_FAR, "urr": Ie.CREATE_URR, "qer": Ie.CREATE_QER}
        # Whether a UPF removes before it creates or behind it is left to the UPF: no number may be both.
        for kind, number in numbers.items():
            gone = {each.one(number) for each in ies.all(removals[kind])}
            come = {each.one(number) for each in ies.all(creations[kind])}
            assert not gone & come
            assert gone <= self.held[kind].keys()
            assert not come & self.held[kind].keys()
            for each in gone:
                del self.held[kind][each]
            for element in ies.all(creations[kind]):
                self.held[kind][element.one(number)] = element
        for element in ies.all(Ie.UPDATE_PDR):
            old = self.held["pdr"][element.one(Ie.PDR_ID)]
            assert [old.get(each) for each in (Ie.URR_ID, Ie.QER_ID)] == [
                element.get(each) for each in (Ie.URR_ID, Ie.QER_ID)
            ]
            self.held["pdr"][element.one(Ie.PDR_ID)] = element
        for element in ies.all(Ie.UPDATE_FAR):
            as_created = Fields(element)
            for update, creation in (
                (Ie.UPDATE_FORWARDING_PARAMETERS, Ie.FORWARDING_PARAMETERS),
                (Ie.UPDATE_DUPLICATING_PARAMETERS, Ie.DUPLICATING_PARAMETERS),
            ):
                if update in as_created:
                    as_created[creation] = as_created.pop(update)
            old, new = self.held["far"][element.one(Ie.FAR_ID)], as_created
            # An update keeps what it does not name: it may not be used to take something away.
            assert old.keys() == new.keys()
            for kind in old.keys() & {Ie.FORWARDING_PARAMETERS, Ie.DUPLICATING_PARAMETERS}:
                assert old.one(kind).keys() == new.one(kind).keys()
            self.held["far"][element.one(Ie.FAR_ID)] = new
        for pdr in self.held["pdr"].values():
            assert pdr.one(Ie.FAR_ID) in self.held["far"]
            assert set(pdr.all(Ie.URR_ID)) <= self.held["urr"].keys()
            assert set(pdr.all(Ie.QER_ID)) <= self.held["qer"].keys()

    def meaning(self) -> list[str]:
        """Return what it holds with the elements in place of their numbers."""
        found = []
        for pdr in self.held["pdr"].values():
            own = {each: values for each, values in pdr.items() if each not in _NUMBERS}
            far = {
                each: values for each, values in self.held["far"][pdr.one(Ie.FAR_ID)].items() if each not in _NUMBERS
            }
            found.append(repr((own, far, bool(pdr.all(Ie.QER_ID)), bool(pdr.all(Ie.URR_ID)))))
        return sorted(found)


def apply(writer: Writer, mirror: Mirror, before: dict[str, Image], after: dict[str, Image]) -> None:
    for change in plan.changes(before, after):
        mirror.take(plan.join([writer.write(change)]))
        writer.keep()


@settings(max_examples=60)
@given(st.lists(rule_sets, min_size=1, max_size=4), st.sampled_from(["far", "gate"]))
def test_a_session_that_was_changed_is_as_one_that_was_made_anew(sets: list[dict[str, Any]], drop: str) -> None:
    options = chosen(drop=drop, destinations=INSTANCES)
    writer, _ = prepared((), options)
    writer.chosen(Tunnel(9, ip_address("127.0.0.1")))
    mirror = Mirror()
    before: dict[str, Image] = {}
    for each in sets:
        _, after = prepared(rules(each), options)
        apply(writer, mirror, before, after)
        before = after
    fresh_writer, wanted = prepared(rules(sets[-1]), options)
    fresh_writer.chosen(Tunnel(9, ip_address("127.0.0.1")))
    fresh = Mirror()
    fresh.take(plan.join([fresh_writer.write(change) for change in plan.changes({}, wanted)]))
    assert mirror.meaning() == fresh.meaning()
    for kind in ("far", "urr", "qer"):
        assert len(mirror.held[kind]) == len(fresh.held[kind]), f"a {kind} was left behind"
    assert not list(plan.changes(before, wanted))


def test_only_what_differs_is_sent() -> None:
    options = chosen()
    one = TrafficRule("app/1", "FLOW", 1, (FILTERS[0],), "DROP")
    two = TrafficRule("app/2", "FLOW", 2, (FILTERS[1],), "DROP")
    _, before = prepared((one, two), options)
    _, after = prepared((one, TrafficRule("app/2", "FLOW", 3, (FILTERS[1],), "DROP")), options)
    (change,) = plan.changes(before, after)
    assert change.rule == "app/2"
    assert {kind for kind, _ in change.updated} == {"pdr"}
    assert not change.created | change.removed


def test_a_far_that_gets_a_new_number_is_told_to_its_pdrs() -> None:
    """Outer Header Creation cannot be taken away by an update, so the FAR is made anew and the PDR that stays must follow."""
    writer, before = prepared(rules({"app/1": ("FLOW", 1, FILTERS[:1], "FORWARD_ENCAPSULATED", 0)}), chosen())
    _, after = prepared(rules({"app/1": ("FLOW", 1, FILTERS[:1], "FORWARD_DECAPSULATED", 0)}), chosen())
    mirror = Mirror()
    apply(writer, mirror, {}, before)
    apply(writer, mirror, before, after)
    assert len(mirror.held["far"]) == 3


def test_a_refusal_leaves_the_numbers_as_they_were() -> None:
    options = chosen()
    writer, before = prepared(rules({"app/1": ("FLOW", 1, FILTERS[:1], "DROP", 0)}), options)
    plan.join([writer.write(change) for change in plan.changes({}, before)])
    writer.keep()
    seen = {kind: numbers.elements() for kind, numbers in writer.numbers.items()}
    _, after = prepared(rules({"app/2": ("FLOW", 1, FILTERS[:2], "FORWARD_ENCAPSULATED", 0)}), options)
    for _ in range(2):
        first = [bytes(plan.join([writer.write(change)])) for change in plan.changes(before, after)]
        writer.undo()
        assert {kind: numbers.elements() for kind, numbers in writer.numbers.items()} == seen
        assert [bytes(plan.join([writer.write(change)])) for change in plan.changes(before, after)] == first
        writer.undo()


@given(st.lists(st.tuples(st.sampled_from(["get", "take", "keep", "undo"]), st.integers(0, 5))))
def test_no_two_elements_have_one_number(steps: list[tuple[str, int]]) -> None:
    numbers = Numbers()
    agreed: dict[Key, int] = {}
    now: dict[Key, int] = {}
    for what, which in steps:
        key = ("app", which)
        if what == "get":
            number = numbers[key]
            assert now.setdefault(key, number) == number
        elif what == "take" and key in now:
            assert numbers.take(key) == now.pop(key)
        elif what == "keep":
            numbers.keep()
            agreed = dict(now)
        elif what == "undo":
            numbers.undo()
            now = dict(agreed)
        assert len(set(now.values())) == len(now)
        assert numbers.elements() == {number: each for each, number in now.items()}
        # What the UPF still has is given to nobody else before it has agreed to the removal.
        for each, number in agreed.items():
            assert now.get(each) == number or number not in now.values()
    numbers.keep()
    assert all(1 <= number <= 20 for number in numbers.elements())
