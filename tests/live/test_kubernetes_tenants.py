"""What is particular to clusters: namespaces, confinement, hooks, and releases that a dead caller left half done."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import Conflict, Invalid, Rejected, Unavailable
from engines.contract import EngineSettings, Reason, Release, ReleaseStatus, State
from engines.kubernetes import KubernetesEngine
from engines.kubernetes.policies import OURS, TENANT
from engines.kubernetes.tenancy import BINDING, GUARD
from tests.contracts.engine import EngineContract
from tests.contracts.image import IMAGE
from tests.live.conftest import TestCluster
from tests.live.test_kubernetes_engine import KubernetesHarness
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-map"}
data: {key: value}
"""


@pytest.fixture
def harness(kubernetes_cluster: TestCluster) -> Iterator[KubernetesHarness]:
    made = KubernetesHarness(kubernetes_cluster)
    yield made
    made.close()


@pytest.fixture
def chart(tmp_path: Path) -> Any:
    """Write a chart with this template."""

    def write(template: str, name: str = "made") -> Path:
        folder = tmp_path / name
        (folder / "templates").mkdir(parents=True, exist_ok=True)
        (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
        (folder / "templates" / "all.yaml").write_text(template)
        return folder

    return write


def web(harness: KubernetesHarness, generation: int = 1, **values: Any) -> Release:
    return EngineContract().release(harness, generation=generation, **values)


def wait_for(harness: KubernetesHarness, state: State, name: str = "one") -> ReleaseStatus:
    def look() -> ReleaseStatus | None:
        status = harness.engine.status(name, harness.namespace)
        return status if status.state is state else None

    return until(look, harness.patience, every=0.2)


# Namespaces


def test_the_namespace_is_made_with_its_guard_and_goes_with_the_last_release(harness: KubernetesHarness) -> None:
    harness.engine.apply(web(harness))
    made = harness.api.find("Namespace", harness.namespace)
    assert made is not None
    assert {**OURS, **GUARD}.items() <= made["metadata"]["labels"].items()

    harness.engine.remove("one", harness.namespace)

    until(lambda: harness.api.find("Namespace", harness.namespace) is None, harness.patience, every=0.2)


def test_a_namespace_that_others_made_stays(harness: KubernetesHarness) -> None:
    harness.api.create("Namespace", {"metadata": {"name": harness.namespace}})
    harness.engine.apply(web(harness))
    harness.engine.remove("one", harness.namespace)
    found = harness.api.find("Namespace", harness.namespace)
    assert found is not None
    assert found["status"]["phase"] == "Active"
    assert harness.api.find("RoleBinding", BINDING, harness.namespace) is None


def test_a_namespace_with_something_of_others_in_it_stays(harness: KubernetesHarness) -> None:
    harness.engine.apply(web(harness))
    service = {"metadata": {"name": "theirs", "namespace": harness.namespace}, "spec": {"ports": [{"port": 80}]}}
    harness.api.create("Service", service)
    harness.engine.remove("one", harness.namespace)
    found = harness.api.find("Namespace", harness.namespace)
    assert found is not None
    assert found["status"]["phase"] == "Active"


# Confinement


def test_a_chart_cannot_look_into_other_namespaces(harness: KubernetesHarness, chart: Any) -> None:
    secret = '{{ (lookup "v1" "Secret" "kube-system" "bootstrap").data | toJson | quote }}'
    nosy = chart(CONFIG_MAP.replace("value", secret))
    with pytest.raises(Invalid, match="forbidden"):
        harness.engine.apply(Release("nosy", harness.namespace, nosy))
    assert harness.left("nosy") == []
    until(lambda: harness.api.find("Namespace", harness.namespace) is None, harness.patience, every=0.2)


def test_what_a_chart_hides_from_a_look_without_cluster_is_stopped_by_the_cluster(
    harness: KubernetesHarness, chart: Any
) -> None:
    hidden = """
{{- if .Capabilities.APIVersions.Has "flowcontrol.apiserver.k8s.io/v1/FlowSchema" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "{{ .Release.Namespace }}-sly"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: "{{ .Release.Namespace }}"}]
{{- end }}
"""
    sly = chart(CONFIG_MAP + hidden)
    with pytest.raises((Invalid, Rejected)):
        harness.engine.apply(Release("sly", harness.namespace, sly))
    version = "rbac.authorization.k8s.io/v1"
    assert harness.api.find_any(version, "ClusterRoleBinding", "", f"{harness.namespace}-sly") is None
    assert harness.engine.status("sly", harness.namespace).state in {State.ABSENT, State.FAILED}
    harness.engine.remove("sly", harness.namespace)
    assert harness.left("sly") == []


HOOK = """
---
apiVersion: batch/v1
kind: Job
metadata:
  name: "{{ .Release.Name }}-hook"
  annotations: {"helm.sh/hook": pre-install}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: hook
          image: IMAGE
          command: ["/bin/sh", "-c", "echo prepared"]
          securityContext: {privileged: PRIVILEGED}
""".replace("IMAGE", IMAGE)


def test_a_hook_is_judged_like_everything_else(harness: KubernetesHarness, chart: Any) -> None:
    hostile = chart(CONFIG_MAP + HOOK.replace("PRIVILEGED", "true"))
    with pytest.raises(Invalid) as refused:
        harness.engine.apply(Release("hooked", harness.namespace, hostile))
    assert [each["code"] for each in refused.value.context["findings"]] == ["host-privileged"]
    assert harness.left("hooked") == []


def test_a_hook_that_ran_goes_with_its_release(harness: KubernetesHarness, chart: Any) -> None:
    harness.engine.apply(Release("hooked", harness.namespace, chart(CONFIG_MAP + HOOK.replace("PRIVILEGED", "false"))))
    assert "Job/hooked-hook" in harness.left("hooked")
    harness.engine.remove("hooked", harness.namespace)
    until(lambda: harness.left("hooked") == [], harness.patience, every=0.2)


# Walls between tenants


WALLED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: "{{ .Release.Name }}-db"}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
"""


def policies(harness: KubernetesHarness) -> dict[str, Any]:
    found = harness.api.all("NetworkPolicy", harness.namespace)
    return {each["metadata"]["name"]: each["spec"]["podSelector"] for each in found}


def test_policies_of_a_namespace_are_kept_and_make_room_for_those_of_a_chart(
    harness: KubernetesHarness, chart: Any
) -> None:
    whole = {"breakwater-tenant-ingress": {}, "breakwater-tenant-egress": {}}
    harness.engine.apply(Release("plain", harness.namespace, chart(CONFIG_MAP)))
    assert policies(harness) == whole
    assert not [each for each in harness.left("plain") if "NetworkPolicy" in each]

    harness.api.delete_any("networking.k8s.io/v1", "NetworkPolicy", harness.namespace, "breakwater-tenant-ingress")
    harness.reopen()
    harness.engine.supervise()
    assert policies(harness) == whole

    harness.engine.apply(Release("walled", harness.namespace, chart(WALLED, "walled")))
    (name,) = set(policies(harness)) - {"breakwater-tenant-egress", "walled-db"}
    not_db = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}
    assert policies(harness)[name] == not_db
    harness.engine.supervise()
    assert policies(harness)[name] == not_db

    harness.engine.remove("walled", harness.namespace)
    assert policies(harness) == whole
    wide = WALLED.replace("{podSelector: {matchLabels: {app: web}}}", "{ipBlock: {cidr: 0.0.0.0/0}}")
    with pytest.raises(Invalid) as refused:
        harness.engine.apply(Release("wide", harness.namespace, chart(wide, "wide")))
    assert [each["code"] for each in refused.value.context["findings"]] == ["policy-widens"]
    # Nothing of the kind is known to enforce them here, and nobody is told that something does.
    assert harness.engine.isolation().state == "unknown"


def test_a_namespace_that_others_made_is_walled_off_too(harness: KubernetesHarness, chart: Any) -> None:
    harness.api.create("Namespace", {"metadata": {"name": harness.namespace}})
    harness.engine.apply(Release("plain", harness.namespace, chart(CONFIG_MAP)))
    found = harness.api.find("Namespace", harness.namespace)
    assert found is not None
    assert found["metadata"]["labels"][TENANT] == harness.namespace
    assert len(policies(harness)) == 2

    harness.engine.remove("plain", harness.namespace)

    found = harness.api.find("Namespace", harness.namespace)
    assert found is not None
    assert TENANT not in found["metadata"]["labels"]
    assert policies(harness) == {}


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: "{{ .Release.Name }}-door"}
spec:
  rules: [{host: "{{ .Values.host }}"}]
"""


