"""A complete store as real processes on loopback: web server, worker, database, key; and a person at its pages.

Several of them on one machine know nothing of each other but what goes over HTTP.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg2

from tests import databases
from tests.flows.edgelab import MANAGE, ROOT, Process
from tests.ports import free_port
from tests.waiting import PATIENCE, until

PASSWORD = "a walk along the quay"
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_SEED = """
from core.accounts.models import Membership, Organisation, User
organisation = Organisation.objects.create(slug="operator", name={name!r})
user = User.objects.create_user(username="admin", password={password!r})
Membership.objects.create(user=user, organisation=organisation, role="admin")
"""


class Store:
    """One installation. Use it in a `with` block; `pages` is its administrator, signed in."""

    #: Who is there at first.
    seed = _SEED

    def __init__(self, folder: Path, name: str, *, networks: str = "127.0.0.0/8") -> None:
        self.folder, self.name, self.port = folder, name, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("BREAKWATER_", "MEP_"))}
        self.environment = {
            **keep,
            "DJANGO_SETTINGS_MODULE": "mecm.settings",
            "BREAKWATER_VAR": str(folder),
            "BREAKWATER_PUBLIC_URL": self.url,
            "BREAKWATER_STORE_NAME": name,
            "BREAKWATER_FEDERATION_NETWORKS": networks,
        }
        self._server = os.environ.get("BREAKWATER_DATABASE_URL", "")
        self._database = f"store_{secrets.token_hex(6)}" if self._server else ""
        self._processes: list[Process] = []
        self._pages: Pages | None = None

    def __enter__(self) -> Store:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._server:
            self._sql(f"CREATE DATABASE {self._database}")
            own = urlsplit(self._server)._replace(path=f"/{self._database}").geturl()
            self.environment["BREAKWATER_DATABASE_URL"] = own
            self.manage("migrate", "-v0")
        else:
            databases.fresh("centre", self.folder / "centre.sqlite3")
        self.tell(self.seed.format(name=self.name, password=PASSWORD))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._pages is not None:
            self._pages.close()
        self.stop(signal.SIGKILL)
        if self._server:
            self._sql(f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")

    def start(self) -> None:
        """Start web server and worker, and wait until pages are served."""
        web = [sys.executable, "-m", "uvicorn", "mecm.asgi:application", "--port", str(self.port)]
        web += ["--log-level", "warning", "--timeout-graceful-shutdown", "2"]
        worker = [sys.executable, MANAGE, "run_operations", "--every", "0.2"]
        self._processes = [
            Process(web, self.environment, self.folder / "web.log"),
            Process(worker, self.environment, self.folder / "worker.log"),
        ]
        until(self._answers, 120, what=f"{self.name} to answer")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End both processes; the database stays."""
        for process in self._processes:
            process.end(how)
        self._processes = []

    @property
    def pages(self) -> Pages:
        """The administrator, signed in."""
        if self._pages is None:
            self._pages = Pages(self.url)
            self._pages.sign_in()
        return self._pages

    def manage(self, *arguments: str) -> str:
        """Run a command of this installation and return what it printed."""
        done = subprocess.run(
            [sys.executable, MANAGE, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def tell(self, code: str) -> str:
        """Run code with the models of this installation at hand."""
        return self.manage("shell", "-v", "0", "-c", code)

    def logs(self) -> str:
        """Return the ends of what its processes wrote."""
        return "\n".join(each.text()[-2000:] for each in self._processes)

    def _answers(self) -> bool:
        web = self._processes[0]
        if web.process.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{web.text()[-3000:]}")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _sql(self, statement: str) -> None:
        connection = psycopg2.connect(self._server)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()


class Pages:
    """A person with a browser without scripts: reads pages, fills in forms, follows where they lead."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, follow_redirects=True, timeout=60 * PATIENCE, trust_env=False)
        self._http.headers["Referer"] = url

    def close(self) -> None:
        """Close the browser."""
        self._http.close()

    def sign_in(self) -> None:
        """Sign in as the administrator."""
        self.send("/sign-in", on="/sign-in", username="admin", password=PASSWORD)
        assert "sign-out" in self.read("/")

    def read(self, path: str) -> str:
        """Return a page's HTML; it must be there."""
        answer = self._http.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}\n{answer.text[-2000:]}"
        return answer.text

    def send(self, path: str, *, on: str, status: int = 200, **fields: Any) -> str:
        """Send the form that stands on the page `on` to `path`; return the page that follows."""
        token = _TOKEN.search(self.read(on))
        assert token is not None, f"there is no form on {on}"
        assert f'action="{path}"' in self.read(on) or on == path, f"no form of {on} goes to {path}"
        answer = self._http.post(path, data={"csrfmiddlewaretoken": token[1], **fields})
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[-3000:]}"
        return answer.text

    def text_of(self, path: str, id: str) -> str:
        """Return the text of the element with that id."""
        found = re.search(rf'id="{id}">([^<]*)<', self.read(path))
        assert found is not None, f"nothing on {path} has the id {id}"
        return unescape(found[1]).strip()

    def link(self, path: str, words: str) -> str:
        """Return where the first link with these words leads."""
        found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>[^<]*{re.escape(words)}', self.read(path))
        assert found is not None, f"no link on {path} says {words!r}"
        return unescape(found[1])


