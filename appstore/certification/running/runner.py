"""The server's end: starts the child, hands out jobs, listens to each check, and judges how it ended.

Knows no Django. Whatever arrives from a check is untrusted: it is bounded, read strictly, and can be about nothing but
that check itself, since each has a socket of its own.
"""

from __future__ import annotations

import json
import logging
import math
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appstore.certification.checks import Place
from appstore.certification.contract import Outcome, Result, Sandbox
from appstore.certification.running.jail import FILTER, Walls
from core.errors import BreakwaterError, Invalid, Rejected, Unavailable
from core.findings import Finding, Level

logger = logging.getLogger("breakwater.certification")

_ROOT = Path(__file__).resolve().parents[3]
_START = (
    "import sys; sys.path.insert(0, {root!r}); from appstore.certification.running.child import main; main({handle})"
)
#: What one check may say: the length of a line, all lines, and how many findings of it are kept.
LONGEST_LINE, MOST_BYTES, MOST_FINDINGS = 256 << 10, 8 << 20, 500
#: How often a check's progress is passed on, in seconds.
_PROGRESS_EVERY = 0.3
_START_WITHIN, _END_WITHIN, _WRITE_WITHIN = 60.0, 10.0, 5.0
#: What the sandbox protocol has; a check can call nothing else.
SANDBOX_METHODS: Final = frozenset(name for name in vars(Sandbox) if not name.startswith("_"))
_LONGEST = {"code": 100, "place": 500, "message": 2000, "remedy": 1000}


@dataclass(frozen=True, slots=True)
class Job:
    """One check to run: where its code is, its options, and what it may take."""

    name: str
    place: Place
    version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 20.0
    memory_mib: int = 512
    network: bool = False
    sandbox: bool = False
    #: `run`, or `describe` to learn what the check says about itself.
    what: str = "run"


@dataclass(frozen=True, slots=True)
class Material:
    """The files that checks read, each by the name under which they find it, and the document about them."""

    files: Mapping[str, Path] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A check has begun."""

    name: str


@dataclass(frozen=True, slots=True)
class Told:
    """A check tells how far it is."""

    name: str
    percent: int
    note: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A check is over. `trace` is for its author; `described` answers a job that asks for it."""

    name: str
    result: Result
    trace: str = ""
    cpu_seconds: float = 0.0
    described: Mapping[str, Any] | None = None


Event = Started | Told | Ended


