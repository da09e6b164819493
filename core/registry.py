"""Plugins by short name: built-ins and entry points come in through the same door."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module, metadata
from typing import Any, Generic, TypeVar

from core.errors import Missing
from core.words import say

Plugin = TypeVar("Plugin")


@cache
def _entry_points() -> Any:  # of another class from Python 3.12 on, with the same `select`
    """Return what installed packages name; to look through all of them takes milliseconds, and there are many registries."""
    return metadata.entry_points()


class Registry(Generic[Plugin]):
    """The plugins of one kind.

    `builtins` maps a short name to `"module:attribute"`; a module is imported only when its
    plugin is first asked for, so that a heavy library costs nothing until it is used.
    Installed packages add theirs through the entry point group `breakwater.<kind>`.

    >>> engines: Registry[type[Engine]] = Registry("engines", {"memory": "engines.memory:MemoryEngine"})
    >>> engines.get("memory")
    <class 'engines.memory.MemoryEngine'>
    """

    def __init__(self, kind: str, builtins: dict[str, str] | None = None) -> None:
        self.kind = kind
        self._targets = dict(builtins or {})
        self._loaded: dict[str, Plugin] = {}
        self._lock = threading.RLock()
        self._entry_points_read = False

    def register(self, name: str) -> Callable[[Plugin], Plugin]:
        """Decorate a plugin to make it known as `name`; a name is given away once."""

        def add(plugin: Plugin) -> Plugin:
            with self._lock:
                present = self._loaded.get(name)
                if present is not None and present is not plugin:
                    raise ValueError(f"{self.kind}: the name {name!r} is taken by {present!r}")
                self._loaded[name] = plugin
            return plugin

        return add

    def names(self) -> list[str]:
        """Return every known short name, sorted; imports no plugin."""
        self._read_entry_points()
        with self._lock:
            return sorted({*self._targets, *self._loaded})

    def get(self, name: str) -> Plugin:
        """Return the plugin called `name`; `Missing` lists the names there are."""
        self._read_entry_points()
        with self._lock:
            if name not in self._loaded:
                target = self._targets.get(name)
                if target is None:
                    raise Missing(
                        say(
                            "There is no plugin {name} among {kind}; known: {names}",
                            name=repr(name),
                            kind=self.kind,
                            names=", ".join(self.names()) or "none",
                        )
                    )
                module, _, attribute = target.partition(":")
                self._loaded[name] = getattr(import_module(module), attribute)
            return self._loaded[name]

    def __iter__(self) -> Iterator[tuple[str, Plugin]]:
        for name in self.names():
            yield name, self.get(name)

    def _read_entry_points(self) -> None:
        with self._lock:
            if self._entry_points_read:
                return
            self._entry_points_read = True
            for entry in _entry_points().select(group=f"breakwater.{self.kind}"):
                self._targets.setdefault(entry.name, entry.value)
