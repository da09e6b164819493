"""The state file: everything is in it, nothing is lost on the way, and what is wrong with one is told at once."""

from __future__ import annotations

import copy
import json
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from mep.asgi import Mep
from mep.dns.models import DnsScope
from mep.mp1 import keys, models, services, tokens
from mep.mp1.models import App, Counter, Notice, Service, SigningKey, Subscription, TrafficRule
from mep.state import file, moves, sections
from mep.state.file import State
from tests.mep.conftest import TRAFFIC_RULE, Mp1, service
from tests.mep.filled import empty

API = "/mec_service_mgmt/v1"
PASSPHRASE = "a long enough passphrase"


@contextmanager
def undone() -> Iterator[None]:
    """Let nothing that happens inside have happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# --- there and back ------------------------------------------------------------------------------------------------------


def test_an_empty_mep_becomes_the_same_mep(full: Mp1) -> None:
    before = moves.collect(with_secrets=True)
    assert all(before.sections.values()), "something of everything"
    read = file.decode(file.encode(before, PASSPHRASE), PASSPHRASE)
    empty()
    moves.bring(read, replace=True)
    assert moves.collect(with_secrets=True) == before
    tokens.verifier.forget()
    assert full.get(f"{API}/services").status_code == 200, "the token of before is still good"
    assert services.provision("app-1", app_name="app-1").client_secret == (before.secrets or {})["mp1.apps:app-1"]


TIMES = st.floats(0, 4e9, allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
IDS = st.text("abcXYZ019._-", min_size=1, max_size=32).filter(lambda text: text.strip("."))
FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def states_of_a_mep(draw: Any) -> dict[str, Any]:
    """Return sections as an export would have them."""
    sections: dict[str, Any] = {
        name: []
        for name in (
            "mp1.apps",
            "mp1.services",
            "mp1.subscriptions",
            "mp1.notices",
            "mp1.traffic_rules",
            "mp1.dns_rules",
            "mp1.alarms",
            "mp1.signing_keys",
        )
    }
    apps = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    for app in apps:
        ending = draw(st.booleans())
        sections["mp1.apps"].append(
            {
                "id": app,
                "name": draw(TEXT) or "x",
                "provider": draw(TEXT),
                "appDId": "",
                "softVersion": "1",
                "dVersion": "",
                "namespace": "",
                "declared": {"required": [draw(FREE)]},
                "registration": None,
                "clientId": f"client.{app}",
                "state": "TERMINATING"
                if ending
                else draw(st.sampled_from(["PROVISIONED", "READY", "STOPPED", "TERMINATED"])),
                "action": "STOPPING" if ending else None,
                "deadline": draw(TIMES) if ending else None,
                "provisionedAt": draw(TIMES),
                "readyAt": draw(st.none() | TIMES),
                "certificate": "",
            }
        )
    sections["dns.scopes"] = [{"name": "zone-1", "kind": "zone", "networks": ["10.0.0.0/8"]}]
    owners = st.sampled_from(apps)
    transport = service()["transportInfo"]
    for key in draw(st.lists(IDS, max_size=5, unique=True)):
        sections["mp1.services"].append(
            {
                "id": key,
                "app": draw(owners),
                "name": draw(TEXT) or "x",
                "version": "1",
                "state": draw(st.sampled_from(["ACTIVE", "SUSPENDED"])),
                "category": None,
                "transport": {**transport, "implSpecificInfo": draw(st.dictionaries(TEXT, TEXT, max_size=2))},
                "serializer": "JSON",
                "scope": "MEC_HOST",
                "consumedLocalOnly": draw(st.booleans()),
                "interval": draw(st.none() | st.integers(1, 3600)),
                "beatAt": draw(st.none() | TIMES),
                "revision": draw(st.integers(1, 99)),
                "createdAt": draw(TIMES),
            }
        )
    subscriptions = draw(st.lists(IDS, max_size=4, unique=True))
    for key in subscriptions:
        socket = draw(st.booleans())
        sections["mp1.subscriptions"].append(
            {
                "id": key,
                "app": draw(owners),
                "kind": "SerAvailabilityNotificationSubscription",
                "callback": "" if socket else "http://10.0.0.1/x",
                "websocket": socket,
                "criteria": draw(
                    st.sampled_from([{}, {"serNames": ["a", "b"]}, {"states": ["ACTIVE"], "isLocal": True}])
                ),
                "root": "https://mep:8443/mep",
                "createdAt": draw(TIMES),
                "failures": draw(st.integers(0, 9)),
                "delivered": 3,
                "dropped": 0,
                "lastError": draw(TEXT),
            }
        )
    if subscriptions:
        for key in draw(st.lists(IDS, max_size=5, unique=True)):
            sections["mp1.notices"].append(
                {
                    "id": key,
                    "subscription": draw(st.sampled_from(subscriptions)),
                    "body": {"x": draw(FREE)},
                    "createdAt": draw(TIMES),
                }
            )
    for app, key in draw(st.lists(st.tuples(owners, IDS), max_size=4, unique=True)):
        common = {
            "app": app,
            "id": key,
            "state": draw(st.sampled_from(["ACTIVE", "INACTIVE"])),
            "chosen": draw(st.booleans()),
            "origin": draw(st.sampled_from(["descriptor", "operator"])),
            "revision": draw(st.integers(1, 99)),
        }
        rule = {name: value for name, value in TRAFFIC_RULE.items() if name != "trafficRuleId"}
        sections["mp1.traffic_rules"].append({**common, "rule": {**rule, "priority": draw(st.integers(0, 255))}})
        sections["mp1.dns_rules"].append(
            {
                **common,
                "domainName": "a.example",
                "ipAddressType": "IP_V6",
                "ipAddress": "2001:db8::1",
                "ttl": draw(st.none() | st.integers(0, 9)),
                "scope": draw(st.sampled_from(["", "zone-1"])),
            }
        )
    for subject in draw(st.lists(IDS, max_size=3, unique=True)):
        sections["mp1.alarms"].append(
            {
                "kind": "k",
                "subject": subject,
                "severity": "minor",
                "text": draw(TEXT),
                "count": 1,
                "raisedAt": draw(TIMES),
                "updatedAt": draw(TIMES),
                "clearedAt": draw(st.none() | TIMES),
            }
        )
    return sections


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(states_of_a_mep())
def test_whatever_is_brought_is_there_and_comes_out_the_same(db: None, given_sections: dict[str, Any]) -> None:
    revisions = {"services": 120, "traffic": 121, "dns": 122}
    with undone():
        moves.bring(State(copy.deepcopy(given_sections), revisions, None), replace=True)
        first = moves.collect(with_secrets=False)
    for name, rows in given_sections.items():
        if name == "mp1.notices":  # their order is that of delivery
            assert first.sections[name] == rows
        else:
            assert sorted(first.sections[name], key=json.dumps) == sorted(rows, key=json.dumps)
    with undone():
        moves.bring(file.decode(file.encode(first)), replace=True)
        assert moves.collect(with_secrets=False) == first


#: Columns that have another name in the file, and those that each node finds out or makes itself.
RENAMED = {"tag": "id", "rule_id": "id", "body": "rule", "family": "ip_address_type", "address": "ip_address"}
OWN = {
    models.App: {"secret", "confirmed_at"},
    models.Service: {"due_at"},
    models.Subscription: {"next_try_at", "room"},
    models.Notice: {"id"},
    models.TrafficRule: {"id", "enforcement", "reason", "packets", "octets", "counted_at"},
    models.DnsRule: {"id", "enforcement", "reason"},
    models.Alarm: {"id"},
    models.SigningKey: {"private", "public"},
    DnsScope: set(),
}  # fmt: skip


def test_no_column_is_forgotten() -> None:
    rows = {each.name: {field.name for field in msgspec.structs.fields(each.row)} for each in sections.known()}
    for model, own in OWN.items():
        columns = {field.name for field in model._meta.concrete_fields} - own
        renamed = {name if name == "body" and model is models.Notice else RENAMED.get(name, name) for name in columns}
        assert renamed in rows.values(), f"{model.__name__}: a column is neither in the file nor left out on purpose"


def test_merging_keeps_what_the_file_does_not_know(full: Mp1, speak: Callable[..., Mp1]) -> None:
    old = moves.collect(with_secrets=True)
    newer = speak("app-3")
    made = newer.register(serName="third")
    full.put(f"{API}/applications/{{app}}/services/{old.sections['mp1.services'][0]['id']}", service(version="9"))
    notices = Notice.objects.count()
    moves.bring(old, replace=False)
    assert {each.version for each in Service.objects.all()} == {"1.0"}, "the file wins where both have one"
    assert Service.objects.get(pk=made["serInstanceId"]).app_id == "app-3"
    assert Notice.objects.count() == notices, "no notification is there twice"
    for one in (full, newer):
        assert one.get(f"{API}/services").status_code == 200, "the tokens of both are good"


def test_merging_from_another_mep_takes_its_tokens_and_signs_with_its_own_key(
    full: Mp1, speak: Callable[..., Mp1]
) -> None:
    theirs = moves.collect(with_secrets=True)
    empty()
    tokens.verifier.forget()
    own = speak("app-9")
    signer = keys.signer().kid
    moves.bring(theirs, replace=False)
    tokens.verifier.forget()
    assert keys.signer().kid == signer
    assert full.get(f"{API}/services").status_code == 200
    assert own.get(f"{API}/services").status_code == 200
    assert SigningKey.objects.count() == 3


def test_replacing_takes_away_what_the_file_does_not_know(full: Mp1, speak: Callable[..., Mp1]) -> None:
    old = moves.collect(with_secrets=True)
    speak("app-3").register()
    moves.bring(old, replace=True)
    assert set(App.objects.values_list("pk", flat=True)) == {"app-1", "app-2"}
    found = moves.collect(with_secrets=True)
    for name in ("mp1.services", "mp1.traffic_rules", "mp1.dns_rules"):
        for row in (*found.sections[name], *old.sections[name]):
            del row["revision"]  # a new ETag: the old one may mean something else here
    assert found.sections == old.sections


def test_a_running_mep_shows_what_was_brought_at_once(transactional_db: None, full: Mp1) -> None:
    old = moves.collect(with_secrets=True)
    fast = Mep().fast
    scope = {
        "path": f"{API}/services",
        "query_string": b"",
        "headers": [(b"host", b"mep:8443"), (b"authorization", f"Bearer {full.token}".encode())],
    }

    def names() -> list[str]:
        quick = fast.answer(scope)
        assert quick is not None
        return [each["serName"] for each in json.loads(quick[2])]

    assert names() == ["hello", "other"]
    full.register(serName="late")
    assert names() == ["hello", "other", "late"]
    gone = copy.deepcopy(old)
    gone.sections["mp1.services"] = []
    moves.bring(gone, replace=True)
    assert names() == []
    moves.bring(old, replace=True)
    assert names() == ["hello", "other"]
    counters = dict(Counter.objects.values_list("name", "value"))
    gone.sections["mp1.dns_rules"] = gone.sections["mp1.traffic_rules"] = []
    moves.bring(gone, replace=True)
    moved = {each.name for each in Counter.objects.all() if each.value != counters[each.name]}
    assert moved >= {"services", "removals", "apps", "keys", "dns", "traffic", "alarms"}


def test_a_service_has_a_whole_interval_to_be_heard_again_and_a_termination_goes_on(full: Mp1) -> None:
    state = moves.collect(with_secrets=True)
    for row in state.sections["mp1.services"]:
        row["beatAt"] = row["beatAt"] and 1000.0
    deadline = App.objects.get(pk="app-2").deadline
    moves.bring(state, replace=True)
    assert (Service.objects.get(name="hello").due_at or 0) > time.time() + 5
    assert App.objects.get(pk="app-2").deadline == deadline
    assert Subscription.objects.filter(interests__key="name=hello").count() == 1


def test_many_services_come_and_go_in_a_few_statements(full: Mp1, django_assert_max_num_queries: Any) -> None:
    state = moves.collect(with_secrets=False)
    row = state.sections["mp1.services"][0]
    state.sections["mp1.services"] = [{**row, "id": f"s{number}", "revision": number + 100} for number in range(2000)]
    with django_assert_max_num_queries(100):
        moves.bring(state, replace=True)
    assert Service.objects.count() == 2000
    with django_assert_max_num_queries(30):
        moves.collect(with_secrets=False)


# --- secrets -----------------------------------------------------------------------------------------------------------------


def test_secrets_are_sealed_and_bound_to_what_they_belong_to(full: Mp1) -> None:
    state = moves.collect(with_secrets=True)
    content = file.encode(state, PASSPHRASE)
    assert state.secrets is not None
    for secret in state.secrets.values():
        assert json.dumps(secret).encode()[1:40] not in content
    with pytest.raises(Invalid, match="passphrase is wrong"):
        file.decode(content, "another passphrase")
    swapped = content.replace(b'"app-1"', b'"app-x"')
    with pytest.raises(Invalid, match="changed after it was written"):
        file.decode(swapped, PASSPHRASE)
    greedy = content.replace(b'"n": 32768', b'"n": 1073741824')
    assert greedy != content
    with pytest.raises(Invalid, match="does not know"):
        file.decode(greedy, PASSPHRASE)
    with pytest.raises(Invalid, match="12 characters"):
        file.encode(state, "short")


def test_without_secrets_apps_keep_what_they_have_and_new_ones_get_fresh_ones(full: Mp1) -> None:
    known = {app: services.provision(app, app_name=app).client_secret for app in ("app-1",)}
    state = moves.collect(with_secrets=False)
    assert state.secrets is None
    assert state.sections["mp1.signing_keys"] == []
    assert moves.bring(state, replace=True).remarks == []
    assert services.provision("app-1", app_name="app-1").client_secret == known["app-1"]
    assert full.get(f"{API}/services").status_code == 200, "the keys stay"
    empty()
    outcome = moves.bring(state, replace=True)
    assert "app-1, app-2" in outcome.remarks[0]
    assert services.provision("app-1", app_name="app-1").client_secret != known["app-1"]


# --- the command ---------------------------------------------------------------------------------------------------------------


def test_the_command_writes_and_reads_a_file_that_only_its_owner_sees(full: Mp1, tmp_path: Path, settings: Any) -> None:
    target, phrase = tmp_path / "mep.json", tmp_path / "phrase"
    phrase.write_text(f"{PASSPHRASE}\n")
    target.write_text("the backup of yesterday")
    target.chmod(0o644)
    out = StringIO()
    call_command("mep_state", "export", str(target), "--passphrase-file", str(phrase), stdout=out)
    assert "2 mp1.apps" in out.getvalue()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] != []
    assert not list(tmp_path.glob(".mep.json.*"))
    before = moves.collect(with_secrets=True)
    empty()
    settings.STATE_PASSPHRASE = PASSPHRASE
    call_command("mep_state", "import", str(target), "--replace", stdout=out)
    assert moves.collect(with_secrets=True) == before


def test_the_command_says_what_it_needs(full: Mp1, tmp_path: Path, settings: Any) -> None:
    target = tmp_path / "mep.json"
    call_command("mep_state", "export", str(target), "--without-secrets", stdout=StringIO())
    raw = json.loads(target.read_text())
    raw["sections"]["mp1.services"][0]["app"] = "nobody"
    (tmp_path / "bad.json").write_text(json.dumps(raw))
    for arguments, words in (
        (["import", str(target)], "--replace or --merge"),
        (["export", str(target), "--merge"], "are for import"),
        (["import", str(target), "--merge", "--without-secrets"], "is for export"),
        (["export", str(target)], "passphrase is needed"),
        (["import", str(tmp_path / "none.json"), "--merge"], "No such file"),
        (["import", str(tmp_path), "--merge"], "Is a directory"),
        (["import", "/dev/null", "--merge"], "is not a file"),
        (["import", str(tmp_path / "bad.json"), "--merge"], r"mp1.services\[0\].app: there is no such app instance"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("mep_state", *arguments, stdout=StringIO())
    assert TrafficRule.objects.count() == 1
