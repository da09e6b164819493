"""On a docker node an image belongs to the package that brought it, and a tag to the node's owner."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker.errors
import pytest

from core.errors import Invalid
from engines.contract import Reason, Release, ReleaseStatus, State
from engines.docker import pause
from engines.docker.images import HELD
from tests.contracts.carried import CHART
from tests.contracts.image import write_archive
from tests.engines.docker_harness import DockerHarness
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture
def harness(docker_socket: str, tmp_path: Path) -> Iterator[DockerHarness]:
    made = DockerHarness(docker_socket, tmp_path / "state")
    yield made
    made.close()
    for tag in (name(made), "localhost/breakwater/pause:1"):
        try:
            made.client.remove_image(tag, force=True)
        except docker.errors.ImageNotFound:
            continue


def name(harness: DockerHarness) -> str:
    return f"localhost/breakwater/owned-{harness.node}:1"


def install(
    harness: DockerHarness, image: str, images: dict[str, str] | None = None, own: str = "one", **values: object
) -> Release:
    release = Release(own, harness.namespace, CHART, {"image": image, **values}, images=images or {})
    harness.engine.apply(release)
    return release


def wait(harness: DockerHarness, state: State = State.READY, reason: Reason = Reason.NONE) -> ReleaseStatus:
    def look() -> ReleaseStatus | None:
        harness.engine.supervise()
        status = harness.engine.status("one", harness.namespace)
        return status if status.state is state and status.reason is reason else None

    return until(look, 40.0, every=0.1, what=f"{harness.engine.status('one', harness.namespace)}")


def lose_containers(harness: DockerHarness) -> None:
    for container in harness.containers():
        harness.client.remove_container(container["Id"], force=True)


def test_loading_moves_nobodys_tag_and_gives_none(harness: DockerHarness, tmp_path: Path) -> None:
    harness.give(write_archive(tmp_path / "own.tar", name(harness), "the owner's"))
    before = harness.client.inspect_image(name(harness))["Id"]
    tags = {tag for each in harness.client.images() for tag in each["RepoTags"] or [] if not tag.startswith(HELD)}

    loaded = harness.engine.load_image(write_archive(tmp_path / "theirs.tar", name(harness), "a package's"))

    assert harness.client.inspect_image(name(harness))["Id"] == before
    assert loaded[name(harness)] != before
    assert harness.images() == {loaded[name(harness)]}
    now = {tag for each in harness.client.images() for tag in each["RepoTags"] or [] if not tag.startswith(HELD)}
    assert now == tags


def test_what_one_package_brought_is_not_there_for_another(harness: DockerHarness, tmp_path: Path) -> None:
    loaded = harness.engine.load_image(write_archive(tmp_path / "a.tar", name(harness), "a"))
    image = loaded[name(harness)]
    ways = [
        name(harness),
        image,
        image.removeprefix("sha256:"),
        image.removeprefix("sha256:")[:12],
        f"{harness.engine.keeper.images.repository}:{image.removeprefix('sha256:')}",
        f"{name(harness)}@{image}",
    ]
    install(harness, name(harness), loaded, own="two")
    for number, way in enumerate(ways, start=1):
        harness.engine.apply(Release("one", harness.namespace, CHART, {"image": way}, generation=number))
        status = wait(harness, State.FAILED, Reason.IMAGE_MISSING)
        assert "is not on the node" in status.message, way
        assert harness.image_of("one") == "", way


def test_a_release_heals_with_the_image_it_began_with_when_the_owner_moves_the_tag(
    harness: DockerHarness, tmp_path: Path
) -> None:
    harness.give(write_archive(tmp_path / "old.tar", name(harness), "old"))
    old = harness.client.inspect_image(name(harness))["Id"]
    wish = install(harness, name(harness))
    wait(harness)
    harness.give(write_archive(tmp_path / "new.tar", name(harness), "new"))
    new = harness.client.inspect_image(name(harness))["Id"]
    assert new != old

    lose_containers(harness)
    harness.client.prune_images({"dangling": True})
    harness.reopen()
    wait(harness)
    assert harness.image_of("one") == old

    harness.engine.apply(Release(wish.name, wish.namespace, CHART, {**wish.values, "replicas": 2}, generation=2))
    until(lambda: wait(harness).workloads[0].ready == 2, 30.0)
    assert harness.image_of("one") == new, "a new wish may ask what the name means now"


def test_a_packages_image_that_the_runtime_lost_comes_back_as_the_same(harness: DockerHarness, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", name(harness), "a")
    loaded = harness.engine.load_image(archive)
    install(harness, name(harness), loaded)
    wait(harness)
    lose_containers(harness)
    harness.client.remove_image(loaded[name(harness)], force=True)
    # In between somebody else's image takes the name.
    harness.give(write_archive(tmp_path / "b.tar", name(harness), "b"))
    wait(harness, State.FAILED, Reason.IMAGE_MISSING)

    assert harness.engine.load_image(archive) == loaded

    wait(harness)
    assert harness.image_of("one") == loaded[name(harness)]


def test_the_image_that_holds_pods_cannot_be_replaced(harness: DockerHarness, tmp_path: Path) -> None:
    harness.give(write_archive(tmp_path / "evil.tar", pause.IMAGE, "evil"))
    loaded = harness.engine.load_image(write_archive(tmp_path / "a.tar", name(harness)))
    install(harness, name(harness), loaded)
    wait(harness)
    (holder,) = harness.containers(container="POD")
    assert holder["ImageID"] == harness.engine.keeper.images.pause() == f"sha256:{pause.digest('amd64')}"


def test_nodes_that_share_a_runtime_let_go_of_an_image_each_for_itself(harness: DockerHarness, tmp_path: Path) -> None:
    other = DockerHarness(harness.socket, tmp_path / "other")
    archive = write_archive(tmp_path / "a.tar", name(harness), "a")
    try:
        for each in (harness, other):
            install(each, name(harness), each.engine.load_image(archive))
            wait(each)
        image = harness.image_of("one")
        harness.engine.remove("one", harness.namespace)
        until(lambda: harness.engine.supervise() or image not in harness.images(), 30.0)
        lose_containers(other)
        wait(other)
        assert other.image_of("one") == image
    finally:
        other.engine.remove("one", other.namespace)
        until(lambda: other.engine.supervise() or image not in other.images(), 30.0)
        other.close()
    with pytest.raises(docker.errors.ImageNotFound):
        harness.client.inspect_image(image)


def test_a_layer_that_differs_never_reaches_the_runtime(harness: DockerHarness, tmp_path: Path) -> None:
    good, bad = write_archive(tmp_path / "a.tar", name(harness), "good"), tmp_path / "bad.tar"
    with tarfile.open(good) as source, tarfile.open(bad, "w") as target:
        for member in source:
            body = source.extractfile(member)
            if member.name == "layer.tar":
                body = (tmp_path / "layer").open("wb+")
                body.write(b"x" * member.size)
                body.seek(0)
            target.addfile(member, body)
    with pytest.raises(Invalid, match="not the one"):
        harness.engine.load_image(bad)
    assert harness.images() == set()


def test_an_archive_of_docker_save_is_loaded(harness: DockerHarness, tmp_path: Path) -> None:
    harness.give(write_archive(tmp_path / "own.tar", name(harness), "saved"))
    saved = tmp_path / "saved.tar"
    with saved.open("wb") as out:
        for chunk in harness.client.get_image(name(harness)):
            out.write(chunk)
    with tarfile.open(saved) as archive:
        assert json.load(archive.extractfile("manifest.json"))[0]["RepoTags"] == [name(harness)]  # type: ignore[arg-type]
    loaded = harness.engine.load_image(saved)
    assert loaded[name(harness)] == harness.client.inspect_image(name(harness))["Id"]
    harness.client.remove_image(name(harness))
    install(harness, name(harness), loaded)
    wait(harness)
