"""What a chart asks for, in words: from rendered objects alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appstore.contents.permissions import of_crds, of_files, of_hooks, permissions_of, ports_of
from appstore.contents.rbac import rule_in_words
from engines.contract import Manifest
from engines.helm.hooks import hooks_in
from engines.helm.manifests import load_all, manifests
from tests.appstore.contents import inside


def asked(text: str) -> set[tuple[str, str, str]]:
    """Code, severity and value of everything that these objects ask for."""
    return {(p.code, p.severity, p.value) for p in permissions_of(manifests(text), "app")}


def test_a_usual_chart_asks_for_nothing() -> None:
    assert asked(inside.DEPLOYMENT) == set()


def test_a_chart_that_asks_for_everything_is_told_everything() -> None:
    found = asked(inside.GREEDY)
    for each in (
        ("privileged", "high", ""),
        ("host-network", "high", ""),
        ("host-pid", "high", ""),
        ("host-ipc", "high", ""),
        ("shared-processes", "low", ""),
        ("host-path", "high", "/"),
        ("host-path", "high", "/run/containerd/containerd.sock"),
        ("device", "high", "/dev/net/tun"),
        ("device", "medium", "nvidia.com/gpu"),
        ("hugepages", "low", "hugepages-2Mi"),
        ("capability", "high", "SYS_ADMIN"),
        ("capability", "high", "NET_ADMIN"),
        ("capability", "low", "NET_BIND_SERVICE"),
        ("privilege-escalation", "medium", ""),
        ("run-as-root", "medium", "0"),
        ("proc-mount", "high", ""),
        ("seccomp-unconfined", "high", ""),
        ("apparmor-unconfined", "high", ""),
        ("host-port", "medium", "2152/UDP"),
        ("sysctl", "medium", "kernel.msgmax"),
        ("priority", "medium", "system-node-critical"),
        ("extra-network", "medium", "sriov-n6"),
        ("service-account-token", "low", "greedy"),
        ("cluster-scoped", "high", "ClusterRole"),
        ("cluster-scoped", "high", "ClusterRoleBinding"),
        ("rbac", "high", "cluster-admin"),
        ("rbac", "high", "|secrets|get,list|"),
        ("node-port", "medium", "30053"),
        ("external-ip", "high", "192.0.2.1"),
        ("other-namespace", "medium", "kube-system"),
    ):
        assert each in found


def test_the_gravest_come_first_and_each_is_told_in_words() -> None:
    found = permissions_of(manifests(inside.GREEDY), "app")
    order = ["high", "medium", "low"]
    assert [order.index(p.severity) for p in found] == sorted(order.index(p.severity) for p in found)
    words = {p.code + p.value: p.words for p in found}
    assert words["host-path/"] == "reads the whole file system of the host"
    assert "owns the host" in words["host-path/run/containerd/containerd.sock"]
    assert all(p.words and p.place for p in found)


def test_a_folder_of_the_host_that_is_mounted_to_be_written_is_told_so() -> None:
    text = inside.GREEDY.replace("readOnly: true", "readOnly: false")
    found = {p.value: p.words for p in permissions_of(manifests(text), "app") if p.code == "host-path"}
    assert found["/"] == "reads and writes the whole file system of the host"


@pytest.mark.parametrize(
    ("rule", "everywhere", "words", "severity"),
    [
        (
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}, False,
            "may read configmaps in its namespace", "low",
        ),
        (
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one"]}, False,
            "may read secrets called one in its namespace", "high",
        ),
        (
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create", "get"]}, False,
            "may read and create deployments in its namespace", "high",
        ),
        (
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}, True,
            "may create shells in pods (pods/exec) in the whole cluster", "high",
        ),
        (
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, True,
            "may do everything with every kind of object in the whole cluster", "high",
        ),
        (
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}, True,
            "may read nodes in the whole cluster", "medium",
        ),
        (
            {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, True,
            "may read the addresses /metrics of the API server in the whole cluster", "medium",
        ),
        (
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]}, False,
            "may escalate roles in its namespace", "high",
        ),
    ],
)  # fmt: skip
def test_a_rule_of_access_in_words(rule: Any, everywhere: bool, words: str, severity: str) -> None:
    assert rule_in_words(rule, everywhere=everywhere)[:2] == (words, severity)


def test_the_order_in_which_a_rule_is_written_says_nothing() -> None:
    one = rule_in_words({"resources": ["b", "a"], "verbs": ["list", "get"]}, everywhere=False)
    assert one == rule_in_words({"resources": ["a", "b"], "verbs": ["get", "list"]}, everywhere=False)


def test_what_rendering_does_not_show_is_told_of_the_files() -> None:
    assert [(p.code, p.severity) for p in of_files(["crds/a.yaml"], {"templates/job.yaml": "d" * 64})] == [
        ("cluster-scoped", "high"),
        ("hook", "medium"),
    ]


PRIVILEGED = "{containers: [{name: a, image: b, securityContext: {privileged: true}}]}"


def hooks_of(events: str, text: str) -> Any:
    documents = [("templates/a.yaml", body) for body in load_all(text.replace("EVENTS", events))]
    return hooks_in(documents)[0]


def test_a_hook_says_when_it_runs_and_what_it_asks_for() -> None:
    pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {"helm.sh/hook": "EVENTS"}}\nspec: ' + PRIVILEGED
    found = of_hooks(hooks_of("pre-upgrade, post-delete", pod), "app")
    assert [(each.code, each.severity, each.place) for each in found] == [
        ("hook", "medium", "Pod/p"),
        ("privileged", "high", "Pod/p/a"),
    ]
    assert found[1].words.startswith("in a hook that runs before an update and after removal: runs privileged")


def test_a_test_asks_for_what_it_asks_for_and_for_nothing_else() -> None:
    pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {"helm.sh/hook": EVENTS}}\nspec: ' + PRIVILEGED
    (found,) = of_hooks(hooks_of("test-success", pod), "app")
    assert (found.code, found.words[:51]) == ("privileged", "in a test that runs only when somebody asks for it:")


def test_a_new_image_is_no_other_hook_and_a_new_command_is_one() -> None:
    def value(image: str, command: str) -> str:
        job = (
            'apiVersion: batch/v1\nkind: Job\nmetadata: {name: p, annotations: {"helm.sh/hook": EVENTS}}\n'
            f"spec: {{template: {{spec: {{containers: [{{name: a, image: {image}, command: [{command}]}}]}}}}}}"
        )
        return of_hooks(hooks_of("pre-install", job), "app")[0].value

    assert value("a:1", "x") == value("a:2", "x")
    assert value("a:1", "x") != value("a:1", "y")


def test_what_lies_in_crds_and_is_no_definition_is_grave() -> None:
    found = of_crds(manifests("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: " + PRIVILEGED), "app")
    assert {(each.code, each.severity) for each in found} == {("privileged", "high"), ("crds-misused", "high")}


def test_an_object_that_stays_behind_is_told() -> None:
    text = 'apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {"helm.sh/resource-policy": " Keep"}}\n'
    assert asked(text) == {("left-behind", "medium", "")}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
IN_POD = ("hostNetwork", "volumes", "containers", "initContainers", "securityContext", "serviceAccountName")
POD = st.fixed_dictionaries({}, optional=dict.fromkeys(IN_POD, JSON))
IN_CONTAINER = st.sampled_from(["securityContext", "ports", "resources", "name", "volumeDevices"])


@settings(max_examples=30)
@given(spec=POD, metadata=JSON, container=st.dictionaries(IN_CONTAINER, JSON), rules=JSON)
def test_odd_objects_are_no_errors(spec: Any, metadata: Any, container: Any, rules: Any) -> None:
    bodies = [
        {"spec": {"template": {"spec": spec, "metadata": metadata}}},
        {"spec": {"template": {"spec": {"containers": [container]}}}},
    ]
    odd = [Manifest("Deployment", "a", "apps/v1", {"kind": "Deployment", **body}) for body in bodies]
    odd += [Manifest(kind, "a", "v1", {"rules": rules, "spec": spec, "metadata": metadata, "roleRef": rules, "subjects": rules})
            for kind in ("Role", "ClusterRoleBinding", "Service", "Pod")]  # fmt: skip
    assert all(p.severity in ("high", "medium", "low") for p in permissions_of(odd, "app"))
    assert all(0 < p["port"] < 65536 for p in ports_of(odd))
