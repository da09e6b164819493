"""Wakes the watch of this process at once when there is something to send; other processes' work it sees within a beat."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction

_hooks: list[Callable[[], None]] = []


def ring_on_commit() -> None:
    """Ring once the present transaction has happened."""
    transaction.on_commit(_ring)


def answer(hook: Callable[[], None]) -> None:
    """Let `hook` be called, in whatever thread rings."""
    _hooks.append(hook)


def forget(hook: Callable[[], None]) -> None:
    """Call `hook` no more."""
    if hook in _hooks:
        _hooks.remove(hook)


def _ring() -> None:
    for hook in tuple(_hooks):
        hook()
