#!/usr/bin/env python3
"""The texts of the portal and their translations, without GNU gettext.

    tools/messages.py            take new texts into every catalogue of locale/, and compile them
    tools/messages.py --check    change nothing; end with 1 when a text is missing or fuzzy in any language, or stands in
                                 a template outside of every tag of translation
    tools/messages.py --add de   begin a catalogue: a language is found from its file, nothing else is needed

Texts are those in `{% translate %}` and `{% blocktranslate %}` of templates, in `gettext` and its kin in Python, and the
sentences of services (`say`, whose places are `{name}`). The check also finds a `say` that cannot be translated and an
error that is raised without it.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.words import places  # noqa: E402
from tools import said  # noqa: E402
from tools.bare_texts import in_folder  # noqa: E402

LOCALE = ROOT / "locale"
ROOMS = ("frontend", "core", "appstore", "mecm", "developer", "mep/console")
#: Pages, whose every text stands in a tag of translation.
PAGES = ("frontend/templates/frontend", "mep/console/templates/console")
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), None),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ((1, "c"), 2, 3)),
}
HEADER = "# Texts of the Breakwater portal, written by tools/messages.py and by translators."
#: Names of persons belong to the history, and moments would change the file each day.
_PASSING = re.compile(
    rb'^"(?:POT-Creation-Date|PO-Revision-Date|Report-Msgid-Bugs-To|Last-Translator|Language-Team|Generated-By):.*\n',
    re.MULTILINE,
)
_VARIABLE = re.compile(r"%\((\w+)\)[sd]")


def texts() -> Catalog:
    """Return a catalogue of every text in the code, in the order of the files."""
    catalogue = Catalog(project="Breakwater")
    for path in sorted(path for room in ROOMS for kind in ("*.py", "*.html") for path in (ROOT / room).rglob(kind)):
        for message, comments, context in _of(path):
            # Files are named without lines, so that a catalogue changes only when a text does.
            catalogue.add(
                message, locations=[(str(path.relative_to(ROOT)), 0)], auto_comments=comments, context=context
            )
    for template, place in said.read()[0]:
        catalogue.add(template, locations=[(place, 0)])
    return catalogue


def _of(path: Path) -> Iterator[tuple[object, list[str], str | None]]:
    source = path.read_text("utf-8")
    if path.suffix == ".html":
        if "translate" not in source and "_(" not in source:
            return
        source = _as_python(source)
    elif "gettext" not in source:
        return
    found = extract("python", io.BytesIO(source.encode()), keywords=KEYWORDS, comment_tags=("Translators:",))  # type: ignore[arg-type]
    for _, message, comments, context in found:
        if message and (message if isinstance(message, str) else message[0]):
            yield message, list(comments), context


def _as_python(template: str) -> str:
    """Return a template as text that reads like Python: its tags of translation as calls, all else crossed out."""
    from django.utils.translation.template import templatize

    # What stands before a call is no indentation.
    return re.sub(r"^[ \t]+", "", templatize(template), flags=re.MULTILINE)


def catalogues() -> dict[str, Path]:
    """Return the file of each language."""
    return {path.parents[1].name: path for path in sorted(LOCALE.glob("*/LC_MESSAGES/django.po"))}


def read(path: Path) -> Catalog:
    """Return a catalogue as it is on disk."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parents[1].name)


def merged(old: Catalog, fresh: Catalog) -> Catalog:
    """Return the catalogue with the texts of the code: what is new is empty, what is gone is left out."""
    old.update(fresh, no_fuzzy_matching=True, update_header_comment=False)
    old.obsolete.clear()
    return old


def written(catalogue: Catalog) -> bytes:
    """Return a catalogue as a .po file, the same for the same texts."""
    out = io.BytesIO()
    catalogue.header_comment = HEADER
    write_po(out, catalogue, width=110, sort_by_file=True, omit_header=False, include_lineno=False)
    return _PASSING.sub(b"", out.getvalue())


def compiled(catalogue: Catalog) -> bytes:
    """Return the .mo file; texts that are missing or fuzzy are left out, and so stay English."""
    out = io.BytesIO()
    write_mo(out, catalogue)
    return re.sub(rb"(?:POT-Creation|PO-Revision)-Date:[^\n\0]*", lambda m: b" " * len(m.group()), out.getvalue())


def problems(language: str, path: Path, fresh: Catalog) -> Iterator[str]:
    """Say what is wrong with a catalogue."""
    present = read(path)
    for message in fresh:
        if not message.id:
            continue
        known = present.get(message.id, context=message.context)
        text = message.id if isinstance(message.id, str) else message.id[0]
        where = f"{language}: {text!r} ({message.locations[0][0] if message.locations else '?'})"
        told = () if known is None else (known.string,) if isinstance(known.string, str) else known.string
        if known is None or not told or not all(told):
            yield f"{where} is missing"
        elif known.fuzzy:
            yield f"{where} is fuzzy"
        else:
            asked = set(_VARIABLE.findall(" ".join([message.id] if isinstance(message.id, str) else message.id)))
            named = set(places(text)) if isinstance(message.id, str) else set()
            if any(set(_VARIABLE.findall(each)) - asked for each in told) or (
                named and any(set(places(each)) - named for each in told)
            ):
                yield f"{where} has a variable that the text does not have"
    target = path.with_suffix(".mo")
    if not target.exists() or target.read_bytes() != compiled(present):
        yield f"{language}: {target.relative_to(ROOT)} is not what its catalogue compiles to"


def main() -> int:
    """Update and compile, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, say what is missing")
    parser.add_argument("--add", metavar="LANGUAGE", help="begin a catalogue, such as de or pt_BR")
    options = parser.parse_args()
    if options.add:
        begun = LOCALE / options.add / "LC_MESSAGES" / "django.po"
        begun.parent.mkdir(parents=True, exist_ok=True)
        if not begun.exists():
            begun.write_bytes(written(Catalog(locale=options.add, project="Breakwater", fuzzy=False)))
    fresh = texts()
    wrong: list[str] = []
    for language, path in catalogues().items():
        if not options.check:
            path.write_bytes(written(merged(read(path), fresh)))
            path.with_suffix(".mo").write_bytes(compiled(read(path)))
        wrong += problems(language, path, fresh)
    bare = [line for pages in PAGES for line in in_folder(ROOT / pages)] if options.check else []
    unsaid = list(said.read()[1]) if options.check else []
    for line in unsaid[:40]:
        print(line, file=sys.stderr)
    for line in bare[:40]:
        print(f"{line} is in no tag of translation", file=sys.stderr)
    for line in wrong[:40]:
        print(line, file=sys.stderr)
    if wrong:
        print(
            f"{len(wrong)} of {len(fresh)} texts need somebody; run tools/messages.py, then fill in locale/",
            file=sys.stderr,
        )
    else:
        print(f"{len(fresh)} texts in {', '.join(catalogues()) or 'no further language'}")
    return 1 if (wrong or bare or unsaid) and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
