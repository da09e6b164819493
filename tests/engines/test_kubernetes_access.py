"""A kubeconfig is taken only when it is harmless, and a cluster's answers become our errors."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable
from core.findings import Level
from engines.contract import EngineSettings, Manifest
from engines.kubernetes import KubernetesEngine
from engines.kubernetes.api import Api
from engines.kubernetes.findings import chart_findings
from engines.kubernetes.kept import label
from engines.kubernetes.kubeconfig import Access
from engines.kubernetes.tenancy import tenant

TOKEN = "very-secret-token"


def kubeconfig(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any) -> str:
    """A kubeconfig with a token, changed like this."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": "https://edge.example:6443", **(cluster or {})}}],
            "users": [{"name": "u", "user": {"token": TOKEN, **(user or {})}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
            **more,
        }
    )


# Kubeconfigs


def test_a_kubeconfig_that_carries_all_in_itself_is_taken_and_reduced_to_that() -> None:
    access = Access.read(kubeconfig(preferences={"colors": True}))
    assert (access.server, access.token, access.verify) == ("https://edge.example:6443", TOKEN, True)
    again = Access.read(access.kubeconfig())
    assert again == access
    assert "preferences" not in access.kubeconfig()


def test_a_context_can_be_named() -> None:
    two = yaml.safe_load(kubeconfig())
    two["users"].append({"name": "other", "user": {"token": "another"}})
    two["contexts"].append({"name": "y", "context": {"cluster": "c", "user": "other"}})
    assert Access.read(yaml.safe_dump(two), "y").token == "another"
    with pytest.raises(Invalid, match="no context 'z'"):
        Access.read(yaml.safe_dump(two), "z")


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh"}}, "runs a program"),
        ({"auth-provider": {"name": "gcp"}}, "login plugin"),
        ({"tokenFile": "/etc/shadow"}, "names a file"),
        ({"client-certificate": "/etc/passwd", "client-key": "/etc/shadow"}, "names a file"),
        ({"username": "admin", "password": TOKEN}, "password"),
        ({"as": "system:admin"}, "impersonates"),
    ],
)
def test_a_user_that_would_run_or_read_something_here_is_refused(user: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        Access.read(kubeconfig(user=user))
    assert TOKEN not in str(refused.value.problem())


@pytest.mark.parametrize(
    "cluster",
    [
        {"certificate-authority": "/etc/shadow"},
        {"proxy-url": "http://127.0.0.1:8080"},
        {"server": "http://edge.example:8080"},
        {"server": "https://user:pass@edge.example"},
        {"server": "file:///etc/passwd"},
        {"server": ""},
        {"certificate-authority-data": "!!!"},
        {"certificate-authority-data": base64.b64encode(b"no certificate").decode()},
    ],
)
def test_a_cluster_that_is_no_plain_https_server_is_refused(cluster: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Access.read(kubeconfig(cluster=cluster))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "no mapping",
        "[]",
        "{}",
        "a: b: c",
        "\t",
        "clusters: 5",
        kubeconfig(user={"token": ""}),
        kubeconfig(**{"current-context": 7}),
    ],
)
def test_what_is_no_kubeconfig_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Access.read(text)


def test_a_kubeconfig_of_any_size_is_not_read() -> None:
    with pytest.raises(Invalid, match="larger than"):
        Access.read("x: " + "y" * (300 << 10))


def test_neither_the_token_nor_the_key_is_shown() -> None:
    access = Access.read(kubeconfig())
    assert TOKEN not in repr(access)
    assert TOKEN not in repr(EngineSettings(kubeconfig=kubeconfig()))


def test_helm_acts_as_a_user_of_its_own_in_each_namespace() -> None:
    acting = json.loads(Access.read(kubeconfig()).kubeconfig(tenant("t-acme")))
    assert acting["users"][0]["user"]["as"] == "breakwater:t-acme"


def test_an_engine_without_kubeconfig_can_plan_and_nothing_else() -> None:
    engine = KubernetesEngine(EngineSettings())
    charts = Path(__file__).parents[1] / "contracts" / "charts"
    assert [each.kind for each in engine.plan(charts / "web", {}).manifests][-1] == "Deployment"
    with pytest.raises(Invalid, match="no kubeconfig"):
        engine.ping()
    engine.close()


# Answers of a cluster


@pytest.fixture
def api_that() -> Iterator[Callable[[Callable[[httpx2.Request], httpx2.Response]], Api]]:
    """Make a client of a cluster that answers like this."""
    made: list[Api] = []

    def make(answer: Callable[[httpx2.Request], httpx2.Response]) -> Api:
        made.append(Api(Access.read(kubeconfig()), httpx2.MockTransport(answer)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (400, "bad", Invalid),
        (401, "Unauthorized", Rejected),
        (403, "pods is forbidden", Rejected),
        (403, "unable to create new content in namespace t because it is being terminated", Unavailable),
        (409, "the object has been modified", Conflict),
        (422, "spec.replicas: Invalid value", Invalid),
        (429, "too many requests", Unavailable),
        (500, "etcdserver: leader changed", Unavailable),
        (503, "", Unavailable),
        (302, "", Rejected),
    ],
)
def test_an_answer_that_is_no_is_told_in_our_words(
    api_that: Any, status: int, message: str, error: type[BreakwaterError]
) -> None:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}
    api = api_that(lambda request: httpx2.Response(status, json=body))
    for ask in (lambda: api.all("Pod", "t"), lambda: api.secrets_metadata("t", "owner=helm"), api.version):
        with pytest.raises(error) as told:
            ask()
        assert TOKEN not in str(told.value.problem())


