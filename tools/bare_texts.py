"""Finds text that a template shows in one language only: words that stand in no tag of translation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

#: Names, units and formats that are written alike in every language.
ALLOWED = frozenset({
    "Breakwater", "CPU", "CSV", "DNS", "Esc", "ID", "JSON", "MEP", "MiB", "OpenAPI", "SHA", "TTL", "UTC", "YAML", "ms",
    "sha",
    # An example in the notation itself.
    "replicas: 2", ",idle", "node.register, node.",
    # The value of a signature in the index that a template falls back to; it is compared, not shown.
    "unsigned",
})  # fmt: skip
#: Folders of pages whose texts are not all marked yet.
UNFINISHED: frozenset[str] = frozenset()
#: Templates that hold attributes of an element and no text.
FRAGMENTS = frozenset({"values/described.html"})
#: Attributes that people read or hear.
SHOWN = frozenset({"title", "placeholder", "alt", "aria-label", "aria-description", "label"})
#: Elements whose text is code.
CODE = frozenset({"script", "style", "code", "pre", "kbd", "svg"})
#: Arguments of `{% include %}` that are shown, and filters whose literal is.
_SAID = re.compile(
    r"\b(?:title|text|button|label|note|help|empty)=\"([^\"]*)\""
    r"|\|(?:default|default_if_none|yesno):\"([^\"]*)\""
    r"|^\{% *(?:state|ago) +\S+ +\"([^\"]*)\""
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_TAG = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
_COMMENT = re.compile(r"\{% *comment\b.*?%\}.*?\{% *endcomment *%\}", re.DOTALL)
_BLOCK = re.compile(
    r"\{% *(?:blocktranslate|blocktrans)\b.*?%\}.*?\{% *end(?:blocktranslate|blocktrans) *%\}", re.DOTALL
)


def bare(template: str, allowed: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Yield line and text of everything that is shown and not translated; what is `allowed` is a name in every language."""
    plain = template
    for pattern in (_COMMENT, _BLOCK):
        plain = pattern.sub(_blank, plain)
    for tag in _TAG.finditer(plain):
        for said in _SAID.finditer(tag.group()):
            text = said[1] or said[2] or said[3] or ""
            if _words(text, allowed):
                yield template.count("\n", 0, tag.start()) + 1, text
    found = _Reader(allowed)
    found.feed(_TAG.sub(_blank, plain))
    found.close()
    yield from found.found


def in_folder(folder: Path) -> Iterator[str]:
    """Yield `file:line: text` for every template below a folder, but for folders that are not finished."""
    for path in sorted(folder.rglob("*.html")):
        place = path.relative_to(folder)
        if place.parts[0] in UNFINISHED or place.as_posix() in FRAGMENTS:
            continue
        for line, text in sorted(bare(path.read_text("utf-8"), ALLOWED)):
            yield f"{place}:{line}: {text}"


class _Reader(HTMLParser):
    def __init__(self, allowed: frozenset[str]) -> None:
        super().__init__()
        self.allowed = allowed
        self.found: list[tuple[int, str]] = []
        self._code: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in CODE:
            self._code.append(tag)
        for name, value in attrs:
            if name in SHOWN and value and _words(value, self.allowed):
                self.found.append((self.getpos()[0], f"{name}={' '.join(value.split())}"))

    def handle_endtag(self, tag: str) -> None:
        if self._code and tag == self._code[-1]:
            self._code.pop()

    def handle_data(self, data: str) -> None:
        if not self._code and _words(data, self.allowed):
            before = data[: len(data) - len(data.lstrip())]
            self.found.append((self.getpos()[0] + before.count("\n"), " ".join(data.split())))


def _blank(found: re.Match[str]) -> str:
    # Lines stay where they are, and what a tag writes is no word of ours.
    return " " + "\n" * found.group().count("\n")


def _words(text: str, allowed: frozenset[str]) -> bool:
    plain = " ".join(text.split())
    return plain not in allowed and any(word not in allowed for word in _WORD.findall(plain))
