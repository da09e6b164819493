"""The check of what services say finds what no translator could translate."""

from __future__ import annotations

import ast

import pytest

from tools.said import kinds_of_errors, misspoken, templates, unsaid

IMPORT = "from core.words import say\n"


@pytest.mark.parametrize(
    "code",
    [
        "say(text)", "say(f'The {x} is')", "say('a ' + b)", "say('The {name} is')", "say('The name', name=1)",
        "say('The {name} is', **facts)", "say('The {name.x} is', name=1)", "say('The {name!r} is', name=1)",
        "say('The {name} is', name=x or 'nobody')", "say('The {state} is', state='fat')",
    ],
)  # fmt: skip
def test_a_sentence_that_cannot_be_translated_is_found(code: str) -> None:
    assert list(misspoken(ast.parse(IMPORT + code)))


def test_a_sentence_with_its_facts_is_right_and_taken_into_the_catalogue() -> None:
    tree = ast.parse(IMPORT + "say('The {name} is {{x}}' ' here', name=node.name)")
    assert list(misspoken(tree)) == []
    assert list(templates(tree)) == ["The {name} is {{x}} here"]


def test_a_fact_that_is_a_word_is_said_or_known() -> None:
    tree = ast.parse(IMPORT + "say('{late} {who} {n}', late=x or 'silence', who=say('nobody') if x else y, n='-')")
    assert list(misspoken(tree)) == []


def test_another_function_of_that_name_is_left_alone() -> None:
    assert list(misspoken(ast.parse("say(text)"))) == []


@pytest.mark.parametrize(
    "code", ["raise Mine(f'The {x} is')", "raise Invalid('No.', x=1)", "return errors.Invalid('No.')"]
)
def test_an_error_that_is_raised_with_a_bare_text_is_found(code: str) -> None:
    classes = "class Invalid(BreakwaterError): ...\nclass Mine(errors.Invalid): ...\n"
    tree = ast.parse(f"{classes}def f():\n    {code}")
    assert len(list(unsaid(tree, kinds_of_errors([tree])))) == 1


def test_an_error_that_passes_on_a_sentence_is_right() -> None:
    tree = ast.parse(
        "class Invalid(BreakwaterError): ...\nInvalid(say('No.'))\nInvalid(problem.detail)\nInvalid(f'{a}: {b}')"
    )
    assert list(unsaid(tree, kinds_of_errors([tree]))) == []
