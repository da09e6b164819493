"""The pieces of the docker engine that need no container runtime."""

from __future__ import annotations

import asyncio
import io
import json
import os
import platform
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import Missing, Unavailable
from engines.contract import Manifest, Reason, State
from engines.docker import pause
from engines.docker.files import Files
from engines.docker.loop import LoopThread
from engines.docker.probes import Prober, Watch
from engines.docker.proxy import Proxies, listen
from engines.docker.seen import HOLDER, Exit, Fate, Health, Pod, Seen, pods
from engines.docker.status import pod_state
from engines.pods.status import PodState, overall, workload_status
from engines.pods.wanted import Container, File, PodTemplate, Probe, Volume, Workload
from engines.store import HISTORY, Store
from tests.waiting import until

# The program that holds a pod


def test_the_holders_program_runs_and_waits(tmp_path: Path) -> None:
    if platform.machine() not in {"x86_64", "aarch64"}:
        pytest.skip("no program for this architecture")
    path = tmp_path / "pause"
    path.write_bytes(pause.program(platform.machine()))
    path.chmod(0o755)
    process = subprocess.Popen([path])
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        assert used == ["0", "0"], "it must sleep, not spin"
        process.terminate()
        assert process.wait(5) == -15
    finally:
        process.kill()


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_holders_program_is_a_static_elf_file(architecture: str, machine: int) -> None:
    body = pause.program(architecture)
    assert body[:7] == b"\x7fELF\x02\x01\x01"
    assert int.from_bytes(body[18:20], "little") == machine
    entry, base = int.from_bytes(body[24:32], "little"), int.from_bytes(body[64 + 16 : 64 + 24], "little")
    assert entry - base == 120 < len(body) == int.from_bytes(body[64 + 32 : 64 + 40], "little")


def test_the_arm_program_says_what_it_should() -> None:
    code = pause.program("arm64")[120:]
    words = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    # movz x8, #73; svc #0; b -24, as the Arm architecture reference manual encodes them.
    assert words[4:] == [0xD2800928, 0xD4000001, 0x17FFFFFA]
    offset = (words[6] & 0x3FFFFFF) - (1 << 26)
    assert 6 * 4 + offset * 4 == 0, "the jump leads to the first instruction"


def test_the_holders_image_is_the_same_every_time() -> None:
    assert pause.archive("amd64") == pause.archive("x86_64")
    with tarfile.open(fileobj=io.BytesIO(pause.archive("amd64"))) as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert manifest[0]["RepoTags"] == [pause.IMAGE]
    with pytest.raises(Unavailable):
        pause.archive("vax")


# Probes


def watch(**probes: Probe) -> Watch:
    return Watch(Container("main", "image", **probes), now=100.0)  # type: ignore[arg-type]


def answer(count: object, *answers: str, now: float = 101.0) -> None:
    for each in answers:
        count.answer(each, now)  # type: ignore[attr-defined]


def test_a_container_without_probes_is_ready_after_a_moment() -> None:
    assert watch().health(100.1) == Health(ready=False, known=False)
    assert watch().health(101.1) == Health(ready=True, known=True)


def test_readiness_needs_its_successes_and_is_lost_by_failures() -> None:
    seen = watch(readiness=Probe("tcp", 80, successes=2, failures=2))
    assert seen.readiness
    answer(seen.readiness, "")
    assert not seen.health(101).ready
    answer(seen.readiness, "")
    assert seen.health(101).ready
    answer(seen.readiness, "refused")
    assert seen.health(101).ready
    answer(seen.readiness, "refused")
    assert seen.health(101) == Health(False, True, False, "readiness probe failed: refused")


def test_a_failing_liveness_means_that_the_container_must_die() -> None:
    seen = watch(liveness=Probe("exec", failures=3))
    assert seen.liveness
    answer(seen.liveness, "x", "x")
    assert not seen.health(101).must_die
    answer(seen.liveness, "x")
    assert seen.health(101).must_die


def test_nothing_else_is_asked_before_the_startup_probe_passed() -> None:
    seen = watch(startup=Probe("tcp", 1, period=2, failures=5), liveness=Probe("tcp", 2), readiness=Probe("tcp", 3))
    assert [count.probe.port for count in seen.due(100.0)] == [1]
    assert seen.startup
    answer(seen.startup, "refused")
    assert not seen.health(109.0).must_die
    assert seen.health(110.1).must_die
    answer(seen.startup, "", now=105.0)
    assert {count.probe.port for count in seen.due(106.0)} == {2, 3}


