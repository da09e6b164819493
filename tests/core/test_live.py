"""Live streams: one look for all who listen, and an end for those who may not listen any more."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.accounts.access import Actor
from core.accounts.models import ApiToken, Membership, User
from core.live import hub as hubs
from core.live.guard import Pass, void
from core.live.hub import Hub, Topic
from core.sign_in.models import Session

# Looks are made in a thread of their own, which sees only what is committed.
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that need no database: as if somebody wrote all the time."""
    monkeypatch.setattr(Hub, "_version", lambda self: None)


def quick(kind: str, look: Callable[[], dict[str, Any] | None] | None) -> Topic:
    return Topic(kind, 1, look, every=0.0)


async def message(stream: AsyncGenerator[bytes, None]) -> Any:
    """Return the data of the next message."""
    while True:
        part = await asyncio.wait_for(anext(stream), 60)
        if part.startswith(b"data: "):
            return json.loads(part[6:])


@committed
def test_pages_share_one_look_and_one_thread() -> None:
    seen, threads = [0], set()

    def look() -> dict[str, Any]:
        seen[0] += 1
        threads.add(threading.current_thread().name)
        return {"state": "b" if User.objects.filter(username="anybody").exists() else "a"}

    async def listen() -> None:
        hub, before = Hub(pace=0.02), threading.active_count()
        streams = [hub.follow(quick("thing", look), None) for _ in range(100)]
        assert [await message(each) for each in streams] == [{"state": "a"}] * 100
        await asyncio.to_thread(User.objects.create_user, username="anybody")
        assert [await message(each) for each in streams] == [{"state": "b"}] * 100
        assert threading.active_count() <= before + 2
        for each in streams:
            await each.aclose()

    asyncio.run(listen())
    assert seen[0] < 20
    assert len(threads) == 1


@committed
def test_what_was_not_due_when_somebody_wrote_is_looked_at_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "AT_LEAST_EVERY", 1e9)

    def look() -> dict[str, Any]:
        return {"state": "b" if User.objects.filter(username="anybody").exists() else "a"}

    async def listen() -> None:
        hub = Hub(pace=0.02)
        eager = hub.follow(Topic("thing", 1, look, every=0.0), None)
        calm = hub.follow(Topic("thing", 2, look, every=0.5), None)
        assert [await message(eager), await message(calm)] == [{"state": "a"}] * 2
        await asyncio.to_thread(User.objects.create_user, username="anybody")
        assert [await message(eager), await message(calm)] == [{"state": "b"}] * 2
        await eager.aclose()
        await calm.aclose()

    asyncio.run(listen())


@pytest.mark.usefixtures("no_database")
def test_only_what_has_another_mark_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    marks, looks = {1: "old"}, [0]
    monkeypatch.setitem(hubs._watches, "marked", lambda keys: {key: marks[key] for key in keys})

    def look() -> dict[str, Any]:
        looks[0] += 1
        return {"looks": looks[0]}

    async def listen() -> None:
        hub = Hub(pace=0.01)
        stream = hub.follow(quick("marked", look), None)
        assert await message(stream) == {"looks": 1}
        while hub.counts["marks"] <= 3:
            await asyncio.sleep(0.01)
        marks[1] = "new"
        assert await message(stream) == {"looks": 2}
        bare = hub.follow(quick("marked", None), None)
        first = await message(bare)
        marks[1] = "newer"
        assert await message(bare) != first
        await stream.aclose()
        await bare.aclose()

    asyncio.run(listen())


@pytest.mark.usefixtures("no_database")
def test_a_thing_that_cannot_be_shown_silences_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("no")

    async def listen() -> None:
        hub = Hub(pace=0.01)
        bad = asyncio.create_task(message(hub.follow(quick("bad", broken), None)))
        good = hub.follow(quick("good", lambda: {"state": "well"}), None)
        assert await message(good) == {"state": "well"}
        bad.cancel()
        await good.aclose()

    asyncio.run(listen())
    assert "cannot look at bad" in caplog.text


@pytest.mark.usefixtures("no_database")
def test_a_stream_ends_with_what_it_is_about() -> None:
    async def listen(look: Callable[[], dict[str, Any] | None]) -> bytes:
        return b"".join([part async for part in Hub(pace=0.01).follow(quick("thing", look), None)])

    assert b"data: " not in asyncio.run(listen(lambda: None))
    assert asyncio.run(listen(lambda: {"finished": True})).endswith(b"event: done\ndata: {}\n\n")


