"""Files of ConfigMap and Secret volumes on the node: folders that only their owner can enter, in memory if possible."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from core.errors import Invalid
from core.words import say
from engines.docker.seen import PodKey
from engines.pods.wanted import PodTemplate, Volume


def root_for(state_dir: Path) -> Path:
    """Return where an engine with this state folder keeps such files: `/run`, which is memory, if it may write there."""
    run = Path("/run")
    if os.access(run, os.W_OK) and os.path.ismount(run):
        return run / "breakwater" / hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:12]
    return state_dir / "files"


class Files:
    """Writes the files of pods and takes them away again."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.normpath(root))

    def _pod(self, key: PodKey) -> Path:
        return self.root / f"{key[0]}.{key[1]}" / key[2]

    def volume(self, key: PodKey, name: str, below: str = "") -> Path:
        """Return where a volume of files lies, or a path `below` it; `Invalid` when that would be anywhere else.

        Charts are refused before they get here. What was kept by an older engine was not.
        """
        folder = Path(os.path.normpath(self._pod(key) / name))
        found = Path(os.path.normpath(folder / below))
        if folder.parent != self.root / f"{key[0]}.{key[1]}" / key[2] or not found.is_relative_to(folder):
            raise Invalid(
                say(
                    "{name} {below} lies outside of the files of {key}",
                    name=repr(name[:60]),
                    below=repr(below[:60]),
                    key=repr(key[2][:60]),
                )
            )
        return found

    def write(self, key: PodKey, template: PodTemplate) -> None:
        """Make the files of a pod's volumes as they should be; each is replaced whole, and only when it differs."""
        for volume in template.volumes:
            if volume.kind == "files":
                self._write(self.volume(key, volume.name), volume, template.group)

    def _write(self, folder: Path, volume: Volume, group: int | None) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        wanted = {folder / file.path: file for file in volume.files}
        for path, file in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.read_bytes() == file.body:
                continue
            fresh = path.with_name(f".{path.name}.new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(file.body)
            if group is not None and os.geteuid() == 0:
                os.chown(fresh, 0, group)
            fresh.chmod(file.mode)
            fresh.replace(path)
        for path in folder.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink(missing_ok=True)

    def discard(self, key: PodKey) -> None:
        """Remove the files of one pod."""
        shutil.rmtree(self._pod(key), ignore_errors=True)
        self._tidy(self._pod(key).parent)

    def discard_release(self, namespace: str, release: str) -> None:
        """Remove the files of every pod of a release."""
        folder = self.root / f"{namespace}.{release}"
        shutil.rmtree(folder, ignore_errors=True)
        self._tidy(folder.parent)

    def _tidy(self, folder: Path) -> None:
        for empty in self._upwards(folder):
            try:
                empty.rmdir()
            except OSError:
                return

    def _upwards(self, folder: Path) -> Iterable[Path]:
        while folder.is_relative_to(self.root):
            yield folder
            folder = folder.parent
        if self.root.parent.name == "breakwater":
            yield self.root.parent