def offer_fields(prefix: str, **changed: Any) -> dict[str, Any]:
    """Return one direction of the agreement form, filled in."""
    usual = {
        "agreed": "on", "categories": "", "licences": "", "providers": "", "certification": "", "signature": "unsigned",
        "apps": 1000, "package_mib": 100, "gib_per_day": 10, "requests_per_minute": 600, "recommendations_per_day": 10,
    }  # fmt: skip
    return {f"{prefix}-{name}": value for name, value in {**usual, **changed}.items() if value is not None}


def befriend(one: Store, other: Store) -> tuple[str, str]:
    """Let two stores meet from pages alone, as their administrators would; return the partner's page on each side."""
    invitation = one.pages.text_of("/partners", "invitation")
    shown = other.pages.send("/partners/meet", on="/partners/meet", url=invitation)
    assert one.name in shown
    # The fingerprints come from the other's own page: that is the telephone call.
    other.pages.send(
        "/partners/meet",
        on="/partners/meet",
        url=invitation,
        fingerprint=one.pages.text_of("/partners", "our-fingerprint"),
        compared="on",
    )
    theirs = other.pages.link("/partners", one.name)
    until(lambda: other.name in one.pages.read("/partners"), 60, what=f"{other.name} to have introduced itself")
    ours = one.pages.link("/partners", other.name)
    ours = ours if "/partners/" in ours else one.pages.link("/partners", "Compare fingerprints")
    one.pages.send(
        f"{ours}/confirm",
        on=ours,
        fingerprint=other.pages.text_of("/partners", "our-fingerprint"),
        compared="on",
    )
    assert "How we stand" in one.pages.read(ours)
    until(lambda: "Suspend" in other.pages.read(theirs), 60, what=f"{one.name} to have confirmed")
    return ours, theirs


def agree(one: Store, ours: str, other: Store, theirs: str, **out: Any) -> None:
    """Let `one` propose terms in both directions and `other` accept them, from pages alone."""
    page = f"{ours}/agreement"
    one.pages.send(
        page, on=f"{page}?edit", **offer_fields("out", **out), **offer_fields("in"), expires="", contact="noc@one"
    )
    version = re.findall(r"agreement/(\d+)", one.pages.read(page))[0]
    there = f"{theirs}/agreement/{version}"
    until(lambda: f"agreement/{version}" in other.pages.read(f"{theirs}/agreement"), 60, what="the terms to arrive")
    other.pages.send(f"{there}/accept", on=there)
    until(lambda: "in force" in one.pages.read(f"{page}/{version}"), 60, what="the acceptance to arrive")


def main() -> None:
    """Leave two befriended stores standing for a look around: `python -m tests.flows.storelab <folder>`."""
    folder = Path(sys.argv[1])
    with Store(folder / "one", "Quay Store") as one, Store(folder / "other", "Harbour Store") as other:
        ours, theirs = befriend(one, other)
        agree(one, ours, other, theirs)
        print(one.url + ours, other.url + theirs, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
