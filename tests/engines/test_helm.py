"""Rendering charts that strangers wrote, and saying clearly why one cannot be used."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable
from engines.helm import Cluster, Helm, Rendered, helm
from engines.helm import sdk as sdk_adapter
from engines.helm.errors import SchemaBroken, translate
from engines.helm.manifests import load_all, manifests
from tests.contracts.engine import CHARTS

WEB = CHARTS / "web"
HELM_BINARY = os.environ.get("TEST_HELM_BINARY") or shutil.which("helm")


@pytest.fixture(params=["sdk", "cli"])
def adapter(request: pytest.FixtureRequest) -> Helm:
    if request.param == "cli":
        if not HELM_BINARY:
            pytest.skip("needs a helm binary on PATH, or its path in TEST_HELM_BINARY")
        return helm(str(Path(HELM_BINARY).resolve()))
    return helm("sdk")


def chart(folder: Path, template: str) -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: tried\nversion: 2.1.0\nappVersion: '7'\n")
    (folder / "templates" / "all.yaml").write_text(template)
    return folder


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(WEB, "web")
        for info, body in members:
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def render(adapter: Helm, path: Path, **values: object) -> Rendered:
    return adapter.render(path, values, name="one", namespace="t-one")


def test_a_chart_becomes_objects_in_install_order(adapter: Helm, tmp_path: Path) -> None:
    for path in (WEB, packed(tmp_path / "web-1.0.0.tgz")):
        rendered = render(adapter, path, replicas=2)
        assert [each.kind for each in rendered.manifests] == ["Secret", "ConfigMap", "Service", "Deployment"]
        assert (rendered.chart_name, rendered.chart_version, rendered.app_version) == ("web", "1.0.0", "1.0")
        assert rendered.manifests[-1].body["spec"]["replicas"] == 2


def test_hooks_and_tests_are_left_out(adapter: Helm, tmp_path: Path) -> None:
    template = "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {annotations}"
        for name, annotations in (
            ("kept", "{}"),
            ("hook", "{helm.sh/hook: pre-install}"),
            ("try", "{helm.sh/hook: test}"),
        )
    )
    rendered = render(adapter, chart(tmp_path / "hooked", template))
    assert [each.name for each in rendered.manifests] == ["kept"]
    assert [(each.place, each.moments, each.only_test) for each in rendered.hooks] == [
        ("ConfigMap/hook", "before installation", False),
        ("ConfigMap/try", "only when somebody runs its tests", True),
    ]
    assert {each.source for each in rendered.hooks} == {"templates/all.yaml"}


def config_map(name: str, annotation: str, more: str = "") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {{{annotation}}}\n{more}"


@pytest.mark.parametrize(
    "annotation",
    [
        '"helm.sh/hook": "pre-install"',
        '"helm.sh\\u002fhook": "pre-install"',
        '"\\x68elm.sh/h\\x6fok": Pre-Install',
        '? "helm.sh/hook" : " pre-install "',
    ],
)
def test_a_hook_is_one_however_its_annotation_is_spelled(adapter: Helm, tmp_path: Path, annotation: str) -> None:
    rendered = render(adapter, chart(tmp_path / "c", config_map("sly", annotation)))
    assert ([each.place for each in rendered.hooks], rendered.manifests) == (["ConfigMap/sly"], ())


def test_a_hook_does_not_hide_before_a_separator_that_only_helm_sees(adapter: Helm, tmp_path: Path) -> None:
    template = config_map("sly", '"helm.sh/hook": pre-install') + "---" + config_map("dull", "", "data: {}")
    assert [each.place for each in render(adapter, chart(tmp_path / "c", template)).hooks] == ["ConfigMap/sly"]


@pytest.mark.parametrize("annotation", ["!!binary aGVsbS5zaC9ob29r: pre-install", "note: !!binary aGVsbS5zaC9ob29r"])
def test_binary_yaml_cannot_spell_what_we_would_not_read(adapter: Helm, tmp_path: Path, annotation: str) -> None:
    with pytest.raises(Invalid, match="binary"):
        render(adapter, chart(tmp_path / "c", config_map("sly", annotation)))


def test_a_hook_of_an_update_is_found_as_well(adapter: Helm, tmp_path: Path) -> None:
    template = "{{ if .Release.IsUpgrade }}" + config_map("later", '"helm.sh/hook": "pre-upgrade,test"') + "{{ end }}"
    (found,) = render(adapter, chart(tmp_path / "c", template)).hooks
    assert (found.moments, found.only_test) == ("before an update and only when somebody runs its tests", False)


def test_a_chart_that_cannot_be_rendered_for_an_update_says_so(adapter: Helm, tmp_path: Path) -> None:
    template = config_map("one", "") + '{{ if .Release.IsUpgrade }}{{ fail "give the password" }}{{ end }}'
    rendered = render(adapter, chart(tmp_path / "c", template))
    assert len(rendered.manifests) == 1
    assert "as for an update" in rendered.problems[0]


def test_a_list_that_is_a_hook_makes_each_of_its_objects_one(adapter: Helm, tmp_path: Path) -> None:
    items = (
        "items: [{apiVersion: v1, kind: Pod, metadata: {name: a}}, {apiVersion: v1, kind: Pod, metadata: {name: b}}]"
    )
    template = f'apiVersion: v1\nkind: List\nmetadata: {{annotations: {{"helm.sh/hook": post-delete}}}}\n{items}\n'
    rendered = render(adapter, chart(tmp_path / "c", template))
    assert [each.place for each in rendered.hooks] == ["Pod/a", "Pod/b"]


def test_a_hook_of_a_moment_that_helm_does_not_know_is_told_and_never_made(adapter: Helm, tmp_path: Path) -> None:
    rendered = render(adapter, chart(tmp_path / "c", config_map("old", '"helm.sh/hook": "pre-install,crd-install"')))
    assert (rendered.hooks, rendered.manifests, rendered.unknown_hooks) == ((), (), ("ConfigMap/old",))


def test_hooks_of_subcharts_count_when_the_subchart_does(adapter: Helm, tmp_path: Path) -> None:
    top = chart(tmp_path / "c", "")
    (top / "Chart.yaml").write_text(
        "apiVersion: v2\nname: tried\nversion: 2.1.0\n"
        "dependencies: [{name: tried, version: 2.1.0, alias: sub, condition: sub.enabled}]\n"
    )
    chart(top / "charts" / "tried", config_map("deep", '"helm.sh/hook": pre-delete'))
    assert render(adapter, top, sub={"enabled": False}).hooks == ()
    (found,) = render(adapter, top, sub={"enabled": True}).hooks
    assert (found.place, found.events) == ("ConfigMap/deep", ("pre-delete",))


def test_whatever_lies_in_crds_is_read_as_objects(adapter: Helm, tmp_path: Path) -> None:
    made = chart(tmp_path / "c", "")
    (made / "crds").mkdir()
    (made / "crds" / "sly.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: sly}\n")
    rendered = render(adapter, made)
    assert [(each.kind, each.name) for each in rendered.crds] == [("Pod", "sly")]
    assert rendered.crds[0] in rendered.everything


def test_values_are_checked_against_the_schema(adapter: Helm) -> None:
    with pytest.raises(Invalid, match="replicas"):
        render(adapter, WEB, replicas="two")


def test_values_must_be_plain(adapter: Helm) -> None:
    for value in (object(), float("nan")):
        with pytest.raises(Invalid):
            render(adapter, WEB, message=value)


def test_a_broken_template_is_the_authors_fault(adapter: Helm, tmp_path: Path) -> None:
    for number, template in enumerate(("{{ .Values.a.b.c }}", "{{ fail `no` }}", "{{ if }}", "a: b", "kind: [")):
        with pytest.raises(Invalid):
            render(adapter, chart(tmp_path / str(number), template))


def test_names_are_checked_before_helm_sees_them(adapter: Helm) -> None:
    for name, namespace in (("Big", "ok"), ("ok", "Not Ok"), ("-x", "ok"), ("ok", ""), ("--help", "ok")):
        with pytest.raises(Invalid):
            adapter.render(WEB, {}, name=name, namespace=namespace)


def test_a_chart_that_needs_endless_memory_ends_no_process_of_ours(adapter: Helm, tmp_path: Path) -> None:
    greedy = chart(tmp_path / "greedy", '{{ $x := repeat 9000000000 "x" }}')
    with pytest.raises(Invalid, match="more than 4 GiB"):
        render(adapter, greedy)
    assert render(adapter, WEB).manifests


@pytest.mark.parametrize(
    "hostile",
    [
        (member("../escape"), b"x"),
        (member("/etc/passwd"), b"x"),
        (member("web/link", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (member("web/hard", tarfile.LNKTYPE, "web/Chart.yaml"), b""),
        (member("web/pipe", tarfile.FIFOTYPE), b""),
        (member("web/values.yaml"), b"replicas: 9"),
        (member("other/Chart.yaml"), b"name: other"),
    ],
    ids=lambda pair: pair[0].name,
)
def test_a_hostile_archive_is_refused(tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(Invalid):
        render(helm("sdk"), packed(tmp_path / "bad.tgz", hostile))


def test_what_is_no_chart_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tgz"
    with tarfile.open(bomb, "w:gz", compresslevel=9) as tar:
        info = tarfile.TarInfo("web/zeros")
        info.size = 80 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    (tmp_path / "empty.tgz").write_bytes(b"")
    (tmp_path / "text.tgz").write_text("text")
    whole = packed(tmp_path / "whole.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    for name in ("bomb.tgz", "empty.tgz", "text.tgz", "cut.tgz", "absent.tgz"):
        with pytest.raises(Invalid):
            render(helm("sdk"), tmp_path / name)


def test_a_folder_with_a_link_out_of_it_is_refused(tmp_path: Path) -> None:
    folder = chart(tmp_path / "linked", "kind: ConfigMap")
    (folder / "templates" / "secret.yaml").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="link"):
        render(helm("sdk"), folder)


# YAML


def test_lists_are_flattened_and_dates_stay_text() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {day: 2026-01-02}}"
    (found,) = manifests(text)
    assert (found.kind, found.name, found.body["data"]["day"]) == ("ConfigMap", "a", "2026-01-02")


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "a: &a [*a]",
        "[" * 500 + "]" * 500,
        "- a\n" * 300_000,
        "a: b\n---\n" * 2000,
        "a: [",
        "\x00",
        "!!python/object:os.x {}",
    ],
    ids=["laughs", "circle", "deep", "many", "documents", "broken", "nul", "python"],
)
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        load_all(text)


def test_a_mistake_in_a_secret_does_not_show_the_secret() -> None:
    with pytest.raises(Invalid) as refused:
        load_all("kind: Secret\nstringData:\n  password: hunter2: no\n")
    assert "hunter2" not in str(refused.value.problem())


# Errors


@pytest.mark.parametrize(
    ("kind", "detail", "expected"),
    [
        ("HelmReleaseError", '"nope" has no deployed releases', Missing),
        ("HelmNotFoundError", "release: not found", Missing),
        ("HelmReleaseError", "values don't meet the specifications of the schema(s)", SchemaBroken),
        ("HelmValuesError", "at '/replicas': got string, want integer", SchemaBroken),
        ("HelmReleaseError", "cannot reuse a name that is still in use", Conflict),
        ("HelmReleaseError", "another operation (install/upgrade/rollback) is in progress", Conflict),
        ("HelmCancelledError", "Available: 0/2\ncontext deadline exceeded", TimedOut),
        ("HelmKubeError", "dial tcp 127.0.0.1:1: connect: connection refused", Unavailable),
        ("HelmReleaseError", "dial tcp 127.0.0.1:1: connect: connection refused", Unavailable),
        ("HelmChartLoadError", "Chart.yaml file is missing", Invalid),
        ("HelmRenderError", "template: nil pointer", Invalid),
        ("HelmReleaseError", "the server refused", Rejected),
    ],
)
def test_helms_errors_are_told_in_our_words(kind: str, detail: str, expected: type[BreakwaterError]) -> None:
    assert type(translate(kind, detail)) is expected


def test_a_cluster_that_is_not_there_is_unavailable(adapter: Helm) -> None:
    config = (
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: topsecret}}]\n"
    )
    cluster = Cluster(config)
    with pytest.raises(Unavailable) as refused:
        adapter.history(cluster, name="one", namespace="default")
    assert "topsecret" not in str(refused.value.problem())
    assert "topsecret" not in repr(cluster)


def test_an_adapter_that_does_not_exist_is_told() -> None:
    with pytest.raises(Invalid):
        helm("tiller")
    with pytest.raises(Unavailable):
        helm("/nowhere/helm").version()


# Forked processes


def in_child(work: Callable[[], str]) -> str:
    """Return what `work` says in a forked child; `hung` when it says nothing for ten seconds."""
    import select
    import signal

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as problem:
            said = f"{type(problem).__name__}: {problem}"
        os.write(write, said.encode()[:4000])
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], 10)
    said = os.read(read, 5000).decode() if ready else "hung"
    os.close(read)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said


def test_rendering_works_on_both_sides_of_a_fork() -> None:
    def kinds() -> str:
        return ",".join(each.kind for each in render(helm("sdk"), WEB).manifests)

    before = kinds()
    assert in_child(kinds) == before
    assert kinds() == before


def test_the_library_of_the_parent_is_refused_in_a_child_instead_of_hanging() -> None:
    sdk_adapter.library()
    said = in_child(lambda: helm("sdk").version())
    assert said.startswith("LoadedBeforeFork")
    assert "Helm SDK" in helm("sdk").version()
