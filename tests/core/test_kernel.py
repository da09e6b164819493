"""The kernel without Django: errors, plugins, settings, sealing."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.env import Env, boolean, words
from core.registry import Registry
from core.vault import KeyMissing, Ring, Vault, key_id, key_of, load_or_make_key, read_keys

TREE = [kind for kind in errors._tree(errors.BreakwaterError) if kind.__module__ == "core.errors"]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.code)
def test_every_error_is_a_problem_document_and_comes_back_from_it(kind: type[errors.BreakwaterError]) -> None:
    problem = kind("a sentence", field="name").problem()
    assert {"type", "title", "status", "detail"} <= set(problem)
    again = errors.from_problem(problem)
    assert (type(again), again.detail, again.context) == (kind, "a sentence", {"field": "name"})


def test_no_two_errors_share_a_code() -> None:
    assert len({kind.code for kind in TREE}) == len(TREE)


def test_context_never_hides_the_standard_members() -> None:
    assert errors.Missing("gone", status=200, code="fine").problem()["status"] == 404


def test_only_waiting_errors_are_retryable() -> None:
    assert {kind.code for kind in TREE if kind.retryable} == {"unavailable", "timed-out", "throttled"}


def test_a_plugin_is_imported_only_when_asked_for() -> None:
    registry: Registry[object] = Registry("things", {"bad": "there.is.no:Module", "good": "core.env:Env"})
    assert registry.names() == ["bad", "good"]
    assert registry.get("good") is Env


def test_an_unknown_plugin_is_answered_with_the_known_ones() -> None:
    with pytest.raises(errors.Missing, match="known: good"):
        Registry("things", {"good": "core.env:Env"}).get("worse")


def test_a_name_is_given_away_once() -> None:
    registry: Registry[object] = Registry("things")
    registry.register("one")(int)
    with pytest.raises(ValueError, match="taken"):
        registry.register("one")(str)


def test_all_wrong_settings_are_told_together() -> None:
    env = Env("X", {"X_PORT": "many", "X_DEBUG": "perhaps", "X_PROT": "80", "OTHER": "1"})
    assert env("PORT", 80, cast=int, help="where we listen") == 80
    env("DEBUG", False, cast=boolean, help="show tracebacks")
    with pytest.raises(ValueError, match=r"(?s)X_PORT.*X_DEBUG.*X_PROT"):
        env.finish()


def test_settings_of_another_program_with_our_prefix_are_let_be() -> None:
    env = Env("X", {"X_TOKEN": "1"})
    env.finish(others=["TOKEN"])
    with pytest.raises(ValueError, match="X_TOKEN"):
        env.finish()


def test_a_secret_setting_is_not_repeated_in_the_complaint() -> None:
    env = Env("X", {"X_KEY": "hunter2"})
    env("KEY", 0, cast=int, help="a key", secret=True)
    with pytest.raises(ValueError) as caught:
        env.finish()
    assert "hunter2" not in str(caught.value)


def test_lists_are_split_at_commas() -> None:
    assert words(" a, b ,,c") == ["a", "b", "c"]


@given(plain=st.binary(max_size=200), purpose=st.text(max_size=20))
def test_what_is_sealed_opens_for_its_purpose_only(plain: bytes, purpose: str) -> None:
    vault = Vault(bytes(32))
    sealed = vault.seal(plain, purpose)
    assert vault.open(sealed, purpose) == plain
    with pytest.raises(errors.Invalid):
        vault.open(sealed, purpose + "!")


def test_the_first_key_seals_all_open_and_one_that_is_not_there_is_named() -> None:
    old, new = bytes(32), b"n" * 32
    sealed = Vault(old).seal(b"x", "p")
    assert key_of(sealed) == key_id(old)
    both = Vault(new + old)
    assert both.open(sealed, "p") == b"x"
    assert key_of(both.seal(b"y", "p")) == key_id(new)
    # From before keys had names: any of the keys may be the one.
    unnamed = b"\x01" + bytes(12) + AESGCM(old).encrypt(bytes(12), b"z", b"p")
    assert both.open(unnamed, "p") == b"z"
    assert key_of(unnamed) == ""
    with pytest.raises(KeyMissing, match=key_id(old)):
        Vault(new).open(sealed, "p")
    with pytest.raises(errors.Invalid, match="changed"):
        Vault(new).open(unnamed, "p")
    assert Ring(read_keys(f"{new.hex()}, {old.hex()}")).keys == {key_id(new): new, key_id(old): old}
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(errors.Invalid, match="32 bytes"):
            Ring(wrong)


@given(st.binary(max_size=60))
def test_what_was_not_sealed_by_us_is_refused(junk: bytes) -> None:
    with pytest.raises(errors.Invalid):
        Vault(bytes(32)).open(junk, "x")


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    place = tmp_path / "keys" / "vault.key"
    key = load_or_make_key(place)
    assert load_or_make_key(place) == key
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [entry.name for entry in place.parent.iterdir()] == ["vault.key"]


def test_the_kernel_and_the_libraries_load_without_django() -> None:
    names = "core.errors core.registry core.findings core.env core.vault core.archives core.appd engines upf_adapter"
    code = (
        f"import sys\nfor n in {names!r}.split(): __import__(n)\nassert not {{'django', 'celery'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
