"""Files that only their owner reads."""

from __future__ import annotations

from pathlib import Path

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
