"""Files that only their owner reads."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from core import privately


def test_what_could_not_take_its_place_is_not_left_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    (folder / "key" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        privately.put(folder / "key", b"secret")
    assert [each.name for each in folder.iterdir()] == ["key"]
    privately.put_once(folder / "new", b"one")
    privately.put_once(folder / "new", b"two")
    assert (folder / "new").read_bytes() == b"one"
    assert sorted(each.name for each in folder.iterdir()) == ["key", "new"]


@pytest.mark.parametrize("write", [privately.put, privately.put_once])
def test_a_full_disk_leaves_no_part_of_a_secret(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "key", b"secret")
    assert not [each for each in tmp_path.iterdir() if each.is_file()]