def signed_in(user: User) -> Pass:
    """Return the pass of a session of theirs."""
    client = Client()
    client.force_login(user)
    made = Pass.of(SimpleNamespace(session=client.session), Actor(user))
    assert made is not None
    return made


def end_session(user: User) -> None:
    Session.objects.filter(user=user).delete()


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def lose_the_organisation(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def gain_a_role(user: User) -> None:
    Membership.objects.create(user=user, organisation=user.memberships.get().organisation, role="developer")


def let_it_expire(user: User) -> None:
    Session.objects.filter(user=user).update(expire_date=timezone.now())


WAYS = (end_session, deactivate, lose_the_organisation, gain_a_role, let_it_expire)


@committed
def test_a_stream_ends_soon_after_who_opened_it_may_not_listen(make_user: Any, organisation: Any) -> None:
    people = {each: make_user(each.__name__, organisation, "viewer") for each in WAYS}
    passes = {each: signed_in(user) for each, user in people.items()}
    stays = signed_in(make_user("other", organisation, "viewer"))
    topic = quick("thing", lambda: {"state": "same"})

    async def listen() -> None:
        hub = Hub(pace=0.01, guard_every=0.05)
        theirs = hub.follow(topic, stays)
        await message(theirs)
        for way, user in people.items():
            mine = hub.follow(topic, passes[way])
            await message(mine)
            await asyncio.to_thread(way, user)
            with pytest.raises(StopAsyncIteration):
                await message(mine)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(theirs), 0.2)

    asyncio.run(listen())


@pytest.mark.django_db
def test_a_stream_of_a_token_ends_when_it_is_revoked(admin: User, organisation: Any) -> None:
    token = ApiToken.objects.create(user=admin, name="t", hint="bwk_", sha256="1" * 64, organisation=organisation)
    made = Pass.of(SimpleNamespace(), Actor(admin, token))
    assert made is not None
    assert void([made]) == set()
    ApiToken.objects.update(revoked_at=timezone.now())
    assert void([made]) == {made}


@pytest.mark.django_db
def test_all_who_listen_are_judged_in_four_queries(
    make_user: Any, organisation: Any, django_assert_num_queries: Any
) -> None:
    passes = [signed_in(make_user(f"person-{number}", organisation, "viewer")) for number in range(5)]
    token = ApiToken.objects.create(user_id=passes[0].user, name="t", hint="bwk_", sha256="1" * 64)
    by_token = Pass.of(SimpleNamespace(), Actor(token.user, token))
    assert by_token is not None
    with django_assert_num_queries(4):
        assert void([*passes, by_token]) == set()


@committed
def test_a_stream_keeps_no_thread_of_the_web_process(admin: User, organisation: Any) -> None:
    from mecm.asgi import streams
    from mecm.nodes.models import Node

    node = Node.objects.create(organisation=organisation, name="berth-1", engine="memory")
    client = Client()
    client.force_login(admin)
    cookie = f"breakwater_session={client.cookies['breakwater_session'].value}".encode()
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": f"/api/v1/nodes/{node.pk}/stream",
        "raw_path": b"", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"cookie", cookie), (b"host", b"127.0.0.1"), (b"accept", b"text/event-stream")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def open_many() -> int:
        told, leave = asyncio.Semaphore(0), asyncio.Event()

        async def one() -> None:
            asked = [False]

            async def receive() -> dict[str, Any]:
                if not asked[0]:
                    asked[0] = True
                    return {"type": "http.request", "body": b"", "more_body": False}
                await leave.wait()
                return {"type": "http.disconnect"}

            async def send(part: dict[str, Any]) -> None:
                if part.get("status", 200) != 200:
                    raise AssertionError(part)
                if b"data: " in part.get("body", b""):
                    told.release()

            await streams(dict(scope), receive, send)

        tasks = [asyncio.create_task(one()) for _ in range(12)]
        for _ in tasks:
            await asyncio.wait_for(told.acquire(), 60)
        count = threading.active_count()
        leave.set()
        await asyncio.gather(*tasks)
        return count

    before = threading.active_count()
    assert asyncio.run(open_many()) <= before + 4
