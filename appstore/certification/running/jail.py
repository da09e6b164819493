"""The walls around checks: namespaces where the kernel gives them, else a system call filter with Landlock.

Everything here runs in the child's process, on its way down: `enter` once for the process that forks the checks, then
`descend` for each check. After `descend` there is no way back.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import platform
import resource
import signal
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appstore.certification.running import landlock, seccomp

NAMESPACES, FILTER = "namespaces", "filter"
#: Where the files of the package are inside of the walls.
SUBJECT = Path("/subject")
#: The one folder in which a check may write, a file system in memory of its own. (Not /tmp: code may lie there.)
_OWN = Path("/own")

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_PDEATHSIG, _DUMPABLE, _KEEPCAPS, _NO_NEW_PRIVS, _CAPBSET_DROP = 1, 4, 8, 38, 24
_DAC_READ_SEARCH = 1 << 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
#: Users of nobody: each check that runs at a time is another one, so that none can touch another.
_FIRST_UID, _UIDS = 57_000, 2_000
_OPEN_FILES, _PROCESSES, _FILE_BYTES, _FOLDER_BYTES = 128, 32, 64 << 20, 64 << 20
#: What the interpreter and the C library need of the machine; the rest comes from `sys.path`.
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/lib", "/lib64", "/etc/ld.so.cache")
_FOR_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/usr/share/ca-certificates")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_ROOT = Path(__file__).resolve().parents[3]
#: The parts of ours that checks build on; what else lies beside them (data, keys) stays outside.
_OURS = ("core", "engines", "appstore")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Walls:
    """What keeps the checks of this process in; the words are shown on the report."""

    kind: str
    network: str
    files: str
    processes: str
    user: str


def enter(
    kind: str, *, scratch: Path, files: Sequence[tuple[Path, str]], folders: Iterable[Path], network: bool
) -> Walls:
    """Put this process behind walls and return which; with namespaces it goes on as a child of the caller's.

    `kind` is `namespaces`, `filter` or `auto`, `scratch` an empty folder, `files` what the checks may read under
    `SUBJECT`, `folders` further code. `network` leaves the network where it is, so that some checks may have it.
    """
    shown = [*_code(), *folders]
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if kind == NAMESPACES or (kind == "auto" and _would_hold(scratch, files, shown, network)):
        _apart(scratch, files, shown, network)
        user = "a user of its own for each check" if os.getuid() == 0 and not _mapped() else "no privileges"
        return Walls(NAMESPACES, "network namespace", "only code and the package", "process namespace", user)
    if not seccomp.supported():
        raise OSError(errno.ENOSYS, "neither namespaces nor a system call filter can be had here")
    _prctl(_DUMPABLE, 0)
    seen = "Landlock: only code and the package" if landlock.version() else "file modes alone"
    user = "a user of its own for each check" if os.getuid() == 0 else "the server's user"
    return Walls(FILTER, "system call filter", seen, "no process but its own", user)


def apart_for_one(walls: Walls, *, network: bool, shared: bool) -> None:
    """Prepare the next fork of this process to be one check's; `shared` says that the network is still the server's."""
    if walls.kind == NAMESPACES:
        lonely = 0 if network or not shared else _NEWNET
        _unshare(_NEWPID | _NEWIPC | lonely)


def descend(
    walls: Walls, *, slot: int, seconds: float, memory_mib: int, network: bool, folder: Path, readable: Iterable[Path]
) -> None:
    """Give up everything that a check must not have; called in the process of the check before its code is read."""
    if walls.kind == NAMESPACES:
        _unshare(_NEWNS)  # not before the fork: the warden goes on looking at its own /proc
        # What cannot be mounted again (a masked /proc in a container) is covered instead.
        try:
            _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
        except OSError:
            _mount("tmpfs", "/proc", "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC)
        _mount("tmpfs", str(_OWN), "tmpfs", _NOSUID | _NODEV, f"size={_FOLDER_BYTES},nr_inodes=4096,mode=1777")
        folder = _OWN
    os.chdir(folder)
    os.environ["TMPDIR"] = os.environ["HOME"] = str(folder)
    _limit(seconds, memory_mib)
    own_user = walls.user.startswith("a user of its own")
    uid = _FIRST_UID + (os.getppid() * 64 + slot) % _UIDS if walls.kind == FILTER else _FIRST_UID + slot % _UIDS
    # Our code may lie in the home of root. Landlock lets a check read that and nothing else, so it may pass the modes.
    peeks = walls.kind == FILTER and landlock.version() and not _readable_by_others(_code())
    if own_user:
        if walls.kind == FILTER:
            os.chown(folder, uid, uid)
        os.setgroups([])
        _prctl(_KEEPCAPS, 1)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _drop_capabilities(keep=_DAC_READ_SEARCH if own_user and peeks else 0)
    _prctl(_NO_NEW_PRIVS, 1)
    _prctl(_PDEATHSIG, signal.SIGKILL)  # a change of user forgets it
    if walls.kind == FILTER and landlock.version():
        landlock.confine(
            [*_code(), *readable, *map(Path, _DEVICES), *map(Path, _FOR_NETWORK if network else ())], [folder]
        )
    if seccomp.supported():
        seccomp.install(network=network, alone=walls.kind == FILTER)


def _limit(seconds: float, memory_mib: int) -> None:
    used = 0
    with suppress(OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for kind, most in (
        # What the interpreter has mapped already does not count as the check's.
        (resource.RLIMIT_AS, (used or 256 << 20) + (memory_mib << 20)),
        (resource.RLIMIT_CPU, max(1, int(seconds) + 1)),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, _PROCESSES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _would_hold(scratch: Path, files: Sequence[tuple[Path, str]], shown: list[Path], network: bool) -> bool:
    """Try the whole way in a child: a kernel or a container may allow the first steps and forbid a later one."""
    pid = os.fork()
    if pid == 0:
        try:
            _apart(scratch, files, shown, network)
            apart_for_one(Walls(NAMESPACES, "", "", "", ""), network=network, shared=network)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _apart(scratch: Path, files: Sequence[tuple[Path, str]], shown: list[Path], network: bool) -> None:
    uid, gid = os.getuid(), os.getgid()
    if uid:
        _unshare(_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _unshare(_NEWNS | _NEWIPC | _NEWUTS | _NEWPID | (0 if network else _NEWNET))
    # The process itself stays where it was; its next child is the first of the new process namespace.
    pid = os.fork()
    if pid:
        # Whoever holds our end of the control socket open would hide the end of the other.
        os.closerange(3, 256)
        os._exit(max(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    _prctl(_PDEATHSIG, signal.SIGKILL)
    _new_root(scratch, files, [*shown, *map(Path, _FOR_NETWORK if network else ())])


def _new_root(root: Path, files: Sequence[tuple[Path, str]], shown: Iterable[Path]) -> None:
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", str(root), "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in sorted({*map(Path, _SYSTEM), *shown}):
        _show(path, root / path.relative_to("/"))
    for source, name in files:
        _show(source, root / SUBJECT.relative_to("/") / name)
    for device in _DEVICES:
        _show(Path(device), root / device[1:])
    for name in ("proc", _OWN.name, "old"):
        (root / name).mkdir()
    _mount("proc", str(root / "proc"), "proc", _NOSUID | _NODEV | _NOEXEC)
    if _libc.syscall(_PIVOT_ROOT[platform.machine()], os.fsencode(root), os.fsencode(root / "old")):
        _fail()
    os.chdir("/")
    if _libc.umount2(b"/old", _DETACH):
        _fail()
    Path("/old").rmdir()
    _mount("none", "/", "", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _show(source: Path, target: Path) -> None:
    """Make `source` visible at `target`, read only."""
    with suppress(FileExistsError):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or not source.exists():
        return  # inside of another one that is shown already
    if source.is_symlink() and not source.is_absolute():
        return
    real = source.resolve()
    mode = real.stat().st_mode
    if stat.S_ISDIR(mode):
        target.mkdir()
    else:
        target.touch()
    _mount(str(real), str(target), "", _BIND)
    # In a user namespace the flags that the source has must be repeated.
    kept = os.statvfs(real).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
    if not stat.S_ISCHR(mode):
        _mount("none", str(target), "", _REMOUNT | _BIND | _RDONLY | kept)


def _code() -> list[Path]:
    """Return the folders of the interpreter, of installed packages, and of what checks use of ours."""
    found = [_ROOT / name for name in _OURS]
    for text in (*sys.path, sys.prefix + "/lib", sys.base_prefix + "/lib"):
        path = Path(text)
        if path.is_absolute() and path.exists() and path != _ROOT:
            found += [path] if path.resolve() == path else [path, path.resolve()]
    return found


def _readable_by_others(paths: Iterable[Path]) -> bool:
    """Return whether a stranger on this machine could read our code: some keep it in the home of root."""
    for path in paths:
        for step in (path, *path.parents):
            if step.exists() and step.is_dir() and not step.stat().st_mode & stat.S_IXOTH:
                return False
    return True


def _mapped() -> bool:
    """Return whether this is a user namespace of ours, in which there is but one user."""
    with suppress(OSError):
        return Path("/proc/self/uid_map").read_text().split()[-1] == "1"
    return False


def _drop_capabilities(keep: int) -> None:
    for number in range(64):
        _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)  # says no where there is no such capability, and to strangers
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(keep, keep, 0)
    if _libc.capset(header, data):
        _fail()


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        _fail()


def _unshare(flags: int) -> None:
    if _libc.unshare(flags):
        _fail()


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    given = [os.fsencode(text) if text else None for text in (source, target, kind)]
    if _libc.mount(*given, ctypes.c_ulong(flags), options.encode() or None):
        _fail()


def _fail() -> None:
    problem = ctypes.get_errno()
    raise OSError(problem, os.strerror(problem))