class Runner:
    """One child process and what runs in it; use it in a `with` block, which leaves nothing behind."""

    def __init__(self, material: Material | None = None, *, walls: str = "auto", parallel: int = 0) -> None:
        self.material = material or Material()
        self.parallel = parallel or max(1, len(os.sched_getaffinity(0)))
        self._wanted = walls
        self._stack = ExitStack()
        self.walls: Walls | None = None
        self._scratch = Path()
        self._folders = 0
        self._shared = False

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self,
        jobs: Sequence[Job],
        *,
        sandbox: Sandbox | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Event]:
        """Run the jobs and yield what happens as it happens.

        Those that use the sandbox run one after the other in the given order, the others as many at a time as there
        are cores. When `cancelled` says so everything is stopped. `Unavailable` when no child can be started.
        """
        if not jobs:
            return
        if self.walls is None:
            self._start(jobs)
        waiting = [job for job in jobs if not job.sandbox] + [job for job in jobs if job.sandbox]
        active: dict[str, _Active] = {}
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            try:
                while waiting or active:
                    while waiting and self._has_room(waiting[0], active):
                        job = waiting.pop(0)
                        active[job.name] = self._begin(job, sandbox, selector)
                        yield Started(job.name)
                    for key, _ in selector.select(0.2):
                        each: _Active = key.data[0]
                        yield from (each.hear() if key.data[1] == "channel" else each.learn())
                    for each in list(active.values()):
                        ended = each.ended()
                        if ended is not None:
                            del active[each.job.name]
                            each.close()
                            yield ended
                    if time.monotonic() - looked > 0.5:
                        looked = time.monotonic()
                        if cancelled():
                            for job in waiting:
                                yield Ended(
                                    job.name, Result(job.name, job.version, Outcome.STOPPED, note="The run was stopped")
                                )
                            waiting = []
                            for each in active.values():
                                each.stop(Outcome.STOPPED, "The run was stopped")
            finally:
                for each in active.values():
                    each.close()

    def _has_room(self, job: Job, active: Mapping[str, _Active]) -> bool:
        if job.sandbox:
            return not active
        return len(active) < self.parallel

    def _start(self, jobs: Sequence[Job]) -> None:
        # Not below the folder of data, which is closed to others.
        self._scratch = Path(tempfile.mkdtemp(prefix="breakwater-checks-"))
        self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        self._scratch.chmod(0o711)
        (self._scratch / "root").mkdir()
        files = dict(self.material.files)
        if self.material.document is not None:
            document = self._scratch / "subject.json"
            document.write_text(json.dumps(self.material.document))
            document.chmod(0o444)
            files["subject.json"] = document
        self._shared = any(job.network for job in jobs)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        with theirs:
            handle = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START.format(root=str(_ROOT), handle=handle)],
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                cwd="/",
                pass_fds=[handle],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._stack.callback(_end, process)
        self._stack.callback(ours.close)
        ours.settimeout(_START_WITHIN)
        config = {
            "walls": self._wanted,
            "scratch": str(self._scratch / "root"),
            "files": [(str(path), name) for name, path in files.items()],
            "folders": sorted({str(Path(job.place.file).parent) for job in jobs if job.place.file}),
            "network": self._shared,
            "warm": sorted(
                {job.place.module for job in jobs if job.place.module.startswith("appstore.certification.")}
            ),
        }
        try:
            ours.send(json.dumps(config).encode())
            answer = json.loads(ours.recv(LONGEST_LINE) or b'{"broken": "it ended at once"}')
        except (OSError, ValueError) as problem:
            raise Unavailable("The process that runs checks does not start") from problem
        if "broken" in answer:
            raise Unavailable(
                f"The process that runs checks does not start: {answer['broken'].strip().splitlines()[-1][:300]}"
            )
        self.walls = Walls(**answer["walls"])
        opening = {"subject": "subject.json" in files, "files": str(self._scratch / "files")}
        if self.walls.kind == FILTER:
            self._lay_out(files)
        ours.send(json.dumps(opening).encode())

    def _lay_out(self, files: Mapping[str, Path]) -> None:
        """Put the files where a check of another user can read them: without mounts there is no other way."""
        folder = self._scratch / "files"
        folder.mkdir(mode=0o755)
        for name, path in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            try:
                os.link(path, folder / name)
            except OSError:
                shutil.copyfile(path, folder / name)
            with suppress(OSError):
                (folder / name).chmod(0o444)

    def _begin(self, job: Job, sandbox: Sandbox | None, selector: selectors.BaseSelector) -> _Active:
        self._folders += 1
        folder = self._scratch / f"check-{self._folders}"
        folder.mkdir(mode=0o700)
        channel, theirs = socket.socketpair()
        status, warden = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, warden:
            message = {
                "what": job.what,
                "name": job.name,
                "module": job.place.module,
                "attribute": job.place.attribute,
                "file": job.place.file,
                "options": dict(job.options),
                "seconds": job.seconds,
                "memory_mib": job.memory_mib,
                "network": job.network,
                "shared": self._shared,
                "sandbox": job.sandbox and sandbox is not None,
                "folder": str(folder),
            }
            # When the child is gone both sockets say so at once.
            with suppress(OSError):
                socket.send_fds(self._control, [json.dumps(message).encode()], [theirs.fileno(), warden.fileno()])
        return _Active(job, channel, status, folder, sandbox, selector)


