"""A kubeconfig is hostile until it is plain, and no message ever repeats what is in it."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid, TooLarge
from mecm.nodes import kubeconfig

SECRET = "s3cr3t-t0ken-of-the-cluster"
CA = base64.b64encode(b"a certificate").decode()


def config(*, server: str = "https://10.1.2.3:6443", cluster: Any = None, user: Any = None, **top: Any) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority-data": CA, **(cluster or {})}}
            ],
            "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
            **top,
        }
    )


def fields(text: str, **options: bool) -> set[str]:
    with pytest.raises(Invalid) as refused:
        kubeconfig.check(text, **options)
    assert SECRET not in str(refused.value.problem())
    return {each["field"] for each in refused.value.context.get("errors", [])}


def test_a_plain_one_is_taken() -> None:
    kept = yaml.safe_load(kubeconfig.check(config()))
    assert kept["clusters"][0]["cluster"]["server"] == "https://10.1.2.3:6443"
    assert kept["users"][0]["user"] == {"token": SECRET}
    assert kubeconfig.server_of(kubeconfig.check(config())) == "https://10.1.2.3:6443"


def test_only_what_the_current_context_needs_is_kept() -> None:
    document = yaml.safe_load(config())
    document["users"].append({"name": "other", "user": {"token": "another-secret"}})
    document["extensions"] = [{"name": "x"}]
    kept = kubeconfig.check(yaml.safe_dump(document))
    assert "another-secret" not in kept
    assert "extensions" not in kept


@pytest.mark.parametrize(
    ("user", "field"),
    [
        ({"exec": {"command": "sh", "args": ["-c", "id"]}}, "users[].user.exec"),
        ({"auth-provider": {"name": "oidc"}}, "users[].user.auth-provider"),
        ({"tokenFile": "/etc/shadow"}, "users[].user.tokenFile"),
        ({"client-certificate": "/etc/passwd", "client-key": "/etc/shadow"}, "users[].user.client-key"),
        ({"token": SECRET, "as": "system:admin"}, "users[].user.as"),
        ({}, "users[].user"),
        ({"client-certificate-data": CA}, "users[].user"),
        ({"token": ["a", "list"]}, "users[].user.token"),
        ({"token": SECRET, "client-key-data": "not base64!"}, "users[].user.client-key-data"),
    ],
)
def test_what_reaches_into_our_server_is_refused(user: Any, field: str) -> None:
    assert field in fields(config(user=user))


@pytest.mark.parametrize(
    ("cluster", "field"),
    [
        ({"certificate-authority": "/etc/ssl/ca.pem"}, "clusters[].cluster.certificate-authority"),
        ({"proxy-url": "http://evil:3128"}, "clusters[].cluster.proxy-url"),
        ({"insecure-skip-tls-verify": True}, "clusters[].cluster.insecure-skip-tls-verify"),
        ({"server": "http://10.1.2.3:8080"}, "clusters[].cluster.server"),
        ({"server": "ftp://10.1.2.3"}, "clusters[].cluster.server"),
        ({"server": "https://user:pw@10.1.2.3"}, "clusters[].cluster.server"),
        ({"server": "https://[bad"}, "clusters[].cluster.server"),
        ({"server": 7}, "clusters[].cluster.server"),
        ({"server": ""}, "clusters[].cluster.server"),
    ],
)
def test_an_unsafe_way_to_the_cluster_is_refused(cluster: Any, field: str) -> None:
    assert field in fields(config(cluster=cluster))


@pytest.mark.parametrize("server", ["http://127.0.0.1:16443", "http://localhost:1", "http://[::1]:16443"])
def test_plain_http_is_taken_on_loopback(server: str) -> None:
    assert kubeconfig.server_of(kubeconfig.check(config(server=server))) == server


def test_an_operator_who_insists_may_use_plain_http() -> None:
    assert kubeconfig.check(config(server="http://10.1.2.3:8080"), allow_insecure=True)


def test_all_problems_are_told_at_once() -> None:
    text = config(cluster={"proxy-url": "http://x", "server": "http://10.0.0.1"}, user={"exec": {"command": "id"}})
    assert len(fields(text)) >= 4


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "kind: Pod", "\x00", "- - -", "!!python/object/apply:os.system [id]"]
)
def test_what_is_no_kubeconfig_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        kubeconfig.check(text)


def test_aliases_that_grow_are_refused() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
    with pytest.raises(Invalid, match="aliases"):
        kubeconfig.check(bomb)


def test_a_deep_one_is_refused() -> None:
    with pytest.raises(Invalid):
        kubeconfig.check("[" * 200_000)


def test_a_large_one_is_refused() -> None:
    with pytest.raises(TooLarge):
        kubeconfig.check("#" * (kubeconfig.LARGEST + 1))


@settings(deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_taken_or_refused_but_never_breaks(text: str) -> None:
    try:
        kubeconfig.check(text)
    except Invalid:
        return


@settings(deadline=None)
@given(
    st.sampled_from(["contexts", "clusters", "users", "current-context"]),
    st.none() | st.integers() | st.text() | st.lists(st.none()),
)
def test_a_part_of_the_wrong_kind_is_refused(part: str, wrong: Any) -> None:
    document = copy.deepcopy(yaml.safe_load(config()))
    document[part] = wrong
    with pytest.raises(Invalid):
        kubeconfig.check(yaml.safe_dump(document))
