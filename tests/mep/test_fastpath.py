"""The contract of the fast path: whatever is asked, by whomever, it says what the ordinary view says."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mep.mp1 import certificates, locality, services, throttle, tokens
from mep.mp1.fastpath import FastPath, Ready
from mep.mp1.models import App, Service
from tests.mep.conftest import Mp1
from tests.mep.whole import Whole, scope

SERVICES = "/mec_service_mgmt/v1/services"
NAMES, SCOPES = ("a", "b", "ü c", "none"), ("MEC_HOST", "MEC_SYSTEM", "ZONE", "MOON")


@pytest.fixture
def whole(transactional_db: None) -> Iterator[Whole]:
    throttle.apps.configure(0, 1)
    with Whole() as made:
        yield made


@pytest.fixture
def asked(settings: Any, app: Mp1, speak: Callable[..., Mp1]) -> dict[str, Any]:
    """Services of two apps, and tokens of every kind."""
    settings.MTLS = "optional"
    settings.LOCALITY = locality.place("ZONE=north")
    settings.ELSEWHERE = locality.regions("10.9.0.0/16 ZONE=north; 10.10.0.0/16 ZONE=south")
    neighbour = speak("app-2")
    for number, (name, area) in enumerate([(name, area) for name in NAMES[:3] for area in SCOPES[:3]]):
        reference = {"href": "x", "id": f"c{number % 2}", "name": "n", "version": "1"}
        (app if number % 2 else neighbour).register(
            serName=name, scopeOfLocality=area, consumedLocalOnly=number % 3 == 0, livenessInterval=number % 2 * 9 or None,
            **({"serCategory": reference} if number % 4 else {}),
        )  # fmt: skip
    held = speak("app-3")
    pinned = certificates.issue("app-3").thumbprint
    gone, ended = speak("app-4"), speak("app-5")
    services.discard("app-4")
    services.begin_termination("app-5", timeout=0)
    row = App.objects.get(pk="app-1")
    return {
        "ids": list(Service.objects.values_list("pk", flat=True)),
        "certificates": ["", pinned, "A" * 43],
        "tokens": {
            "good": app.token, "neighbour": neighbour.token, "unbound": held.token, "gone": gone.token,
            "ended": ended.token, "expired": tokens.issue(row, now=0), "early": tokens.issue(row, now=time.time() + 999),
            "bound": tokens.issue(row, certificate=pinned), "changed": app.token[:-8] + "AAAAAAAA", "nonsense": "x",
            "held": tokens.issue(App.objects.get(pk="app-3"), certificate=pinned),
        },
    }  # fmt: skip


def some(of: Any, most: int) -> Any:
    return st.lists(of, max_size=most)


values = {
    "ser_name": st.sampled_from(NAMES),
    "ser_instance_id": st.sampled_from(["{0}", "{1}", "{2}", "x"]),
    "ser_category_id": st.sampled_from(["c0", "c1", "x"]),
    "scope_of_locality": st.sampled_from(SCOPES),
    "consumed_local_only": st.sampled_from(["true", "false", "TRUE", "yes", ""]),
    "is_local": st.sampled_from(["true", "false", "False", "1"]),
    "color": st.just("red"),
}
pairs = st.sampled_from(sorted(values)).flatmap(lambda name: st.tuples(st.just(name), values[name]))
#: What a request line can carry; anything else the parser of the server refuses.
ascii_text = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=20)
queries = st.one_of(
    some(pairs, 3).map(lambda found: "&".join(f"{name}={quote(value, safe='{}')}" for name, value in found)), ascii_text
)
hosts = st.sampled_from(
    [
        "mep:8443",
        "MEP",
        "localhost:1",
        "127.0.0.1:8443",
        "[::1]:8443",
        "evil.example",
        "mep:x",
        "a b",
        "",
        "mep:8443:9",
        "é",
    ]
)
schemes = st.sampled_from(["Bearer {}", "bearer {}", "BEARER  {} ", "Bearer", "{}", "Basic {}", "", "Bearer {} {}"])
tags = st.sampled_from(["", "*", '"x"', 'W/"x"', "nonsense", "W/{tag}", "{tag}", '"x", {tag}', ","])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_answer_is_the_ordinary_views(whole: Whole, asked: dict[str, Any], data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from(["", "/mep", "/nope"]), "prefix")
    query = data.draw(queries, "query")
    for number, service_id in enumerate(asked["ids"][:3]):
        query = query.replace(f"{{{number}}}", service_id)
    path = f"{prefix}{SERVICES}" + (f"?{query}" if query else "")
    # Half of the askers may ask, or too few answers would differ from a refusal.
    token = asked["tokens"][data.draw(st.one_of(st.just("good"), st.sampled_from(sorted(asked["tokens"]))), "token")]
    certificate = data.draw(st.sampled_from(asked["certificates"]), "certificate")
    headers = []
    for host in data.draw(st.one_of(hosts.map(lambda host: [host]), some(hosts, 2)), "hosts"):
        headers.append((b"host", host.encode("latin-1")))
    for scheme in data.draw(st.one_of(st.just(["Bearer {}"]), some(schemes, 2)), "authorization"):
        headers.append((b"authorization", scheme.replace("{}", token).encode("latin-1")))
    known = whole.get(path, token).headers
    tag = dict(known).get("etag", '"none"')
    for text in data.draw(st.one_of(st.just([]), tags.map(lambda text: [text]), some(tags, 2)), "if-none-match"):
        headers.append((b"if-none-match", text.replace("{tag}", tag).encode("latin-1")))
    if data.draw(st.booleans(), "underscore"):
        headers.append((b"if_none_match", b"*"))
    method = data.draw(st.sampled_from(["GET", "GET", "GET", "HEAD"]), "method")
    client = data.draw(st.sampled_from(["127.0.0.1", "10.9.0.1", "10.10.0.1", "::1"]), "client")
    quick, view = whole.both(scope(path, headers, method, certificate, client))
    assert quick == view
    assert quick.status < 500


@pytest.mark.parametrize("name", [b"host", b"authorization", b"if-none-match"])
def test_a_header_that_comes_twice_is_left_to_the_view_even_when_the_first_is_empty(
    whole: Whole, asked: dict[str, Any], name: bytes
) -> None:
    good = [(b"host", b"mep"), (b"authorization", f"Bearer {asked['tokens']['good']}".encode())]
    twice = scope(
        SERVICES, [(name, b""), *(pair for pair in good if pair[0] != name), (name, dict(good).get(name, b"*"))]
    )
    assert whole._with.fast.answer(twice) is None
    quick, view = whole.both(twice)
    assert quick == view


def test_good_questions_take_the_fast_path(whole: Whole, asked: dict[str, Any]) -> None:
    """Or the contract above would hold for want of one."""
    bound = asked["tokens"]["held"]
    for token, certificate in ((asked["tokens"]["good"], ""), (bound, asked["certificates"][1])):
        for path in (SERVICES, f"/mep{SERVICES}?ser_name=a", f"{SERVICES}?is_local=true&scope_of_locality=ZONE"):
            wanted = scope(
                path, [(b"host", b"mep"), (b"authorization", f"Bearer {token}".encode())], "GET", certificate
            )
            assert whole._with.fast.answer(wanted) is not None
    assert not whole.quick(SERVICES, bound), "the connection showed nothing"


# --- memory ---------------------------------------------------------------------------------------------------------------


def test_answers_that_are_kept_have_a_bound_in_number_and_in_bytes(
    whole: Whole, app: Mp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mep.mp1 import fastpath

    monkeypatch.setattr(fastpath, "_LIMIT", 20)
    monkeypatch.setattr(fastpath, "_LIMIT_BYTES", 10_000)
    for number in range(10):
        app.register(serName=f"s{number}")
    fast = whole._with.fast
    for number in range(100):
        whole.get(f"{SERVICES}?ser_name=s{number % 10}", app.token, host=f"10.0.0.{number}")
        whole.get(SERVICES, app.token, host=f"10.0.0.{number}")
        assert len(fast._ready) <= 20
        assert fast._ready_bytes == sum(len(ready.body) for ready in fast._ready.values()) <= 10_000


def test_an_answer_that_is_larger_than_its_share_is_not_kept(app: Mp1, settings: Any) -> None:
    fast = FastPath(settings.DATABASES["default"]["NAME"])
    fast._keep((b"", "", b"1", frozenset()), Ready(b"x" * (20 << 20), None))
    assert not fast._ready
    fast._keep((b"", "", b"2", frozenset()), Ready(b"x" * (10 << 20), None))
    assert fast._ready_bytes == 10 << 20


# --- two processes ---------------------------------------------------------------------------------------------------------

WRITER = """
import sys, django
django.setup()
from django.conf import settings
from mep.mp1 import catalogue, services
from mep.mp1.models import Service
for line in sys.stdin:
    what, _, which = line.strip().partition(" ")
    if what == "state":
        catalogue.set_states(Service.objects.filter(name=which), "INACTIVE")
    elif what == "discard":
        services.discard(which)
    elif what == "end":
        services.begin_termination(which, timeout=0)
    print("done", flush=True)
