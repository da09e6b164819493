"""The console speaks the language of who asks, with the catalogues of the portal and nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.mep.conftest import Mp1
from tests.mep.console.conftest import Operator
from tools.bare_texts import in_folder

TEMPLATES = Path(__file__).resolve().parents[3] / "mep" / "console" / "templates" / "console"


def heading(answer: Any) -> str:
    """Return language and heading of a page."""
    page = answer.content.decode()
    language = re.search(r'<html lang="([^"]*)"', page)
    title = re.search(r"<h1[^>]*>([^<]*)</h1>", page)
    assert language
    assert title
    return f"{language[1]} {title[1]}"


def test_a_page_is_in_the_language_of_the_browser_until_another_is_chosen(operator: Operator, app: Mp1) -> None:
    chinese = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
    answer = operator.get("/traffic", headers=chinese)
    assert heading(answer) == "zh-hans 流量规则"
    assert "Accept-Language" in answer.headers["Vary"]
    assert heading(operator.get("/traffic")) == "en Traffic rules"

    chosen = operator.post("/language", {"language": "zh-hans", "next": "/traffic?q=x"})
    assert chosen["Location"] == "/traffic?q=x"
    cookie = chosen.cookies["__Host-mep-console-language"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Strict", "/")
    assert heading(operator.get("/apps")) == "zh-hans 应用"
    assert "就绪</span>" in operator.part("/apps").content.decode()
    operator.post("/language", {"language": "en"})
    assert heading(operator.get("/apps", headers=chinese)) == "en Applications"


@pytest.mark.parametrize("wanted", [{"language": "zh-hans", "next": "//evil.example/"}, {"language": "xx"}])
def test_a_stranger_may_choose_but_is_led_nowhere_else(wanted: dict[str, str], console: None) -> None:
    somebody = Operator()
    assert somebody.post("/language", wanted)["Location"] == "/"
    assert ("__Host-mep-console-language" in somebody.cookies) is (wanted["language"] != "xx")


def test_every_text_of_the_templates_is_marked() -> None:
    assert list(in_folder(TEMPLATES)) == []
