"""Whatever a check does, it is stopped and told apart, and nobody else is harmed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appstore.certification.checks import Place, registry
from appstore.certification.contract import Outcome
from appstore.certification.running.runner import Ended, Job, Material, Runner, describe
from core.findings import Level
from tests.appstore import making

HOSTILE = Path(__file__).parent / "hostile"
Run = Callable[..., dict[str, Ended]]


# The fallback passes the same tests in the long run; the short one asks it for the worst of them at once, see below.
@pytest.fixture(params=["namespaces", pytest.param("filter", marks=pytest.mark.live)])
def walls(request: Any) -> str:
    """Both kinds of walls, where this machine lets us build them."""
    if request.param == "namespaces" and subprocess.run(["unshare", "-Urpn", "true"], capture_output=True).returncode:
        pytest.skip("this kernel or container gives no namespaces")
    return str(request.param)


@pytest.fixture
def subject(tmp_path: Path) -> Material:
    """A small package, laid out for checks."""
    path = tmp_path / "hello.csar"
    path.write_bytes(making.edgegallery())
    told = {
        "path": "package.csar", "sha256": "0" * 64, "format": "edgegallery", "name": "hello", "provider": "Acme",
        "version": "1.0", "descriptor": {}, "images": [], "findings": [],
    }  # fmt: skip
    return Material({"package.csar": path}, {"subject": told})


def job(name: str, **facts: Any) -> Job:
    """A job for the hostile check of that name, with the limits that its file asks for."""
    limits = {"loops": (1.0, 512), "sleeps": (1.0, 512), "forks": (1.5, 512), "eats": (60.0, 96)}
    seconds, memory = limits.get(name, (40.0, 512))
    place = Place(name, file=str(HOSTILE / f"{name.replace('-', '_')}.py"))
    return Job(name, place, **{"seconds": seconds, "memory_mib": memory, **facts})


@pytest.fixture
def run(walls: str, subject: Material) -> Iterator[Run]:
    """Run hostile checks and return how each ended."""
    with Runner(subject, walls=walls, parallel=4) as runner:

        def go(*jobs: Job, **more: Any) -> dict[str, Ended]:
            return {event.name: event for event in runner.run(jobs, **more) if isinstance(event, Ended)}

        go.runner = runner  # type: ignore[attr-defined]
        yield go


def codes(ended: Ended) -> list[str]:
    """The codes of what a check found."""
    return [finding.code for finding in ended.result.findings]


def test_loops_hunger_forks_and_crashes_end_and_a_good_check_beside_them_passes(run: Run) -> None:
    names = ["loops", "sleeps", "eats", "forks", "crashes", "raises", "quits", "vanishes", "closes", "good"]
    began = time.monotonic()
    ended = run(*map(job, names))
    outcomes = {name: str(ended[name].result.outcome) for name in names}
    assert outcomes == {
        "loops": "timed-out",
        "sleeps": "timed-out",
        "eats": "out-of-memory",
        "forks": "timed-out",
        "crashes": "crashed",
        "raises": "crashed",
        "quits": "crashed",
        "vanishes": "crashed",
        "closes": "crashed",
        "good": "passed",
    }
    assert time.monotonic() - began < 35
    assert "SIGSEGV" in ended["crashes"].result.note
    assert codes(ended["crashes"]) == ["before"]
    assert "a mistake of its author" in ended["raises"].result.note
    assert "raises.py" in ended["raises"].trace
    assert ended["closes"].result.note == "It closed its channel without a result"


def test_what_it_writes_where_nobody_listens_is_lost_and_what_nobody_understands_ends_it(run: Run) -> None:
    ended = run(
        *map(job, ["prints", "garbles", "forges", "forges-more", "shouts", "chatters", "many", "raises", "keeps-on"])
    )
    assert ended["prints"].result.outcome == Outcome.PASSED
    assert codes(ended["prints"]) == ["printed"]
    assert ended["garbles"].result.outcome == Outcome.CRASHED
    # It can end itself early, and say nothing about another.
    assert ended["forges"].result.check == "forges"
    assert ended["forges-more"].result.outcome == Outcome.CRASHED
    assert ended["raises"].result.outcome == Outcome.CRASHED
    assert ended["shouts"].result.outcome == Outcome.CRASHED
    assert "at once" in ended["shouts"].result.note
    assert "more than 8 MiB" in ended["chatters"].result.note
    assert len(ended["chatters"].result.findings) <= 500
    assert ended["many"].result.outcome == Outcome.FAILED
    assert "401 more findings" in ended["many"].result.note
    assert ended["keeps-on"].result.outcome == Outcome.PASSED


def test_nothing_of_a_check_lives_on(run: Run) -> None:
    ended = run(*map(job, ["daemon", "forks", "keeps-on"]))
    assert ended["daemon"].result.outcome in (Outcome.PASSED, Outcome.CRASHED)  # without namespaces it may not fork
    # What remains is the one process that waits for jobs, with the one that waits for it.
    deadline = time.monotonic() + 10
    while len(_below(os.getpid())) > 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(_below(os.getpid())) <= 2


def _below(pid: int) -> list[int]:
    """The processes that run checks below this one; whoever loses its parent in there is adopted in there."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                line = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if state != "Z" and b"appstore.certification.running.child" in line:
                parents.setdefault(int(parent), []).append(int(path.name))
    tree = list(parents.get(pid, []))
    for each in tree:
        tree += parents.get(each, [])
    return tree


