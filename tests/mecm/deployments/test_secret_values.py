"""Secrets in the values of a deployment: the node gets them, and nobody else ever sees them again."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from core.audit.models import Entry
from core.errors import Invalid, TimedOut
from core.operations.models import Operation
from mecm.deployments import fitting, logs, secret_values, services
from mecm.deployments.api import snapshot
from mecm.deployments.handlers import _tell
from mecm.deployments.models import Deployment
from mecm.deployments.secrecy import HIDDEN
from mecm.edge.models import DesiredObject, ReportedObject
from mecm.rollouts import services as rollouts
from mecm.rollouts.models import Place
from tests.mecm.deployments.conftest import SCHEMA, chart

pytestmark = pytest.mark.django_db

URL = "/api/v1/deployments"
PLANTED = "planted-7f3a-by-the-schema"
NAMED = "planted-91cc-by-its-name"
SECRETS = {"access": {"code": PLANTED}, "database": {"password": NAMED}}
SHOWN = {"access": {"code": HIDDEN}, "database": {"password": HIDDEN}}


def told(text: str | bytes) -> bool:
    """Whether a secret stands in a text, as it is or in base64."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    forms = [each for secret in (PLANTED, NAMED) for each in (secret, base64.b64encode(secret.encode()).decode())]
    return any(each in text for each in forms)


@pytest.fixture
def secretive(make_package: Any) -> Any:
    """A release whose schema calls `access.code` secret, says nothing of `database`, and quotes what it refuses."""
    schema = {
        **SCHEMA,
        "properties": {
            **SCHEMA["properties"],  # type: ignore[dict-item]
            "access": {"properties": {"code": {"type": "string", "writeOnly": True, "pattern": "^planted"}}},
        },
    }
    packed = chart(
        values_schema_json=json.dumps(schema),
        templates__note_yaml='{{ if eq .Values.message "fail" }}{{ fail (print "no: " .Values.access.code) }}{{ end }}',
    )
    return make_package("1.5.0", packed=packed)


@pytest.fixture
def secretly(deploy: Any, secretive: Any) -> Deployment:
    """A deployment that has both secrets."""
    found: Deployment = deploy(package=secretive, values=SECRETS)
    return found