def test_a_host_belongs_to_the_app_that_has_the_name_and_to_the_first_tenant_who_claims_it(
    harness: KubernetesHarness, kubernetes_cluster: TestCluster, chart: Any
) -> None:
    host, door = f"{harness.namespace}.example", chart(INGRESS)
    wish = Release("door", harness.namespace, door, {"host": host}, hosts=(host,))
    with pytest.raises(Invalid) as refused:
        harness.engine.apply(replace(wish, hosts=("other.example",)))
    assert [(each["code"], each["place"]) for each in refused.value.context["findings"]] == [
        ("host-not-given", "Ingress/door-door spec.rules[0].host")
    ]
    harness.engine.apply(wish)
    harness.engine.apply(replace(wish, generation=2))

    other = KubernetesHarness(kubernetes_cluster)
    try:
        with pytest.raises(Invalid) as refused:
            other.engine.apply(replace(wish, namespace=other.namespace))
        assert [each["code"] for each in refused.value.context["findings"]] == ["host-taken"]
        assert other.left("door") == []
    finally:
        other.close()


# What a dead caller left


def half_done(harness: KubernetesHarness, status: str, extra: str = "") -> None:
    """Put the next revision of `one` into the cluster as a caller leaves it that dies before it is done."""
    secret = dict(harness.api.find("Secret", "sh.helm.release.v1.one.v1", harness.namespace) or {})
    payload = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    payload["version"] = 2
    payload["info"]["status"] = status
    payload["manifest"] += extra
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(payload).encode()))).decode()
    labels = {**secret["metadata"]["labels"], "status": status, "version": "2"}
    metadata = {"name": "sh.helm.release.v1.one.v2", "namespace": harness.namespace, "labels": labels}
    harness.api.create("Secret", {"metadata": metadata, "type": secret["type"], "data": {"release": packed}})


