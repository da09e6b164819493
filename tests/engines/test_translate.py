"""What a chart's objects mean as pods, and what is told about those that cannot run."""

from __future__ import annotations

import textwrap
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.findings import Finding, Level
from engines.contract import Compute
from engines.docker.doors import mapped
from engines.docker.files import Files
from engines.docker.keeper import expand
from engines.helm.manifests import manifests
from engines.planning import compute_of, host_findings, images_of, quantity
from engines.pods.findings import kind_findings
from engines.pods.translate import translate
from engines.pods.wanted import Container, Wanted

HEAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
"""


def pod(text: str, *more: str) -> tuple[Wanted, list[Finding]]:
    """Translate a Deployment with this pod spec, and other objects beside it."""
    body = HEAD + textwrap.indent(textwrap.dedent(text).strip("\n"), " " * 6)
    return translate(manifests("\n---\n".join([body, *(textwrap.dedent(each) for each in more)])), "t-a")


def container(text: str, *more: str) -> tuple[Container, list[str]]:
    """Translate one container and return it with the codes of the errors."""
    spec = "containers:\n- name: main\n  image: app:1\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "  ")
    wanted, findings = pod(spec, *more)
    return wanted.workloads[0].template.containers[0], [each.code for each in findings if each.level is Level.ERROR]


CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {A: one, B: two}\nbinaryData: {raw: AAH/}"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: sec}\ndata: {pass: c2VjcmV0}\nstringData: {user: me}"


def test_the_environment_comes_from_everywhere_and_later_names_win() -> None:
    found, errors = container(
        """
        envFrom: [{configMapRef: {name: conf}}, {secretRef: {name: sec}, prefix: S_}]
        env:
        - {name: A, value: changed}
        - {name: P, valueFrom: {secretKeyRef: {name: sec, key: pass}}}
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
        - {name: NOT, valueFrom: {configMapKeyRef: {name: other, key: x, optional: true}}}
        resources: {limits: {memory: 64Mi}}
        """,
        CONFIG,
        SECRET,
    )
    assert errors == []
    values = {each.name: each.value for each in found.variables}
    assert values["A"] == "changed"
    assert (values["B"], values["S_pass"], values["S_user"], values["P"], values["MEM"]) == (
        "two", "secret", "me", "secret", "64Mi",
    )  # fmt: skip
    assert next(each for each in found.variables if each.name == "IP").pod_field == "status.podIP"
    assert "NOT" not in values


@pytest.mark.parametrize(
    "text",
    [
        "env: [{name: X, valueFrom: {configMapKeyRef: {name: absent, key: a}}}]",
        "env: [{name: X, valueFrom: {secretKeyRef: {name: sec, key: absent}}}]",
        "envFrom: [{secretRef: {name: absent}}]",
    ],
)
def test_a_reference_to_nothing_is_told_before_anything_starts(text: str) -> None:
    assert container(text, SECRET)[1] == ["config-missing"]


def test_secrets_do_not_show_when_a_plan_is_printed() -> None:
    wanted, _ = pod(
        """
        containers:
        - {name: main, image: app, env: [{name: P, valueFrom: {secretKeyRef: {name: sec, key: pass}}}],
           volumeMounts: [{name: v, mountPath: /v}]}
        volumes: [{name: v, secret: {secretName: sec}}]
        """,
        SECRET,
    )
    assert wanted.workloads[0].template.volumes[0].files[0].body == b"secret"
    assert "secret'" not in repr(wanted)
    assert "b'secret" not in repr(wanted)


def test_volumes_become_files_with_modes_and_paths() -> None:
    wanted, findings = pod(
        """
        containers: [{name: main, image: app, volumeMounts: [{name: v, mountPath: /v}, {name: all, mountPath: /all}]}]
        volumes:
        - {name: v, configMap: {name: conf, defaultMode: 0o400, items: [{key: A, path: sub/a, mode: 0o755}, {key: B, path: b}]}}
        - {name: all, projected: {sources: [{configMap: {name: conf}}, {secret: {name: sec}}]}}
        """.replace("0o400", "256").replace("0o755", "493"),
        CONFIG,
        SECRET,
    )
    assert findings == []
    first, all_ = wanted.workloads[0].template.volumes
    assert [(file.path, file.body, file.mode) for file in first.files] == [
        ("sub/a", b"one", 0o755),
        ("b", b"two", 0o400),
    ]
    assert {file.path for file in all_.files} == {"A", "B", "raw", "pass", "user"}


@pytest.mark.parametrize("path", ["../out", "/abs", "a/../../b", ""])
def test_a_file_outside_of_its_volume_is_refused(path: str) -> None:
    _, findings = pod(
        f"""
        containers: [{{name: main, image: app}}]
        volumes: [{{name: v, configMap: {{name: conf, items: [{{key: A, path: "{path}"}}]}}}}]
        """,
        CONFIG,
    )
    assert [each.code for each in findings] == ["file-path"]


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        # The engine makes folders and mounts of these: each of them would be one of the host's.
        ("/etc/cron.d", ""),
        ("../../up", ""),
        ("..", ""),
        ("v", "/var/run/docker.sock"),
        ("v", "../../../etc"),
        ("v", "a:/b"),
    ],
)
def test_a_volume_does_not_lead_to_the_files_of_the_host(volume: str, mount: str, tmp_path: Path) -> None:
    wanted, findings = pod(
        f"""
        containers:
        - {{name: main, image: app, volumeMounts: [{{name: "{volume}", mountPath: /v, subPath: "{mount}"}}]}}
        volumes: [{{name: "{volume}", configMap: {{name: conf}}}}]
        """,
        CONFIG,
    )
    assert {each.code for each in findings} <= {"name", "sub-path"}
    assert findings
    if ":" in mount:
        return
    # What an older engine let in is stopped where the files are.
    found = wanted.workloads[0].template.containers[0].mounts[0]
    with pytest.raises(Invalid, match="outside"):
        Files(tmp_path).volume(("t-a", "web", "web-1"), found.volume, found.sub_path)


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: ../../x}\nspec: {containers: [{name: main, image: app}]}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: ../main, image: app}]}",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: 'a:/etc'}",
    ],
)
def test_names_are_names_and_no_paths(text: str) -> None:
    assert [each.code for each in translate(manifests(text), "t-a")[1]] == ["name"]


def test_limits_security_and_probes_are_carried_over() -> None:
    found, errors = container(
        """
        command: [run]
        args: [--port, "80"]
        ports: [{name: http, containerPort: 8080}]
        resources: {limits: {cpu: 250m, memory: 64Mi}}
        securityContext: {runAsUser: 7, runAsGroup: 8, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false,
                          capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
        startupProbe: {tcpSocket: {port: http}, failureThreshold: 30}
        livenessProbe: {exec: {command: [test, -f, /x]}, initialDelaySeconds: 5}
        readinessProbe: {httpGet: {path: /ready, port: 8080, scheme: HTTPS}, timeoutSeconds: 3}
        """
    )
    assert errors == []
    assert (found.entrypoint, found.arguments, found.user) == (("run",), ("--port", "80"), "7:8")
    assert (found.nano_cpus, found.memory) == (250_000_000, 64 << 20)
    assert (found.read_only_root, found.no_new_privileges, found.dropped) == (True, True, ("ALL",))
    assert found.startup
    assert (found.startup.kind, found.startup.port, found.startup.failures) == ("tcp", 8080, 30)
    assert found.liveness
    assert (found.liveness.command, found.liveness.delay) == (("test", "-f", "/x"), 5.0)
    assert found.readiness
    assert (found.readiness.kind, found.readiness.scheme, found.readiness.timeout) == ("http", "https", 3.0)


def service(name: str, port: int, target: object, protocol: str = "TCP", kind: str = "ClusterIP", node: int = 0) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: {kind}, selector: {{app: web}},"
        f" ports: [{{port: {port}, targetPort: {target}, protocol: {protocol}, nodePort: {node}}}]}}"
    )


SERVED = "containers: [{name: main, image: app, ports: [{name: http, containerPort: 8080}]}]"


def test_a_service_is_a_name_for_its_pods() -> None:
    wanted, findings = pod(SERVED, service("front", 80, "http"))
    assert findings == []
    aliases = wanted.workloads[0].template.aliases
    assert {"front", "front.t-a", "front.t-a.svc", "front.t-a.svc.cluster.local"} == set(aliases)
    assert mapped(wanted.services, wanted.workloads[0].template) == {80: 8080}
    same, _ = pod(SERVED, service("front", 8080, "http"))
    assert mapped(same.services, same.workloads[0].template) == {}


def test_ports_keep_their_numbers_and_those_of_the_node_are_its_own() -> None:
    high = SERVED.replace("8080", "15672").replace("}]}]", "}], livenessProbe: {tcpSocket: {port: 15672}}}]")
    wanted, findings = pod(high, service("front", 15671, "http", node=30080))
    assert findings == []
    (port,) = wanted.services[0].ports
    probe = wanted.workloads[0].template.containers[0].liveness
    assert (port.port, port.node_port, probe.port if probe else 0) == (15671, 30080, 15672)
    assert mapped(wanted.services, wanted.workloads[0].template) == {15671: 15672}
    assert [each.code for each in pod(high, service("front", 80, "http", node=8443))[1]] == ["node-port"]


@pytest.mark.parametrize(
    ("services", "code"),
    [
        ([service("a", 80, "absent")], "service-target-port"),
        ([service("a", 80, 8080), service("b", 80, 9090)], "service-port-clash"),
        ([service("a", 53, 5353, "UDP")], "service-port-mapping"),
        ([service("a", 0, 80)], "service-port"),
        ([service("a", 80, 80, kind="ExternalName")], "service-external-name"),
    ],
)
def test_services_that_cannot_work_are_told(services: list[str], code: str) -> None:
    _, findings = pod(SERVED, *services)
    assert [each.code for each in findings] == [code]
    assert findings[0].remedy


def test_only_a_change_of_the_pod_changes_its_digest() -> None:
    def digest(spec: str, *more: str) -> str:
        return pod(spec, *more)[0].workloads[0].template.digest

    assert digest(SERVED) == digest(SERVED, CONFIG)
    assert digest(SERVED) != digest(SERVED.replace("app,", "app2,"))
    # The names of a Service are given to its pods when they are made.
    assert digest(SERVED) != digest(SERVED, service("front", 80, 8080))


def test_everything_that_reaches_for_the_host_is_refused() -> None:
    text = HEAD + textwrap.indent(
        """
hostNetwork: true
hostPID: true
containers:
- {name: main, image: app, ports: [{containerPort: 80, hostPort: 80}],
   securityContext: {privileged: true, seccompProfile: {type: Unconfined}, capabilities: {add: [SYS_ADMIN, CHOWN]}}}
volumes: [{name: v, hostPath: {path: /}}]
""",
        " " * 6,
    )
    codes = {each.code for each in host_findings(manifests(text))}
    assert codes == {
        "host-hostnetwork", "host-hostpid", "host-hostpath", "host-privileged", "host-seccomp", "host-capabilities",
        "host-hostport",
    }  # fmt: skip


def test_what_turns_confinement_off_for_a_whole_pod_is_refused_whoever_owns_the_pod() -> None:
    text = """
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  template:
    metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/main: unconfined}}
    spec:
      priorityClassName: system-node-critical
      securityContext:
        seccompProfile: {type: Unconfined}
        sysctls: [{name: kernel.core_pattern, value: x}, {name: net.ipv4.tcp_syncookies, value: "1"}]
        windowsOptions: {hostProcess: true}
      containers: [{name: main, image: app, securityContext: {procMount: Unmasked}}]