def everything(level: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for each in level:
        where = prefix + str(each.pattern).removeprefix("^").removesuffix("$")
        if isinstance(each, URLResolver):
            yield from everything(each.url_patterns, where)
        else:
            yield where, each


@pytest.mark.long
def test_no_address_tells_a_secret(
    secretly: Deployment, secretive: Any, actor: Any, admin: Any, node: Any, caplog: Any, make_node: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    make_node("berth-9")
    rollout = rollouts.create(
        actor=actor, organisation=secretly.organisation, package=secretive, name="other", values=SECRETS
    )
    services.upgrade(secretly, actor=actor, values={**SECRETS, "replicas": 2})
    quoted = {"state": "failed", "reason": "Bad", "message": f"cannot use {PLANTED!r}"}
    quoted["workloads"] = [{"kind": "Pod", "name": "x", "state": "failed", "message": f"password {NAMED}"}]  # type: ignore[assignment]
    assert services.observe(secretly.pk, 2, quoted, node_id=node.pk)
    for kind, told_by in (("appLog", {"lines": [{"text": NAMED}]}), ("appEvents", {"events": [{"message": PLANTED}]})):
        ReportedObject.objects.create(node=node, kind=kind, key=str(secretly.pk), status=told_by)
    browser = Client(raise_request_exception=False)
    browser.force_login(admin)
    visited, about = 0, [secretly.pk, rollout.pk]
    for where, _pattern in everything(get_resolver().url_patterns):
        if "stream" in where or "sign-out" in where or "(?P" in where:
            continue
        taken = re.findall(r"<(?:\w+:)?\w+>", where)
        uuids = [each for each in taken if each.startswith("<uuid:")]
        if len(uuids) > 1:
            continue
        if uuids:
            if not any(word in where for word in ("deployment", "rollout")):
                about_these = [node.pk] if "node" in where else [secretive.pk] if "package" in where else []
            else:
                about_these = about
        for pk in about_these if uuids else [None]:
            path = "/" + re.sub(r"<uuid:\w+>", str(pk), where)
            path = re.sub(r"<(?:\w+:)?\w+>", "1", path)
            answer = browser.get(path)
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[arg-type]
            assert not told(content), path
            visited += answer.status_code == 200
    assert visited > 60
    assert not told(json.dumps(snapshot(secretly.pk), default=str))
    assert not told(json.dumps(list(Entry.objects.values()), default=str))
    assert not told(json.dumps(list(Operation.objects.values()), default=str))
    assert not told(caplog.text)
    # They were there to be told.
    assert told(json.dumps(DesiredObject.objects.get(kind="app").spec))


def test_api_and_history_answer_the_mark_and_the_node_the_secret(api: Any, secretly: Deployment) -> None:
    assert api.get(f"{URL}/{secretly.pk}").json()["values"] == SHOWN
    assert [each["values"] for each in api.get(f"{URL}/{secretly.pk}/revisions").json()["results"]] == [SHOWN]
    assert DesiredObject.objects.get(kind="app", key=str(secretly.pk)).spec["values"] == SECRETS


def test_a_mark_that_comes_back_keeps_the_secret(api: Any, secretly: Deployment) -> None:
    wanted = {**api.get(f"{URL}/{secretly.pk}").json()["values"], "replicas": 3}
    answer = api.patch(f"{URL}/{secretly.pk}", {"values": wanted}, format="json")
    assert (answer.status_code, answer.json()["values"]) == (202, {**SHOWN, "replicas": 3})
    assert DesiredObject.objects.get(kind="app").spec["values"] == {**SECRETS, "replicas": 3}
    assert api.post(f"{URL}/{secretly.pk}/rollback", {"revision": 1}, format="json").status_code == 202
    assert DesiredObject.objects.get(kind="app").spec["values"] == SECRETS


def test_a_mark_without_a_secret_is_refused_beside_its_field(api: Any, secretly: Deployment, node: Any) -> None:
    wanted = {"package": str(secretly.package_id), "node": str(node.pk), "name": "second", "values": SHOWN}
    answer = api.post(URL, wanted, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "values.access.code")
    plan = {"package": str(secretly.package_id), "values": SHOWN}
    assert api.post(f"{URL}/plan", plan, format="json").status_code == 400
    more = {"values": {"cache": {"token": HIDDEN}}}
    answer = api.patch(f"{URL}/{secretly.pk}", more, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "values.cache.token")
    assert Deployment.objects.get().generation == 1


def test_what_helm_refuses_is_told_without_the_secret(api: Any, secretly: Deployment) -> None:
    url = f"{URL}/{secretly.pk}"
    failing = api.patch(url, {"values": {**SECRETS, "message": "fail"}}, format="json")
    assert (failing.status_code, told(failing.content)) == (400, False)
    assert HIDDEN in failing.json()["detail"]
    wrong = api.patch(url, {"values": {"access": {"code": "un" + PLANTED}}}, format="json")
    assert (wrong.status_code, told(wrong.content)) == (400, False)


def test_an_operation_that_failed_keeps_no_secret(secretly: Deployment, actor: Any) -> None:
    services.ask_applier(secretly, actor=actor)
    error = TimedOut(f"helm: {NAMED} is no value", tried=[PLANTED])
    operation = Operation.objects.get(kind="deployment.apply")
    assert operation.claim()
    _tell(operation, secretly, error)
    assert not told(json.dumps(error.problem()) + str(error))


def test_another_release_does_not_show_what_was_secret_to_an_earlier_one(
    api: Any, secretly: Deployment, make_package: Any, actor: Any
) -> None:
    services.upgrade(secretly, actor=actor, package=make_package("2.0.0"))
    assert api.get(f"{URL}/{secretly.pk}").json()["values"] == SHOWN


def test_when_the_chart_cannot_be_read_everything_is_secret(
    api: Any, secretly: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(package: Any) -> Any:
        raise Invalid("gone")

    monkeypatch.setattr(fitting, "chart_of", gone)
    assert api.get(f"{URL}/{secretly.pk}").json()["values"] == {"access": HIDDEN, "database": HIDDEN}


def test_a_rollout_keeps_each_secret_where_there_is_one(
    api: Any, secretly: Deployment, make_package: Any, make_node: Any, actor: Any
) -> None:
    make_node("berth-9")
    newer = make_package("2.0.0")
    wanted = {"package": str(newer.pk), "name": "hello", "values": {**SHOWN, "replicas": 2}}
    made = api.post("/api/v1/rollouts", wanted, format="json")
    assert made.status_code == 201, made.content
    places = {each.node.name: (each.action, each.reason) for each in Place.objects.select_related("node")}
    assert places == {"berth-7": ("upgrade", ""), "berth-9": ("unfit", "secret")}
    assert services.values_for(secretly, wanted["values"]) == {**SECRETS, "replicas": 2}


def test_a_short_secret_goes_only_where_it_stands_alone() -> None:
    assert secret_values.scrubbed("pin 12 in 1234 of 12", {"12"}) == f"pin {HIDDEN} in 1234 of {HIDDEN}"
    assert secret_values.scrubbed('bad "a\\"quoted\\"b"', {'a"quoted"b'}) == f'bad "{HIDDEN}"'
    coded = base64.b64encode(PLANTED.encode()).decode()
    assert PLANTED not in base64.b64decode(secret_values.scrubbed(coded, {PLANTED}), validate=False).decode(
        errors="replace"
    )


def test_log_lines_are_told_without_the_secret(secretly: Deployment, node: Any) -> None:
    ReportedObject.objects.create(node=node, kind="appLog", key=str(secretly.pk), status={"lines": [{"text": NAMED}]})
    assert logs.lines(secretly)["lines"] == [{"text": HIDDEN}]
