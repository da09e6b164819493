"""A system call filter (seccomp-BPF) for checks, written without any library: x86-64 and 64-bit ARM.

It refuses what no check needs and what could reach beyond it. Where namespaces cannot be had it is also what keeps a
check from the network, from other processes, and from making processes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
#: Offsets into `struct seccomp_data`; the arguments are 64 bits wide and little-endian on both machines.
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x00010000
#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_CLONE_NAMESPACES = 0x7E020000


@dataclass(frozen=True)
class _Machine:
    audit: int
    numbers: dict[str, int]


_SAME = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435,
    "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447,
}  # fmt: skip
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        {
            **_SAME, "socket": 41, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101,
            "personality": 135, "pivot_root": 155, "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169,
            "init_module": 175, "delete_module": 176, "quotactl": 179, "tkill": 200, "tgkill": 234, "kexec_load": 246,
            "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
            "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
            "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "execveat": 322,
            "userfaultfd": 323,
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        {
            **_SAME, "umount2": 39, "mount": 40, "pivot_root": 41, "quotactl": 60, "personality": 92, "unshare": 97,
            "kexec_load": 104, "init_module": 105, "delete_module": 106, "ptrace": 117, "kill": 129, "tkill": 130,
            "tgkill": 131, "reboot": 142, "socket": 198, "add_key": 217, "request_key": 218, "keyctl": 219,
            "clone": 220, "execve": 221, "swapon": 224, "perf_event_open": 241, "open_by_handle_at": 265, "setns": 268,
            "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "memfd_create": 279,
            "bpf": 280, "execveat": 281, "userfaultfd": 282, "kexec_file_load": 294,
        },
    ),
}  # fmt: skip
#: Never of use to a check. (`memfd_create`: memory that no limit of the process counts.)
_REFUSED = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "unshare", "setns", "personality", "swapon", "reboot", "quotactl", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "add_key", "request_key", "keyctl", "bpf", "perf_event_open",
    "open_by_handle_at", "userfaultfd", "memfd_create", "memfd_secret", "io_uring_setup", "io_uring_enter",
    "io_uring_register",
)  # fmt: skip


def supported() -> bool:
    """Return whether this machine's system calls are known here."""
    return platform.machine() in _MACHINES


def install(*, network: bool, alone: bool) -> None:
    """Filter the system calls of this process and of all that it makes; there is no way back.

    Without `network` no socket can be made (a socket pair can). `alone` refuses new processes, programs, and signals
    to other processes; threads stay possible. `OSError` where the kernel does not take the filter.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, "no system call filter is known for this machine")
    program = _program(machine, network=network, alone=alone)
    packed = b"".join(struct.pack("<HBBI", *step) for step in program)
    code = ctypes.create_string_buffer(packed, len(packed))
    header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, header, 0, 0)):
        wide = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments[1:]]
        if libc.prctl(arguments[0], *wide):
            problem = ctypes.get_errno()
            raise OSError(problem, os.strerror(problem))


Step = tuple[int, int, int, int]


def _program(machine: _Machine, *, network: bool, alone: bool) -> list[Step]:
    """Return the filter: a list of (code, jump if true, jump if false, value); every jump is to the next few steps."""
    number = machine.numbers

    def when(name: str, *steps: Step) -> list[Step]:
        """Do `steps` for that call; each list ends in an answer, so it never falls through."""
        return [(_JUMP_EQUAL, 0, len(steps), number[name]), *steps] if name in number else []

    no: Step = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    yes: Step = (_RETURN, 0, 0, _ALLOW)
    program: list[Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        # x32 calls of x86-64 have this bit; they would pass by the numbers below.
        (_JUMP_AT_LEAST, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    # The C library falls back to `clone`, whose flags can be read here.
    program += when("clone3", (_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    if alone:
        threads: list[Step] = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_BITS, 0, 1, _CLONE_THREAD), yes, no]
        program += when("clone", *threads)
        for name in ("fork", "vfork", "execve", "execveat", "tkill"):
            program += when(name, no)
        for name in ("kill", "tgkill"):
            program += when(name, (_LOAD, 0, 0, _ARGUMENT), (_JUMP_EQUAL, 0, 1, os.getpid()), yes, no)
    else:
        program += when("clone", (_LOAD, 0, 0, _ARGUMENT), (_JUMP_BITS, 0, 1, _CLONE_NAMESPACES), no, yes)
    if not network:
        program += when("socket", (_RETURN, 0, 0, _ERRNO | errno.EACCES))
    for name in _REFUSED:
        program += when(name, no)
    program.append(yes)
    return program
