"""Files of the pages are sent compressed and kept by browsers, and never an old one under a new page."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command

from frontend import assets

SHEET = "frontend/app.css"


@pytest.fixture
def own_files(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """Two files of the pages instead of all of ours, and an empty place to pack them in."""
    source, target = tmp_path / "source", tmp_path / "packed"
    (source / "frontend").mkdir(parents=True)
    target.mkdir()
    (source / SHEET).write_text("body { background: url(mark.svg) }\n" * 100)
    (source / "frontend" / "mark.svg").write_text("<svg/>")
    settings.STATICFILES_DIRS, settings.STATIC_ROOT = [source], target
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    finders.get_finder.cache_clear()  # type: ignore[attr-defined]  # (it is an lru_cache)
    yield source
    finders.get_finder.cache_clear()  # type: ignore[attr-defined]  # (it is an lru_cache)


def name_now() -> str:
    return assets.Assets().url(SHEET)


@pytest.mark.usefixtures("own_files")
def test_what_was_never_packed_is_used_as_it_is() -> None:
    assert name_now() == f"/static/{SHEET}"


def test_a_packed_file_has_a_name_of_its_content_and_a_compressed_copy(own_files: Path, settings: Any) -> None:
    assert assets.pack()
    packed = Path(settings.STATIC_ROOT) / name_now().removeprefix("/static/")
    assert packed.name != "app.css"
    assert "mark.svg" not in packed.read_text(), "files that it names have such names, too"
    assert gzip.decompress(packed.with_name(packed.name + ".gz").read_bytes()) == packed.read_bytes()
    assert not assets.pack(), "nothing changed"


def test_after_a_change_the_old_file_is_used_no_more(own_files: Path) -> None:
    assets.pack()
    old = name_now()
    (own_files / SHEET).write_text("body { color: red }")
    assert name_now() == f"/static/{SHEET}"
    call_command("pack_assets", verbosity=0)
    assert name_now() not in (old, f"/static/{SHEET}")


def test_a_packing_that_was_cut_off_counts_as_none(own_files: Path, settings: Any) -> None:
    assets.pack()
    (Path(settings.STATIC_ROOT) / "sources.sha256").unlink()
    assert name_now() == f"/static/{SHEET}"