def test_a_probe_waits_for_its_delay_and_its_period() -> None:
    seen = watch(readiness=Probe("tcp", 1, delay=5, period=30))
    assert seen.due(104.9) == []
    (count,) = seen.due(105.0)
    count.answer("refused", 105.0)
    assert seen.due(106.0) == [count], "until it is ready it is asked every second"
    count.answer("", 106.0)
    assert seen.due(135.9) == []
    assert seen.due(136.0) == [count]


class Server:
    """A small HTTP server on loopback that answers with one status."""

    def __init__(self, status: int) -> None:
        self.socket = listen("127.0.0.1", 0)
        self.socket.setblocking(True)
        self.port = self.socket.getsockname()[1]
        self.status, self.asked = status, []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                self.asked.append(client.recv(2000))
                client.sendall(f"HTTP/1.1 {self.status} X\r\nContent-Length: 2\r\n\r\nhi".encode())


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


def test_probes_ask_for_real(loop: LoopThread) -> None:
    good, bad = Server(204), Server(503)
    silent = listen("127.0.0.1", 0)
    with ThreadPoolExecutor(2) as executor:
        prober = Prober(loop, executor, lambda container, command, timeout: 0 if command == ("true",) else 1)

        def verdict(probe: Probe, name: str) -> Health:
            container = Container("main", "image", readiness=probe)
            prober.watch(name, container, "127.0.0.1")
            return until(
                lambda: told if (told := prober.watch(name, container, "127.0.0.1")).known else None, 5.0, what=name
            )

        def probe(kind: str, port: int = 0, **more: object) -> Probe:
            return Probe(kind, port, failures=1, **more)  # type: ignore[arg-type]

        assert verdict(probe("http", good.port, path="/a b", headers=(("X-A", "1\r\nX-B: 2"),)), "good").ready
        assert good.asked[0].startswith(b"GET /a%20b HTTP/1.1\r\n")
        assert b"\r\nX-B" not in good.asked[0]
        assert "503" in verdict(probe("http", bad.port), "bad").message
        assert verdict(probe("tcp", good.port), "tcp").ready
        assert "within" in verdict(probe("http", silent.getsockname()[1], timeout=0.2), "silent").message
        assert verdict(probe("tcp", 1), "refused").message
        assert verdict(probe("exec", command=("true",)), "exec").ready
        assert "exit code 1" in verdict(probe("exec", command=("false",)), "failing").message
    silent.close()


# Proxies


def echo(prefix: bytes) -> int:
    listening = listen("127.0.0.1", 0)
    listening.setblocking(True)

    def serve() -> None:
        while True:
            client, _ = listening.accept()
            with client:
                client.sendall(prefix + client.recv(100))

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


def ask(port: int, text: bytes = b"!") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(text)
        try:
            return client.recv(100)
        except ConnectionResetError:
            return b""


def test_a_proxy_balances_and_passes_over_dead_backends(loop: LoopThread) -> None:
    proxies = Proxies(loop)
    front = listen("127.0.0.1", 0)
    port = front.getsockname()[1]
    proxies.open("front", front)
    assert ask(port) == b"", "nobody is behind it"
    proxies.point({"front": [("127.0.0.1", echo(b"a")), ("127.0.0.1", 1), ("127.0.0.1", echo(b"b"))]})
    assert {ask(port) for _ in range(6)} == {b"a!", b"b!"}
    proxies.shut("front")
    with pytest.raises(OSError):
        ask(port)


def test_much_data_goes_through_a_proxy_both_ways(loop: LoopThread) -> None:
    proxies = Proxies(loop)
    back, front = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    back.setblocking(True)
    proxies.open("front", front, [back.getsockname()])
    size = 5 << 20

    def mirror() -> None:
        client, _ = back.accept()
        with client:
            while chunk := client.recv(1 << 16):
                client.sendall(chunk)

    threading.Thread(target=mirror, daemon=True).start()
    got = bytearray()
    with socket.create_connection(front.getsockname(), 5) as client:
        sender = threading.Thread(target=lambda: (client.sendall(os.urandom(size)), client.shutdown(socket.SHUT_WR)))
        sender.start()
        while chunk := client.recv(1 << 16):
            got += chunk
        sender.join()
    assert len(got) == size
    back.close()


