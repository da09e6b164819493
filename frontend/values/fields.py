"""The form of a chart's values: a tree of fields from its JSON schema and its own values. Pure and bounded.

What can be drawn: texts, whole and other numbers, yes and no, choices, lists of these, and groups of all that. What
cannot (alternatives, free maps, lists of mappings, what refers to itself) becomes one box for YAML, with the reason.
Keywords are those of JSON Schema 2020-12 and of draft 7; the validator, not the form, has the last word on values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from frontend.values.merging import UNSET, Path, pointer
from mecm.deployments.secrecy import is_secret, named_secret, resolved

#: So many fields are drawn, so deep; the rest is for the YAML view. A form of Django takes 1000 fields.
MOST, DEEPEST, MOST_CHOICES = 600, 10, 200
#: Groups count as well: a schema of a few lines may unfold to any number of empty ones.
_MOST_PARTS = 5000
_SCALARS = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
           "minItems", "maxItems", "uniqueItems", "pattern", "format")  # fmt: skip
_LIMIT_WORDS = {
    "minimum": _("at least %s"), "exclusiveMinimum": _("more than %s"), "maximum": _("at most %s"),
    "exclusiveMaximum": _("less than %s"), "multipleOf": _("a multiple of %s"), "minLength": _("from %s characters"),
    "maxLength": _("up to %s characters"), "minItems": _("from %s lines"), "maxItems": _("up to %s lines"),
    "pattern": _("like %s"), "format": _("format %s"),
}  # fmt: skip
WHY = {
    "alternatives": _("The schema offers alternatives here, so it is written in YAML."),
    "map": _("The names are free here, so it is written in YAML."),
    "objects": _("Its entries are more than single values, so it is written in YAML."),
    "types": _("More than one type is allowed here, so it is written in YAML."),
    "untyped": _("The schema does not say what this is, so it is written in YAML."),
    "loop": _("The schema refers to itself here, so it is written in YAML."),
    "deep": _("It is nested too deep for fields, so it is written in YAML."),
    "choices": _("There are too many choices to list, so it is written in YAML."),
}


@dataclass(slots=True)
class Field:
    """One value, or a group of them. `kind` is text, integer, number, boolean, choice, list, yaml or group."""

    path: Path
    kind: str
    title: str
    description: str = ""
    own: Any = UNSET
    #: What the schema calls the default where the chart sets nothing; a hint only, because Helm does not apply it.
    hint: Any = UNSET
    required: bool = False
    secret: bool = False
    derived: bool = False
    choices: list[Any] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)
    item: str = ""
    why: str = ""
    children: list[Field] = field(default_factory=list)

    @property
    def pointer(self) -> str:
        """Where it stands, as a JSON pointer."""
        return pointer(self.path)

    @property
    def name(self) -> str:
        """Its name in a form."""
        return f"v{self.pointer}"

    @property
    def label(self) -> str:
        """Where it stands, with dots, as people write it."""
        return ".".join(self.path)

    @property
    def told(self) -> str:
        """Its limits in words."""
        told = {key: value for key, value in self.limits.items() if (key, value) != ("format", "password")}
        words = [str(word) % str(told[key])[:80] for key, word in _LIMIT_WORDS.items() if key in told]
        if self.kind == "list" and self.choices:
            words.append(str(_("each one of %s")) % ", ".join(map(str, self.choices[:20])))
        return capfirst("; ".join(words))


@dataclass(slots=True)
class Tree:
    """All fields of a chart; `left_out` were too many to draw."""

    fields: list[Field] = field(default_factory=list)
    left_out: int = 0
    #: There is no schema: what is drawn was read off the chart's own values.
    derived: bool = False

    def leaves(self) -> Iterator[Field]:
        """Every field that holds a value, in the order of the page."""
        waiting = list(reversed(self.fields))
        while waiting:
            each = waiting.pop()
            if each.kind == "group":
                waiting += reversed(each.children)
            else:
                yield each


def tree(schema: Any, own: Any) -> Tree:
    """Return the fields for a schema (an empty one: none) and the chart's own values (as `merging.plain` gives them)."""
    given = schema if isinstance(schema, Mapping) and schema else {}
    made = Tree(derived=not given)
    top, way = resolved(given, given)
    top = top if isinstance(top, Mapping) else {}
    _Grower(given, made).grow(made.fields, top, own if isinstance(own, Mapping) else {}, (), way, derived=not given)
    return made


