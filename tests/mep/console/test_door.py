"""Who gets in: the password, sessions that end, guesses that get slower, forms of our own pages only."""

from __future__ import annotations

import io
import re
import stat
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Throttled
from mep.console import keep
from mep.console.door import Throttle
from tests.mep.console.conftest import PASSWORD, Operator

PAGES = [
    "/", "/apps", "/apps/app-1", "/services", "/services/x", "/subscriptions", "/subscriptions/x", "/traffic", "/traffic/new",
    "/traffic/1", "/dns", "/dns/new", "/dns/1", "/alarms", "/logs",
]  # fmt: skip
ACTS = [
    "/apps/app-1/end", "/subscriptions/x/end", "/traffic/new", "/traffic/1", "/traffic/1/switch", "/traffic/1/remove",
    "/dns/new", "/dns/1", "/dns/1/switch", "/dns/1/remove", "/alarms/1/acknowledge", "/alarms/1/clear", "/sign-out",
]  # fmt: skip


def test_a_stranger_sees_no_page(stranger: Operator) -> None:
    for path in PAGES:
        answer = stranger.get(path)
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/sign-in"), path


def test_a_stranger_does_nothing(stranger: Operator) -> None:
    for path in ACTS:
        stranger.handler.enforce_csrf_checks = True
        assert stranger.post(path).status_code == 403, path  # no token of ours
        stranger.handler.enforce_csrf_checks = False
        assert stranger.post(path)["Location"].startswith("/sign-in"), path


def test_every_address_is_guarded() -> None:
    from mep.console import door, urls

    named = {pattern.name for pattern in urls.urlpatterns}
    assert named & door.OPEN == {"sign-in", "language"}
    assert len(PAGES) + len(ACTS) >= len(named) - 1


def test_a_form_of_another_site_does_nothing(console: None) -> None:
    client = Operator(enforce_csrf_checks=True)
    page = client.get("/sign-in")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert token
    signed = client.sign_in(csrfmiddlewaretoken=token[1])
    assert signed.status_code == 403  # over TLS the browser also has to say where it comes from
    signed = client.post(
        "/sign-in",
        {"password": PASSWORD, "csrfmiddlewaretoken": token[1]},
        headers={"referer": "https://localhost:8444/sign-in"},
    )
    assert signed.status_code == 302
    assert client.get("/").status_code == 200
    for path in ACTS:
        answer = client.post(path, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403, path
        assert "did not come from the console" in answer.content.decode()


def test_the_wrong_password_opens_nothing(stranger: Operator) -> None:
    stranger.handler.enforce_csrf_checks = False
    answer = stranger.sign_in("guess")
    assert answer.status_code == 403
    assert "This is not the password of this node." in answer.content.decode()
    assert "guess" not in answer.content.decode()
    assert stranger.get("/").status_code == 302


def test_guesses_get_slower_and_the_operator_is_told_when(stranger: Operator) -> None:
    stranger.handler.enforce_csrf_checks = False
    answers = [stranger.sign_in("guess").status_code for _ in range(6)]
    assert answers == [403] * 5 + [429]
    refused = stranger.sign_in(PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 11


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 30)), max_size=60))
def test_nobody_guesses_faster_than_the_throttle_says(tries: list[tuple[str, float]]) -> None:
    throttle, now = Throttle(most=5, every=10.0), 0.0
    let: dict[str, int] = {}
    for address, pause in tries:
        now += pause
        try:
            throttle.take(address, now)
        except Throttled:
            continue
        let[address] = let.get(address, 0) + 1
    assert all(count <= 5 + now / 10 + 1e-6 for count in let.values())


def test_the_throttle_remembers_a_bounded_number_of_addresses() -> None:
    throttle = Throttle(addresses=10, every=0.001)
    for number in range(100):
        throttle.take(f"10.0.0.{number}", number)
    assert len(throttle._left) == 10


def test_a_session_ends_by_itself_whatever_its_cookie_says(console: None, settings: Any) -> None:
    client = Operator()
    settings.CONSOLE_SESSION = -1
    client.sign_in()
    assert client.get("/").status_code == 302
    settings.CONSOLE_SESSION = 60
    client.sign_in()
    assert client.get("/").status_code == 200


def test_signing_out_voids_a_copy_of_the_cookie(operator: Operator) -> None:
    copy = Operator()
    stolen = operator.cookies["__Host-mep-console"].value
    copy.cookies["__Host-mep-console"] = stolen
    assert copy.get("/").status_code == 200
    operator.post("/sign-out")
    copy.cookies["__Host-mep-console"] = stolen
    assert copy.get("/").status_code == 302


def test_another_password_ends_every_session(operator: Operator, settings: Any) -> None:
    keep.set_password(settings.VAR, "another hash")
    assert operator.get("/").status_code == 302


def test_a_part_that_refreshes_itself_leads_to_the_door(stranger: Operator) -> None:
    answer = stranger.part("/traffic")
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/sign-in")


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_door_leads_to_pages_of_ours_only(path: str, stranger: Operator) -> None:
    stranger.handler.enforce_csrf_checks = False
    assert stranger.sign_in(next=path)["Location"] == "/"


def test_the_cookies_are_for_this_host_and_no_script(console: None) -> None:
    client = Operator()
    cookie = client.sign_in().cookies["__Host-mep-console"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        True, True, "Strict", "/", "",
    )  # fmt: skip


def test_every_answer_carries_the_headers(operator: Operator) -> None:
    answer = operator.get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cache-Control"] == "no-store"


def test_no_page_holds_inline_script_or_style(operator: Operator, app: Any) -> None:
    for path in ("/", "/apps", "/services", "/subscriptions", "/traffic", "/traffic/new", "/dns", "/alarms", "/logs"):
        text = operator.get(path).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text), path


def test_another_host_is_refused(operator: Operator) -> None:
    answer = operator.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert b"evil" not in answer.content


def test_the_first_password_lies_in_a_file_for_this_user_alone(own_folder: Any, console: None, settings: Any) -> None:
    from django.contrib.auth.hashers import check_password

    from mep.console.management.commands.console import first_password

    keep.set_password(settings.VAR, "")
    first_password()
    file = keep.first_password_file(settings.VAR)
    plain = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert check_password(plain, keep.load(settings.VAR).password)
    first_password()
    assert file.read_text().strip() == plain


def test_the_password_is_stored_as_a_hash_and_voids_the_first(own_folder: Any, monkeypatch: Any, settings: Any) -> None:
    keep.first_password(settings.VAR, "hash", "plain")
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough one\n"))
    call_command("console_password", "--stdin", stdout=io.StringIO())
    assert not keep.first_password_file(settings.VAR).exists()
    assert "a long enough one" not in (settings.VAR / "console" / "keep.json").read_text()
    assert keep.load(settings.VAR).password.startswith("scrypt$")


def test_a_short_password_is_refused(own_folder: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    with pytest.raises(CommandError, match="at least 12"):
        call_command("console_password", "--stdin", stdout=io.StringIO())


def test_the_key_survives_and_the_list_of_ended_sessions_is_bounded(own_folder: Any, settings: Any) -> None:
    import time

    key = keep.load(settings.VAR).key
    for number in range(3):
        keep.sign_out(settings.VAR, f"s{number}", time.time() + (60 if number else -1))
    keep.sign_out(settings.VAR, "last", time.time() + 60)
    kept = keep.load(settings.VAR)
    assert (kept.key, set(kept.signed_out)) == (key, {"s1", "s2", "last"})