"""
    found = {each.code: each.message for each in host_findings(manifests(text))}
    assert set(found) == {
        "host-apparmor", "host-seccomp", "host-sysctls", "host-hostprocess", "host-procmount", "host-priority",
    }  # fmt: skip
    assert "syncookies" not in found["host-sysctls"]


def test_each_kind_is_run_ignored_or_refused() -> None:
    def level(kind: str, space: str = "") -> list[Level]:
        metadata = f"{{name: x, namespace: '{space}'}}" if space else "{name: x}"
        return [
            each.level
            for each in kind_findings(manifests(f"apiVersion: v1\nkind: {kind}\nmetadata: {metadata}"), "t-a")
        ]

    assert level("ConfigMap") == []
    assert level("ServiceAccount") == [Level.INFO]
    assert level("Ingress") == [Level.WARNING]
    assert level("CronJob") == [Level.ERROR]
    assert level("Widget") == [Level.ERROR]
    assert level("ConfigMap", "elsewhere") == [Level.WARNING]


def test_nonsense_never_crashes_the_translation() -> None:
    for spec in (
        "replicas: x",
        "template: 5",
        "template: {spec: {containers: text}}",
        "template: {spec: {volumes: [1]}}",
    ):
        text = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{{spec}}}"
        translate(manifests(text), "t-a")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["spec", "template", "containers", "volumes", "env", "ports", "name", "image", "valueFrom", "limits",
             "resources", "memory", "livenessProbe", "httpGet", "port", "metadata", "labels", "selector", "configMap",
             "securityContext", "capabilities", "add", "replicas", "strategy", "rollingUpdate", "items", "envFrom"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@given(kind=st.sampled_from(["Deployment", "StatefulSet", "Job", "Pod", "Service", "ConfigMap", "Secret"]), spec=JSON)
def test_whatever_a_chart_renders_is_translated_or_told(kind: str, spec: object) -> None:
    from engines.contract import Manifest

    body = {"kind": kind, "apiVersion": "v1", "metadata": {"name": "x"}, "spec": spec, "data": spec}
    found = [Manifest(kind, "x", "v1", body)]
    translate(found, "t-a")
    list(host_findings(found))
    images_of(found)
    try:
        compute_of(found)
    except Invalid:
        return


# Amounts


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("64Mi", 64 << 20), ("1.5Gi", 3 << 29), ("1k", 1000), ("1e3", 1000), (0.25, "0.25")],
)
def test_quantities_are_read_as_kubernetes_does(text: object, value: object) -> None:
    assert quantity(text) == Decimal(str(value))


@pytest.mark.parametrize("text", ["lots", "-1", "1Zi", "", "NaN", "Infinity", "1e99"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        quantity(text)


def test_compute_is_requests_else_limits_times_replicas_and_claims() -> None:
    text = HEAD + textwrap.indent(
        """
initContainers: [{name: i, image: i, resources: {requests: {cpu: 900m}}}]
containers:
- {name: a, image: a, resources: {requests: {cpu: 100m}, limits: {cpu: 1, memory: 10Mi}}}
- {name: b, image: a, resources: {limits: {cpu: 200m, memory: 20Mi}}}
""",
        " " * 6,
    )
    claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {resources: {requests: {storage: 1Gi}}}"
    found = manifests(f"{text}\n---\n{claim}")
    assert compute_of(found) == Compute(1800, 60 << 20, 1 << 30)
    assert images_of(found) == ("i", "a")


def test_references_in_commands_are_replaced_as_kubernetes_does() -> None:
    assert expand("$(A)-$(B)-$$(A)-$A", {"A": "1"}) == "1-$(B)-$(A)-$A"