def test_a_check_reaches_no_network(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = run(job("dials", options={"port": port}))["dials"]
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert codes(ended) == ["unreached", "unreached"]
    assert run.runner.walls.network in ("network namespace", "system call filter")  # type: ignore[attr-defined]


def test_a_check_that_asks_for_the_network_has_it(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        both = [job("dials", options={"port": server.getsockname()[1]}, network=True), job("good")]
        assert "reached" in codes(run(*both)["dials"])
        assert "reached" not in codes(run(job("dials", options={"port": server.getsockname()[1]}))["dials"])


def test_a_check_neither_kills_nor_traces_the_server(run: Run) -> None:
    pids = [os.getpid(), os.getppid()]
    ended = run(job("kills", options={"pids": pids}), job("traces", options={"pids": pids, "root": os.getuid() == 0}))
    assert "killed" not in codes(ended["kills"])
    assert [finding for finding in ended["traces"].result.findings if finding.level is Level.ERROR] == []
    assert ended["traces"].result.outcome == Outcome.PASSED
    assert os.getpid() == pids[0]


def test_a_check_reads_neither_key_nor_database_nor_our_environment(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "vault.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    loose = tmp_path / "database.sqlite3"
    loose.write_bytes(b"rows")
    loose.chmod(0o644)
    paths = [str(key), str(loose), f"/proc/{os.getpid()}/environ", "/proc/1/environ", "/etc/shadow", "/etc/passwd"]
    ended = run(job("pries", options={"paths": [path for path in paths if path != "/proc/1/environ"]}))["pries"]
    assert set(codes(ended)) == {"not-read"}


def test_a_check_starts_clean(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("BREAKWATER_SECRET", "do not tell")
    said = {finding.code: finding.message for finding in run(job("sees"))["sees"].result.findings}
    assert "BREAKWATER" not in said["environment"]
    assert "DJANGO" not in said["environment"]
    assert {"django", "sqlite3", "psycopg2", "celery"} & set(said["modules"].split(",")) == set()
    assert set(said["handles"].split(",")) <= {"", "0", "1", "2", "3", "4"}  # the fourth reads this very list
    assert said["subject"].startswith("hello ")
    assert int(said["subject"].split()[1]) > 3


def test_files_and_handles_are_counted_and_the_package_stays_as_it_is(run: Run, subject: Material) -> None:
    before = subject.files["package.csar"].read_bytes()
    ended = run(job("writes"))["writes"]
    assert "changed" not in codes(ended)
    assert "stopped" in codes(ended)
    handles = next(finding for finding in ended.result.findings if finding.code == "handles")
    assert int(handles.place) < 130
    assert subject.files["package.csar"].read_bytes() == before


def test_threads_work(run: Run) -> None:
    assert [finding.place for finding in run(job("threads"))["threads"].result.findings] == ["4"]


def test_processes_that_eat_together_are_counted_together(run: Run, walls: str) -> None:
    if walls == "filter":
        pytest.skip("there a check cannot make a process")
    ended = run(job("eats-together", memory_mib=96, seconds=60))["eats-together"]
    assert ended.result.outcome == Outcome.OUT_OF_MEMORY


def test_a_cancelled_run_stops_at_once(run: Run) -> None:
    began = time.monotonic()
    ended = run(
        *(job(name, seconds=60) for name in ("sleeps", "loops", "good", "many", "threads", "closes")),
        cancelled=lambda: True,
    )
    assert time.monotonic() - began < 30
    assert ended["sleeps"].result.outcome == Outcome.STOPPED
    assert ended["loops"].result.outcome == Outcome.STOPPED


class FakeSandbox:
    """A node that answers two questions."""

    def state(self) -> dict[str, Any]:
        return {"state": "ready"}

    def services(self) -> list[Any]:
        return [{"serName": "hello"}]

    def logs(self) -> Any:
        raise ZeroDivisionError("a mistake of the sandbox")

    def rules(self) -> Any:
        return object()  # no JSON

    def secret(self) -> str:
        return "not for checks"


def test_a_live_check_calls_what_the_protocol_has_and_nothing_else(run: Run) -> None:
    methods = ["state", "services", "secret", "__class__", "_private", "logs", "rules"]
    live = job("calls", options={"methods": methods}, sandbox=True)
    found = {finding.place: finding for finding in run(live, sandbox=FakeSandbox())["calls"].result.findings}
    assert found["state"].message == "{'state': 'ready'}"
    assert found["services"].message == "[{'serName': 'hello'}]"
    assert found["secret"].code == "refused"
    assert found["_private"].code == "refused"
    assert found["logs"].message == found["rules"].message == "The sandbox itself failed"


def test_a_check_that_did_not_ask_for_a_sandbox_has_none(run: Run) -> None:
    ended = run(job("calls", options={"methods": ["state"]}), sandbox=FakeSandbox())["calls"]
    assert ended.result.outcome in (Outcome.SKIPPED, Outcome.PASSED)
    assert "answer" not in codes(ended)


def test_a_check_is_described_without_being_imported_here() -> None:
    places = registry.places([HOSTILE])
    told = describe({name: places[name] for name in ("chart-renders", "support-contact", "eats")})
    assert told["chart-renders"].described is not None
    assert told["chart-renders"].described["title"] == "Helm renders the chart with its own values"
    assert told["support-contact"].described["form"][0]["name"] == "contact"  # type: ignore[index]
    assert told["eats"].described["memory_mib"] == 96  # type: ignore[index]
    assert len(told["eats"].described["digest"]) == 64  # type: ignore[index]
    assert not any(name.endswith("hostile.eats") or name == "_breakwater_check_eats" for name in sys.modules)


def test_nothing_is_left_on_the_disk(subject: Material) -> None:
    with Runner(subject) as runner:
        list(runner.run([job("good")]))
        scratch = runner._scratch
        assert scratch.exists()
    assert not scratch.exists()


def test_a_check_may_lie_below_the_folder_of_temporary_files(subject: Material, tmp_path: Path) -> None:
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "good.py").write_text((HOSTILE / "good.py").read_text())
    with Runner(subject) as runner:
        ended = [
            e for e in runner.run([Job("good", Place("good", file=str(folder / "good.py")))]) if isinstance(e, Ended)
        ]
        assert runner.walls is not None
        expected = runner.walls.kind
    assert ended[0].result.outcome == Outcome.PASSED
    with Runner(subject) as runner:
        list(runner.run([job("good")]))
        assert runner.walls is not None
        assert runner.walls.kind == expected


def test_without_namespaces_a_check_still_reaches_nothing(subject: Material, tmp_path: Path) -> None:
    key = tmp_path / "vault.key"
    key.write_bytes(b"k" * 32)
    pids = [os.getpid(), os.getppid()]
    jobs = [
        job("dials", options={"port": 9}),
        job("kills", options={"pids": pids}),
        job("traces", options={"pids": pids, "root": os.getuid() == 0}),
        job("pries", options={"paths": [str(key), f"/proc/{os.getpid()}/environ", "/etc/passwd"]}),
        *map(job, ["forks", "eats", "loops", "crashes", "good"]),
    ]
    with Runner(subject, walls="filter", parallel=4) as runner:
        ended = {event.name: event for event in runner.run(jobs) if isinstance(event, Ended)}
        assert runner.walls is not None
        assert runner.walls.network == "system call filter"
    assert codes(ended["dials"]) == ["unreached", "unreached"]
    assert "killed" not in codes(ended["kills"])
    assert [finding for finding in ended["traces"].result.findings if finding.level is Level.ERROR] == []
    assert set(codes(ended["pries"])) == {"not-read"}
    outcomes = [str(ended[name].result.outcome) for name in ("forks", "eats", "loops", "crashes", "good")]
    assert outcomes == ["timed-out", "out-of-memory", "timed-out", "crashed", "passed"]
