"""Landlock: rules of this process about files, for where mounts of its own cannot be had. Linux 5.13 and later."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
#: All rights about files of the first version; later ones add moving, truncating and device calls.
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_FILE_RIGHTS = 0b111 | 1 << 14


def version() -> int:
    """Return the version of Landlock that this kernel has; 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))))


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Leave this process nothing but these files and folders; `OSError` where that cannot be done.

    Needs `no_new_privs`. What is open already stays open.
    """
    known = version()
    if not known:
        raise OSError("this kernel has no Landlock")
    everything = _ALL[min(known, 4)]
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("<Q", everything)
    rules = _checked(libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    try:
        for paths, rights in ((readable, _EXECUTE | _READ_FILE | _READ_DIR), (writable, everything)):
            for path in paths:
                with suppress(FileNotFoundError):
                    _allow(libc, rules, path, rights & everything)
        _checked(libc.syscall(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)))
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        rule = struct.pack("<Qi", rights, handle)
        _checked(libc.syscall(_ADD, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0)))
    finally:
        os.close(handle)


def _checked(answer: int) -> int:
    if answer < 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
    return int(answer)
