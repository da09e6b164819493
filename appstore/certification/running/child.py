"""The other side of the runner: a clean process that forks one process for each check.

Knows no Django and no database, and has no file of the server open. Three kinds of process run this file: the first
one reads jobs and forks; a warden for each job waits for its end, counts its memory, and kills it with all that it
made; the check itself. Only the last one runs code of a check, behind walls (see `jail`).
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appstore.certification.contract import Check, ImageFile, Need, Progress, Sandbox, Skip, Subject
from appstore.certification.running import jail
from appstore.packages.enclosing import open_package
from core.archives import Archive, open_archive
from core.errors import BreakwaterError, Invalid, from_problem
from core.findings import Finding, Level

#: Modules that built-in checks share, loaded once before the forks.
_WARM = ("yaml", "engines.planning", "appstore.packages.documents", "appstore.certification.checks")
_LOOK = 0.25
_LARGEST_MESSAGE = 256 << 10


def main(handle: int) -> None:
    """Read what is to be done from the socket `handle` until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=handle)
    config = json.loads(control.recv(_LARGEST_MESSAGE))
    try:
        walls = jail.enter(
            config["walls"],
            scratch=Path(config["scratch"]),
            files=[(Path(source), name) for source, name in config["files"]],
            folders=[Path(folder) for folder in config["folders"]],
            network=config["network"],
        )
        for name in (*_WARM, *config["warm"]):
            with suppress(ImportError):
                importlib.import_module(name)
    except Exception:
        control.send(json.dumps({"broken": traceback.format_exc()[-4000:]}).encode())
        return
    control.send(json.dumps({"walls": asdict(walls)}).encode())
    opening = json.loads(control.recv(_LARGEST_MESSAGE))
    root = jail.SUBJECT if walls.kind == jail.NAMESPACES else Path(opening["files"])
    document = json.loads((root / "subject.json").read_bytes()) if opening["subject"] else {}
    gc.collect()
    gc.freeze()  # shared with every fork instead of copied at the first collection
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wardens leave no zombies
    slot = 0
    while True:
        message, handles, _, _ = socket.recv_fds(control, _LARGEST_MESSAGE, 2)
        if not message:
            os._exit(0)
        slot += 1
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with suppress(BaseException):
                _warden(walls, json.loads(message), handles, slot, root, document)
            os._exit(1)
        for each in handles:
            os.close(each)


def _warden(
    walls: jail.Walls, job: Mapping[str, Any], handles: Sequence[int], slot: int, root: Path, document: Any
) -> None:
    """Fork the check, wait until it ends or must end, and tell how it went."""
    channel, status = handles
    jail.apart_for_one(walls, network=job["network"], shared=job["shared"])
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(status)
        with suppress(BaseException):
            _check(walls, job, channel, slot, root, document)
        os._exit(3)
    os.close(channel)
    watch = select.poll()
    ended = os.pidfd_open(pid)
    watch.register(ended, select.POLLIN)
    watch.register(status, select.POLLIN | select.POLLHUP)
    why = ""
    while not why:
        left = began + job["seconds"] - time.monotonic()
        seen = {handle for handle, _ in watch.poll(max(0.0, min(left, _LOOK)) * 1000)}
        if ended in seen:
            break
        if status in seen:
            why = "asked"
        elif left <= 0:
            why = "time"
        elif walls.kind == jail.NAMESPACES and _tree_memory(pid) > (job["memory_mib"] << 20) * 1.25:
            why = "memory"
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # first of its process namespace: all that it made goes with it
    _, code, usage = os.wait4(pid, 0)
    told = {
        "why": why,
        "signal": os.WTERMSIG(code) if os.WIFSIGNALED(code) else 0,
        "code": os.WEXITSTATUS(code) if os.WIFEXITED(code) else 0,
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_kib": usage.ru_maxrss,
    }
    with suppress(OSError):
        os.write(status, json.dumps(told).encode())
    os._exit(0)


