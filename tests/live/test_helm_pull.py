"""A stock helm pulls a published chart from a running store, and gets nothing that is not published.

Helm is built once from its Go module and kept by version (`TEST_HELM_CACHE`), through whatever module proxy the machine is
set up with. Both lines of Helm are tried. The store is real processes on a database of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.appstore.contents import inside
from tests.live.kubernetes import binaries
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("TEST_HELM_CACHE", "/var/cache/breakwater/helm"))
VERSIONS = {"3.22.0": "helm.sh/helm/v3/cmd/helm", "4.3.1": "helm.sh/helm/v4/cmd/helm"}
PEOPLE = """
import json
from core.accounts import services
from core.accounts.access import Actor
from core.accounts.models import Membership, Organisation, User
tokens = {}
for slug in ("acme", "other"):
    user = User.objects.create_user(slug, password="a walk along the quay")
    Membership.objects.create(user=user, organisation=Organisation.objects.create(slug=slug, name=slug), role="admin")
    tokens[slug] = services.issue_token(user, name="helm", actor=Actor(user))[1]
print(json.dumps(tokens))
"""
Helm = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Store:
    """A running store; `tokens` are those of an administrator of each organisation."""

    host: str
    environment: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)

    def manage(self, *arguments: str) -> str:
        """Run a command of the store and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        options: dict[str, Any] = {"cwd": ROOT, "env": self.environment, "capture_output": True, "text": True}
        done = subprocess.run(command, timeout=120, check=False, **options)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the API as the administrator of `acme`."""
        headers = {"Authorization": f"Bearer {self.tokens['acme']}"}
        answer = httpx.request(method, f"http://{self.host}/api/v1/{path}", headers=headers, timeout=30, **options)
        assert answer.status_code < 500, answer.text
        return answer

    def upload(self, content: bytes) -> str:
        """Upload a package, wait until it was checked and read, and return its id."""
        pk = str(self.call("POST", "packages?filename=a.csar", content=content).json()["id"])
        until(lambda: self.call("GET", f"packages/{pk}/contents").status_code == 200, 60, 0.2, "the package to be read")
        return pk

    def publish(self, content: bytes) -> str:
        """The same, and publish it."""
        pk = self.upload(content)
        assert self.call("POST", f"packages/{pk}/publish").status_code == 200
        return pk


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Start a web process and a worker; leave nothing behind."""
    folder = tmp_path_factory.mktemp("store")
    host = f"127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")}
    environment |= {
        "BREAKWATER_VAR": str(folder),
        "BREAKWATER_PUBLIC_URL": f"http://{host}",
        "DJANGO_SETTINGS_MODULE": "mecm.settings",
    }

    made = Store(host, environment)
    made.manage("migrate", "-v", "0")
    made.tokens = json.loads(made.manage("shell", "-v", "0", "-c", PEOPLE).splitlines()[-1])
    web = ["-m", "uvicorn", "mecm.asgi:application", "--port", host.rpartition(":")[2], "--log-level", "warning"]
    with (folder / "processes.log").open("w") as log:
        processes = [
            subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
            for command in (web, ["manage.py", "run_operations", "--every", "0.2"])
        ]
        try:
            until(lambda: _answers(host), 60, 0.2, "the store to answer")
            yield made
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)


@pytest.fixture(scope="module")
def published(store: Store) -> bytes:
    """A chart that is published as `acme/hello`, tags 1.2.0 and 1.0."""
    chart = inside.chart()
    store.publish(inside.csar(chart_file=chart))
    return chart