def test_credentials_that_are_not_known_are_told_as_that(api_that: Any) -> None:
    api = api_that(
        lambda request: httpx2.Response(401, json={"kind": "Status", "message": "Unauthorized", "code": 401})
    )
    with pytest.raises(Rejected, match="credentials of its kubeconfig"):
        api.version()


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", b"[]", b"null", b'{"items": 5}'])
def test_an_answer_that_is_nonsense_is_told_as_that(api_that: Any, body: bytes) -> None:
    api = api_that(lambda request: httpx2.Response(200, content=body))
    with pytest.raises(Rejected):
        api.all("Pod", "t")


@pytest.mark.parametrize(
    ("problem", "error"), [(httpx2.ConnectError("refused"), Unavailable), (httpx2.ReadTimeout("slow"), TimedOut)]
)
def test_a_cluster_that_does_not_answer_is_worth_another_try(
    api_that: Any, problem: Exception, error: type[BreakwaterError]
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise problem

    for ask in (api_that(answer).version, lambda: api_that(answer).all("Pod", "t")):
        with pytest.raises(error) as told:
            ask()
        assert told.value.retryable


def test_what_is_not_there_is_none_or_gone_already(api_that: Any) -> None:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "code": 404}
    api = api_that(lambda request: httpx2.Response(404, json=body))
    assert api.find("Pod", "x", "t") is None
    assert api.find_any("v1", "Pod", "t", "x") is None
    api.delete_namespace("t")
    with pytest.raises(Missing):
        api.patch("Pod", "x", "t", {})


# Charts


def manifest(kind: str, version: str = "v1", **body: Any) -> Manifest:
    return Manifest(kind, "it", version, {"kind": kind, "metadata": {"name": "it"}, **body})


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (manifest("Service", spec={"externalIPs": ["192.0.2.1"]}), "external-ips"),
        (manifest("ConfigMap", metadata={"name": "it", "namespace": "kube-system"}), "other-namespace"),
        (manifest("RoleBinding", roleRef={"kind": "ClusterRole", "name": "cluster-admin"}), "rights-of-the-cluster"),
        (manifest("Role", rules=[{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}]), "rights-too-wide"),
        (manifest("Role", rules=[{"resources": ["namespaces/status"], "verbs": ["patch"]}]), "rights-too-wide"),
        (manifest("Role", rules=[{"resources": ["ingresses"], "verbs": ["get", "create"]}]), "rights-too-wide"),
        (manifest("EndpointSlice", "discovery.k8s.io/v1"), "addresses-of-a-service"),
        *(
            (manifest("Service", spec={"type": "ExternalName", "externalName": name}), "other-namespace")
            for name in ("a.db.t-rival.svc.cluster.local.", "db.t-rival", "10-42-1-5.t.pod.cluster.local", "10.42.1.5")
        ),
        (manifest("ClusterRole"), "kind-belongs-to-the-cluster"),
        (manifest("Pod", spec={"hostNetwork": True, "containers": []}), "host-hostnetwork"),
        (
            manifest(
                "Ingress",
                metadata={"name": "it", "annotations": {"nginx.ingress.kubernetes.io/server-snippet": "root /;"}},
            ),
            "ingress-snippet",
        ),
    ],
)
def test_what_reaches_beyond_the_tenant_is_refused(bad: Manifest, code: str) -> None:
    assert [(each.level, each.code) for each in chart_findings([bad], "t")] == [(Level.ERROR, code)]


def test_what_stays_in_its_namespace_is_fine() -> None:
    fine = [
        manifest("Role", rules=[{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]),
        manifest("Role", rules=[{"resources": ["ingresses", "endpoints"], "verbs": ["get", "list", "watch"]}]),
        *(
            manifest("Service", spec={"type": "ExternalName", "externalName": name})
            for name in ("db.t.svc.cluster.local", "db.example.org", "example.org")
        ),
        manifest("RoleBinding", roleRef={"kind": "Role", "name": "it"}),
        manifest("RoleBinding", roleRef={"kind": "ClusterRole", "name": "view"}),
        manifest("ConfigMap", metadata={"name": "it", "namespace": "t"}),
    ]
    assert list(chart_findings(fine, "t")) == []


def test_any_text_becomes_a_label_that_kubernetes_takes() -> None:
    assert label("Edge node 7 (Zürich)") == "Edge-node-7--Z-rich"
    assert len(label("x" * 99)) == 63
    assert label("--") == ""


# Hooks

HOOK = """
apiVersion: v1
kind: Pod
metadata:
  name: "{{ .Release.Name }}-hook"
  annotations: {"helm.sh/hook": pre-install}
spec: {hostNetwork: true, containers: []}
"""


def chart_with(template: str, folder: Path) -> Path:
    (folder / "c" / "templates").mkdir(parents=True)
    (folder / "c" / "Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 1.0.0\n")
    (folder / "c" / "templates" / "all.yaml").write_text(template)
    return folder / "c"


def test_a_plan_tells_what_is_wrong_with_hooks_and_loads_no_helm_here(tmp_path: Path) -> None:
    engine = KubernetesEngine(EngineSettings())
    before = "helm_python" in sys.modules
    plan = engine.plan(chart_with(HOOK, tmp_path), {}, name="one")
    assert [(each.place, each.code) for each in plan.findings] == [("Pod/one-hook", "host-hostnetwork")]
    assert plan.manifests == ()
    assert ("helm_python" in sys.modules) == before
