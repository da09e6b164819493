"""Signing in by a code, by a token, at several servers; and out again."""

from __future__ import annotations

import json
import stat
from typing import Any

import pytest

from cli.profiles import Profiles, address
from core.accounts.models import ApiToken
from core.device import services
from core.device.models import Grant
from tests.cli.conftest import Terminal

pytestmark = pytest.mark.django_db


def test_login_by_code_and_logout(terminal: Terminal, actor: Any, organisation: Any) -> None:
    def approve() -> None:
        # Somebody needs a moment to find the page.
        if terminal.now > 12:
            services.approve(Grant.objects.waiting().get(), actor=actor)

    terminal.meanwhile = approve
    ended = terminal("login", "--organisation", "acme")
    assert ended.code == 0, ended.err
    assert "/device and enter the code" in ended.err
    assert terminal.slept[0] == 5
    assert "admin" in ended.out
    kept = Profiles(terminal.environ).path
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    secret = json.loads(kept.read_text())["servers"]["http://127.0.0.1:8000"]["token"]
    assert secret not in ended.out + ended.err

    me = terminal.json("whoami")
    assert me["username"] == "admin"
    assert "csrf" not in me
    assert terminal.json("servers", "list")[0]["current"] is True
    assert terminal("organisations", "use", "acme").code == 0
    assert terminal("organisations", "use", "other").code == 4

    assert terminal("logout").code == 0
    assert ApiToken.objects.get().revoked_at is not None
    assert secret not in kept.read_text()
    assert terminal("whoami").code == 4
    assert terminal("logout").code == 2


def test_a_refused_or_forgotten_sign_in_ends(terminal: Terminal, actor: Any) -> None:
    terminal.meanwhile = lambda: services.refuse(Grant.objects.waiting().get(), actor=actor)
    ended = terminal("login")
    assert (ended.code, ended.out) == (4, "")
    terminal.meanwhile = lambda: None
    ended = terminal("login", "--timeout", "20")
    assert ended.code == 3
    assert terminal.slept[-1] >= 10, "whoever asks too soon by the server's clock slows down"
    assert not Profiles(terminal.environ).path.exists()


def test_login_with_a_token_from_stdin(terminal: Terminal, admin: Any, actor: Any) -> None:
    from core.accounts.services import issue_token

    _, secret = issue_token(admin, name="ci", actor=actor)
    assert terminal("login", "--token", stdin="bwk_wrong\n").code == 4
    assert terminal("login", "--token", stdin="").code == 2
    assert terminal("login", "--token", stdin=f"{secret}\n").code == 0
    assert terminal.json("whoami")["username"] == "admin"
    path = Profiles(terminal.environ).path
    path.chmod(0o644)
    ended = terminal("whoami")
    assert ended.code == 2
    assert "chmod 600" in ended.err
    path.chmod(0o600)
    path.write_text("{")
    assert terminal("whoami").code == 2


def test_servers_are_written_in_one_form() -> None:
    assert address("Store.Example/") == "https://store.example"
    assert address("http://127.0.0.1:8000/") == "http://127.0.0.1:8000"
