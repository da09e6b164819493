"""What Helm's validator says, in the words of our pages. Pure; a sentence that is not known stays as it is."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.utils.translation import gettext as _

_TYPES = {
    "string": lambda: _("a text"), "integer": lambda: _("a whole number"), "number": lambda: _("a number"),
    "boolean": lambda: _("true or false"), "array": lambda: _("a list"), "object": lambda: _("a mapping"),
    "null": lambda: _("nothing"),
}  # fmt: skip
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


def missing(message: str) -> list[str]:
    """Return the names that the validator says are missing."""
    if not message.startswith(("missing property ", "missing properties ")):
        return []
    return [re.sub(r"\\(.)", r"\1", name) for name in _QUOTED.findall(message)]


def in_words(message: str) -> str:
    """Return what the validator said as a sentence for people."""
    for pattern, say in _SENTENCES:
        found = pattern.fullmatch(message)
        if found:
            return say(found)
    return message


def _said(text: Callable[[], str]) -> Callable[[re.Match[str]], str]:
    return lambda found: text() % found.groupdict()


def _type(found: re.Match[str]) -> str:
    wanted = [_TYPES[each]() if each in _TYPES else each for each in re.split(r" or |, ", found["want"])]
    return _("This must be %(what)s.") % {"what": _(" or ").join(wanted)}


_SENTENCES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"got (?P<got>\w+), want (?P<want>[\w, ]+)"), _type),
    (re.compile(r"minimum: got \S+, want (?P<want>\S+)"), _said(lambda: _("This must be at least %(want)s."))),
    (re.compile(r"maximum: got \S+, want (?P<want>\S+)"), _said(lambda: _("This must be at most %(want)s."))),
    (re.compile(r"exclusiveMinimum: got \S+, want (?P<want>\S+)"), _said(lambda: _("This must be more than %(want)s."))),
    (re.compile(r"exclusiveMaximum: got \S+, want (?P<want>\S+)"), _said(lambda: _("This must be less than %(want)s."))),
    (re.compile(r"multipleOf: got \S+, want (?P<want>\S+)"), _said(lambda: _("This must be a multiple of %(want)s."))),
    (re.compile(r"minLength: got (?P<got>\d+), want (?P<want>\d+)"),
     _said(lambda: _("This needs at least %(want)s characters; it has %(got)s."))),
    (re.compile(r"maxLength: got (?P<got>\d+), want (?P<want>\d+)"),
     _said(lambda: _("This may have at most %(want)s characters; it has %(got)s."))),
    (re.compile(r"minItems: got (?P<got>\d+), want (?P<want>\d+)"),
     _said(lambda: _("This needs at least %(want)s entries; it has %(got)s."))),
    (re.compile(r"maxItems: got (?P<got>\d+), want (?P<want>\d+)"),
     _said(lambda: _("This may have at most %(want)s entries; it has %(got)s."))),
    (re.compile(r"items at (?P<one>\d+) and (?P<other>\d+) are equal"),
     _said(lambda: _("No two entries may be the same."))),
    (re.compile(r"value must be one of (?P<list>.+)"), _said(lambda: _("This must be one of %(list)s."))),
    (re.compile(r"value must be (?P<only>.+)"), _said(lambda: _("This must be %(only)s."))),
    (re.compile(r"'.*' does not match pattern '(?P<pattern>.*)'"),
     _said(lambda: _("This does not match the pattern %(pattern)s."))),
    (re.compile(r"missing propert(?:y|ies) (?P<names>.+)"), _said(lambda: _("%(names)s must be given."))),
    (re.compile(r"additional properties (?P<names>.+) not allowed"),
     _said(lambda: _("The schema knows no %(names)s here."))),
    (re.compile(r"'(?:oneOf|anyOf)' failed.*"), _said(lambda: _("This is none of what the schema allows here."))),
]  # fmt: skip
