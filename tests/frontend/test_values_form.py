"""The form of values on the pages that ask for them: deploy, upgrade, rollout; and generations compared."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.errors import Invalid
from engines.peek import Peek
from frontend.values import form as values_form
from mecm.deployments import fitting, services
from mecm.deployments.models import Deployment
from tests.frontend.hello import CHART

SCHEMA = {
    "type": "object",
    "required": ["replicas"],
    "properties": {
        "replicas": {
            "type": "integer",
            "minimum": 1,
            "maximum": 9,
            "title": "Copies",
            "description": "How many <pods>.",
        },
        "cpu": {"type": "string", "pattern": "^[0-9]+m$"},
        "admin": {
            "type": "object",
            "properties": {"password": {"type": "string", "format": "password", "minLength": 8}},
        },
        "hosts": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@pytest.fixture
def charted(make_package: Any) -> Callable[..., Any]:
    """Make a release with a chart of one's own: `charted(schema=…, values=…)`."""
    from appstore.packages import blobs

    def make(version: str = "1.0.0", *, schema: Any = SCHEMA, values: str = CHART["values.yaml"], **facts: Any) -> Any:
        packed = io.BytesIO()
        files = {**CHART, "values.yaml": values, "values.schema.json": json.dumps(schema)}
        if schema is None:
            del files["values.schema.json"]
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(f"hello/{name}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return make_package(version=version, chart_sha256=blobs.store([packed.getvalue()])[0], **facts)

    return make


@pytest.fixture
def release(charted: Any) -> Any:
    return charted()


def carried(text: str) -> dict[str, str]:
    """What the form on a page carries along without being asked."""
    return dict(re.findall(r'<input type="hidden" name="(values-[a-z]+)" value="([^"]*)"', text))


def field(text: str, name: str) -> str:
    """The element of a field."""
    found = re.search(rf'<(?:input|select|textarea)[^>]*name="v/{re.escape(name)}"[^>]*>', text)
    assert found, f"there is no field {name}"
    return found[0]


def told_beside(text: str, name: str) -> str:
    """The message that the field is described by, as a screen reader finds it."""
    described = re.search(r'aria-describedby="(\S+)', field(text, name))
    assert described
    place = re.search(rf'id="{described[1]}"[^>]*>(.*?)</div>', text, re.S)
    assert place
    return place[1].strip()


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_the_form_is_drawn_from_the_schema_and_escapes_what_a_stranger_wrote(
    pages: Any, release: Any, node: Any
) -> None:
    text = text_of(pages.get(f"/packages/{release.pk}/deploy"))
    assert 'value="1"' in field(text, "replicas")
    assert "How many &lt;pods&gt;." in text
    assert 'type="password"' in field(text, "admin/password")
    assert "The names are free here" in text
    assert "Derived" not in text


def test_a_chart_without_a_schema_gets_fields_that_say_they_are_derived(pages: Any, charted: Any, node: Any) -> None:
    text = text_of(pages.get(f"/packages/{charted(schema=None).pk}/deploy"))
    assert "Derived: this chart has no schema" in text
    assert 'value="500m"' in field(text, "cpu")


def test_without_scripts_errors_stand_beside_their_fields_and_what_was_typed_stays(
    pages: Any, release: Any, node: Any
) -> None:
    at = f"/packages/{release.pk}/deploy"
    sent = {**carried(text_of(pages.get(at))), "node": str(node.pk), "name": "front", "v/replicas": "many",
            "v/cpu": "a lot", "v/hosts": "a\r\nb", "v/admin/password": "s3cr3t"}  # fmt: skip
    answer = pages.post(at, sent)
    text = text_of(answer)
    assert answer.status_code == 400
    assert told_beside(text, "replicas") == "This must be a whole number."
    assert told_beside(text, "cpu") == "This does not match the pattern ^[0-9]+m$."
    assert told_beside(text, "admin/password") == "The schema does not allow this value."
    for name in ("replicas", "cpu", "admin/password"):
        assert 'aria-invalid="true"' in field(text, name)
    assert 'value="many"' in field(text, "replicas")
    assert 'value="a lot"' in field(text, "cpu")
    assert "a\nb</textarea>" in text
    assert "s3cr3t" not in text
    assert 'name="name" value="front"' in text
    assert not Deployment.objects.exists()

    sent = {**sent, **carried(text), "v/replicas": "2", "v/cpu": "100m", "v/admin/password": "long enough"}
    assert pages.post(at, sent).status_code == 302
    assert Deployment.objects.get().values == {
        "replicas": 2, "cpu": "100m", "hosts": ["a", "b"], "admin": {"password": "long enough"},
    }  # fmt: skip


def test_only_what_differs_from_the_chart_is_kept(pages: Any, release: Any, node: Any) -> None:
    at = f"/packages/{release.pk}/deploy"
    wanted = {"node": str(node.pk), "name": "front", "values": "replicas: 1\ncpu: 200m\n"}
    assert pages.post(at, wanted).status_code == 302
    assert Deployment.objects.get().values == {"cpu": "200m"}


def test_a_required_value_that_is_missing_is_told_beside_its_field(pages: Any, charted: Any, node: Any) -> None:
    package = charted(values="cpu: 100m\n")
    at = f"/packages/{package.pk}/deploy"
    text = text_of(pages.post(at, {**carried(text_of(pages.get(at))), "name": "a", "node": str(node.pk)}))
    assert told_beside(text, "replicas") == "It must be given."
    assert 'aria-required="true"' in field(text, "replicas")


def test_the_server_answers_while_one_types_with_messages_by_json_pointer(pages: Any, release: Any) -> None:
    sent = {"values-view": "form", "v/replicas": "99", "v/cpu": "200m"}
    text = text_of(pages.post(f"/packages/{release.pk}/values", sent))
    assert 'data-values-problem="/replicas">This must be at most 9.<' in text
    assert 'data-values-changed="/cpu"' in text
    assert "200m" in text


def test_both_views_hold_the_same_and_secrets_travel_sealed(pages: Any, release: Any) -> None:
    at = f"/packages/{release.pk}/values"
    sent = {"values-view": "form", "v/replicas": "3", "v/admin/password": "long enough", "values-go": "yaml"}
    text = text_of(pages.post(at, sent))
    assert "long enough" not in text
    assert "replicas: 3\nadmin:\n  password: (secret, kept as it is)" in text
    typed = text.split("data-values-text>")[1].split("</textarea>")[0].strip() + "\nhosts: [x]"
    text = text_of(pages.post(at, {**carried(text), "values": typed, "values-go": "form"}))
    assert 'value="3"' in field(text, "replicas")
    assert "kept as it is" in field(text, "admin/password")
    assert ">\nx</textarea>" in text


def test_a_secret_that_was_kept_arrives_and_one_that_never_was_is_told(pages: Any, release: Any, node: Any) -> None:
    at = f"/packages/{release.pk}/values"
    text = text_of(pages.post(at, {"values-view": "form", "v/admin/password": "long enough", "values-go": "yaml"}))
    typed = "admin: {password: '(secret, kept as it is)'}"
    wanted = {**carried(text), "values": typed, "name": "front", "node": str(node.pk)}
    assert pages.post(f"/packages/{release.pk}/deploy", wanted).status_code == 302
    assert Deployment.objects.get().values == {"admin": {"password": "long enough"}}
    answer = pages.post(f"/packages/{release.pk}/deploy", {**wanted, "values-base": "", "name": "other"})
    assert answer.status_code == 400
    assert "There is no secret to keep" in text_of(answer)


@pytest.mark.parametrize("typed", ["a: [", "- a list", "replicas: 1\n\tx: 2", "a: &x 1\nb: *x", "1: x"])
def test_yaml_that_cannot_be_read_keeps_its_view_and_says_where(pages: Any, release: Any, typed: str) -> None:
    sent = {"values-view": "yaml", "values": typed, "values-go": "form"}
    text = text_of(pages.post(f"/packages/{release.pk}/values", sent))
    assert carried(text)["values-view"] == "yaml"
    assert 'aria-invalid="true"' in text
    if "[" in typed or "\t" in typed:
        assert re.search(r"Line \d+, column \d+", text)


def test_one_field_goes_back_to_the_charts_own_without_scripts(pages: Any, release: Any, node: Any) -> None:
    sent = {"values-view": "form", "name": "kept", "v/replicas": "4", "v/cpu": "300m", "values-reset": "/replicas"}
    answer = pages.post(f"/packages/{release.pk}/deploy", sent)
    text = text_of(answer)
    assert answer.status_code == 200
    assert 'value="1"' in field(text, "replicas")
    assert 'value="300m"' in field(text, "cpu")
    assert 'name="name" value="kept"' in text
    assert not Deployment.objects.exists()


def test_an_upgrade_begins_with_the_present_values_and_hides_their_secrets(
    pages: Any, release: Any, node: Any, actor: Any, organisation: Any, charted: Any
) -> None:
    pinned = {"replicas": 1, "admin": {"password": "hunter2hunter2"}, "free": {"x": 1.0}}
    made = services.request(
        actor=actor, organisation=organisation, node=node, package=release, name="hello", values=pinned
    )
    newer = charted("2.0.0", values="replicas: 2\ncpu: 500m\n")
    at = f"/deployments/{made.pk}/upgrade"
    text = text_of(pages.get(at))
    assert "hunter2" not in text
    assert "1 given value has no field" in text
    sent = {**carried(text), "package": str(newer.pk), "expected": "1", "v/replicas": "1", "v/cpu": "600m",
            "v/admin/password": ""}  # fmt: skip
    plan = text_of(pages.post(f"{at}/plan", sent))
    assert "600m" in plan
    assert "hunter2" not in plan
    assert pages.post(at, sent).status_code == 302
    made.refresh_from_db()
    # What was pinned stays pinned, although the chart had it so by itself.
    assert made.values == {**pinned, "cpu": "600m"}


def test_another_release_is_drawn_anew_with_what_was_typed(pages: Any, deployment: Any, charted: Any) -> None:
    at = f"/deployments/{deployment.pk}/upgrade"
    newer = charted("3.0.0", schema={"properties": {"cpu": {"type": "string"}, "fresh": {"type": "string"}}})
    before = {"values-view": "form", "values-package": str(deployment.package_id), "v/replicas": "5"}
    text = text_of(pages.post(f"{at}/values", {**before, "package": str(newer.pk), "values-draw": "yes"}))
    assert field(text, "fresh")
    assert 'value="5"' in field(text, "replicas")
    assert carried(text)["values-package"] == str(newer.pk)


def test_a_rollout_takes_its_values_from_the_same_form(pages: Any, release: Any, node: Any) -> None:
    from mecm.rollouts.models import Rollout

    at = f"/packages/{release.pk}/rollout"
    base = {
        "kind": "nodes",
        "name": "front",
        "waves": "rest",
        "max_parallel": "1",
        "node_timeout": "60",
        "on_stop": "hold",
    }
    wrong = pages.post(at, {**base, **carried(text_of(pages.get(at))), "v/replicas": "0"})
    assert wrong.status_code == 400
    assert told_beside(text_of(wrong), "replicas") == "This must be at least 1."
    right = pages.post(at, {**base, "values-view": "form", "v/replicas": "2"})
    assert right.status_code == 302
    assert Rollout.objects.get().values == {"replicas": 2}


def test_who_may_not_deploy_is_not_served(browser_of: Any, make_user: Any, organisation: Any, release: Any) -> None:
    viewer = browser_of(make_user("looker", organisation, "viewer"))
    assert viewer.post(f"/packages/{release.pk}/values", {"values": ""}).status_code == 403


def test_a_schema_that_leads_outside_is_told_and_nothing_is_deployed(pages: Any, charted: Any, node: Any) -> None:
    package = charted(schema={"properties": {"a": {"$ref": "http://192.0.2.1/x"}, "replicas": {"type": "integer"}}})
    text = text_of(pages.post(f"/packages/{package.pk}/values", {"values-view": "form", "v/replicas": "2"}))
    assert "outside of itself" in text


def test_five_hundred_fields_are_one_page_of_few_queries(
    pages: Any, charted: Any, node: Any, release: Any, django_assert_max_num_queries: Any
) -> None:
    with CaptureQueriesContext(connection) as narrow:
        pages.get(f"/packages/{release.pk}/deploy")
    wide = {"properties": {f"f{number}": {"type": "string"} for number in range(500)}}
    package = charted("2.0.0", schema=wide)
    with django_assert_max_num_queries(len(narrow)):
        text = text_of(pages.get(f"/packages/{package.pk}/deploy"))
    assert text.count('name="v/f') == 500
    assert "data-values-find" in text
    assert pages.post(f"/packages/{package.pk}/values", {"values-view": "form", "v/f9": "x"}).status_code == 200


def test_generations_are_compared_side_by_side_without_secrets(
    pages: Any, release: Any, node: Any, actor: Any, organisation: Any, charted: Any
) -> None:
    from appstore.contents.models import Contents

    made = services.request(
        actor=actor, organisation=organisation, node=node, package=release, name="hello",
        values={"cpu": "100m", "admin": {"password": "hunter2hunter2"}},
    )  # fmt: skip
    newer = charted("2.0.0", values="replicas: 2\ncpu: 500m\n")
    services.upgrade(made, actor=actor, package=newer, values={"cpu": "200m", "admin": {"password": "another secret"}})
    for package, image in ((release, "web:1"), (newer, "web:2")):
        facts = {"images": [{"reference": image}], "rendered": True}
        Contents.objects.create(package=package, sha256=package.sha256, reader=1, facts=facts)
    at = f"/deployments/{made.pk}/compare"
    text = text_of(pages.get(at))
    assert "<del>cpu: 100m</del>" in text
    assert "<ins>cpu: 200m</ins>" in text
    assert "another one" in text
    assert "hunter2" not in text
    assert "another secret" not in text
    assert re.search(r"Images</h3>.*web.*1.*to.*2", text, re.S)
    assert "replicas" not in text  # nobody gave any
    assert "<ins>replicas: 2</ins>" in text_of(pages.get(f"{at}?values=whole"))
    assert "hunter2" not in text_of(pages.get(f"/deployments/{made.pk}/rollback/1"))
    assert "another secret" not in text_of(pages.get(f"/deployments/{made.pk}"))


def test_a_schema_that_is_too_much_is_not_asked_again_for_a_minute(release: Any, monkeypatch: Any) -> None:
    now, asked = [0.0], []

    class Weary:
        def problems(self, *_: Any) -> Any:
            asked.append(1)
            raise Invalid("Helm needs more than 5 s to hold values against the chart's schema")

    monkeypatch.setattr(fitting, "helm", Weary)
    for moment, times in ((0.0, 1), (1.0, 1), (fitting.REST + 1, 2)):
        now[0] = moment
        with pytest.raises(Invalid, match="more than 5 s"):
            fitting.problems(release, {"cpu": f"{moment}"}, asker="one", clock=lambda: now[0])
        assert len(asked) == times
    with pytest.raises(Invalid):
        fitting.problems(release, {}, asker="another", clock=lambda: now[0])
    assert len(asked) == 3


def test_a_package_without_a_chart_says_so(pages: Any, make_package: Any, node: Any) -> None:
    bare = make_package(chart_sha256="")
    assert "carries no Helm chart" in text_of(pages.get(f"/packages/{bare.pk}/deploy"))
    sent = {"values": "a: 1", "name": "x", "node": str(node.pk)}
    assert pages.post(f"/packages/{bare.pk}/deploy", sent).status_code == 400


def test_own_values_that_unfold_without_end_leave_the_yaml_view(release: Any, monkeypatch: Any) -> None:
    layer: Any = "x"
    for _ in range(25):
        layer = [layer, layer]
    monkeypatch.setattr(fitting, "chart_of", lambda package: Peek({"bomb": layer}, {}))
    assert values_form.known_of(release).tree.fields == []
    assert "too many" in values_form.known_of(release).problem
