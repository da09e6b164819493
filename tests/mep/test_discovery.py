"""Discovery: the filters mean what the standard says, and the fast path gives the ordinary view's answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from mep.asgi import Mep
from mep.mp1 import services, tokens
from mep.mp1.discovery import Offer, Query
from mep.mp1.fastpath import FastPath
from mep.mp1.models import App
from tests.mep.conftest import Mp1, service
from tests.mep.test_service_mgmt import problem

API = "/mec_service_mgmt/v1"
NAMES, CATEGORIES, SCOPES = ("a", "b", "ü c"), (None, "rni", "loc"), ("MEC_HOST", "MEC_SYSTEM", "ZONE")


def offer(number: int, name: str, category: str | None, scope: str, local_only: bool) -> Offer:
    return Offer(
        id=f"id{number}", app="app-1", name=name, category=category, scope=scope, consumed_local_only=local_only,
        order=(0.0, f"id{number}"), info=b"{}",
    )  # fmt: skip


OFFERS = [offer(at, *each) for at, each in enumerate(itertools.product(NAMES, CATEGORIES, SCOPES, (True, False)))]
queries = st.fixed_dictionaries(
    {},
    optional={
        "naming": st.one_of(
            st.tuples(st.just("ser_name"), st.lists(st.sampled_from([*NAMES, "none"]), min_size=1, max_size=3)),
            st.tuples(
                st.just("ser_instance_id"), st.lists(st.sampled_from(["id0", "id7", "x"]), min_size=1, max_size=3)
            ),
            st.tuples(st.just("ser_category_id"), st.lists(st.sampled_from(["rni", "x"]), min_size=1, max_size=1)),
        ),
        "scope_of_locality": st.sampled_from(SCOPES),
        "consumed_local_only": st.sampled_from(["true", "false"]),
        "is_local": st.sampled_from(["true", "false"]),
    },
)


def as_text(wanted: dict[str, Any]) -> str:
    wanted = dict(wanted)
    naming, values = wanted.pop("naming", ("", []))
    return urlencode([(naming, value) for value in values] + list(wanted.items()))


@given(queries)
def test_all_filters_of_a_query_must_agree(wanted: dict[str, Any]) -> None:
    query = Query.read(as_text(wanted))
    found = {each.id for each in OFFERS if query.wants(each)}
    expected = {each.id for each in OFFERS}
    naming, values = wanted.get("naming", ("", []))
    attribute = {"ser_name": "name", "ser_instance_id": "id", "ser_category_id": "category"}.get(naming)
    if attribute:
        expected &= {each.id for each in OFFERS if getattr(each, attribute) in values}
    if "scope_of_locality" in wanted:
        expected &= {each.id for each in OFFERS if each.scope == wanted["scope_of_locality"]}
    if "consumed_local_only" in wanted:
        expected &= {
            each.id for each in OFFERS if each.consumed_local_only == (wanted["consumed_local_only"] == "true")
        }
    if wanted.get("is_local") == "false":
        expected = set()
    assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "ser_name=a&ser_instance_id=b", "ser_name=a&ser_category_id=b", "ser_instance_id=a&ser_category_id=b",
        "ser_category_id=a&ser_category_id=b", "is_local=true&is_local=true", "is_local=yes", "consumed_local_only=",
        "scope_of_locality=MOON", "color=red", "ser_name", "&", "=", "ser_name=%ff", "ser_name=a&x",
    ],
)  # fmt: skip
def test_what_the_table_does_not_know_or_forbids_is_400(app: Mp1, text: str) -> None:
    problem(app.get(f"{API}/services?{text}"), 400)
    problem(app.get(f"{API}/applications/{{app}}/services?{text}"), 400)


@given(st.text(max_size=60))
def test_no_query_string_breaks_the_reader(text: str) -> None:
    with suppress(Invalid):
        Query.read(text)


# --- the fast path -------------------------------------------------------------------------------------------------------


class Server:
    """The whole ASGI application in this process, asked over ASGI."""

    def __init__(self) -> None:
        self.mep = Mep(FastPath(django_settings.DATABASES["default"]["NAME"]))

    def ask(self, path: str, token: str, method: str = "GET", content: Any = None, **headers: str) -> httpx.Response:
        async def talk() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.mep)
            async with httpx.AsyncClient(transport=transport, base_url="https://mep:8443") as client:
                named = {
                    "Authorization": f"Bearer {token}",
                    **{key.replace("_", "-"): value for key, value in headers.items()},
                }
                return await client.request(method, path, headers=named, content=content)

        return asyncio.run(talk())

    def quick(self, path: str, token: str) -> bool:
        """Return whether the fast path answers this itself."""
        scope = {
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "headers": [(b"host", b"mep:8443"), (b"authorization", f"Bearer {token}".encode())],
        }
        return self.mep.fast.answer(scope) is not None


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    made = Server()
    yield made
    made.mep.fast.close()
    made.mep.ordinary.executor.shutdown()


def same(server: Server, app: Mp1, path: str) -> None:
    quick, ordinary = server.ask(path, app.token), app.get(path)
    assert quick.status_code == ordinary.status_code, path
    assert quick.content == ordinary.content, path
    told = {key: value for key, value in quick.headers.items() if key != "date"}
    assert told == {key.lower(): value for key, value in ordinary.headers.items()}, path


def test_fast_path_and_view_give_identical_answers_for_every_filter(server: Server, app: Mp1, neighbour: Mp1) -> None:
    for name, category, scope, local_only in itertools.product(NAMES, CATEGORIES, SCOPES, (True, False)):
        ref = {"serCategory": {"href": "x", "id": category, "name": "n", "version": "1"}} if category else {}
        app.register(serName=name, scopeOfLocality=scope, consumedLocalOnly=local_only, livenessInterval=9, **ref)
    some = neighbour.register()["serInstanceId"]
    naming = ["", *(urlencode({"ser_name": name}) for name in NAMES), "ser_name=a&ser_name=hello", "ser_category_id=rni",
              f"ser_instance_id={some}", "ser_instance_id=none"]  # fmt: skip
    others = ["", "scope_of_locality=ZONE", "consumed_local_only=false", "is_local=true", "is_local=false",
              "consumed_local_only=TRUE&scope_of_locality=MEC_HOST"]  # fmt: skip
    for first, second in itertools.product(naming, others):
        text = "&".join(filter(None, (first, second)))
        for path in (f"{API}/services", f"/mep{API}/services"):
            full = f"{path}?{text}" if text else path
            assert server.quick(full, app.token)
            same(server, app, full)


@pytest.mark.parametrize(
    "path",
    [f"{API}/services?x=1", f"{API}/services?ser_name=a&ser_category_id=b", f"{API}/services?ser_name={'x' * 9000}"],
)
def test_refusals_are_identical_too(server: Server, app: Mp1, path: str) -> None:
    assert not server.quick(path, app.token)
    same(server, app, path)
    stranger = Mp1("app-1", "nonsense")
    same(server, stranger, f"{API}/services")


def test_a_known_version_is_304(server: Server, app: Mp1) -> None:
    app.register()
    first = server.ask(f"{API}/services", app.token)
    again = server.ask(f"{API}/services", app.token, If_None_Match=f'W/"x", {first.headers["etag"]}')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    app.register(serName="new")
    assert server.ask(f"{API}/services", app.token, If_None_Match=first.headers["etag"]).status_code == 200


def test_every_change_is_seen_by_the_next_read(server: Server, app: Mp1, neighbour: Mp1) -> None:
    def seen(query: str = "") -> list[tuple[str, str]]:
        path = f"{API}/services{query}"
        assert server.quick(path, app.token)
        same(server, app, path)
        return [(each["serName"], each["version"]) for each in server.ask(path, app.token).json()]

    assert seen() == []
    made = app.register(serName="a")
    assert seen() == seen("?ser_name=a") == [("a", "1.0")]
    other = neighbour.register(serName="b")
    assert seen() == [("a", "1.0"), ("b", "1.0")]
    path = f"{API}/applications/{{app}}/services/{made['serInstanceId']}"
    app.put(path, service(serName="a", version="2"))
    assert seen("?ser_name=a") == [("a", "2")]
    app.put(path, service(serName="c", version="3"))
    assert seen("?ser_name=a") == []
    assert seen("?ser_name=c") == [("c", "3")]
    neighbour.delete(f"{API}/applications/{{app}}/services/{other['serInstanceId']}")
    assert seen("?ser_name=b") == []
    assert seen() == [("c", "3")]


def test_a_change_of_one_name_leaves_the_answers_about_others_alone(server: Server, app: Mp1) -> None:
    app.register(serName="a")
    app.register(serName="b")
    for name in ("a", "b"):
        server.ask(f"{API}/services?ser_name={name}", app.token)
    app.register(serName="a")
    server.ask(f"{API}/services?ser_name=a", app.token)
    assert {key[2] for key in server.mep.fast._ready} == {b"ser_name=a", b"ser_name=b"}


def test_revocation_reaches_the_fast_path_with_the_next_request(server: Server, app: Mp1) -> None:
    assert server.quick(f"{API}/services", app.token)
    services.begin_termination("app-1", timeout=0)
    assert not server.quick(f"{API}/services", app.token)
    assert server.ask(f"{API}/services", app.token).status_code == 401
    services.discard("app-1")
    assert server.ask(f"{API}/services", app.token).status_code == 401


def test_an_expired_token_is_refused_on_the_fast_path_as_well(server: Server, app: Mp1) -> None:
    old = tokens.issue(App.objects.get(), now=0)
    assert not server.quick(f"{API}/services", old)
    assert server.quick(f"{API}/services", app.token)
    server.mep.fast._holders[f"Bearer {app.token}".encode()].expires = 1.0
    assert server.quick(f"{API}/services", app.token), "verified anew"


# --- the dispatcher ------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_413_before_it_is_read(server: Server, app: Mp1, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 1000
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        for _ in range(1000):
            taken += 100
            yield b"x" * 100

    answer = server.ask(f"{API}/applications/app-1/services", app.token, "POST", endless())
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert taken <= 1300


def test_a_chunked_body_is_read_whole(server: Server, app: Mp1) -> None:
    import json

    async def chunks() -> Any:
        text = json.dumps(service()).encode()
        for at in range(0, len(text), 50):
            yield text[at : at + 50]

    assert server.ask(f"{API}/applications/app-1/services", app.token, "POST", chunks()).status_code == 201


def test_every_method_and_path_reaches_django(server: Server, app: Mp1, speak: Callable[..., Mp1]) -> None:
    assert server.ask(f"{API}/nothing", app.token).status_code == 404
    assert server.ask(f"{API}/services", app.token, "DELETE").status_code == 405
    head = server.ask(f"{API}/services", app.token, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