"""


def test_what_another_process_commits_the_next_request_sees(
    whole: Whole, app: Mp1, neighbour: Mp1, repository: Path, settings: Any
) -> None:
    import os

    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "mep.settings",
        "MEP_DB": settings.DATABASES["default"]["NAME"],
    }
    environment["MEP_VAR"] = str(settings.VAR)
    app.register(serName="a")
    neighbour.register(serName="b")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER], cwd=repository, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip

    def elsewhere(command: str) -> None:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(command + "\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "done\n"

    try:
        assert b'"ACTIVE"' in whole.get(f"{SERVICES}?ser_name=a", app.token).body
        kept = whole._with.fast._ready
        whole.get(f"{SERVICES}?ser_name=b", app.token)
        (other,) = [ready for key, ready in kept.items() if key[2] == b"ser_name=b"]
        elsewhere("state a")
        assert b'"INACTIVE"' in whole.get(f"{SERVICES}?ser_name=a", app.token).body
        whole.get(f"{SERVICES}?ser_name=b", app.token)
        assert other in kept.values(), "only the changed name was built anew"
        elsewhere("discard app-2")
        assert whole.get(f"{SERVICES}?ser_name=b", app.token).body == b"[]"
        assert whole.get(SERVICES, neighbour.token).status == 401
        elsewhere("end app-1")
        assert whole.get(SERVICES, app.token).status == 401
    finally:
        writer.kill()
        writer.wait()


def test_the_catalogue_is_read_before_the_first_request(whole: Whole, app: Mp1) -> None:
    app.register(serName="a")
    whole._with.fast.warm()
    assert [offer.name for offer in whole._with.fast._offers.values()] == ["a"]
