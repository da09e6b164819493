"""Sentences that are written down once, in English, and read later by people of other languages."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

#: Beyond this a value is cut, as the sentence itself is.
LONGEST = 500


class Sentence(str):
    """An English sentence that knows what it was made of: a text that catalogues have, and values."""

    __slots__ = ("given", "msgid")
    msgid: str
    given: dict[str, str]

    def parts(self) -> list[Any]:
        """Return what is kept beside the sentence, for JSON."""
        return [self.msgid, self.given]


def say(msgid: str, **given: Any) -> Sentence:
    """Make a sentence of a text that is marked by `gettext_noop`, with values as `%(name)s` in it."""
    kept = {name: str(value)[:LONGEST] for name, value in given.items()}
    made = Sentence(msgid % kept)
    made.msgid, made.given = msgid, kept
    return made


def said(parts: Any, otherwise: str) -> str:
    """Return a kept sentence in the reader's language; `otherwise` when nothing, or nothing fitting, was kept."""
    try:
        msgid, given = parts
        return gettext(msgid) % given
    except (TypeError, ValueError, KeyError):
        return otherwise
