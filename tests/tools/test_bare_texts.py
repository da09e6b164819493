"""Words of a template that stand in no tag of translation are found, and there are none on finished pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import bare_texts

TEMPLATES = Path(__file__).resolve().parents[2] / "frontend" / "templates" / "frontend"


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("<p>Hello there</p>", ["Hello there"]),
        ("<p>\n  Hello {{ name }}, you</p>", ["Hello , you"]),
        ('<p>{% translate "Hello" %}</p>', []),
        ("{% blocktranslate %}Hello {{ name }}{% endblocktranslate %}", []),
        ("{% comment %}Hello{% endcomment %}{# Hello #}", []),
        ('<input placeholder="Your name">', ["placeholder=Your name"]),
        ('<input placeholder="{% translate "Your name" %}" class="wide red">', []),
        ('{% include "ask.html" with title="Really?" id="ask-it" %}', ["Really?"]),
        ('{% include "ask.html" with title=_("Really?") %}', []),
        ('{{ name|default:"nobody" }}', ["nobody"]),
        ('{% state "ready" "in force" %}{% state "ready" %}', ["in force"]),
        ("<code>manage.py check</code> <td>3 s</td> SHA-256", []),
    ],
)
def test_what_is_shown_and_not_translated_is_found(template: str, found: list[str]) -> None:
    assert [text for _, text in bare_texts.bare(template, bare_texts.ALLOWED)] == found


def test_a_finding_names_its_line() -> None:
    assert list(bare_texts.bare("<p>\n</p>\n\n  <b>Hello</b>")) == [(4, "Hello")]


def test_no_finished_page_speaks_one_language_only() -> None:
    assert list(bare_texts.in_folder(TEMPLATES)) == []


def test_what_is_unfinished_is_a_folder_of_pages() -> None:
    assert {path.name for path in TEMPLATES.iterdir() if path.is_dir()} >= bare_texts.UNFINISHED