class _Active:
    """A check that runs: what it has said so far, and what is known of its end."""

    def __init__(
        self,
        job: Job,
        channel: socket.socket,
        status: socket.socket,
        folder: Path,
        sandbox: Sandbox | None,
        selector: selectors.BaseSelector,
    ) -> None:
        self.job, self._channel, self._status, self._folder = job, channel, status, folder
        self._sandbox, self._selector = sandbox, selector
        self._began = time.monotonic()
        self._buffer, self._bytes, self._progress_at = bytearray(), 0, 0.0
        self._findings: list[Finding] = []
        self._more = 0
        self._outcome: Outcome | None = None
        self._note = self._trace = ""
        self._described: Mapping[str, Any] | None = None
        self._end: dict[str, Any] | None = None
        self._stopped_at = 0.0
        for handle, kind in ((channel, "channel"), (status, "status")):
            handle.setblocking(False)
            selector.register(handle, selectors.EVENT_READ, (self, kind))

    def hear(self) -> Iterator[Event]:
        """Read what the check says; a check that breaks the rules is stopped."""
        if self._outcome is not None:
            self._forget(self._channel)
            return
        try:
            chunk = self._channel.recv(64 << 10)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._forget(self._channel)
            # Killed ones close it, too: then its warden knows better. One that lives on is stopped a moment later.
            self._stopped_at = self._stopped_at or time.monotonic()
            return
        self._bytes += len(chunk)
        self._buffer += chunk
        if self._bytes > MOST_BYTES:
            self.stop(Outcome.CRASHED, f"It said more than {MOST_BYTES >> 20} MiB")
            return
        while self._outcome is None and (at := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:at])
            del self._buffer[: at + 1]
            try:
                yield from self._understand(line)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self.stop(Outcome.CRASHED, "It wrote something that nobody understands into its channel")
        if len(self._buffer) > LONGEST_LINE:
            self.stop(Outcome.CRASHED, f"It said more than {LONGEST_LINE >> 10} KiB at once")

    def _understand(self, line: bytes) -> Iterator[Event]:
        if len(line) > LONGEST_LINE:
            self.stop(Outcome.CRASHED, f"It said more than {LONGEST_LINE >> 10} KiB at once")
            return
        said = json.loads(line)
        if "finding" in said:
            self._keep(_finding(said["finding"]))
        elif "progress" in said:
            percent, note = said["progress"]
            if time.monotonic() - self._progress_at >= _PROGRESS_EVERY:
                self._progress_at = time.monotonic()
                yield Told(self.job.name, max(0, min(100, int(percent))), _text(note, 200))
        elif "call" in said:
            self._answer(*said["call"])
        elif "described" in said and self.job.what == "describe":
            self._described = dict(said["described"])
        elif "skip" in said:
            self.stop(Outcome.SKIPPED, _text(said["skip"], 1000))
        elif "memory" in said:
            self.stop(Outcome.OUT_OF_MEMORY, f"It needs more than {self.job.memory_mib} MiB of memory")
        elif "crash" in said:
            self._trace = _text(said.get("trace", ""), 4000)
            self.stop(Outcome.CRASHED, _text(said["crash"], 1000))
        elif said.get("done") is True:
            self.stop(self._judged(), "")
        else:
            raise ValueError("an unknown word")

    def _keep(self, finding: Finding) -> None:
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(finding)
        else:
            self._more += 1
            # One that fails the check is never lost among those that do not.
            if finding.level is Level.ERROR and not any(each.level is Level.ERROR for each in self._findings):
                self._findings[-1] = finding

    def _judged(self) -> Outcome:
        levels = {finding.level for finding in self._findings}
        if Level.ERROR in levels:
            return Outcome.FAILED
        return Outcome.WARNED if Level.WARNING in levels else Outcome.PASSED

    def _answer(self, method: Any, arguments: Any, named: Any) -> None:
        """Do what the check asks of the sandbox; only what the protocol has."""
        try:
            if self._sandbox is None or not self.job.sandbox:
                raise Invalid("This check did not declare that it needs a sandbox")
            if method not in SANDBOX_METHODS:
                raise Invalid(f"A sandbox has no {_text(method, 40)}")
            try:
                value = getattr(self._sandbox, method)(*arguments, **named)
            except TypeError as problem:
                raise Invalid(f"{method} takes other arguments") from problem
            answer = json.dumps({"answer": value})
            if len(answer) > MOST_BYTES // 2:
                raise Rejected(f"The answer of {method} is too large")
        except BreakwaterError as problem:
            answer = json.dumps({"problem": problem.problem()})
        except Exception:
            # A mistake of the sandbox is no mistake of this check, and must not end the run of all others.
            logger.exception("the sandbox failed in %s, asked by the check %s", _text(method, 40), self.job.name)
            answer = json.dumps({"problem": BreakwaterError("The sandbox itself failed").problem()})
        try:
            self._channel.settimeout(_WRITE_WITHIN)
            self._channel.sendall(answer.encode() + b"\n")
        except OSError:
            self.stop(Outcome.CRASHED, "It asked something and did not listen to the answer")
        else:
            self._channel.setblocking(False)

    def learn(self) -> Iterator[Event]:
        """Read from the warden how the check ended."""
        try:
            told = self._status.recv(4096)
        except BlockingIOError:
            return iter(())
        except OSError:
            told = b""
        self._forget(self._status)
        try:
            self._end = dict(json.loads(told)) if told else {"why": "lost"}
        except ValueError:
            self._end = {"why": "lost"}
        return iter(())

    def stop(self, outcome: Outcome, note: str) -> None:
        """Decide the outcome, once, and have everything that is left of the check killed."""
        if self._outcome is None:
            self._outcome, self._note = outcome, note
        if not self._stopped_at or outcome is Outcome.STOPPED:
            self._stopped_at = time.monotonic()
        with suppress(OSError):
            self._status.send(b"stop")
        self._forget(self._channel)

    def ended(self) -> Ended | None:
        """Return the end when nothing of the check is left."""
        quiet = time.monotonic() - self._stopped_at if self._stopped_at else 0.0
        if self._end is None:
            if self._outcome is None and quiet > 0.5:
                self.stop(Outcome.CRASHED, "It closed its channel without a result")
            if quiet < _END_WITHIN:
                return None
            self._end = {"why": "lost"}
        if self._outcome is None and self._channel_open():
            return None  # its last words are still on the way
        if self._outcome is None:
            self._outcome, self._note = _cause(self._end, self.job)
        note = self._note
        if self._more:
            note = f"{note} {self._more} more findings were left out.".strip()
        result = Result(
            self.job.name,
            self.job.version,
            self._outcome,
            self._findings,
            round(time.monotonic() - self._began, 3),
            note,
        )
        cpu = self._end.get("cpu", 0.0)
        cpu = float(cpu) if isinstance(cpu, int | float) and math.isfinite(cpu) else 0.0
        return Ended(self.job.name, result, self._trace, cpu, self._described)

    def close(self) -> None:
        """Let go of everything; the warden kills what still runs when its socket closes."""
        for handle in (self._channel, self._status):
            self._forget(handle)
            handle.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _channel_open(self) -> bool:
        return self._channel in self._selector.get_map()

    def _forget(self, handle: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(handle)


def describe(places: Mapping[str, Place], *, walls: str = "auto") -> dict[str, Ended]:
    """Learn from each check what it says about itself, each in a process of its own."""
    jobs = [Job(name, place, what="describe", seconds=20, memory_mib=512) for name, place in places.items()]
    with Runner(walls=walls) as runner:
        return {event.name: event for event in runner.run(jobs) if isinstance(event, Ended)}


def _cause(end: Mapping[str, Any], job: Job) -> tuple[Outcome, str]:
    """Say why a check ended that did not say so itself."""
    why, sign = end.get("why"), int(end.get("signal", 0) or 0)
    if why == "time":
        return Outcome.TIMED_OUT, f"It did not end within {job.seconds:g} s"
    if sign == signal.SIGXCPU or (sign == signal.SIGKILL and not why and float(end.get("cpu", 0)) >= job.seconds):
        return Outcome.TIMED_OUT, f"It took more than {job.seconds:g} s of a processor"
    if why == "memory":
        return Outcome.OUT_OF_MEMORY, f"It and its processes need more than {job.memory_mib} MiB of memory"
    if sign == signal.SIGKILL and not why:
        return Outcome.OUT_OF_MEMORY, "The system ended it, most likely for want of memory"
    if sign:
        with suppress(ValueError):
            return Outcome.CRASHED, f"It was ended by {signal.Signals(sign).name}"
    if why == "lost":
        return Outcome.CRASHED, "The process that ran it is gone"
    return Outcome.CRASHED, "It ended without a result"


def _finding(told: Any) -> Finding:
    level = Level(told["level"])
    return Finding(level, *(_text(told.get(name, ""), longest) for name, longest in _LONGEST.items()))


def _text(value: Any, longest: int) -> str:
    """Return text that every database and page takes: no NUL, no half of a surrogate pair, not too long."""
    text = str(value)[:longest].replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