def test_closing_the_loop_ends_its_thread() -> None:
    made = LoopThread()
    made.submit(asyncio.sleep(60))
    before = threading.active_count()
    made.close()
    assert threading.active_count() == before - 1


# The store


def keep(store: Store, number: int = 1, name: str = "one") -> None:
    for at in range(number):
        store.add(
            "t",
            name,
            generation=at,
            chart="c",
            chart_version="1",
            digest=str(at),
            values={"password": "hunter2"},
            manifests=[
                Manifest("Secret", "s", "v1", {"kind": "Secret", "metadata": {"name": "s"}, "apiVersion": "v1"})
            ],
            status="pending-install",
            description="Install",
        )


def test_what_a_release_wants_is_not_readable_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    keep(store)
    store.close()
    for path in (tmp_path / "state").iterdir():
        assert b"hunter2" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0, path
    again = Store(tmp_path / "state")
    assert again.releases()[0].values == {"password": "hunter2"}
    assert "hunter2" not in repr(again.releases()[0])


def test_history_is_kept_to_a_length_but_never_without_the_last_good_one(tmp_path: Path) -> None:
    store = Store(None)
    keep(store, 2)
    first = store.revisions("t", "one")[0]
    store.set_status(first, "superseded", ready=True)
    keep(store, 20)
    numbers = [kept.revision.number for kept in store.revisions("t", "one")]
    assert numbers == [1, *range(22 - HISTORY + 1, 23)]


def test_forgetting_a_release_leaves_no_row() -> None:
    store = Store(None)
    keep(store)
    store.event("t", "one", "Normal", "Started", "Pod/a", "started")
    store.set_port(("t", "one", "web", 80), 30000)
    store.set_fate(("t", "one", "a", "main"), 1, "", "")
    store.set_finished(("t", "one", "a", "d"))
    store.forget("t", "one")
    assert (store.releases(), store.events("t", "one", 10), store.ports(), store.fates(), store.finished()) == (
        [], [], {}, {}, set(),
    )  # fmt: skip
    with pytest.raises(Missing):
        store.revisions("t", "one")


def test_events_are_bounded_and_repeated_ones_counted() -> None:
    store = Store(None)
    for _ in range(3):
        store.event("t", "one", "Warning", "BackOff", "Pod/a", "again")
    assert [(event.reason, event.count) for event in store.events("t", "one", 10)] == [("BackOff", 3)]
    for number in range(300):
        store.event("t", "one", "Normal", "Started", "Pod/a", f"number {number}")
    events = store.events("t", "one", 1000)
    assert len(events) == 200
    assert events[0].message == "number 299"


# Files


def test_files_of_a_pod_come_and_go(tmp_path: Path) -> None:
    files = Files(tmp_path / "files")
    key = ("t", "one", "web-0")

    def template(*held: File) -> PodTemplate:
        return PodTemplate("d", {}, (), volumes=(Volume("v", "files", files=held), Volume("e", "empty")))

    files.write(key, template(File("sub/a", b"1", 0o600), File("b", b"2", 0o755)))
    folder = files.volume(key, "v")
    assert (folder / "sub" / "a").read_bytes() == b"1"
    assert ((folder / "b").stat().st_mode & 0o777, (folder / "sub" / "a").stat().st_mode & 0o777) == (0o755, 0o600)
    before = (folder / "b").stat().st_ino
    files.write(key, template(File("b", b"2", 0o755)))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["b"]
    assert (folder / "b").stat().st_ino == before, "what is right is left alone"
    files.discard(key)
    assert not (tmp_path / "files").exists()


# What is seen


def entry(container: str, state: str = "running", **labels: str) -> dict[str, object]:
    named = {"namespace": "t", "release": "one", "pod": "web-0", "workload": "Deployment/web", "digest": "d", **labels}
    return {
        "Id": f"id-{container}",
        "State": state,
        "Labels": {f"io.breakwater.{key}": value for key, value in {**named, "container": container}.items()},
        "NetworkSettings": {"Networks": {"bw-t": {"IPAddress": "10.0.0.2"}}} if container == HOLDER else {},
    }


