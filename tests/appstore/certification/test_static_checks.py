"""Every static check passes a good package and fails on exactly the fault that it is there for."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appstore.certification.contract import Kind, Skip
from core.findings import Level
from tests.appstore.certification.bench import IMAGE, Bench, checks
from tests.appstore.making import manifest_of

Spoil = Callable[[Bench], Any]
STATIC = sorted(name for name, check in checks().items() if check.kind is Kind.STATIC)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A package at which nothing is wrong."""
    return Bench(tmp_path)


def container(**members: Any) -> Spoil:
    return lambda bench: bench.web.update(members)


def security(**members: Any) -> Spoil:
    return lambda bench: bench.web["securityContext"].update(members)


def pod(**members: Any) -> Spoil:
    return lambda bench: bench.pod.update(members)


def added(kind: str, api: str = "v1", **members: Any) -> Spoil:
    body = {"apiVersion": api, "kind": kind, "metadata": {"name": "certification-more"}, **members}
    return lambda bench: bench.objects.append(body)


def described(**members: Any) -> Spoil:
    return lambda bench: bench.descriptor.update(members)


def known(**members: Any) -> Spoil:
    return lambda bench: bench.contents.update(members)


def file(name: str, content: Any) -> Spoil:
    return lambda bench: bench.files.update({name: content})


def without(name: str) -> Spoil:
    return lambda bench: bench.files.pop(name)


def in_chart(name: str, text: str) -> Spoil:
    return lambda bench: bench.chart.update({name: text})


def manifest(change: Callable[[str], str]) -> Spoil:
    def spoil(bench: Bench) -> None:
        bench.manifest = lambda files: change(manifest_of(files))

    return spoil


def nested(bench: Bench) -> None:
    bench.files = {f"wrapped/{name}": content for name, content in bench.files.items()}


def more_claims(bench: Bench) -> None:
    bench.objects[0]["spec"]["replicas"] = 2
    bench.pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]


def advisory(bench: Bench) -> None:
    bench.advisories = bench.folder / "advisories.jsonl"
    bench.advisories.write_text(
        json.dumps(
            {
                "id": "EX-1",
                "summary": "anybody may log in",
                "affected": [
                    {
                        "package": {"ecosystem": "PyPI", "name": "greeter"},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}],
                        "database_specific": {"severity": "HIGH"},
                    }
                ],
            }
        )
    )
    bench.contents["components"] = [
        {"name": "greeter", "version": "2.0", "purl": "pkg:pypi/greeter@2.0", "place": IMAGE}
    ]


def twice(bench: Bench) -> None:
    bench.objects.append(copy.deepcopy(bench.objects[1]))


def hooked(*events: str, kind: str = "Job", **pod: Any) -> Spoil:
    """Let the chart bring a hook: with the container and pod of the good Deployment, but for `pod` and the container's part."""

    def spoil(bench: Bench) -> None:
        spec = copy.deepcopy(bench.pod)
        spec["containers"][0] |= pod.pop("container", {})
        spec["containers"][0]["securityContext"] |= pod.pop("security", {})
        metadata = {"name": "certification-work", "annotations": {"helm.sh/hook-delete-policy": "hook-succeeded"}}
        body = {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata}
        bench.hooks.append(
            (events, {**body, "spec": {"template": {"spec": {**spec, "restartPolicy": "Never", **pod}}}})
        )

    return spoil


def untidy(bench: Bench) -> None:
    hooked("pre-install")(bench)
    bench.hooks[0][1]["metadata"]["annotations"] = {}


