"""What commands print, and with which number they end."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.cli.conftest import Terminal

pytestmark = pytest.mark.django_db


def test_nobody_is_told_how_to_sign_in(terminal: Terminal) -> None:
    ended = terminal("nodes", "list")
    assert ended.code == 4
    assert "breakwater login" in ended.err
    assert ended.out == ""


def test_a_node_is_registered_shown_and_removed(signed_in: Terminal) -> None:
    made = signed_in.json("nodes", "create", "berth-7", "--engine", "memory", "--label", "dock=north", "--latitude", 60.1,
                          "--longitude", 24.9)  # fmt: skip
    assert made["labels"] == {"dock": "north"}
    listed = signed_in.json("nodes", "list")
    assert [row["name"] for row in listed["results"]] == ["berth-7"]
    assert signed_in.json("nodes", "list", "--all") == listed
    assert signed_in.json("nodes", "show", "berth-7")["id"] == made["id"]
    table = signed_in("nodes", "list")
    assert "berth-7" in table.out
    assert "NAME" in table.out
    assert yaml.safe_load(signed_in("nodes", "show", "berth-7", "-o", "yaml").out)["id"] == made["id"]
    assert signed_in.json("nodes", "change", "berth-7", "--name", "berth-8")["name"] == "berth-8"
    assert "--yes" in signed_in("nodes", "remove", "berth-8").err
    assert signed_in("nodes", "remove", "berth-8", "--yes").code == 0
    gone = signed_in("nodes", "show", "berth-8")
    assert (gone.code, gone.out) == (4, "")
    assert "berth-8" in gone.err


def test_wrong_use_ends_with_two_and_names_the_field(signed_in: Terminal) -> None:
    for words in (
        ("nodes", "create", "x" * 200, "--engine", "memory"),
        ("nodes", "create", "berth-7", "--engine", "memory", "--label", "north"),
        ("nodes", "create", "berth-7"),
        ("nodes", "change", "berth-7", "--engine"),
        ("packages", "upload", "/no/such/file.csar"),
        ("api", "GET", "//elsewhere.example/x"),
        ("api", "GET", "/../../admin"),
        ("nodes", "list", "--server", "https://user:secret@store.example"),
        ("nodes", "list", "--server", "http://store.example"),
        ("nodes", "list", "--output", "xml"),
        ("no-such-command",),
    ):
        ended = signed_in(*words)
        assert ended.code == 2, (words, ended)
        assert "Traceback" not in ended.err
    refused = signed_in("nodes", "create", "x" * 200, "--engine", "memory")
    assert "name" in refused.err


def test_a_token_is_not_sent_in_the_clear(signed_in: Terminal) -> None:
    ended = signed_in("nodes", "list", "--server", "http://store.example")
    assert "use https" in ended.err
    assert signed_in.environ["BREAKWATER_TOKEN"] not in ended.err


def test_text_of_others_does_not_steer_the_terminal(signed_in: Terminal, organisation: Any) -> None:
    from mecm.nodes.models import Node

    Node.objects.create(organisation=organisation, name="evil\x1b[2J\x9b\u202egnp", engine="memory")
    for form in ("table", "json", "yaml"):
        out = signed_in("nodes", "list", "-o", form).out
        assert "evil" in out
        assert not set("\x1b\x9b") & set(out)
    assert "\u202e" not in signed_in("nodes", "list").out


def test_unexpected_errors_are_no_traceback(signed_in: Terminal) -> None:
    def broken() -> None:
        raise RuntimeError("bug")

    signed_in.meanwhile = broken
    made = signed_in.json("nodes", "create", "berth-7", "--engine", "memory")
    ended = signed_in("nodes", "wait", made["id"])
    assert ended.code == 1
    assert "RuntimeError" in ended.err
    assert "Traceback" not in ended.err

    def stopped() -> None:
        raise KeyboardInterrupt

    signed_in.meanwhile = stopped
    assert signed_in("nodes", "wait", made["id"]).code == 130
    signed_in.meanwhile = lambda: None
    assert signed_in("nodes", "wait", made["id"], "--timeout", "5").code == 3


def test_a_package_goes_from_disk_to_the_catalogue(signed_in: Terminal, tmp_path: Any) -> None:
    from core.operations import services as operations
    from tests.appstore.making import edgegallery

    signed_in.meanwhile = lambda: operations.run_due(limit=5)
    file = tmp_path / "video.csar"
    file.write_bytes(edgegallery())
    made = signed_in.json("packages", "upload", file, "--wait")
    assert made["state"] == "checked", made["findings"]
    again = signed_in("packages", "upload", file)
    assert again.code == 1
    assert made["id"] in again.err
    assert signed_in.json("packages", "upload", file, "--known-ok")["id"] == made["id"]
    name = f"{made['name']}@{made['version']}"
    assert signed_in.json("packages", "show", name)["sha256"] == made["sha256"]
    assert signed_in.json("packages", "check", name, "--wait")["state"] == "checked"
    copy = tmp_path / "copy.csar"
    assert signed_in("packages", "download", name, "--to", copy).code == 0
    assert copy.read_bytes() == file.read_bytes()
    assert signed_in.json("packages", "publish", name)["state"] in ("published", "in-review")
    assert [row["id"] for row in signed_in.json("packages", "list", "--search", made["name"])["results"]] == [
        made["id"]
    ]

    broken = tmp_path / "broken.csar"
    broken.write_bytes(b"this is no archive")
    rejected = signed_in("packages", "upload", broken, "--wait")
    assert rejected.code == 1
    assert "rejected" in rejected.out
    pk = signed_in.json("packages", "list", "--state", "rejected")["results"][0]["id"]
    assert signed_in("packages", "discard", pk, "--yes").code == 0


def test_a_deployment_is_watched_to_its_end(signed_in: Terminal, make_package: Any, make_node: Any) -> None:
    from mecm.deployments import services

    package, _ = make_package(), make_node("berth-7")
    plan = signed_in.json("deployments", "plan", "--package", package.pk)
    assert plan["fits"] == 1
    create = ("deployments", "create", "--package", "hello@1.0.0", "--node", "berth-7")
    made = signed_in.json(*create, "web", "--set", "replicas=2")
    assert made["values"] == {"replicas": 2}

    signed_in.meanwhile = lambda: services.observe(made["id"], 1, {"state": "ready"})
    ready = signed_in.json("deployments", "watch", "web")
    assert ready["state"] == "ready"

    failed = {"state": "failed", "reason": "ImageMissing", "message": "there is no such image"}
    signed_in.meanwhile = lambda: services.observe(made["id"], 2, failed)
    ended = signed_in("deployments", "upgrade", "web", "--set", "replicas=3", "--watch", "--output", "json")
    assert ended.code == 1
    assert ended.json["state"] == "failed"
    assert "there is no such image" in ended.err

    signed_in.meanwhile = lambda: services.observe(made["id"], 3, {"state": "ready"})
    assert signed_in.json("deployments", "rollback", "web", "--wait")["generation"] == 3
    assert signed_in.json("deployments", "revisions", "web")["results"][0]["action"] == "rollback"
    assert signed_in("deployments", "upgrade", "web", "--set", "a=1", "--if-generation", "1").code == 1

    signed_in.meanwhile = lambda: None
    assert signed_in("deployments", "upgrade", "web", "--set", "replicas=1").code == 0
    assert signed_in("deployments", "watch", "web", "--timeout", "3").code == 3
    assert signed_in("deployments", "watch", "nothing").code == 4
    assert signed_in("deployments", "show", "web").code == 0
    assert signed_in("deployments", "logs", "web").code == 0
    assert signed_in("deployments", "events", "web").code == 0
    assert signed_in("deployments", "list", "--node", "berth-7").code == 0


def test_a_removal_that_no_node_confirms_is_given_up(signed_in: Terminal, make_package: Any, make_node: Any) -> None:
    from django.utils import timezone

    from mecm.nodes.models import Node

    make_package()
    make_node("berth-7")
    create = ("deployments", "create", "--package", "hello@1.0.0", "--node", "berth-7")
    pk = signed_in.json(*create, "web")["id"]
    assert signed_in("deployments", "remove", "web", "--yes").code == 0
    refused = signed_in("deployments", "abandon", "web", "--yes")
    assert refused.code == 1
    assert "wait for it" in refused.err
    Node.objects.update(last_seen_at=timezone.now() - timezone.timedelta(hours=2))
    assert "--yes" in signed_in("deployments", "abandon", "web").err
    ended = signed_in("deployments", "abandon", "web", "--yes")
    assert ended.code == 0
    assert "given up" in ended.out
    assert "removed" not in ended.out
    listed = signed_in("deployments", "list", "--state", "abandoned")
    assert "given up" in listed.out
    watched = signed_in("deployments", "watch", pk)
    assert watched.code == 1
    assert "may go on running on berth-7" in watched.err
    refused = signed_in(*create, "web")
    assert refused.code == 1
    assert "take another name" in refused.err


def test_every_list_can_be_printed(signed_in: Terminal, make_package: Any, make_node: Any) -> None:
    make_package()
    make_node()
    for words in (
        "whoami", "organisations list", "organisations members list acme", "tokens list", "servers list", "audit",
        "apps list", "apps search hello", "apps show hello", "apps reviews list 1", "notices list", "webhooks list",
        "packages list", "packages history hello@1.0.0", "packages trust hello", "releases recalls list",
        "releases reviews list", "releases policy", "nodes list", "nodes mep berth-7", "nodes geo", "deployments list",
        "operations list", "certify list", "certify suites", "certify nodes", "certify profile", "certify labs list",
        "certify lab-key", "trust policy", "trust anchors list", "trust crls", "trust distrusts", "trust publishers list",
        "trust signers list", "federation peers", "federation identity",
    ):  # fmt: skip
        ended = signed_in(*words.split())
        assert ended.code == 0, (words, ended.err)


def test_an_application_is_told_where_it_could_run(signed_in: Terminal, make_package: Any, make_node: Any) -> None:
    make_package("hello", "1.0.0")
    make_node("berth-7")
    make_node("small", cpu_millis=100)
    said = signed_in.json("apps", "where", "hello")
    assert (said["fits"], said["nodes"]) == (1, 2)
    assert [row["node"]["name"] for row in signed_in.json("apps", "where", "hello", "--fits")["results"]] == ["berth-7"]
    table = signed_in("apps", "where", "hello", "--code", "cpu")
    assert "0.1 free" in table.out
    assert "1 of 2" in table.err
    assert signed_in("apps", "where", "hello", "--release", "9.9").code == 4
