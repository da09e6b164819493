"""The checks there are, one file each. A file `no_privileged.py` holds exactly one check, called `no-privileged`.

Others come from installed packages (entry point group `breakwater.checks`) and from folders that the operator names
(setting `CHECKS`). The server never imports one: it knows the files, and a child process tells what is in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from appstore.certification.contract import Check
from core.errors import Invalid
from core.registry import Registry
from core.words import say

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where the code of a check is: a module (with its class, or the only one in it), or a file."""

    name: str
    module: str = ""
    attribute: str = ""
    file: str = ""


def _names(folder: Path) -> dict[str, Path]:
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


class Checks(Registry[type[Check]]):
    """The registry of checks; `places` tells where each is without importing any of them."""

    def get(self, name: str) -> type[Check]:
        """Return the class, imported into this process: for tests of a check, not for the server."""
        target = self._targets.get(name, "")
        if name not in self._loaded and target and ":" not in target:
            from appstore.certification.running.child import only_check  # it imports this package

            with self._lock:
                self._loaded[name] = only_check(import_module(target))
        return super().get(name)

    def places(self, folders: Iterable[Path] = ()) -> dict[str, Place]:
        """Return the place of each check; `Invalid` when a folder repeats a name that is taken."""
        self._read_entry_points()
        found: dict[str, Place] = {}
        for name, target in self._targets.items():
            module, _, attribute = target.partition(":")
            found[name] = Place(name, module, attribute)
        for folder in folders:
            for name, path in _names(folder).items():
                if name in found:
                    raise Invalid(
                        say(
                            "The check {name} of {folder} has a name that is taken; give the file another one",
                            name=name,
                            folder=folder,
                        )
                    )
                found[name] = Place(name, file=str(path.resolve()))
        return dict(sorted(found.items()))


registry = Checks("checks", {name: f"{__name__}.{path.stem}" for name, path in _names(_FOLDER).items()})