@pytest.fixture(params=sorted(VERSIONS))
def helm(request: Any, tmp_path: Path) -> Helm:
    """Run a stock helm with folders of its own."""
    program = built(request.param)
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        return subprocess.run(
            [str(program), *arguments], env=environment, cwd=tmp_path, input=given, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    assert request.param.rpartition(".")[0] in run("version", "--short").stdout
    return run


def test_a_published_chart_is_pulled_as_it_is(helm: Helm, store: Store, published: bytes, tmp_path: Path) -> None:
    done = helm("pull", f"oci://{store.host}/acme/hello", "--version", "1.2.0", "--plain-http")
    assert done.returncode == 0, done.stderr
    assert "Digest: sha256:" in done.stdout + done.stderr
    assert (tmp_path / "hello-1.2.0.tgz").read_bytes() == published
    shown = helm("show", "chart", f"oci://{store.host}/acme/hello", "--version", "~1.2", "--plain-http")
    assert "description: Says hello" in shown.stdout, shown.stderr
    rendered = helm("template", "one", f"oci://{store.host}/acme/acme/hello", "--version", "1.2.0", "--plain-http")
    assert "image: localhost/breakwater/hello:1.0" in rendered.stdout, rendered.stderr


def test_what_is_not_published_or_withdrawn_is_not_found(helm: Helm, store: Store, tmp_path: Path) -> None:
    name = f"draft{len(list(tmp_path.parent.iterdir()))}"
    draft = store.upload(inside.csar(app_product_name=name, chart_file=inside.chart()))
    pull = ("pull", f"oci://{store.host}/acme/{name}", "--version", "1.2.0", "--plain-http")
    assert helm(*pull).returncode != 0
    assert _login(helm, store, store.tokens["acme"]).returncode == 0
    _not_found(helm(*pull))
    assert store.call("POST", f"packages/{draft}/publish").status_code == 200
    assert helm(*pull).returncode == 0
    (tmp_path / f"{name}-1.2.0.tgz").unlink()
    assert store.call("POST", f"packages/{draft}/withdraw", json={"reason": "bad"}).status_code == 200
    _not_found(helm(*pull))
    assert not list(tmp_path.glob("*.tgz"))


def test_a_chart_for_the_organisation_is_for_its_members_after_a_login(
    helm: Helm, store: Store, tmp_path: Path
) -> None:
    name = f"ours{len(list(tmp_path.parent.iterdir()))}"
    chart = inside.chart()
    pk = store.publish(inside.csar(app_product_name=name, chart_file=chart))
    hide = f"from appstore.packages.models import Package; Package.objects.filter(pk='{pk}').update(visibility='organisation')"
    store.manage("shell", "-v", "0", "-c", hide)
    pull = ("pull", f"oci://{store.host}/acme/{name}", "--version", "1.2.0", "--plain-http")
    assert helm(*pull).returncode != 0
    assert _login(helm, store, store.tokens["other"]).returncode == 0
    _not_found(helm(*pull))
    assert _login(helm, store, store.tokens["acme"]).returncode == 0
    done = helm(*pull)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}-1.2.0.tgz").read_bytes() == chart


def test_a_login_is_really_tried(helm: Helm, store: Store) -> None:
    assert _login(helm, store, "wrong").returncode != 0
    assert _login(helm, store, store.tokens["other"]).returncode == 0


def test_a_version_with_a_plus_is_found(helm: Helm, store: Store, tmp_path: Path) -> None:
    name = f"plus{len(list(tmp_path.parent.iterdir()))}"
    chart = inside.chart(inside.CHART.replace("1.2.0", "1.2.0+7"))
    store.publish(inside.csar(app_product_name=name, chart_file=chart))
    done = helm("pull", f"oci://{store.host}/acme/{name}", "--version", "1.2.0+7", "--plain-http")
    assert done.returncode == 0, done.stderr
    (pulled,) = tmp_path.glob("*.tgz")
    assert pulled.read_bytes() == chart


def built(version: str) -> Path:
    """Return the helm of that version; built now when it is not there. Skips the test without Go."""
    folder = CACHE / version
    program = folder / "helm"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.access(program, os.X_OK):
            tool = binaries.go()
            if not tool:
                pytest.skip("a stock helm needs Go 1.25 or newer to be built; set GO to its path")
            environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
            command = [tool, "install", "-trimpath", "-ldflags=-s -w", f"{VERSIONS[version]}@v{version}"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
    return program


def _answers(host: str) -> bool:
    try:
        return httpx.get(f"http://{host}/v2/", timeout=2).status_code == 401
    except httpx.HTTPError:
        return False


def _login(helm: Helm, store: Store, secret: str) -> subprocess.CompletedProcess[str]:
    return helm("registry", "login", store.host, "--username", "any", "--password-stdin", "--plain-http", given=secret)


def _not_found(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0
    assert "404" in done.stderr or "not found" in done.stderr.lower(), done.stderr
