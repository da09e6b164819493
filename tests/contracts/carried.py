"""The part of the engines' contract that is about images which travel in packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid
from engines.contract import Release, ReleaseStatus, State
from tests.contracts.image import write_archive
from tests.waiting import until

#: Two packages call their images so.
SHARED = "localhost/breakwater/shared:1"
CHART = Path(__file__).parent / "charts" / "web"


class CarriedImages:
    """The suite; a test module of an engine subclasses it and gives it a fixture `harness`."""

    @pytest.fixture
    def archives(self, harness: Any, tmp_path: Path) -> dict[str, Path]:
        """Two archives with the same name and different content."""
        if not harness.carries_images:
            pytest.skip("this engine takes images from a registry")
        return {mark: write_archive(tmp_path / f"{mark}.tar", SHARED, mark) for mark in ("a", "b")}

    @pytest.fixture(autouse=True)
    def tidy(self, harness: Any) -> Iterator[None]:
        yield
        for namespace, name in harness.engine.releases():
            if namespace == harness.namespace:
                harness.engine.remove(name, namespace)

    def install(
        self, harness: Any, name: str, images: Mapping[str, str], generation: int = 1, image: str = SHARED
    ) -> str:
        """Run the chart with these images of its package, and return the ID of what runs."""
        harness.engine.apply(
            Release(name, harness.namespace, CHART, {"image": image}, generation=generation, images=images)
        )
        self.ready(harness, name)
        return str(harness.image_of(name))

    def ready(self, harness: Any, name: str) -> None:
        def look() -> ReleaseStatus | None:
            harness.engine.supervise()
            status = harness.engine.status(name, harness.namespace)
            return status if status.state is State.READY else None

        until(look, harness.patience, every=0.1, what=f"{name}: {harness.engine.status(name, harness.namespace)}")

    def gone(self, harness: Any, name: str) -> None:
        harness.engine.remove(name, harness.namespace)

        def look() -> bool:
            harness.engine.supervise()
            return bool(harness.engine.status(name, harness.namespace).state is State.ABSENT)

        until(look, harness.patience, every=0.1)

    def test_packages_that_use_one_name_run_each_its_own_image(
        self, harness: Any, archives: Mapping[str, Path]
    ) -> None:
        first = harness.engine.load_image(archives["a"])
        assert self.install(harness, "one", first) == first[SHARED]
        second = harness.engine.load_image(archives["b"])
        assert first[SHARED] != second[SHARED]
        assert self.install(harness, "two", second) == second[SHARED]

        harness.engine.halt()  # everything is made anew, the one that was loaded first too
        harness.reopen()
        self.ready(harness, "one")
        self.ready(harness, "two")

        assert (harness.image_of("one"), harness.image_of("two")) == (first[SHARED], second[SHARED])

    def test_an_upgrade_brings_the_image_of_its_package_and_a_rollback_the_one_before(
        self, harness: Any, archives: Mapping[str, Path]
    ) -> None:
        old, new = (harness.engine.load_image(archives[mark])[SHARED] for mark in ("a", "b"))
        assert self.install(harness, "one", {SHARED: old}) == old
        assert self.install(harness, "one", {SHARED: new}, generation=2) == new
        assert harness.engine.rollback("one", harness.namespace, generation=3).number == 3
        self.ready(harness, "one")
        assert harness.image_of("one") == old

    def test_an_image_goes_with_the_last_release_that_has_it(self, harness: Any, archives: Mapping[str, Path]) -> None:
        for name in ("one", "two"):
            self.install(harness, name, harness.engine.load_image(archives["a"]))
        image = harness.image_of("one")
        self.gone(harness, "one")
        harness.engine.load_image(archives["b"])
        assert image in harness.images()
        self.ready(harness, "two")
        self.gone(harness, "two")
        until(lambda: harness.engine.supervise() or image not in harness.images(), harness.patience, every=0.1)
        assert harness.images(), "what was loaded a moment ago is kept for its release"

    def test_a_name_with_a_digest_means_that_content_alone(self, harness: Any, archives: Mapping[str, Path]) -> None:
        images = harness.engine.load_image(archives["a"])
        image = images[SHARED]
        assert self.install(harness, "one", images, image=f"{SHARED}@{image}") == image
        wrong = f"{SHARED}@sha256:{'0' * 64}"
        with pytest.raises(Invalid) as refused:
            self.install(harness, "two", images, image=wrong)
        assert [each["code"] for each in refused.value.context["findings"]] == ["image-digest"]
        assert harness.engine.status("two", harness.namespace).state is State.ABSENT

    def test_an_engine_without_packaged_images_says_so(self, harness: Any, tmp_path: Path) -> None:
        if harness.carries_images:
            pytest.skip("this engine takes images from packages")
        with pytest.raises(Invalid, match="registry"):
            harness.engine.load_image(tmp_path / "any.tar")
