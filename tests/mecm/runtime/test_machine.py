"""What `manage.py up` finds on a machine, and how it leaves it."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from core.accounts.models import Membership, Organisation, User
from core.env import Env
from core.errors import Conflict
from mecm.nodes.models import Node
from mecm.runtime import containers, dockerd, ports, seed
from mecm.runtime.env import declare
from mecm.runtime.stack import web_server

SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -o br-1 -j DOCKER
-A DOCKER-USER -j RETURN
COMMIT
"""


class _Engine(ThreadingMixIn, UnixStreamServer):
    """Answers as a container engine does, as far as it is asked here."""

    daemon_threads = True

    def __init__(self, path: Path, version: dict[str, Any]) -> None:
        self.version, self.asked = version, []
        super().__init__(str(path), _Answers)


class _Answers(BaseHTTPRequestHandler):
    server: _Engine

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        rows: Any = self.server.version
        if "containers/json" in self.path or self.path.startswith("/networks?"):
            rows = [{"Id": "abc"}]
        content = b"" if self.command == "DELETE" else json.dumps(rows).encode()
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_DELETE(self) -> None:
        self.do_GET()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[_Engine]:
    server = _Engine(tmp_path / "s", {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_engine_that_answers_is_found_and_named(engine: _Engine) -> None:
    found = containers.find(str(engine.server_address))
    assert found
    assert (found.name, found.version) == ("podman", "4.3.1")


def test_a_socket_where_nobody_answers_is_no_engine(tmp_path: Path) -> None:
    assert containers.find(str(tmp_path / "nothing")) is None
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        assert containers.look_at(str(tmp_path / "deaf")) is None


def test_what_carries_our_label_is_removed(engine: _Engine) -> None:
    assert containers.remove_all(str(engine.server_address), "io.breakwater.node=1") == 2
    assert engine.asked[-3:] == ["DELETE /containers/abc", "GET /networks", "DELETE /networks/abc"]


def test_only_dockers_part_of_the_firewall_is_undone() -> None:
    assert dockerd._docker_rules(SAVED) == [
        ["-D", "FORWARD", "-j", "DOCKER-USER"],
        ["-D", "FORWARD", "-o", "br-1", "-j", "DOCKER"],
        ["-F", "DOCKER"],
        ["-F", "DOCKER-USER"],
        ["-X", "DOCKER"],
        ["-X", "DOCKER-USER"],
    ]


def test_sockets_of_a_deep_folder_are_short_enough(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["deeply"] * 30)
    docker = dockerd.PrivateDocker(deep, pool="10.89.0.0/16")
    # sockaddr_un holds 108 bytes with the final zero; containerd adds to the folder.
    assert len(str(docker.exec_root / "containerd" / "containerd-debug.sock")) < 108
    assert docker.socket != dockerd.PrivateDocker(tmp_path, pool="10.89.0.0/16").socket


def test_every_taken_port_is_told_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number, unused = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        ports.require_free({"A_PORT": ("127.0.0.1", unused)})
        with pytest.raises(Conflict, match=f"port {number} .* B_PORT"):
            ports.require_free({"A_PORT": ("127.0.0.1", unused), "B_PORT": ("127.0.0.1", number)})


@pytest.mark.parametrize(("name", "text"), [("NODE_ENGINE", "kubernetes"), ("NODE_PLACE", "north"), ("DEMO", "maybe")])
def test_a_setting_that_cannot_be_read_is_told(name: str, text: str) -> None:
    env = Env("BREAKWATER", {f"BREAKWATER_{name}": text})
    declare(env)
    with pytest.raises(ValueError, match=f"BREAKWATER_{name}"):
        env.finish()


@pytest.mark.django_db
def test_demo_accounts_are_made_once_and_for_our_eyes_only(tmp_path: Path) -> None:
    file = tmp_path / "demo-accounts.json"
    made = seed.demo_accounts(file)
    assert {each["username"] for each in made} == {"admin", "operator", "developer", "certifier", "viewer"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for each in made:
        user = User.objects.get(username=each["username"])
        assert user.check_password(each["password"])
        assert list(Membership.objects.filter(user=user).values_list("role", flat=True)) == [each["username"]]
    assert seed.demo_accounts(file) == made
    assert User.objects.count() == 5


@pytest.mark.django_db
def test_people_who_are_there_already_are_left_alone(tmp_path: Path, admin: User) -> None:
    assert seed.demo_accounts(tmp_path / "demo-accounts.json") == []
    assert list(User.objects.all()) == [admin]
    assert seed.local_node("memory") is None
    assert seed.demo_packages([tmp_path / "never-read.csar"], print) == 0


@pytest.mark.django_db
def test_the_local_node_is_registered_once(tmp_path: Path) -> None:
    seed.demo_accounts(tmp_path / "demo-accounts.json")
    first, again = seed.local_node("memory"), seed.local_node("docker")
    assert first
    assert again
    assert first.pk == again.pk
    known = Node.objects.get()
    assert (known.engine, known.organisation) == ("docker", Organisation.objects.get(slug="demo"))
    assert known.latitude is not None


def test_only_a_proxy_that_was_told_of_says_who_asks(settings: Any) -> None:
    # Whoever comes from this machine could else name another address with each guess of a password.
    assert "--no-proxy-headers" in web_server()
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert "--no-proxy-headers" not in web_server()