def _tree_memory(pid: int) -> int:
    """Return the memory of a check that has made processes, shared pages by share; 0 for one that is alone.

    One that is alone is bound by the limit of its address space, and without namespaces it cannot make any.
    """
    parents: dict[int, list[int]] = {}
    # Behind walls of namespaces these are the processes of this run only.
    for each in os.listdir("/proc"):  # noqa: PTH208
        if each.isdigit():
            with suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{each}/stat").read_text()
                parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(each))
    tree, total = [pid], 0
    for process in tree:
        tree += parents.get(process, [])
    if len(tree) == 1:
        return 0
    for process in tree:
        with suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


class Channel:
    """The check's end of its own socket: JSON lines both ways."""

    def __init__(self, handle: int) -> None:
        self._socket = socket.socket(fileno=handle)
        self._answers = self._socket.makefile("rb")

    def tell(self, **said: Any) -> None:
        """Send one line; text that is no Unicode is escaped."""
        self._socket.sendall(json.dumps(said).encode() + b"\n")

    def ask(self, method: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Have the server do something with the sandbox; raises what it raised."""
        self.tell(call=[method, list(arguments), dict(named)])
        answer = json.loads(self._answers.readline() or b'{"problem": {"detail": "The server is gone"}}')
        if "problem" in answer:
            raise from_problem(answer["problem"])
        return answer["answer"]


class RemoteSandbox:
    """The `Sandbox` of the contract, each call carried out by the server."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **named: self._channel.ask(name, arguments, named)


class Lent:
    """The `Tools` of the contract."""

    def __init__(
        self, subject: Subject, document: Mapping[str, Any], sandbox: Sandbox | None, stack: ExitStack
    ) -> None:
        self._subject, self._document, self._sandbox, self._stack = subject, document, sandbox, stack
        self._opened: dict[Path, Archive] = {}

    def archive(self) -> Archive:
        path = self._subject.path
        if path not in self._opened:
            # The package may lie in a zip beside its signature (NFV-SOL 004, option 2).
            self._opened[path] = self._stack.enter_context(open_package(path)).archive
        return self._opened[path]

    def chart_archive(self) -> Archive:
        if self._subject.chart is None:
            raise Skip("The package has no chart")
        return self._open(self._subject.chart)

    def objects(self) -> Sequence[Mapping[str, Any]]:
        return list(self._rendered()["objects"])

    def hooks(self) -> Sequence[tuple[tuple[str, ...], Mapping[str, Any]]]:
        return [(tuple(each["events"]), each["body"]) for each in self._rendered()["hooks"]]

    def crds(self) -> Sequence[Mapping[str, Any]]:
        return list(self._rendered()["crds"])

    def _rendered(self) -> Mapping[str, Any]:
        rendered = self._document.get("rendered")
        if rendered is None:
            raise Skip("The package has no chart")
        if "problem" in rendered:
            raise Invalid(str(rendered["problem"]))
        return dict(rendered)

    @property
    def sandbox(self) -> Sandbox:
        if self._sandbox is None:
            raise Skip("There is no sandbox node in this run")
        return self._sandbox

    def _open(self, path: Path) -> Archive:
        if path not in self._opened:
            self._opened[path] = self._stack.enter_context(open_archive(path))
        return self._opened[path]


def _check(
    walls: jail.Walls, job: Mapping[str, Any], handle: int, slot: int, root: Path, document: Mapping[str, Any]
) -> None:
    """Go behind the walls, read the check's code, run it, and tell everything as it comes."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # The only thing that stays open is the channel, so that it is known where it is.
    os.dup2(handle, 3)
    os.closerange(4, max(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] if walls.kind == jail.FILTER else 256))
    channel = Channel(3)
    code = [Path(job["file"]).parent] if job["file"] else []
    try:
        jail.descend(
            walls,
            slot=slot,
            seconds=job["seconds"],
            memory_mib=job["memory_mib"],
            network=job["network"],
            folder=Path(job["folder"] or "/"),
            readable=[root, *code],
        )
        with ExitStack() as stack:
            if job["what"] == "describe":
                channel.tell(described=describe(job))
            else:
                kind = load(job)
                subject = _subject(document["subject"], root)
                sandbox: Any = RemoteSandbox(channel) if job["sandbox"] else None
                lent: Any = Lent(subject, document, sandbox, stack)
                for item in kind().run(subject, job["options"], lent) or ():
                    channel.tell(**_told(item))
    except Skip as reason:
        channel.tell(skip=str(reason))
    except MemoryError:
        channel.tell(memory=True)
    except BreakwaterError as problem:
        channel.tell(crash=problem.detail[:1000], trace=traceback.format_exc()[-4000:])
    except BaseException as problem:
        channel.tell(crash=f"{type(problem).__name__}: {problem}"[:1000], trace=traceback.format_exc()[-4000:])
    else:
        channel.tell(done=True)
    os._exit(0)


def _told(item: Any) -> dict[str, Any]:
    if isinstance(item, Progress):
        return {"progress": [int(item.percent), str(item.note)]}
    if isinstance(item, Finding):
        return {"finding": item.as_dict()}
    raise TypeError(f"a check yields findings and progress, not {type(item).__name__}")


def load(job: Mapping[str, Any]) -> type[Check]:
    """Import the module of a check and return its one class (or the one that is named)."""
    if job["file"]:
        name = f"_breakwater_check_{Path(job['file']).stem}"
        spec = importlib.util.spec_from_file_location(name, job["file"])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(job["module"])
    if job["attribute"]:
        return getattr(module, job["attribute"])  # type: ignore[no-any-return]
    return only_check(module)


def only_check(module: Any) -> type[Check]:
    """Return the one check that the module defines; `Invalid` when there is none or more than one."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Check)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(found) != 1:
        raise Invalid(f"{module.__name__} must hold exactly one check; it has {len(found)}")
    return found[0]


def describe(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what pages and suites need to know of a check, as JSON values."""
    source = job["file"]
    if not source:
        spec = importlib.util.find_spec(job["module"])
        source = spec.origin if spec else ""
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    kind = load(job)
    return {
        "name": str(kind.name),
        "title": str(kind.title),
        "reason": str(kind.reason),
        "version": str(kind.version),
        "kind": str(kind.kind),
        "group": str(kind.group),
        "parts": sorted(str(part) for part in kind.parts),
        "needs": sorted(str(need) for need in kind.needs),
        "options": [{**asdict(option), "choices": list(option.choices)} for option in kind.options],
        "form": [{**asdict(field), "choices": list(field.choices)} for field in kind.form],
        "seconds": float(kind.seconds),
        "memory_mib": int(kind.memory_mib),
        "order": int(kind.order),
        "digest": digest,
        "source": str(source),
    }


def _subject(told: Mapping[str, Any], root: Path) -> Subject:
    given = dict(told)
    given["path"] = root / given["path"]
    for name in ("chart", "advisories"):
        given[name] = root / given[name] if given.get(name) else None
    given["images"] = tuple(ImageFile(**{**image, "path": root / image["path"]}) for image in given["images"])
    given["findings"] = tuple(finding_from(each) for each in given["findings"])
    return Subject(**given)


def finding_from(told: Mapping[str, Any]) -> Finding:
    """Rebuild a finding of its JSON."""
    return Finding(
        Level(told["level"]),
        str(told.get("code", "")),
        str(told.get("place", "")),
        str(told.get("message", "")),
        str(told.get("remedy", "")),
    )


def needs_of(told: Iterator[str]) -> frozenset[Need]:
    """Rebuild the needs of a check of their words."""
    return frozenset(Need(each) for each in told)
