"""What services said, in the language of who reads it: translated at the moment of showing, never before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeData
from django.utils.translation import get_language, get_supported_language_variant, trans_real

from core.languages import SOURCE
from core.terms import term
from core.words import LONGEST, Said, Sentences, filled

#: Where one sentence ends and another may begin.
_BETWEEN = re.compile(r"(?:(?<=[.!?;])) ")


def in_language(text: Any, language: str | None = None) -> Any:
    """Return what was said in `language` (that of the page, when none is named); what cannot be translated is English.

    A `Said` is translated by its template. Other text is recognised by the templates of the catalogue: rows of the
    database and what nodes tell are text and nothing more. A fact that is a state or another word of `core.terms` is
    translated as that word. What is no text of ours is returned as it came, and so is markup. The result is text to be
    escaped like any other.
    """
    language = language or get_language() or SOURCE
    if not isinstance(text, str) or not text or isinstance(text, SafeData) or _is_source(language):
        return text
    return _again(text, trans_real.translation(language), 0)


def problem_in(problem: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return a problem document with `title`, `detail` and the details of its `errors` in that language."""
    told = {
        **problem,
        **{name: in_language(problem[name], language) for name in ("title", "detail") if name in problem},
    }
    if isinstance(told.get("errors"), list):
        told["errors"] = [
            {**each, "detail": in_language(each["detail"], language)}
            if isinstance(each, dict) and "detail" in each
            else each
            for each in told["errors"]
        ]
    return told


def accepted(request: HttpRequest) -> str:
    """Return the first language of `Accept-Language` that is one of ours (RFC 9110, 12.5.4); English without one.

    The cookie of the portal counts for its pages only.
    """
    for code, _weight in trans_real.parse_accept_lang_header(request.headers.get("Accept-Language", "").lower()[:500]):
        if code == "*":
            break
        try:
            return get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def _is_source(language: str) -> bool:
    return language.partition("-")[0] == SOURCE


def _again(text: str, catalogue: Any, depth: int) -> str:
    if isinstance(text, Said) and text.template:
        facts = {name: _fact(name, fact, catalogue, depth) for name, fact in text.facts.items()}
        return _filled(_gettext(catalogue, text.template), facts) or _filled(text.template, facts) or str(text)
    return _recognised(str(text), catalogue, depth)


def _fact(name: str, fact: str, catalogue: Any, depth: int) -> str:
    if isinstance(fact, Said):
        return _again(fact, catalogue, depth + 1)
    if (word := term(name, fact)) and (known := _gettext(catalogue, word)) != word:
        return known
    # Names and numbers stay what they are; a sentence may have come as text, from a log or from a node.
    return _recognised(fact, catalogue, depth + 1) if depth < 3 and fact.count(" ") > 1 else fact


@lru_cache(maxsize=2048)
def _recognised(text: str, catalogue: Any, depth: int) -> str:
    if len(text) > LONGEST or not text.strip():
        return text
    if (known := _gettext(catalogue, text)) != text:
        return known
    several = _BETWEEN.split(text, maxsplit=20)
    told = [_recognised(each, catalogue, 3) for each in several] if len(several) > 1 and depth < 3 else []
    # Several whole sentences are not one sentence with a long fact.
    if told and all(english != again for english, again in zip(several, told, strict=True)):
        return " ".join(told)
    if (read := _sentences(catalogue).read(text)) is not None:
        template, found = read
        facts = {name: _fact(name, fact, catalogue, depth) for name, fact in found.items()}
        return _filled(_gettext(catalogue, template), facts) or text
    return " ".join(told) or text


@lru_cache(maxsize=16)
def _sentences(catalogue: Any) -> Sentences:
    # gettext knows no public way to list what it holds; keys are texts, or (text, number) where there is a plural.
    keys = catalogue._catalog.keys()
    return Sentences(key for key in keys if isinstance(key, str) and "\4" not in key)


def _gettext(catalogue: Any, text: str) -> str:
    return str(catalogue.gettext(text)) or text


def _filled(template: str, facts: Mapping[str, str]) -> str:
    try:
        return filled(template, facts)
    except KeyError:
        # The translator names a fact that the sentence does not have.
        return ""
