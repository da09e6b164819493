"""The languages of the portal: found from the folder of catalogues, so that adding one is adding a file."""

from __future__ import annotations

from pathlib import Path

from django.conf.locale import LANG_INFO
from django.utils.translation import to_language

#: The language in which the texts are written.
SOURCE = "en"


def found(folder: Path) -> list[tuple[str, str]]:
    """Return `(code, own name)` of English and of each language with a catalogue in `folder`, by code."""
    codes = sorted(to_language(path.parents[1].name).lower() for path in folder.glob("*/LC_MESSAGES/django.po"))
    return [(code, str(LANG_INFO.get(code, {}).get("name_local", code))) for code in (SOURCE, *codes)]
