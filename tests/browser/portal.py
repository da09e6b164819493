"""A centre of its own in real processes, with demo content, on a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import databases
from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a walk along the quay"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}


@dataclass
class Site:
    """A running centre: where it is, the addresses of its pages by name, ids of its objects by first step of address."""

    url: str
    environment: dict[str, str]
    pages: dict[str, str] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, text: str = "") -> str:
        """Run Python in the centre's surroundings and return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def tell(self, code: str) -> str:
        """Run code with the centre's models at hand."""
        return self.run("manage.py", "shell", "-v", "0", "-c", code)


@contextmanager
def running(folder: Path, *, worker: bool = True) -> Iterator[Site]:
    """Start a web process, and a worker, on an own database with demo content; leave nothing behind."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")}
    environment = {
        **inherited,
        "BREAKWATER_VAR": str(folder),
        "BREAKWATER_PUBLIC_URL": url,
        # No agent beats for the seeded nodes: what was heard of at the start stays online, what is silent for two hours is not.
        "BREAKWATER_HEARTBEAT_LIMIT": "5400",
        "DJANGO_SETTINGS_MODULE": "mecm.settings",
    }
    made = Site(url, environment)
    databases.fresh("centre", folder / "centre.sqlite3")
    seeded = json.loads(made.run("-m", "tests.browser.seed").splitlines()[-1])
    made.pages, made.objects = seeded["pages"], seeded["objects"]
    written = folder / "processes.log"
    web = [
        "-m",
        "uvicorn",
        "mecm.asgi:application",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    commands = [web, ["manage.py", "run_operations", "--every", "0.2"]][: 2 if worker else 1]
    with written.open("w") as log:
        processes = [
            subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
            for command in commands
        ]
        try:
            until(lambda: answers(f"{url}/sign-in") or processes[0].poll() is not None, timeout=240, every=0.2)
            assert processes[0].poll() is None, written.read_text()[-2000:]
            yield made
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