def test_containers_are_put_together_to_pods() -> None:
    found = pods([entry("main"), entry(HOLDER), entry("main", pod="web-1"), {"Id": "x", "Labels": None}])
    assert set(found) == {("t", "one", "web-0"), ("t", "one", "web-1")}
    first = found["t", "one", "web-0"]
    assert first.holder
    assert (first.address, list(first.members)) == ("10.0.0.2", ["main"])


TEMPLATE = PodTemplate("d", {}, (Container("main", "image", memory=32 << 20),))


def state(
    member: str = "running", fate: Fate | None = None, health: Health | None = None, exit_: Exit | None = None
) -> PodState:
    pod = Pod(
        "t", "one", "web-0", "Deployment/web", "d", Seen("h", HOLDER, "running"), {"main": Seen("m", "main", member)}
    )
    return pod_state(TEMPLATE, pod, {"m": exit_} if exit_ else {}, lambda _: fate or Fate(), lambda _: health)


def test_a_pod_is_ready_only_when_its_probes_say_so() -> None:
    assert state(health=Health(True)).ready
    assert not state(health=None).ready
    assert not state("exited").ready
    failing = state(health=Health(False, True, False, "readiness probe failed: 503"))
    assert (failing.ready, failing.reason) == (False, Reason.PROBE_FAILING)


def test_the_reason_of_a_pod_is_why_it_waits() -> None:
    oom = Fate(1, 1, 0.0, Reason.OOM_KILLED, "needed more", waiting=True)
    assert state("exited", oom, exit_=Exit(137, True, 1)).reason is Reason.OOM_KILLED
    missing = Fate(0, 1, 0.0, Reason.IMAGE_MISSING, "no image", waiting=True)
    assert state("created", missing).reason is Reason.IMAGE_MISSING
    crash = Fate(3, 3, 0.0, Reason.CRASH_LOOP, "exit code 1", waiting=True)
    assert (state("exited", crash).reason, state("exited", crash).restarts) == (Reason.CRASH_LOOP, 3)


def test_a_release_is_as_bad_as_its_worst_workload() -> None:
    def status(replicas: int, *states: PodState, late: bool = False):
        workload = Workload("Deployment", "web", replicas, TEMPLATE)
        made = [Pod("t", "one", f"web-d-{n}", "Deployment/web", "d") for n in range(len(states))]
        return workload_status(
            workload, made, {pod.name: each for pod, each in zip(made, states, strict=True)}, set(), late
        )

    good, starting = PodState(True, True), PodState(False, False, Reason.STARTING)
    bad = PodState(False, True, Reason.IMAGE_MISSING, "main: no image")
    assert status(1, good).state is State.READY
    assert status(2, good).state is State.PROGRESSING
    assert status(1, good, good).state is State.PROGRESSING, "one too many is not what is wanted"
    assert status(0).state is State.READY
    assert (status(2, good, bad).state, status(2, good, bad).ready) == (State.FAILED, 1)
    assert status(1, starting, late=True).reason is Reason.DEADLINE_EXCEEDED
    assert overall([status(1, good), status(2, good, bad)])[:2] == (State.FAILED, Reason.IMAGE_MISSING)
    assert overall([status(1, good)])[0] is State.READY
    assert overall([])[0] is State.READY


def test_a_job_is_ready_when_it_is_done_not_while_it_runs() -> None:
    job = Workload("Job", "check", 1, TEMPLATE)
    pod = Pod("t", "one", "check-0", "Job/check", "d")
    running = workload_status(job, [pod], {"check-0": PodState(True, True)}, set(), late=True)
    assert (running.state, running.reason) == (State.PROGRESSING, Reason.STARTING)
    ended = workload_status(job, [pod], {"check-0": PodState(False, True, completed=True)}, {"check-0"}, late=True)
    assert ended.state is State.READY
    assert workload_status(job, [], {}, {"check-0"}, late=False).state is State.READY


def test_probing_costs_no_thread_per_pod(loop: LoopThread) -> None:
    server = Server(200)
    container = Container("main", "image", readiness=Probe("http", server.port, failures=1))
    with ThreadPoolExecutor(2) as executor:
        prober = Prober(loop, executor, lambda *_: 0)
        before = threading.active_count()
        for number in range(200):
            prober.watch(f"c{number}", container, "127.0.0.1")
        assert threading.active_count() <= before + 1
        until(lambda: all(prober.watch(f"c{n}", container, "127.0.0.1").ready for n in range(200)), 60.0)
