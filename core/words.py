"""Sentences for people that can be said again in another language: the English text, its template and its facts.

Services say everything in English: `raise Conflict(say("The node {name} is not enrolled", name=node.name))`. Who shows
it to somebody translates the template and puts the facts in again (`core.spoken`); whoever treats it as text has the
English sentence. Nothing here knows of Django, so that engines and checks can speak as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: A place for a fact, or a brace that is meant as one. There is no more to a template: no attributes, no formats.
_PIECE = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_WORD = re.compile(r"[^\W\d_]+")
#: Letters that a template needs of its own, so that a text can be told to be one of its sentences.
_TELLING = 6
#: A text longer than this is nobody's sentence.
LONGEST = 4000


class Said(str):
    """A sentence in English which remembers its template and its facts; a fact may be such a sentence itself."""

    __slots__ = ("facts", "template")
    template: str
    facts: Mapping[str, str]

    def __new__(cls, text: str, template: str = "", facts: Mapping[str, str] | None = None) -> Said:
        said = super().__new__(cls, text)
        said.template, said.facts = template, facts or {}
        return said


def say(template: str, /, **facts: Any) -> str:
    """Return the sentence with its facts put in: a `Said`, which is told from other text only where it is shown.

    The template is a literal, so that it can be found and translated; its places are plain names (`{name}`), and each
    has its fact. Facts are written as they are: whatever stands in one is no template.
    """
    told = {name: fact if isinstance(fact, Said) else f"{fact}" for name, fact in facts.items()}
    return Said(filled(template, told), template, told)


def joined(separator: str, sentences: Iterable[str]) -> str:
    """Return several sentences as one text; each of them is said again by itself."""
    told = {f"part{number}": sentence for number, sentence in enumerate(sentences)}
    template = separator.replace("{", "{{").replace("}", "}}").join(f"{{{name}}}" for name in told)
    return Said(separator.join(told.values()), template, told)


def as_text(value: Any) -> str:
    """Return a sentence as nothing but text; the `enc_hook` of encoders that know exact types only (msgspec)."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be written as JSON")


def filled(template: str, facts: Mapping[str, str]) -> str:
    """Return the template with its facts; `KeyError` when it asks for one that is not there."""

    def piece(found: re.Match[str]) -> str:
        return facts[found[1]] if found[1] is not None else found[0][0]

    return _PIECE.sub(piece, template) if "{" in template or "}" in template else template


def places(template: str) -> list[str]:
    """Return the names of the facts that a template asks for, in order."""
    return [found[1] for found in _PIECE.finditer(template) if found[1] is not None]


class Sentences:
    """Templates that a text is recognised by: what was stored as plain text, or told by another process."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._by_word: dict[str, list[_Shape]] = {}
        self._whole: dict[str, str] = {}
        for template in templates:
            if not places(template):
                if "{{" in template:  # what was said has single braces
                    self._whole[filled(template, {})] = template
            elif (shape := _Shape(template)).word:
                self._by_word.setdefault(shape.word, []).append(shape)
        for shapes in self._by_word.values():
            shapes.sort(key=lambda shape: -shape.letters)

    def read(self, text: str) -> tuple[str, dict[str, str]] | None:
        """Return template and facts of a sentence, or None. The template that says the most itself is taken."""
        if text in self._whole:
            return self._whole[text], {}
        candidates = [shape for word in set(_WORD.findall(text)) for shape in self._by_word.get(word, ())]
        for shape in sorted(candidates, key=lambda shape: -shape.letters):
            if (facts := shape.read(text)) is not None:
                return shape.template, facts
        return None


class _Shape:
    """A template taken apart: the texts between its places."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.names = places(template)
        self.literals = list(_literals(template))
        words = [word for number, literal in enumerate(self.literals) for word in self._words(number, literal)]
        self.letters = sum(len(word) for word in words)
        # "{name} answered {status}" says so little that sentences of others fit too, unless its facts are single words.
        self._short = len(words) == 1 and not self.literals[0] and not set("".join(self.literals)) & set("().;,")
        # A text is looked up by this word only; the longest one is the rarest.
        self.word = max(words, key=len) if self.letters >= _TELLING else ""

    def _words(self, number: int, literal: str) -> Iterator[str]:
        for found in _WORD.finditer(literal):
            # A word that touches a fact is another word in the sentence.
            if (found.start() > 0 or number == 0) and (found.end() < len(literal) or number == len(self.names)):
                yield found[0]

    def read(self, text: str) -> dict[str, str] | None:
        """Return the facts, or None. Each text between places is looked for once, so no text takes long to read."""
        first, *between, last = self.literals
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        found: list[str] = []
        for literal in between:
            where = text.find(literal, at, end)
            if where < 0:
                return None
            found.append(text[at:where])
            at = where + len(literal)
        found.append(text[at:end])
        facts: dict[str, str] = {}
        if self._short and any(
            " " in fact and not before.endswith(": ") for before, fact in zip(self.literals, found, strict=False)
        ):
            return None
        for name, fact in zip(self.names, found, strict=True):
            if facts.setdefault(name, fact) != fact:
                return None
        return facts


def _literals(template: str) -> Iterator[str]:
    text, at = "", 0
    for found in _PIECE.finditer(template):
        text += template[at : found.start()]
        at = found.end()
        if found[1] is None:
            text += found[0][0]
        else:
            yield text
            text = ""
    yield text + template[at:]