KEPT = {"annotations": {"helm.sh/resource-policy": "keep"}}
GONE = "\nSource: gone.txt\nAlgorithm: SHA-256\nHash: 00\n"
UPSIDE_DOWN = {"requests": {"memory": "1Gi"}, "limits": {"memory": "64Mi"}}
KEY = "-----BEGIN " + "EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n"
RULE = {
    "trafficRuleId": "t",
    "priority": 1,
    "action": "FORWARD_DECAPSULATED",
    "trafficFilter": [{"dstAddress": ["::/0"]}],
}
ERRORS: list[tuple[str, Spoil, str]] = [
    ("manifest-at-root", lambda bench: bench.files.update({"other.mf": "metadata:\n"}), "manifest-several"),
    ("manifest-fields", manifest(lambda text: text.replace("app_provider_id: Acme\n", "")), "manifest-mandatory"),
    ("manifest-sources", manifest(lambda text: text + GONE), "manifest-source-missing"),
    ("manifest-hashes", manifest(lambda text: text.replace("SHA-256", "MD5", 1)), "manifest-algorithm"),
    ("manifest-digests", manifest(lambda text: text.replace("Hash: ", "Hash: 00", 1)), "manifest-hash-mismatch"),
    ("manifest-complete", manifest(lambda text: text[: text.rindex("Source:")]), "manifest-unlisted"),
    ("tosca-meta", file("TOSCA-Metadata/TOSCA.meta", "TOSCA-Meta-File-Version: 1.0\n"), "tosca-meta-invalid"),
    ("archive-sound", file("../outside", "x"), "*"),
    ("descriptor-valid", lambda bench: _template(bench, "ipAddress: 192.0.2.7", "ipAddress: nowhere"), "*"),
    ("package-folders", without("Artifacts/Docs/template.md"), ""),
    ("descriptor-template", described(appName=""), "appd-mandatory"),
    ("memory-described", described(compute={"cpu_millis": 1000, "memory_bytes": 1 << 20}), "memory-underdescribed"),
    ("cpu-described", described(compute={"cpu_millis": 0, "memory_bytes": 1 << 30}), "cpu-undescribed"),
    ("chart-present", lambda bench: setattr(bench, "no_chart", True), "chart-missing"),
    ("chart-layout", in_chart("values.yaml", ""), "values-missing"),
    ("version-semantic", in_chart("Chart.yaml", "apiVersion: v2\nname: hello\nversion: one\n"), "chart-version"),
    ("names-agree", described(appProvider="Somebody Else"), "names-differ"),
    ("no-privileged", security(privileged=True), "privileged"),
    ("no-host-namespaces", pod(hostPID=True), "host-pid"),
    ("no-host-path", pod(volumes=[{"name": "v", "hostPath": {"path": "/etc"}}]), "host-path"),
    ("no-host-ports", container(ports=[{"containerPort": 1, "hostPort": 1}]), "host-port"),
    ("capabilities-small", security(capabilities={"add": ["CAP_SYS_ADMIN"]}), "capability"),
    ("no-privilege-escalation", security(allowPrivilegeEscalation=True), "privilege-escalation"),
    ("runs-as-user", security(runAsUser=0), "run-as-root"),
    ("seccomp-kept", security(seccompProfile={"type": "Unconfined"}), "unconfined"),
    ("no-cluster-objects", added("ClusterRole", "rbac.authorization.k8s.io/v1"), "cluster-scoped"),
    ("rbac-small", added("Role", rules=[{"verbs": ["get"], "resources": ["secrets"]}]), "rbac-sensitive"),
    ("no-secrets-inside", in_chart("files/key.pem", KEY), "private-key"),
    ("images-pinned", container(image="registry.example/web:1"), "image-not-pinned"),
    ("images-tagged", container(image="web"), "image-latest"),
    ("images-present", container(image="registry.example/web:1"), "registry-not-allowed"),
    ("image-architecture", known(images=[{"reference": IMAGE, "architecture": "arm64"}]), "architecture-differs"),
    ("resource-limits", container(resources=UPSIDE_DOWN), "request-above-limit"),
    ("readiness-probe", lambda bench: bench.web.pop("readinessProbe"), "readiness-missing"),
    ("grace-period", described(gracefulTerminationTimeout=60), "grace-too-short"),
    ("services-lead-somewhere", lambda bench: bench.objects[1]["spec"].update(selector={"app": "x"}), "service-selects-nothing"),
    ("references-resolve", container(envFrom=[{"configMapRef": {"name": "gone"}}]), "reference-missing"),
    ("namespace-free", lambda bench: bench.objects[1]["metadata"].update(namespace="kube-system"), "namespace-fixed"),
    ("kubernetes-valid", container(imagePullPolice="Always"), "kubernetes-invalid"),
    ("apis-current", added("CronJob", "batch/v1beta1"), "api-removed"),
    ("chart-lint", container(env=[{"name": "A", "value": "<no value>"}]), "value-forgotten"),
    ("chart-lint", twice, "object-twice"),
    ("values-schema", in_chart("values.schema.json", '{"$ref": "http://127.0.0.1/x"}'), "schema-remote"),
    ("signature-policy", lambda bench: bench.signature.update(standing="broken"), "signature-broken"),
    ("signature-policy", lambda bench: bench.signature.update(standing="unsigned"), "signature-too-weak"),
    ("licence-declared", known(licences=[]), "licence-missing"),
    ("licence-policy", known(licences=["AGPL-3.0-only"]), "licence-denied"),
    ("known-vulnerabilities", advisory, "vulnerable"),
    ("dependencies-sound", described(appServiceRequired=[{"serName": "hello"}]), "dependency-itself"),
    ("services-declared", described(appServiceProduced=[{"serName": "a"}, {"serName": "a"}]), "service-twice"),
    ("dns-rules-modest", described(appDNSRule=[{"dnsRuleId": "d", "domainName": "*.example"}]), "dns-too-wide"),
    ("traffic-rules-modest", described(appTrafficRule=[RULE]), "traffic-everything"),
    ("rules-referenced", described(appServiceProduced=[{"serName": "a", "dnsRuleIdList": ["none"]}]), "rule-unknown"),
    ("descriptor-fits-chart", lambda bench: bench.objects.pop(), "service-unreachable"),
    ("termination-time", described(gracefulTerminationTimeout=4000), "termination-long"),
    ("tests-harmless", hooked("test", security={"privileged": True}), "test-asks"),
    ("nothing-kept", lambda bench: bench.objects[1]["metadata"].update(KEPT), "left-behind"),
    ("no-privileged", hooked("pre-install", security={"privileged": True}), "privileged"),
    ("no-privileged", hooked("test", "post-delete", security={"privileged": True}), "privileged"),
    ("no-host-path", hooked("post-upgrade", volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "host-path"),
    ("images-pinned", hooked("pre-delete", container={"image": "registry.example/work:1"}), "image-not-pinned"),
    ("resource-limits", hooked("pre-rollback", container={"resources": {}}), "limit-missing"),
    ("no-cluster-objects", hooked("pre-install", kind="ClusterRole"), "cluster-scoped"),
    ("no-cluster-objects", lambda bench: bench.crds.append(bench.objects[1] | {"kind": "ClusterRole"}), "cluster-scoped"),
]  # fmt: skip
#: Faults that are told and do not fail.
WARNINGS: list[tuple[str, Spoil, str]] = [
    ("changelog-present", file("Artifacts/ChangeLog.txt", ""), "changelog-missing"),
    ("api-description", lambda bench: None, "api-undescribed"),
    ("read-only-root", security(readOnlyRootFilesystem=False), "root-writable"),
    ("token-unmounted", lambda bench: bench.pod.pop("automountServiceAccountToken"), "token-mounted"),
    ("liveness-probe", lambda bench: bench.web.pop("livenessProbe"), "liveness-missing"),
    ("standard-labels", lambda bench: bench.objects[0]["metadata"].pop("labels"), "labels-missing"),
    ("several-instances", lambda bench: bench.objects[1]["metadata"].update(name="web"), "name-fixed"),
    ("lasting-data", more_claims, "claim-shared"),
    ("readme-present", in_chart("README.md", "#"), "readme-missing"),
    ("description-useful", described(appDescription="hello"), "description-poor"),
    ("permissions-grew", lambda bench: _grown(bench, "medium"), "permission-new"),
    ("nothing-kept", untidy, "hook-left-behind"),
    ("publisher-same", lambda bench: setattr(bench, "previous", {"signer": "bb"}), "signer-changed"),
]
#: A fault is made by an option here, because the package is small.
BY_OPTION: dict[str, dict[str, Any]] = {
    "package-size": {"gib": 0},
    "package-files": {"files": 3},
    "package-unpacked": {"gib": 0},
    "package-depth": {"depth": 1},
    "package-folders": {"folders": ["MEAD"]},
    "images-present": {"registries": ["registry.operator.example"]},
}


def _template(bench: Bench, old: str, new: str) -> None:
    from tests.appstore.making import TEMPLATE, edgegallery_files

    bench.files["APPD/MainServiceTemplate.zip"] = edgegallery_files(template=TEMPLATE.replace(old, new))[
        "APPD/MainServiceTemplate.zip"
    ]


def _grown(bench: Bench, severity: str) -> None:
    bench.previous = {"permissions": []}
    bench.contents["permissions"] = [
        {"code": "privileged", "severity": severity, "place": "Deployment/x", "words": "owns its host", "value": ""}
    ]


@pytest.mark.parametrize("name", STATIC)
def test_a_good_package_passes(bench: Bench, name: str) -> None:
    assert bench.fails(name) <= {"skipped"}


@pytest.mark.parametrize(("name", "spoil", "code"), ERRORS, ids=[f"{name}: {code}" for name, _, code in ERRORS])
def test_a_fault_fails_the_check_that_is_there_for_it(bench: Bench, name: str, spoil: Spoil, code: str) -> None:
    spoil(bench)
    found = bench.fails(name, **BY_OPTION.get(name, {}))
    assert found - {"skipped"}
    if code.strip("*"):
        assert code in found


@pytest.mark.parametrize(("name", "spoil", "code"), WARNINGS, ids=[code for _, _, code in WARNINGS])
def test_a_weakness_is_told_and_fails_nothing(bench: Bench, name: str, spoil: Spoil, code: str) -> None:
    spoil(bench)
    assert code in bench.says(name)
    assert bench.fails(name) == set()


@pytest.mark.parametrize("name", sorted(BY_OPTION))
def test_the_profile_sets_the_bounds(bench: Bench, name: str) -> None:
    if name == "images-present":
        bench.web["image"] = "registry.example/web:1"
    assert bench.fails(name, **BY_OPTION[name])


def test_the_place_of_a_finding_says_that_it_is_in_a_hook(bench: Bench) -> None:
    hooked("pre-install", "pre-upgrade", security={"privileged": True})(bench)
    (found,) = bench.try_out("no-privileged")
    assert found.place == "Job/certification-work (hook, before installation and before an update)/web"


def test_a_hook_that_ends_needs_no_probes_and_no_grace(bench: Bench) -> None:
    hooked("pre-install", container={"livenessProbe": None, "readinessProbe": None}, terminationGracePeriodSeconds=0)(
        bench
    )
    bench.descriptor["gracefulTerminationTimeout"] = 10
    for name in ("readiness-probe", "liveness-probe", "grace-period"):
        assert bench.try_out(name) == []


def test_a_test_that_nobody_runs_is_not_judged_as_the_application(bench: Bench) -> None:
    hooked("test", container={"image": "busybox", "resources": {}})(bench)
    for name in ("images-pinned", "images-tagged", "resource-limits", "no-privileged", "tests-harmless"):
        assert bench.fails(name) == set()


def test_every_static_check_was_seen_to_find_its_fault() -> None:
    tried = {name for name, _, _ in ERRORS} | {name for name, _, _ in WARNINGS} | set(BY_OPTION)
    assert set(STATIC) - tried <= {"chart-renders", "manifest-metadata"}


def test_what_every_check_says_of_itself() -> None:
    for name, check in checks().items():
        assert check.name == name
        assert check.title
        assert check.reason.endswith((".", "?"))
        assert check.__doc__
        assert len({option.name for option in check.options}) == len(check.options)
        assert bool(check.form) == (check.kind is Kind.MANUAL)


def test_a_declared_reason_turns_an_error_into_something_to_judge(bench: Bench) -> None:
    bench.web["securityContext"]["privileged"] = True
    bench.chart["Chart.yaml"] += "annotations: {breakwater/reason.privileged: drives a radio card}\n"
    found = bench.try_out("no-privileged")
    assert [(each.level, each.code) for each in found] == [(Level.WARNING, "privileged-declared")]
    assert "drives a radio card" in found[0].message


def test_a_permission_that_is_new_and_high_fails(bench: Bench) -> None:
    _grown(bench, "high")
    assert bench.fails("permissions-grew") == {"privileged"}


def test_a_found_secret_is_never_repeated(bench: Bench) -> None:
    token = "ghp_" + "a1B2" * 9
    bench.chart["values.yaml"] = f"replicas: 1\ntoken: {token}\npassword: hunter22\n"
    found = bench.try_out("no-secrets-inside")
    assert {each.code for each in found} == {"github-token", "password-preset"}
    assert not any(token in each.message or "hunter22" in each.message for each in found)


@pytest.mark.parametrize("value", ["changeme", '""', "<secret>", "{{ .Values.x }}", "example-password", "null"])
def test_a_placeholder_is_no_password(bench: Bench, value: str) -> None:
    bench.chart["values.yaml"] = f"password: {value}\n"
    assert bench.says("no-secrets-inside") == set()


@pytest.mark.parametrize(
    ("expression", "fails"),
    [
        ("Apache-2.0", False),
        ("AGPL-3.0-only", True),
        ("MIT OR AGPL-3.0-only", False),
        ("MIT AND AGPL-3.0-or-later", True),
        ("(MIT OR Apache-2.0) AND SSPL-1.0", True),
    ],
)
def test_a_choice_of_licences_needs_one_that_is_allowed(bench: Bench, expression: str, fails: bool) -> None:
    bench.contents["licences"] = [expression]
    assert bool(bench.fails("licence-policy")) is fails


def test_a_judged_advisory_no_longer_counts(bench: Bench) -> None:
    advisory(bench)
    assert bench.fails("known-vulnerabilities", ignored=["EX-1"]) == set()
    assert bench.fails("known-vulnerabilities", severity="critical") == set()
    assert bench.says("known-vulnerabilities", severity="critical") == {"vulnerable"}


def test_a_plain_chart_is_spared_what_only_a_csar_has(bench: Bench) -> None:
    bench.plain_chart = True
    for name in ("manifest-at-root", "tosca-meta", "package-folders", "names-agree"):
        with pytest.raises(Skip):
            bench.try_out(name)
    assert bench.fails("no-privileged") == set()


@pytest.mark.parametrize("hostile", [None, 7, "text", [], [None, 3], {"a": {"b": "c"}}])
@pytest.mark.parametrize("name", [name for name in STATIC if name not in ("kubernetes-valid",)])
def test_a_chart_of_nonsense_breaks_no_check(bench: Bench, name: str, hostile: Any) -> None:
    for member in ("ports", "resources", "securityContext", "env", "envFrom", "image", "readinessProbe"):
        bench.web[member] = hostile
    bench.pod["volumes"] = bench.pod["securityContext"] = hostile
    bench.objects[1]["spec"] = hostile
    bench.objects.append({"apiVersion": "v1", "kind": "Role", "metadata": {"name": "r"}, "rules": hostile})
    bench.fails(name)


def test_the_page_of_the_docs_names_every_check(repository: Path) -> None:
    page = (repository / "docs" / "certification-checks.md").read_text()
    assert [name for name in checks() if f"`{name}`" not in page] == []
