"""The main job by commands alone, each in a process of its own, against a portal that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.appstore.making import chart_bytes, edgegallery_files, manifest_of, zip_bytes
from tests.flows.conftest import ROOT, WholeStack
from tests.flows.main_job import CONSUMER, PRODUCER, UPGRADE
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(1800)]

BREAKWATER = str(ROOT / "bin" / "breakwater")
CHART = "Artifacts/Deployment/Charts/hello.tgz"
#: Fails in the way that its value names.
TEMPLATE = """apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {matchLabels: {app: hello}}
  template:
    metadata:
      labels: {app: hello}
      annotations: {breakwater.dev/simulate: {{ .Values.trouble | quote }}}
    spec:
      containers:
        - {name: web, image: "localhost/breakwater/hello:1.0", resources: {requests: {cpu: 100m, memory: 64Mi}}}
"""


class Person:
    """Somebody at a terminal, with a folder for what `breakwater` keeps."""

    def __init__(self, url: str, home: Path, account: dict[str, Any]) -> None:
        self.url, self.account = url, account
        keep = {name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")}
        self.environ = {**keep, "XDG_CONFIG_HOME": str(home), "BREAKWATER_SERVER": url}

    def run(self, *words: Any, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [BREAKWATER, *map(str, words)]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == code, f"{words} ended with {done.returncode}: {done.stderr}{done.stdout}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: Any, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--output", "json", code=code).stdout)

    def login(self, log: Path) -> None:
        """Sign in as people do: the code of the terminal, compared and approved on the page."""
        with log.open("wb") as err:
            waiting = subprocess.Popen([BREAKWATER, "login"], env=self.environ, stdout=subprocess.DEVNULL, stderr=err)
        try:
            shown = until(lambda: re.search(r"enter the code (\S+)", log.read_text()), 60, 0.2)
            with httpx.Client(base_url=self.url, trust_env=False, follow_redirects=True, timeout=60) as browser:
                self._post(browser, "/sign-in", "/sign-in", {k: self.account[k] for k in ("username", "password")})
                page = f"/device?user_code={shown[1]}"
                done = self._post(browser, page, "/device/decide", {"user_code": shown[1], "decision": "approve"})
            assert "signed in" in done.text
            assert waiting.wait(120) == 0, log.read_text()
        finally:
            waiting.kill()
            waiting.wait()

    def _post(self, browser: httpx.Client, page: str, to: str, form: dict[str, str]) -> httpx.Response:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(page).text)
        assert token
        answer = browser.post(to, data={**form, "csrfmiddlewaretoken": token[1]}, headers={"Referer": self.url})
        assert answer.is_success, answer.text[:500]
        return answer


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStack]:
    """The whole stack with the engine that runs nothing."""
    whole = WholeStack(tmp_path_factory.mktemp("simulated"), engine="memory")
    try:
        whole.up(within=900)
        yield whole
    finally:
        if whole.program and whole.program.process.poll() is None:
            whole.down()


@pytest.fixture
def fragile(tmp_path: Path) -> Path:
    """A package of an application that fails when its values say so."""
    files = edgegallery_files()
    files[CHART] = chart_bytes(**{"templates/hello.yaml": TEMPLATE, "values.yaml": "trouble: ''\n"})
    file = tmp_path / "fragile.csar"
    file.write_bytes(zip_bytes({"hello.mf": manifest_of(files), **files}))
    return file


def test_the_main_job_by_commands_alone(simulated: WholeStack, samples: Path, fragile: Path, tmp_path: Path) -> None:
    accounts = {each["username"]: each for each in json.loads(simulated.accounts.read_text())["accounts"]}
    operator = Person(simulated.url, tmp_path / "operator", accounts["admin"])
    reviewer = Person(simulated.url, tmp_path / "reviewer", accounts["certifier"])
    assert operator.run("nodes", "list", code=4).stdout == ""
    operator.login(tmp_path / "operator.log")
    reviewer.login(tmp_path / "reviewer.log")
    assert operator.json("whoami")["username"] == "admin"

    def publish(file: Path) -> str:
        made = operator.json("packages", "upload", file, "--publish")
        if made["state"] == "in-review":
            waiting = reviewer.json("releases", "reviews", "list", "--state", "open", "--all")["results"]
            review = next(each["id"] for each in waiting if each["package"]["id"] == made["id"])
            reviewer.json("releases", "reviews", "approve", review, "--reason", "It is our own sample")
            made = operator.json("packages", "show", made["id"])
        assert made["state"] == "published"
        return str(made["id"])

    producer, newer, consumer = (publish(samples / name) for name in (PRODUCER, UPGRADE, CONSUMER))
    (node,) = operator.json("nodes", "list", "--state", "online")["results"]
    assert operator.json("deployments", "plan", "--package", producer)["fits"] == 1

    operator.json("deployments", "create", "positioning", "--package", producer, "--node", node["name"])
    assert operator.json("deployments", "watch", "positioning")["state"] == "ready"
    vehicle = ("deployments", "create", "vehicle", "--package", consumer, "--node", node["name"], "--watch")
    assert operator.json(*vehicle)["state"] == "ready"
    upgraded = operator.json("deployments", "upgrade", "positioning", "--package", newer, "--watch")
    assert (upgraded["package"]["version"], upgraded["state"]) == ("1.1.0", "ready")
    back = operator.json("deployments", "rollback", "positioning", "--watch")
    assert back["package"]["version"] == "1.0.0"
    assert [each["action"] for each in operator.json("deployments", "revisions", "positioning")["results"]] == [
        "rollback",
        "upgrade",
        "install",
    ]

    frail = ("deployments", "create", "frail", "--package", publish(fragile), "--node", node["name"])
    operator.json(*frail, "--set", "trouble=image-missing")
    failed = operator.run("deployments", "watch", "frail", "--output", "json", code=1)
    assert json.loads(failed.stdout)["state"] == "failed"
    assert "image is not on the node" in failed.stderr
    operator.run("deployments", "watch", "nobody", code=4)

    for name in ("positioning", "vehicle", "frail"):
        assert operator.json("deployments", "remove", name, "--yes", "--watch")["state"] == "removed"
    assert operator.json("deployments", "list")["results"] == []
    assert operator.json("audit", "--action", "device.approve")["results"] is not None
    operator.json("logout")
    operator.run("nodes", "list", code=4)
