"""The main job on a whole stack with real containers, and what Ctrl-C leaves: nothing."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.flows.conftest import ROOT, WholeStack, why_not_docker
from tests.flows.main_job import PRODUCER, Story
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def test_the_main_job_works(stack: WholeStack) -> None:
    command = [sys.executable, str(ROOT / "tests" / "flows" / "main_job.py"), "--url", stack.url]
    command += ["--accounts", str(stack.accounts), "--docker-socket", stack.facts["socket"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_passwords_are_for_their_owner_only(stack: WholeStack) -> None:
    assert stat.S_IMODE(stack.accounts.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.var.stat().st_mode) == 0o700
    passwords = [each["password"] for each in json.loads(stack.accounts.read_text())["accounts"]]
    assert len(passwords) == len(set(passwords)) == 5
    logs = "".join(path.read_text("utf-8", "replace") for path in (stack.var / "log").iterdir())
    assert not any(password in logs for password in passwords)


def test_a_second_start_in_the_same_folder_is_told_so(stack: WholeStack) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "up"]
    done = subprocess.run(command, env=_env(stack), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"runs here already, as process {stack.facts['pid']}" in done.stderr
    assert httpx.get(f"{stack.url}/api/v1/edge/ca", trust_env=False).status_code == 200


def test_ctrl_c_leaves_nothing_and_the_next_start_is_quick(tmp_path: Path) -> None:
    _need_docker()
    stack = WholeStack(tmp_path)
    stack.up()
    before = stack.accounts.read_text()
    assert stack.processes("uvicorn")
    assert stack.down() == 0
    assert stack.leftovers() == []

    began = time.monotonic()
    stack.up()
    took = time.monotonic() - began
    assert stack.accounts.read_text() == before
    assert stack.down() == 0
    assert stack.leftovers() == []
    assert took < 20 * PATIENCE, f"the second start took {took:.1f} s"


def test_what_was_deployed_goes_with_ctrl_c_and_comes_back_with_the_next_start(tmp_path: Path, samples: Path) -> None:
    _need_docker()
    stack = WholeStack(tmp_path)
    stack.up()
    centre = stack.centre()
    story = Story(centre, "", within=90)
    deployment = story.deploy(story.publish(samples / PRODUCER), "positioning-kept")
    assert stack.containers("positioning-kept")
    centre.close()
    assert stack.down() == 0
    assert stack.leftovers() == []

    stack.up()
    centre = stack.centre()
    story = Story(centre, "", within=90)
    until(lambda: stack.containers("positioning-kept"), 60)
    story.ready(deployment, 1)
    story.until(lambda: any(each["state"] == "ACTIVE" for each in story.services()), "its service on the MEP")
    centre.close()
    assert stack.down() == 0
    assert stack.leftovers() == []


def test_a_start_that_was_killed_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    _need_docker()
    stack = WholeStack(tmp_path)
    stack.up()
    assert stack.program
    stack.program.process.kill()
    stack.program.process.wait()
    stack.up()
    assert len(stack.processes("uvicorn")) == 1
    assert len(stack.processes("dockerd")) <= 1
    assert stack.down() == 0
    assert stack.leftovers() == []


def test_a_dead_child_comes_back(stack: WholeStack) -> None:
    (web,) = stack.processes("mecm.asgi")
    subprocess.run(["kill", "-9", str(web)], check=True)
    until(lambda: stack.processes("mecm.asgi") and web not in stack.processes("mecm.asgi"), 30)
    until(lambda: _answers(stack), 30, 0.2)


def test_a_taken_port_is_told_with_its_setting(tmp_path: Path) -> None:
    stack = WholeStack(tmp_path, engine="memory")
    with socket.create_server(("127.0.0.1", stack.web)):
        command = [sys.executable, str(ROOT / "manage.py"), "up"]
        done = subprocess.run(command, env=_env(stack), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"port {stack.web}" in done.stderr
    assert "BREAKWATER_WEB_PORT" in done.stderr


def test_without_a_container_engine_the_runtime_is_called_simulated(tmp_path: Path) -> None:
    stack = WholeStack(tmp_path, engine="memory")
    stack.up()
    try:
        assert stack.facts["engine"] == "memory"
        assert "simulated runtime" in (stack.program.said() if stack.program else "")
        assert "imulated" in httpx.get(f"{stack.url}/sign-in", trust_env=False, follow_redirects=True).text
    finally:
        assert stack.down() == 0
    assert stack.leftovers() == []


def _answers(stack: WholeStack) -> bool:
    try:
        return httpx.get(f"{stack.url}/api/v1/edge/ca", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _env(stack: WholeStack) -> dict[str, str]:
    return {**os.environ, **stack.env}


def _need_docker() -> None:
    reason = why_not_docker()
    if reason:
        pytest.skip(reason)
