"""Talking to a MEP's management API: every trouble becomes an error that says whether waiting helps."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from core.errors import BreakwaterError, Invalid, Missing, Rejected, TimedOut, Unavailable
from engines.applier import AppSpec, Blob
from mecm.deployments.mm5 import Mm5

TOKEN = "t0ken-of-the-mep"
APP = AppSpec(
    app_instance_id="11111111-2222-3333-4444-555555555555",
    name="hello",
    namespace="t-acme",
    chart=Blob("0" * 64, 1),
    app_name="hello",
    app_provider="Acme",
    services_produced=({"serName": "greeting"},),
    dns_rules=({"dnsRuleId": "d1"},),
)
ANSWER = {
    "clientId": "acme.hello.1", "clientSecret": "s", "url": "https://mep:8443", "tokenUrl": "https://mep:8443/mep/token",
    "caCert": "PEM",
}  # fmt: skip


def client(answer: Callable[[httpx.Request], httpx.Response]) -> Mm5:
    return Mm5("https://127.0.0.1:8443", TOKEN, name="the MEP of berth-7", transport=httpx.MockTransport(answer))


def answering(status: int, content: bytes = b"{}") -> Mm5:
    return client(lambda request: httpx.Response(status, content=content))


def test_an_app_gets_its_identity_and_its_rules_are_told() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    access = client(answer).provision(APP)
    assert (access.client_id, access.client_secret, access.ca_cert) == ("acme.hello.1", "s", "PEM")
    (request,) = seen
    assert (request.method, request.url.path) == ("PUT", f"/mm5/v1/app_instances/{APP.app_instance_id}")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    body = json.loads(request.content)
    assert body["appName"] == "hello"
    assert body["appServiceProduced"] == [{"serName": "greeting"}]
    assert body["appDNSRule"] == [{"dnsRuleId": "d1"}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Rejected), (403, Rejected), (400, Invalid), (404, Missing), (409, Rejected), (302, Rejected), (504, TimedOut),
     (429, Unavailable), (500, Unavailable), (503, Unavailable)],
)  # fmt: skip
def test_a_refusal_says_whether_waiting_helps(status: int, kind: type[BreakwaterError]) -> None:
    with pytest.raises(kind) as refused:
        answering(status, json.dumps({"detail": "because"}).encode()).provision(APP)
    assert refused.value.retryable == (kind in (TimedOut, Unavailable))
    assert TOKEN not in str(refused.value.problem())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"not json", b'{"clientId": 7}', b"{}", b"\xff\xfe", b"[" * 100_000, b'{"clientId": ""}']
)
def test_nonsense_is_the_meps_fault(content: bytes) -> None:
    with pytest.raises(Rejected):
        answering(200, content).provision(APP)


def test_a_flood_is_cut_off() -> None:
    with pytest.raises(Rejected, match="more than"):
        answering(200, b'"' + b"x" * (9 << 20) + b'"').state()


@pytest.mark.parametrize(
    ("problem", "kind"),
    [(httpx.ConnectError("refused"), Unavailable), (httpx.ReadTimeout("late"), TimedOut),
     (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), Rejected), (httpx.RemoteProtocolError("?"), Unavailable)],
)  # fmt: skip
def test_trouble_on_the_way_is_translated(problem: Exception, kind: type[BreakwaterError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise problem

    with pytest.raises(kind):
        client(answer).state()


def test_what_is_gone_already_is_fine() -> None:
    mep = answering(404)
    mep.terminate("x", 5)
    mep.discard("x")
    assert mep.terminated("x")


@pytest.mark.parametrize(
    ("told", "over"), [({"terminationOver": True}, True), ({"terminationOver": False}, False), ({}, False)]
)
def test_the_end_is_over_when_the_mep_says_so(told: dict[str, bool], over: bool) -> None:
    assert answering(200, json.dumps(told).encode()).terminated("x") is over


def test_a_strange_id_stays_in_its_place() -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(204)

    client(answer).discard("../../state?x=1")
    strange = b"/mm5/v1/app_instances/..%2F..%2Fstate%3Fx%3D1"
    # Its rules are another thing, and go, too.
    assert seen == [strange, strange + b"/rules"]


def test_an_authority_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid):
        Mm5("https://127.0.0.1:8443", TOKEN, ca="-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----")
