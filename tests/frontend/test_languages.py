"""The pages speak the language of who asks; a language is a file; every text is translated."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from core import languages
from core.operations.models import Operation
from core.words import say

ROOT = Path(__file__).resolve().parents[2]


def test_a_visitor_in_chinese_gets_the_catalogue_in_chinese(client: Any, package: Any) -> None:
    answer = client.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"})
    text = answer.content.decode()
    assert '<html lang="zh-hans"' in text
    for words in ("应用目录", "登录", "1 个应用", "提供方"):
        assert words in text
    assert "Sort by" not in text
    assert "Accept-Language" in answer.headers["Vary"]
    assert '<html lang="en"' in client.get("/").content.decode()


def test_a_chosen_language_is_remembered_and_leads_back(client: Any, package: Any) -> None:
    answer = client.post("/language", {"language": "zh-hans", "next": "/?q=hello"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/?q=hello")
    assert "应用目录" in client.get("/").content.decode()
    client.post("/language", {"language": "en"})
    assert "应用目录" not in client.get("/", headers={"Accept-Language": "zh-CN"}).content.decode()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_choosing_a_language_leads_nobody_away(client: Any, target: str) -> None:
    assert client.post("/language", {"language": "zh-hans", "next": target}).headers["Location"] == "/"
    assert "breakwater_language" not in client.post("/language", {"language": "xx"}).cookies


def test_programs_get_english_unless_they_ask_for_another_language(api: Any) -> None:
    api.cookies["breakwater_language"] = "zh-hans"
    for headers in ({}, {"Accept-Language": "en,zh-CN;q=0.5"}, {"Accept-Language": "xx"}, {"Accept-Language": "*"}):
        answer = api.post("/api/v1/nodes", {}, format="json", headers=headers)
        assert answer.status_code == 400
        assert str(answer.content.decode()).isascii()
    asked = api.post("/api/v1/nodes", {}, format="json", headers={"Accept-Language": "zh-CN"})
    assert asked.headers["Content-Language"] == "zh-hans"
    assert asked.json()["errors"][0] == {"field": "name", "detail": "此字段必填。"}
    assert "此字段必填。" in asked.json()["detail"]


def test_what_was_kept_in_english_is_shown_in_the_language_of_the_page(pages: Any, package: Any, speak: Any) -> None:
    speak({"applying generation {generation}": "正在应用第 {generation} 代"})
    Operation.objects.create(
        kind="deployment.apply",
        target="x",
        organisation_id=package.organisation_id,
        note=say("applying generation {generation}", generation=3),
    )
    assert "applying generation 3" in pages.get("/operations").content.decode()
    pages.cookies["breakwater_language"] = "zh-hans"
    shown = pages.get("/operations").content.decode()
    assert "正在应用第 3 代" in shown
    assert "applying generation 3" not in shown


def test_times_and_numbers_are_said_in_the_language(pages: Any, package: Any) -> None:
    from django.utils import translation

    from frontend.templatetags.portal import distance, size

    assert (distance(-180), distance(7200), distance(-1), size(1536)) == (
        "3 minutes ago",
        "in 2 hours",
        "just now",
        "1.5 KiB",
    )
    with translation.override("zh-hans"):
        assert (distance(-180), distance(7200), distance(-1)) == ("3 分钟前", "2 小时后", "刚刚")
    with translation.override("de"):
        assert size(1536) == "1,5 KiB"


def test_adding_a_language_is_adding_a_file(tmp_path: Path) -> None:
    assert languages.found(tmp_path) == [("en", "English")]
    shutil.copytree(ROOT / "locale" / "zh_Hans", tmp_path / "pt_BR")
    assert languages.found(tmp_path) == [("en", "English"), ("pt-br", "Português Brasileiro")]
    assert ("zh-hans", "简体中文") in languages.found(ROOT / "locale")


@pytest.fixture
def messages() -> Any:
    """The tool that keeps the catalogues, as a module."""
    spec = importlib.util.spec_from_file_location("messages_tool", ROOT / "tools" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_texts_are_found_in_templates_and_in_python(messages: Any, tmp_path: Path) -> None:
    page, code = tmp_path / "a.html", tmp_path / "a.py"
    page.write_text(
        '{% load i18n %}<p>It\'s {% translate "one" %}\n   {% blocktranslate count n=x %}{{ n }} node{% plural %}{{ n }} nodes'
        '{% endblocktranslate %} <i title="{% translate "two" context "side" %}">'
    )
    code.write_text('from x import gettext as _\n\ndef f():\n    return _("three") + ngettext("a", "b", 2)\n')
    found = [(message, context) for path in (page, code) for message, _, context in messages._of(path)]
    assert found == [
        ("one", None), (("%(n)s node", "%(n)s nodes"), None), ("two", "side"), ("three", None), (("a", "b"), None),
    ]  # fmt: skip


def test_what_is_missing_fuzzy_or_not_compiled_is_told(messages: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from babel.messages import Catalog

    monkeypatch.setattr(messages, "ROOT", tmp_path)
    path = tmp_path / "de" / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True)
    fresh, german = Catalog(), Catalog(locale="de", fuzzy=False)
    for text in ("node", "berth", "%(n)s crane", "gone"):
        fresh.add(text)
    german.add("node", "Knoten")
    german.add("berth", "Liegeplatz", flags=["fuzzy"])
    german.add("%(n)s crane", "%(m)s Kran")
    path.write_bytes(messages.written(german))
    told = list(messages.problems("de", path, fresh))
    assert [line.split(") ")[-1] for line in told[:3]] == [
        "is fuzzy", "has a variable that the text does not have", "is missing",
    ]  # fmt: skip
    assert "is not what its catalogue compiles to" in told[3]