class _Grower:
    def __init__(self, root: Mapping[str, Any], made: Tree) -> None:
        self.root, self.made, self.drawn, self.seen = root, made, 0, 0

    def grow(
        self, into: list[Field], part: Mapping[str, Any], own: Mapping[str, Any], path: Path, way: tuple[str, ...], *,
        derived: bool, secret: bool = False,
    ) -> None:  # fmt: skip
        """Add the fields of a mapping: what the schema names first, then what only the chart's own values hold."""
        properties = part.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        needed = part.get("required")
        required = {each for each in needed if isinstance(each, str)} if isinstance(needed, list) else set()
        for key, raw in properties.items():
            self._add(into, raw, own.get(key, UNSET), (*path, str(key)), way, key in required, False, secret)
        if derived or part.get("additionalProperties", True) is not False:
            for key, value in own.items():
                # The platform's own values and what charts share are no business of this form.
                if key not in properties and (path or key != "global"):
                    self._add(into, None, value, (*path, str(key)), way, key in required, True, secret)

    def _add(
        self, into: list[Field], raw: Any, own: Any, path: Path, way: tuple[str, ...], required: bool, derived: bool,
        secret: bool,
    ) -> None:  # fmt: skip
        self.seen += 1
        if self.drawn >= MOST or self.seen > _MOST_PARTS:
            self.made.left_out += 1
            return
        part, taken = (_described_by(own), ()) if derived else resolved(raw, self.root)
        if part is False:
            return
        part = part if isinstance(part, Mapping) else {}
        likely = own if own is not UNSET else "" if part.get("type") == "string" else UNSET
        secret = secret or is_secret(part) or named_secret(path[-1], likely, part)
        made = Field(
            path, "yaml", _line(part.get("title")) or path[-1], _line(part.get("description"), 600), own,
            UNSET if "default" not in part or own is not UNSET else part["default"], required, secret, derived,
        )  # fmt: skip
        made.limits = {key: part[key] for key in _LIMITS if isinstance(part.get(key), str | int | float)}
        loop = bool(set(taken) & set(way))
        made.kind, reason = ("yaml", "loop") if loop else self._kind(part, made)
        if made.kind == "group" and len(path) >= DEEPEST:
            made.kind, reason = "yaml", "deep"
        made.why = str(WHY[reason]) if reason else ""
        if made.kind != "group":
            self.drawn += 1
            into.append(made)
            return
        mapping = own if isinstance(own, Mapping) else {}
        self.grow(made.children, part, mapping, path, (*way, *taken), derived=derived, secret=secret)
        if made.children:
            into.append(made)

    def _kind(self, part: Mapping[str, Any], made: Field) -> tuple[str, str]:
        """Return the kind of a field, and the key of `WHY` for what is written in YAML."""
        if isinstance(part.get("enum"), list) or "const" in part:
            made.choices = part["enum"] if isinstance(part.get("enum"), list) else [part["const"]]
            if len(made.choices) > MOST_CHOICES:
                return "yaml", "choices"
            if any(isinstance(each, Mapping | list) for each in made.choices):
                return "yaml", "alternatives"
            return "choice", ""
        kind = part.get("type")
        if isinstance(kind, list):
            kinds = [each for each in kind if each != "null"]
            if len(kinds) != 1:
                return "yaml", "types"
            kind = kinds[0]
        if kind is None and isinstance(part.get("properties"), Mapping):
            kind = "object"
        if kind is None:
            if any(word in part for word in ("oneOf", "anyOf", "allOf", "if")):
                return "yaml", "alternatives"
            kind = _type_of(made.own if made.own is not UNSET else made.hint)
            if kind in (None, "object", "array"):
                return "yaml", "untyped"
        if kind in _SCALARS:
            return _SCALARS[kind], ""
        if kind == "array":
            return self._list(part, made)
        if kind != "object":
            return "yaml", "untyped"
        inner = part.get("properties")
        if not (isinstance(inner, Mapping) and inner) and not (
            made.derived and isinstance(made.own, Mapping) and made.own
        ):
            return "yaml", "alternatives" if any(word in part for word in ("oneOf", "anyOf")) else "map"
        return "group", ""

    def _list(self, part: Mapping[str, Any], made: Field) -> tuple[str, str]:
        item, _way = resolved(part.get("items"), self.root)
        item = item if isinstance(item, Mapping) else {}
        made.secret = made.secret or is_secret(item)
        kind, choices = item.get("type"), item.get("enum")
        if isinstance(choices, list) and choices and all(isinstance(each, str) for each in choices):
            made.choices, kind = choices[:MOST_CHOICES], "string"
        if kind not in _SCALARS or "prefixItems" in part:
            return "yaml", "objects" if kind in ("object", "array") else "types" if isinstance(
                kind, list
            ) else "untyped"
        made.item = _SCALARS[kind]
        return "list", ""


def _described_by(own: Any) -> Mapping[str, Any]:
    """Return a schema for a value that no schema describes, read off the value."""
    kind = _type_of(own)
    if kind != "array":
        return {} if kind is None else {"type": kind}
    kinds = {_type_of(each) for each in own}
    return {"type": "array", "items": {"type": kinds.pop()} if len(kinds) == 1 else {}}


def _type_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (Mapping, "object"), (list, "array")):
        if isinstance(value, kind):  # type: ignore[arg-type]
            return name
    return None


def _line(text: Any, most: int = 120) -> str:
    return " ".join(text.split())[:most] if isinstance(text, str) else ""
