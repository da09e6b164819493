"""Rendering in a process of its own, because charts are written by strangers.

A template can ask for any amount of memory and time, and Go ends a process that runs out of memory. The helper has
limits, so such a chart ends only the helper; and since it is started fresh, it does not matter whether the
caller was forked. It is started on first use, kept while it is used, and ends with its caller or after a minute of rest.

Run as a module this file is the helper: JSON lines on standard input and output.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from engines.helm import hooks

#: What one rendering may take. Go reserves much more address space than it uses, so the limit is roomy.
SECONDS, ADDRESS_SPACE = 20, 4 << 30
#: To hold values against a schema may take less: somebody is typing.
CHECK_SECONDS = 5
#: After this long without work the helper ends.
REST = 60.0
#: A rendered chart larger than this is not even sent.
LARGEST_ANSWER = 9 << 20

_ROOT = Path(__file__).resolve().parents[2]


class HelperDied(Exception):
    """The helper ended, or had to be ended, while it worked on a chart; it says which limit was reached."""


class Helper:
    """The caller's end: one helper process, one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the helper's answer; `HelperDied` when this request was too much for it."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            for attempt in (1, 2):
                process = self._running()
                try:
                    assert process.stdin is not None
                    process.stdin.write(line)
                    process.stdin.flush()
                    return self._answer(process)
                except BrokenPipeError:
                    # It went to rest just now; a fresh one takes the request.
                    self._end()
                    if attempt == 2:
                        break
        raise HelperDied("a fresh helper")

    def close(self) -> None:
        with self._lock:
            self._end()

    def after_fork(self) -> None:
        """Leave the helper to the parent; a lock that another thread of it held is nobody's here."""
        self._lock = threading.Lock()
        self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engines.helm.helper"],
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_ROOT), "KUBECONFIG": os.devnull},
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None
        # The helper ends itself when time is over; this is for one that cannot even do that.
        ready, _, _ = select.select([process.stdout], [], [], SECONDS + 10)
        line = process.stdout.readline() if ready else b""
        if not line:
            raise HelperDied(self._cause(process))
        return dict(json.loads(line))

    def _cause(self, process: subprocess.Popen[bytes]) -> str:
        try:
            slow = process.wait(1) == -signal.SIGALRM
        except subprocess.TimeoutExpired:
            slow = True
        self._end()
        return f"{SECONDS} s" if slow else f"{ADDRESS_SPACE >> 30} GiB"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


shared = Helper()
atexit.register(shared.close)
os.register_at_fork(after_in_child=shared.after_fork)


def validate(sdk: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Hold values against the schemas of a chart and return nothing, or the class and text of the error."""
    try:
        with sdk.Chart.load(request["chart"]) as chart:
            chart.validate_schema(request["values"])
    except sdk.HelmError as problem:
        return {"error": [type(problem).__name__, str(getattr(problem, "detail", problem))[:64_000]]}
    return {}


def render(sdk: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Render one chart with the SDK and return what Helm says, or the class and text of its error."""
    try:
        with sdk.Chart.load(request["chart"]) as chart:
            # An install reports a broken schema as a failed release; asked first, the answer is exact.
            chart.validate_schema(request["values"])
            with sdk.Config(kube_apiserver="http://127.0.0.1:1", namespace=request["namespace"]) as config:
                answer = config.install(
                    chart, request["name"], request["values"], namespace=request["namespace"], dry_run="client"
                )
            found, problem = _hooks(sdk, chart, request)
            crds = [[str(each.get("name")), str(each.get("data"))] for each in chart.crds]
    except sdk.HelmError as problem:
        return {"error": [type(problem).__name__, str(getattr(problem, "detail", problem))[:4000]]}
    told = {"hooks": found, "crds": crds, "update_problem": problem}
    if len(answer.get("manifest", "")) + sum(len(text) for _, text in (*found, *crds)) > LARGEST_ANSWER:
        return {"error": ["HelmRenderError", f"it renders to more than {LARGEST_ANSWER >> 20} MiB"]}
    return told | {key: answer.get(key, "") for key in ("manifest", "chart_name", "chart_version", "app_version")}


def _hooks(sdk: Any, chart: Any, request: Mapping[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """Return path and text of the templates that may be hooks, as for an installation and as for an update.

    A chart may refuse to be rendered for an update without a cluster to look at; then the text says why.
    """
    found: dict[tuple[str, str], None] = {}
    where = {"name": request["name"], "namespace": request["namespace"]}
    for update in (False, True):
        try:
            rendered = chart.render(request["values"], **where, is_install=not update, is_upgrade=update)
        except sdk.HelmError as problem:
            if not update:
                raise
            return list(found), str(getattr(problem, "detail", problem))[:300]
        for path, text in rendered.items():
            # Helm shows the notes and keeps partials to itself; every other file is made of objects, whatever its name.
            if path.endswith("NOTES.txt") or path.rpartition("/")[2].startswith("_") or not hooks.may_hold(text):
                continue
            found[hooks.inside(path), text] = None
    return list(found), ""


def main(requests: io.FileIO, answers: IO[bytes]) -> None:
    """Answer requests until there are no more, or none for a while."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import helm_python as sdk  # only here: it must not be loaded by a process that may fork

    while True:
        ready, _, _ = select.select([requests], [], [], REST)
        line = requests.readline() if ready else b""
        if not line:
            return
        request = json.loads(line)
        checks = request.get("verb") == "validate"
        signal.alarm(CHECK_SECONDS if checks else SECONDS)
        answer = (validate if checks else render)(sdk, request)
        signal.alarm(0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    # Unbuffered, so that `select` sees whatever was not read yet.
    main(os.fdopen(0, "rb", buffering=0), sys.stdout.buffer)
