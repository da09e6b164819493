"""What stands in the fields of a form and what it means: one value each, read and written. Pure.

Written and read again a value is the same. What a person did not touch is left exactly as it is, so values that no
field can show (1.0 in a field for whole numbers, text where a number belongs) survive the form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from core.errors import Invalid
from frontend.forms import LINES
from frontend.operator.values_text import parse_any
from frontend.values.fields import Field, Tree
from frontend.values.merging import UNSET, at, merged, overriding, placed, same

_WHOLE = re.compile(r"[-+]?[0-9]{1,20}\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?\Z")
#: One text in a form is at most this long.
LONGEST = 64 * 1024


def shown(field: Field, value: Any) -> str:
    """Return what stands in the field for a value (`UNSET`: nothing is set); never a secret."""
    if field.secret or value is UNSET or value is None:
        return ""
    if field.kind == "yaml":
        return as_yaml(value)
    if field.kind == "list" and isinstance(value, list):
        if not value:
            return "" if isinstance(field.own, list) else "[]"
        return "\n".join(_line(field, each) for each in value)
    if field.kind in ("text", "list") and isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    """Return a value as YAML in its order; a single one without the end mark."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text.removesuffix("...\n").rstrip("\n")


def meant(field: Field, text: str) -> Any:
    """Return the value that the text in the field stands for; `UNSET` for none of one's own, `Invalid` for nonsense."""
    if len(text) > LONGEST:
        raise Invalid(_("This is longer than %(most)s KiB.") % {"most": LONGEST // 1024})
    if "\x00" in text:
        raise Invalid(_("This holds a character that cannot be stored (NUL)."))
    if field.kind != "yaml":
        # YAML has escapes for them, and says itself what it does not take.
        try:
            LINES(text)
        except ValidationError as error:
            raise Invalid(str(error.message)) from None
    if not text or (field.kind not in ("text", "list") and not text.strip()):
        return _nothing(field)
    if field.kind == "yaml":
        return parse_any(text)
    if field.kind == "list":
        return _list(field, text)
    if field.kind == "choice":
        return _choice(field, text)
    return _scalar(field.kind, text)


def read(
    tree: Tree, data: Mapping[str, str], own: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return `given` with what is typed in the fields laid into it, and by JSON pointer what cannot be read.

    `own` are the chart's values, `given` those that stood above them when the fields were drawn. What is the chart's
    own already is not given once more; a field that is not in `data` says nothing.
    """
    found, problems = dict(given), {}
    stood = merged(own, given)
    for field in tree.leaves():
        text = data.get(field.name)
        if text is None:
            continue
        text = lines_of(text)
        if text == lines_of(shown(field, at(stood, field.path))):
            continue
        try:
            value = meant(field, text)
        except Invalid as error:
            problems[field.pointer] = error.detail
            continue
        change = value if value is UNSET or field.own is UNSET else overriding(field.own, value)
        found = placed(found, field.path, change)
    return found, problems


def write(tree: Tree, own: Any, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what stands in each field, by its name."""
    stood = merged(own, given)
    return {field.name: shown(field, at(stood, field.path)) for field in tree.leaves()}


def lines_of(text: str) -> str:
    """Return the text with the ends of lines that browsers change made the same."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _nothing(field: Field) -> Any:
    """Return what an empty field means: an empty text or list where the chart has a fuller one, else nothing at all."""
    if field.kind == "text" and isinstance(field.own, str) and field.own:
        return ""
    if field.kind == "list" and isinstance(field.own, list) and field.own:
        return []
    return UNSET


def _scalar(kind: str, text: str) -> Any:
    if kind == "text":
        return text
    text = text.strip()
    if kind == "boolean":
        if text not in ("true", "false"):
            raise Invalid(_("Choose true or false."))
        return text == "true"
    if _WHOLE.match(text):
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise Invalid(_("This number needs more than 64 bits."))
        return number
    if kind == "integer":
        raise Invalid(_("This must be a whole number."))
    if not _NUMBER.match(text):
        raise Invalid(_("This must be a number, such as 1.5."))
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Invalid(_("This number is too large."))
    return value


def _choice(field: Field, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = UNSET
    for each in field.choices:
        if same(each, value):
            return each
    raise Invalid(_("Choose one of the list."))


def _list(field: Field, text: str) -> list[Any]:
    if text.strip() == "[]":
        return []
    found: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if not line:
            continue
        try:
            found.append(_quoted(line) if field.item == "text" and line.startswith('"') else _scalar(field.item, line))
        except Invalid as error:
            raise Invalid(_("Line %(number)s: %(problem)s") % {"number": number, "problem": error.detail}) from None
    return found


def _quoted(line: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise Invalid(_("a line that begins with a double quote must be one text in double quotes."))
    return value


def _line(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    plain = value and value == value.strip() and not value.startswith('"') and not set("\r\n") & set(value)
    return value if plain and value != "[]" and field.item == "text" else json.dumps(value, ensure_ascii=False)