def orphan(harness: KubernetesHarness) -> str:
    """Make an object of the half done revision, and return its manifest."""
    annotations = {"meta.helm.sh/release-name": "one", "meta.helm.sh/release-namespace": harness.namespace}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "one-orphan", "namespace": harness.namespace, "annotations": annotations},
        "spec": {"ports": [{"port": 80}]},
    }
    harness.api.create("Service", body)
    return f"\n---\n{json.dumps(body)}\n"


@pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback", "failed"])
def test_the_next_apply_mends_an_upgrade_that_was_cut_short(harness: KubernetesHarness, status: str) -> None:
    harness.engine.apply(web(harness, message="first"))
    wait_for(harness, State.READY)
    half_done(harness, status, orphan(harness))
    assert harness.engine.status("one", harness.namespace).state is not State.READY

    revision = harness.engine.apply(web(harness, generation=2, message="second"))

    assert revision.number == 3
    status_now = wait_for(harness, State.READY)
    assert (status_now.revision, status_now.generation) == (3, 2)
    assert "Service/one-orphan" not in harness.left("one")
    assert until(lambda: harness.about("one"), harness.patience)["message"] == "second"


def test_removal_takes_what_a_cut_short_upgrade_had_made(harness: KubernetesHarness) -> None:
    harness.engine.apply(web(harness))
    half_done(harness, "pending-upgrade", orphan(harness))
    harness.engine.remove("one", harness.namespace)
    assert harness.left("one") == []


def test_an_upgrade_whose_caller_was_killed_converges(harness: KubernetesHarness) -> None:
    harness.engine.apply(web(harness, message="first"))
    wait_for(harness, State.READY)
    second = web(harness, generation=2, message="second", replicas=2)
    for moment in (0.1, 0.25, 0.4):
        EngineContract.kill_while_applying(harness, second, moment)
        harness.reopen()

    harness.engine.apply(second)

    assert wait_for(harness, State.READY).generation == 2
    until(lambda: len(harness.pods("one")) == 2, harness.patience, every=0.2)
    assert until(lambda: harness.about("one"), harness.patience)["message"] == "second"


def test_a_rollback_that_was_cut_short_goes_where_it_was_going(harness: KubernetesHarness) -> None:
    for generation in (1, 2):
        harness.engine.apply(web(harness, generation=generation, message=f"message {generation}"))
        wait_for(harness, State.READY)
    first = harness.engine.rollback("one", harness.namespace, generation=3)
    # As if the caller had died after Helm was done and before it noted the generation.
    harness.api.patch(
        "Secret",
        "sh.helm.release.v1.one.v3",
        harness.namespace,
        {"metadata": {"labels": {"breakwater.io/generation": "1"}}},
    )

    again = harness.engine.rollback("one", harness.namespace, generation=3)

    assert (first.number, again.number, again.generation) == (3, 3, 3)
    until(lambda: harness.about("one").get("message") == "message 1", harness.patience, every=0.2)


