"""Where an application fits: a release is never placed over a node's capacity, and every refusal has its reasons."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.contract import Compute
from mecm.deployments.placement import Allocation, NodeFacts, Requirement, as_document, free, place, total

GIB = 1 << 30
figures = st.integers(min_value=0, max_value=1 << 45)
computes = st.builds(Compute, figures, figures, figures)
allocations = st.lists(
    st.builds(Allocation, st.sampled_from("abcd"), st.sampled_from(["t-acme", "t-other"]), computes), max_size=6
)
nodes = st.builds(
    NodeFacts,
    name=st.just("berth"),
    engine=st.just("memory"),
    capacity=computes,
    state=st.sampled_from(["new", "enrolled", "online", "offline"]),
    architecture=st.sampled_from(["", "amd64", "arm64"]),
    reachable=st.booleans(),
    services=st.none() | st.frozensets(st.sampled_from(["rnis", "location"])),
    has_mep=st.booleans(),
)
requirements = st.builds(
    Requirement,
    name=st.sampled_from("abcde"),
    namespace=st.sampled_from(["t-acme", "t-other"]),
    compute=computes,
    architectures=st.frozensets(st.sampled_from(["x86_64", "arm64", "aarch64", ""])),
    app_class=st.sampled_from(["container", "vm", "", "Container"]),
    services=st.frozensets(st.sampled_from(["rnis", "location"])),
    refused=st.lists(st.just("Ingress/x: cannot run"), max_size=1).map(tuple),
    uses_mep=st.booleans(),
)


def node(**facts: object) -> NodeFacts:
    capacity = Compute(4000, 8 * GIB, 100 * GIB)
    return NodeFacts(**{"name": "berth-7", "engine": "docker", "capacity": capacity, **facts})  # type: ignore[arg-type]


def wanted(**needs: object) -> Requirement:
    return Requirement(**{"name": "hello", "namespace": "t-acme", **needs})  # type: ignore[arg-type]


def codes(requirement: Requirement, facts: NodeFacts, present: list[Allocation] | None = None) -> list[str]:
    return [reason.code for reason in place(requirement, facts, present or []).reasons]


@settings(deadline=None)
@given(requirements, nodes, allocations)
def test_what_fits_never_exceeds_the_capacity(needed: Requirement, facts: NodeFacts, present: list[Allocation]) -> None:
    if not place(needed, facts, present).fits:
        return
    after = total([needed.compute, *(each.compute for each in present)])
    before = total(each.compute for each in present)
    for figure in ("cpu_millis", "memory_bytes", "storage_bytes"):
        has = getattr(facts.capacity, figure)
        # A capacity of 0 is unknown; a node that is over-full already takes what asks for nothing.
        asks = getattr(needed.compute, figure)
        assert not has or not asks or getattr(after, figure) <= has, (figure, before)


@settings(deadline=None)
@given(requirements, nodes, allocations)
def test_there_are_reasons_exactly_when_it_does_not_fit(
    needed: Requirement, facts: NodeFacts, present: list[Allocation]
) -> None:
    verdict = place(needed, facts, present)
    assert verdict.fits == (not verdict.reasons)
    assert all(reason.code and reason.message for reason in (*verdict.reasons, *verdict.remarks))
    assert as_document(verdict)["fits"] is verdict.fits


@settings(deadline=None)
@given(requirements, nodes, allocations)
def test_a_release_that_asks_for_less_fits_wherever_one_that_asks_for_more_does(
    needed: Requirement, facts: NodeFacts, present: list[Allocation]
) -> None:
    modest = Requirement(needed.name, needed.namespace, Compute())
    if place(needed, facts, present).fits:
        assert place(modest, facts, present).fits


@settings(deadline=None)
@given(computes, allocations)
def test_what_is_free_is_never_negative(capacity: Compute, present: list[Allocation]) -> None:
    left = free(capacity, present)
    assert min(left.cpu_millis, left.memory_bytes, left.storage_bytes) >= 0


def test_the_reason_says_what_is_needed_and_what_is_free() -> None:
    taken = [Allocation("other", "t-acme", Compute(2000, 7 * GIB, 0))]
    verdict = place(wanted(compute=Compute(4000, 2 * GIB, GIB)), node(), taken)
    assert [reason.message for reason in verdict.reasons] == [
        "does not fit: needs 4 CPU, 2 free",
        "does not fit: needs 2 GiB memory, 1 GiB free",
    ]


def test_all_reasons_are_told_at_once() -> None:
    present = [Allocation("hello", "t-acme")]
    needed = wanted(compute=Compute(5000), app_class="vm", architectures=frozenset(["arm64"]), refused=("x: y",))
    found = codes(needed, node(architecture="x86_64", reachable=False), present)
    assert found == ["name-taken", "app-class", "architecture", "unreachable", "cannot-run", "cpu"]


def test_exactly_what_is_left_fits() -> None:
    assert codes(wanted(compute=Compute(2000)), node(), [Allocation("a", "t-acme", Compute(2000))]) == []
    assert codes(wanted(compute=Compute(2001)), node(), [Allocation("a", "t-acme", Compute(2000))]) == ["cpu"]


def test_two_tenants_may_use_the_same_name() -> None:
    assert codes(wanted(), node(), [Allocation("hello", "t-other")]) == []


@pytest.mark.parametrize(("package", "runtime"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("AMD64", "x86_64")])
def test_architectures_have_several_names(package: str, runtime: str) -> None:
    assert codes(wanted(architectures=frozenset([package])), node(architecture=runtime)) == []


def test_an_offline_node_is_a_remark_and_no_refusal() -> None:
    verdict = place(wanted(), node(state="offline"), [])
    assert verdict.fits
    assert [remark.code for remark in verdict.remarks] == ["not-online"]


def test_an_absent_service_is_a_remark_and_no_refusal() -> None:
    verdict = place(wanted(services=frozenset(["rnis", "location"])), node(services=frozenset(["location"])), [])
    assert verdict.fits
    assert [remark.message for remark in verdict.remarks] == [
        "needs the service rnis, which no application on berth-7 offers now"
    ]


def test_an_application_with_rules_needs_a_mep() -> None:
    assert codes(wanted(uses_mep=True), node(has_mep=False)) == ["no-mep"]
    assert codes(wanted(), node(has_mep=False)) == []


def test_an_unknown_capacity_is_told() -> None:
    verdict = place(wanted(compute=Compute(1, 1, 1)), node(capacity=Compute(1000, 0, 0)), [])
    assert verdict.fits
    assert [remark.message for remark in verdict.remarks] == ["berth-7 has not said how much memory and storage it has"]
