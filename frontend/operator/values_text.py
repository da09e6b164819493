"""Values as people type them: YAML, of which JSON is a part. Pure functions."""

from __future__ import annotations

import json
from typing import Any

import yaml
from django.utils.translation import gettext as _

from core import yamls
from core.errors import Invalid

LONGEST, DEEPEST = 128 * 1024, 32


def parse(text: str) -> dict[str, Any]:
    """Return the mapping that the text writes; nothing is an empty one. `Invalid` names line and column of a mistake."""
    found = parse_any(text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Invalid(
            _("The values must be pairs such as “replicas: 2”, not a list or a single value."), field="values"
        )
    return found


def parse_any(text: str) -> Any:
    """Return whatever the text writes, also a list or a single value; nothing is None. `Invalid` as in `parse`."""
    if len(text) > LONGEST:
        raise Invalid(_("The values are longer than %d KiB.") % (LONGEST // 1024), field="values")
    found = _json(text)
    if found is not None:
        return found
    try:
        yamls.skim(text, "The text", deepest=DEEPEST, aliases=False, field="values")
        found = yaml.load(text, Loader=yamls.Loader)  # noqa: S506  (one of the two safe ones)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = (
            _("Line %(line)d, column %(column)d: ") % {"line": mark.line + 1, "column": mark.column + 1} if mark else ""
        )
        raise Invalid(f"{place}{problem.problem or _('this is no YAML')}.", field="values") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Invalid(_("This is neither YAML nor JSON."), field="values") from None
    _plain(found)
    return found


def _json(text: str) -> dict[str, Any] | None:
    """Return the object that the text is in JSON; YAML's reader takes JSON too, but not its escaped surrogate pairs."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def difference(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Return what differs as (path, before, after), in order of the paths; None stands for "not there".

    What came or went as a whole mapping is told value by value.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        changes: list[tuple[str, Any, Any]] = []
        for key in sorted({*before, *after}, key=str):
            changes += difference(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        return changes
    if before is None and isinstance(after, dict) and after:
        return difference({}, after, path)
    if after is None and isinstance(before, dict) and before:
        return difference(before, {}, path)
    return [] if before == after and type(before) is type(after) else [(path, before, after)]


def _plain(found: Any) -> None:
    """Refuse what YAML can write and JSON cannot: keys that are no text, dates, sets, binary."""
    waiting: list[tuple[str, Any]] = [("", found)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise Invalid(
                        _("The key %(key)s under %(path)s must be text; put it in quotes.")
                        % {"key": repr(key), "path": path or _("the top")},
                        field="values",
                    )
                waiting.append((f"{path}.{key}".strip("."), inner))
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
        elif not isinstance(value, str | int | float | bool | None):
            raise Invalid(
                _("%(path)s is read as a %(type)s; put it in quotes.")
                % {"path": path or _("It"), "type": type(value).__name__},
                field="values",
            )