# Workloads


def test_a_pod_that_fits_nowhere_is_unschedulable(harness: KubernetesHarness) -> None:
    harness.engine.apply(web(harness, memory="900Gi"))
    status = until(
        lambda: (
            status
            if (status := harness.engine.status("one", harness.namespace)).reason is Reason.UNSCHEDULABLE
            else None
        ),
        harness.patience,
        every=0.2,
    )
    assert status.state is State.PROGRESSING
    assert "memory" in status.message


def test_a_job_is_ready_when_it_is_done_and_a_stateful_set_takes_its_volumes_along(
    harness: KubernetesHarness, chart: Any
) -> None:
    template = """
apiVersion: batch/v1
kind: Job
metadata: {name: "{{ .Release.Name }}-once"}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: "IMAGE", command: ["/bin/sh", "-c", "echo done"]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: "{{ .Release.Name }}-db"}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: "IMAGE", command: ["/bin/sh", "-c", "sleep 1000"]}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], storageClassName: none-such, resources: {requests: {storage: 1Mi}}}
""".replace("IMAGE", IMAGE)
    harness.engine.apply(Release("state", harness.namespace, chart(template)))
    until(
        lambda: (
            {each.kind: each.state for each in harness.engine.status("state", harness.namespace).workloads}
            == {"Job": State.READY, "StatefulSet": State.PROGRESSING}
        ),
        harness.patience,
        every=0.2,
    )
    lines = harness.engine.logs("state", harness.namespace, workload="Job/state-once")
    assert [line.text for line in lines] == ["done"]
    claims = [each["metadata"]["name"] for each in harness.api.all("PersistentVolumeClaim", harness.namespace)]
    assert claims == ["data-state-db-0"]

    harness.engine.remove("state", harness.namespace)

    until(lambda: not harness.api.all("PersistentVolumeClaim", harness.namespace), harness.patience, every=0.2)
    until(lambda: harness.left("state") == [], harness.patience, every=0.2)


# The cluster


def test_the_cluster_tells_its_version_and_its_size(harness: KubernetesHarness) -> None:
    assert harness.engine.ping().startswith("Kubernetes v1.")
    capacity = harness.engine.capacity()
    assert capacity.cpu_millis >= 1000
    assert capacity.memory_bytes > 256 << 20


def test_of_a_release_that_is_not_there_nothing_is_told(harness: KubernetesHarness) -> None:
    assert harness.engine.logs("never", harness.namespace) == []
    assert harness.engine.events("never", harness.namespace) == []


def test_credentials_that_the_cluster_does_not_know_are_told_without_repeating_them(harness: KubernetesHarness) -> None:
    config = yaml.safe_load(harness.settings.kubeconfig)
    config["users"][0]["user"] = {"token": "not-a-token-of-anybody"}
    engine = KubernetesEngine(EngineSettings(kubeconfig=json.dumps(config)))
    for ask in (engine.capacity, lambda: engine.apply(web(harness)), lambda: engine.status("one", harness.namespace)):
        with pytest.raises(Rejected) as refused:
            ask()
        assert "not-a-token" not in str(refused.value.problem())
    engine.close()


def test_a_cluster_that_is_not_there_is_unavailable(harness: KubernetesHarness) -> None:
    config = yaml.safe_load(harness.settings.kubeconfig)
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    engine = KubernetesEngine(EngineSettings(kubeconfig=json.dumps(config)))
    for ask in (engine.ping, lambda: engine.apply(web(harness)), lambda: engine.status("one", harness.namespace)):
        with pytest.raises(Unavailable):
            ask()
    engine.close()


def test_an_object_of_another_release_is_not_taken_over(harness: KubernetesHarness, chart: Any) -> None:
    fixed = CONFIG_MAP.replace("{{ .Release.Name }}-map", "shared")
    harness.engine.apply(Release("mine", harness.namespace, chart(fixed)))
    with pytest.raises((Conflict, Invalid, Rejected)):
        harness.engine.apply(Release("thine", harness.namespace, chart(fixed)))
    assert wait_for(harness, State.READY, "mine").state is State.READY
