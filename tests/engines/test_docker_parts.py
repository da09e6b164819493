"""What the docker engine makes of the parts of a pod, and how it mends what breaks under it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Conflict, Invalid, Unavailable
from engines.contract import EngineSettings, Reason, Release, ReleaseStatus, State
from engines.docker import DockerEngine
from engines.limits import Limits
from tests import dockerd
from tests.contracts.engine import CHARTS
from tests.contracts.image import IMAGE, write_archive
from tests.engines.docker_harness import DockerHarness
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture
def harness(docker_socket: str, tmp_path: Path) -> Iterator[DockerHarness]:
    made = DockerHarness(docker_socket, tmp_path / "state")
    made.give(write_archive(tmp_path / "contract.tar"))
    yield made
    made.close()


def release(harness: DockerHarness, chart: str, generation: int = 1, **values: object) -> Release:
    return Release("one", harness.namespace, CHARTS / chart, values, generation=generation)


def ready(harness: DockerHarness, timeout: float = 30.0) -> ReleaseStatus:
    def look() -> ReleaseStatus | None:
        harness.engine.supervise()
        status = harness.engine.status("one", harness.namespace)
        return status if status.state is State.READY else None

    return until(look, timeout, every=0.1, what=f"{harness.engine.status('one', harness.namespace)}")


def shut_down(harness: DockerHarness) -> None:
    for container in harness.containers():
        harness.client.remove_container(container["Id"], force=True)


def test_volumes_init_containers_sidecars_jobs_and_names_work_together(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "parts"))
    status = ready(harness)

    assert {each.name: each.ready for each in status.workloads} == {"one-db": 2, "one-check": 1}
    assert [pod for pod in harness.pods("one") if "db" in pod] == ["one-db-0", "one-db-1"]
    # The Job went through the mapped port of a Service, and found one pod by its own name.
    said = [line.text for line in harness.engine.logs("one", harness.namespace, workload="Job/one-check")]
    assert {"hello from one and $(NAME)", "hello from one"} <= set(said), said
    assert any(line.endswith("\tmep") for line in said)
    assert harness.get("one", "/greeting").strip() == "hello from one and $(NAME)"


def test_a_stateful_set_keeps_its_data_through_an_update_in_order(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "parts"))
    ready(harness)
    harness.engine.apply(release(harness, "parts", generation=2, stamp="b"))

    def started_twice() -> bool:
        status = ready(harness)
        return status.revision == 2 and len(harness.get("one", "/starts").split()) == 2

    until(started_twice, 30.0)
    assert [entry.status for entry in harness.engine.history("one", harness.namespace)] == ["superseded", "deployed"]


def test_a_finished_job_is_not_run_again_after_a_halt(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "parts"))
    ready(harness)
    harness.engine.halt()
    assert harness.containers() == []
    assert harness.client.networks(filters={"label": [f"io.breakwater.node={harness.node}"]}) == []

    ready(harness)

    assert harness.pods("one") == ["one-db-0", "one-db-1"]


def test_pods_and_networks_that_were_removed_behind_its_back_are_made_again(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "web", image=IMAGE, replicas=2))
    ready(harness)
    shut_down(harness)
    for network in harness.client.networks(filters={"label": [f"io.breakwater.node={harness.node}"]}):
        harness.client.remove_network(network["Id"])
    until(lambda: ready(harness) and len(harness.containers()) == 4, 30.0)
    assert harness.about("one")["message"] == "hello"


def test_a_pod_whose_holder_died_is_built_anew(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "web", image=IMAGE))
    ready(harness)
    (holder,) = harness.containers(container="POD")
    harness.client.kill(holder["Id"])

    def anew() -> bool:
        ready(harness)
        (now,) = harness.containers(container="POD")
        return now["Id"] != holder["Id"] and now["State"] == "running"

    until(anew, 30.0)
    assert harness.about("one")["message"] == "hello"


def test_an_app_that_keeps_crashing_is_called_that_and_waits_longer_each_time(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "web", image=IMAGE, script="exit 3"))

    def looping() -> ReleaseStatus | None:
        harness.engine.supervise()
        status = harness.engine.status("one", harness.namespace)
        assert status.state is not State.READY
        return status if status.reason is Reason.CRASH_LOOP and status.workloads[0].restarts >= 2 else None

    status = until(looping, 30.0, every=0.1)
    assert status.state is State.FAILED
    assert "exit code 3" in status.message


def test_a_command_that_is_not_in_the_image_is_a_config_error(harness: DockerHarness) -> None:
    broken = release(harness, "web", image=IMAGE)
    harness.engine.apply(broken)
    ready(harness)
    # The image exists but has nothing to run: an archive with another name and no shell.
    harness.client.tag(harness.engine.keeper.images.pause(), "localhost/breakwater/pause", "1")
    harness.engine.apply(release(harness, "web", generation=2, image="localhost/breakwater/pause:1"))

    def wrong() -> bool:
        harness.engine.supervise()
        return harness.engine.status("one", harness.namespace).reason is Reason.CONFIG_ERROR

    until(wrong, 30.0, every=0.1)
    assert harness.about("one")["message"] == "hello"


def test_an_app_without_limits_gets_the_nodes_and_is_told_when_they_are_too_little(harness: DockerHarness) -> None:
    limits = Limits(memory=32 << 20, pids=99, log=2 << 20, tenant_memory=200 << 20)
    harness.settings = replace(harness.settings, limits=limits)
    harness.reopen()
    greedy = {"image": IMAGE, "memory": "", "script": "dd if=/dev/zero of=/dev/null bs=200M count=1"}
    harness.engine.apply(release(harness, "web", **greedy))

    def killed() -> ReleaseStatus | None:
        harness.engine.supervise()
        status = harness.engine.status("one", harness.namespace)
        return status if status.reason is Reason.OOM_KILLED else None

    assert "its limit of 32 MiB" in until(killed, 30.0, every=0.1).message
    (web,) = [each for each in harness.containers() if each["Labels"]["io.breakwater.container"] != "POD"]  # type: ignore[index]
    host = harness.client.inspect_container(web["Id"])["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (32 << 20, 32 << 20, 99)
    assert host["LogConfig"]["Config"] == {"max-size": str(1 << 20), "max-file": "2"}
    told = harness.engine.limits()
    assert (told.memory, bool(told.disk)) == (32 << 20, harness.engine.daemon.sizes_disk())

    with pytest.raises(Invalid) as refused:
        harness.engine.apply(replace(release(harness, "web", image=IMAGE, memory="180Mi"), name="two"))
    assert [each["code"] for each in refused.value.context["findings"]] == ["tenant-memory"]
    assert harness.left("two") == []


def test_a_missing_image_is_picked_up_once_it_is_loaded(harness: DockerHarness, tmp_path: Path) -> None:
    late = f"localhost/breakwater/late-{harness.node}:1"
    harness.engine.apply(release(harness, "web", image=late))

    def missing() -> bool:
        harness.engine.supervise()
        return harness.engine.status("one", harness.namespace).reason is Reason.IMAGE_MISSING

    until(missing, 30.0, every=0.1)
    harness.give(write_archive(tmp_path / "late.tar", late))
    ready(harness)
    harness.engine.remove("one", harness.namespace)
    harness.client.remove_image(late, force=True)


def test_the_loopback_port_stays_the_same_after_a_restart(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "web", image=IMAGE))
    before = ready(harness).endpoints
    harness.reopen()
    assert ready(harness).endpoints == before
    assert before[0].address == "127.0.0.1"
    url = f"http://127.0.0.1:{before[0].port}/"
    assert until(lambda: urllib.request.urlopen(url, timeout=5).read() == b"hello", 10.0)


def test_an_object_belongs_to_one_release(harness: DockerHarness, tmp_path: Path) -> None:
    chart = tmp_path / "fixed"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: fixed\nversion: 1.0.0\n")
    (chart / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {a: b}\n"
    )
    harness.engine.apply(Release("one", harness.namespace, chart))
    with pytest.raises(Conflict):
        harness.engine.apply(Release("two", harness.namespace, chart))
    harness.engine.apply(Release("two", f"{harness.namespace}-other", chart))


def test_a_file_that_is_no_image_is_refused(harness: DockerHarness, tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no image")
    with pytest.raises(Invalid):
        harness.engine.load_image(tmp_path / "text.tar")
    with pytest.raises(Invalid):
        harness.engine.load_image(tmp_path / "not-there.tar")


def test_a_config_map_shows_in_running_pods_without_a_restart(harness: DockerHarness) -> None:
    harness.engine.apply(release(harness, "parts", replicas=1))
    ready(harness)
    (before,) = harness.containers(container="server")
    assert until(lambda: harness.get("one", "/live/greeting"), 10.0) == "hello from one"
    assert harness.engine.files.root.stat().st_mode & 0o777 == 0o700

    harness.engine.apply(release(harness, "parts", generation=2, replicas=1, greeting="goodbye"))

    assert until(lambda: "goodbye" in harness.get("one", "/live/greeting"), 10.0)
    (after,) = harness.containers(container="server")
    assert after["Id"] == before["Id"]


def test_two_nodes_of_one_runtime_and_one_tenant_do_not_meet(harness: DockerHarness, tmp_path: Path) -> None:
    other = DockerHarness(harness.socket, tmp_path / "other")
    other.namespace = harness.namespace
    try:
        harness.engine.apply(release(harness, "web", image=IMAGE, message="left"))
        other.engine.apply(release(other, "web", image=IMAGE, message="right"))
        ready(harness)
        ready(other)
        assert (harness.about("one")["message"], other.about("one")["message"]) == ("left", "right")
        other.engine.remove("one", other.namespace)
        until(lambda: other.engine.supervise() or other.left("one") == [], 20.0)
        assert harness.about("one")["message"] == "left"
    finally:
        other.close()


def test_a_restarted_runtime_is_filled_again(tmp_path: Path) -> None:
    if dockerd.unable():
        pytest.skip(dockerd.unable())
    daemon = dockerd.Private()
    try:
        daemon.start()
        harness = DockerHarness(daemon.path, tmp_path / "state")
        harness.give(write_archive(tmp_path / "contract.tar"))
        harness.engine.apply(release(harness, "web", image=IMAGE, message="back again"))
        ready(harness)
        daemon.stop()
        with pytest.raises(Unavailable):
            harness.engine.status("one", harness.namespace)
        daemon.start()
        ready(harness)
        assert until(lambda: harness.about("one"), 20.0)["message"] == "back again"
        harness.close()
    finally:
        daemon.discard()


def test_a_runtime_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    engine = DockerEngine(EngineSettings(state_dir=tmp_path / "state", socket=str(tmp_path / "no.sock")))
    for ask in (engine.ping, engine.capacity, engine.supervise, lambda: engine.status("a", "b")):
        with pytest.raises(Unavailable):
            ask()
    engine.close()
