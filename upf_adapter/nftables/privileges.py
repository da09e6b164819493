"""Giving up privileges: the helper keeps CAP_NET_ADMIN and nothing else, everybody beside it keeps anything but that.

`python -m upf_adapter.nftables.privileges COMMAND ...` runs a command that can never have CAP_NET_ADMIN.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

CAP_NET_ADMIN = 12
#: Who the helper becomes when it is started by root and nobody says.
NOBODY = 65534
_CAPBSET_DROP, _KEEPCAPS, _NO_NEW_PRIVS, _AMBIENT, _CLEAR_ALL = 24, 8, 38, 47, 4
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def keep_only(capability: int, user: int | None) -> None:
    """Become `user` for good, with this capability alone; programs that it runs have none at all."""
    for other in set(_all()) - {capability}:
        _libc.prctl(_CAPBSET_DROP, other, 0, 0, 0)
    if user is not None and os.getuid() == 0:
        _libc.prctl(_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    _set({capability}, {capability}, set())
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)


def give_up(capability: int) -> None:
    """Never have this capability again, nor any child."""
    _libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    _set(*({each for each in held if each != capability} for held in _get()))
    if capability in _get()[1]:
        raise PermissionError("the capability cannot be given up")


def holds(capability: int) -> bool:
    """Return whether this process has the capability."""
    return capability in _get()[0]


def _all() -> Iterable[int]:
    return range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1)


def _get() -> tuple[set[int], set[int], set[int]]:
    """Return what is effective, permitted, inheritable."""
    data = ctypes.create_string_buffer(24)
    if _libc.capget(struct.pack("=Ii", _VERSION_3, 0), data):
        raise OSError(ctypes.get_errno(), "capget")
    words = struct.unpack("=6I", data.raw)
    sets = [words[at] | words[at + 3] << 32 for at in range(3)]
    return tuple({bit for bit in range(64) if held >> bit & 1} for held in sets)  # type: ignore[return-value]


def _set(effective: set[int], permitted: set[int], inheritable: set[int]) -> None:
    masks = [sum(1 << bit for bit in held) for held in (effective, permitted, inheritable)]
    words = [mask & 0xFFFFFFFF for mask in masks] + [mask >> 32 for mask in masks]
    if _libc.capset(struct.pack("=Ii", _VERSION_3, 0), struct.pack("=6I", *words)):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    give_up(CAP_NET_ADMIN)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command is ours, from `manage.py edge`
