"""A parent that starts its children again and leaves no orphan, tried with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
PARENT = """
import sys
sys.path.insert(0, {root!r})
from mep.agent.family import Child, Family
child = [sys.executable, "-c", {child!r}]
Family([Child("one", child + ["one"]), Child("two", child + ["two"])], farewell=2.0).run()
"""
#: A child says its name and number, and ends when it is told to (a stubborn one does not).
CHILD = """
import os, signal, sys, time
if {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open({log!r}, "a") as log:
    log.write(f"{{sys.argv[1]}} {{os.getpid()}}\\n")
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class House:
    """A family in a process of its own, and what its children wrote down."""

    def __init__(self, folder: Path, *, stubborn: bool = False) -> None:
        self.log = folder / "log"
        self.log.touch()
        child = CHILD.format(log=str(self.log), stubborn=stubborn)
        self.parent = subprocess.Popen([sys.executable, "-c", PARENT.format(root=str(ROOT), child=child)])

    def children(self) -> dict[str, int]:
        """Return the latest process of each child."""
        return {name: int(pid) for name, pid in (line.split() for line in self.log.read_text().splitlines())}

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()
        for pid in self.children().values():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    until(lambda: len(made.children()) == 2)
    yield made
    made.end()


def test_who_dies_is_started_again_and_the_other_is_left_alone(house: House) -> None:
    before = house.children()
    os.kill(before["one"], signal.SIGKILL)
    until(lambda: house.children()["one"] != before["one"])
    assert house.children()["two"] == before["two"]
    assert alive(before["two"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_when_the_parent_is_asked_to_end_nobody_stays(house: House, how: int) -> None:
    children = house.children()
    house.parent.send_signal(how)
    assert house.parent.wait(10) == 0
    assert not any(alive(pid) for pid in children.values())


def test_when_the_parent_is_killed_nobody_stays(house: House) -> None:
    children = house.children()
    house.parent.kill()
    until(lambda: not any(alive(pid) for pid in children.values()))


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    house = House(tmp_path, stubborn=True)
    try:
        until(lambda: len(house.children()) == 2)
        house.parent.terminate()
        house.parent.wait(15)
        assert not any(alive(pid) for pid in house.children().values())
    finally:
        house.end()
