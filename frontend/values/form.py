"""The values of a chart as a form or as YAML, for any page that asks for them.

A page makes one with `ValuesForm.of(...)`, shows it with `{% include "frontend/values/form.html" with values=... %}`
inside its own form, and takes `values.given` when `values.is_valid()`. Works without scripts: view and resets are
buttons of the same form; `values.only_looks` is true while one of them was pressed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as default_of
from typing import Any

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from appstore.packages.models import Package
from core.errors import BreakwaterError, Invalid
from core.vault import Vault
from frontend.forms import Problem
from frontend.operator.values_text import difference, parse
from frontend.templatetags.portal import as_yaml
from frontend.values import fields, typed, words
from frontend.values.fields import Field
from frontend.values.merging import UNSET, Path, at, merged, placed, plain, pointer, pruned, same, steps
from mecm.deployments import fitting, secrecy
from mecm.deployments import values as rules

#: Groups below this depth are folded at first when the chart has more fields than that.
_FOLDED_BELOW, _MANY = 1, 30
#: Differences that one page lists.
_MOST_SHOWN = 200


@dataclass(slots=True)
class Known:
    """What the form knows of a chart; `problem` says why there are no fields."""

    tree: fields.Tree
    own: dict[str, Any]
    schema: Mapping[str, Any]
    problem: str = ""

    unread: bool = False

    @property
    def says(self) -> Mapping[str, Any]:
        """What says which values are secret: the schema; everything is where the chart cannot be read."""
        return secrecy.UNREAD if self.unread else self.schema


def known_of(package: Package) -> Known:
    """Return the fields for a package, its chart's own values and its schema. No query; the chart is read."""
    try:
        chart = fitting.chart_of(package)
    except BreakwaterError as error:
        return Known(fields.Tree(derived=True), {}, {}, error.detail, unread=True)
    own = plain(chart.values)
    if own is UNSET:
        return Known(fields.tree(chart.schema, {}), {}, chart.schema, _("The chart's own values are too many to show."))
    return Known(fields.tree(chart.schema, own), own, chart.schema)


def told_apart(before: Any, now: Any, *known: Known) -> tuple[Any, Any]:
    """Return two states of values without secrets; one that changed is told as another one."""
    return secrecy.told_apart(before, now, [each.says for each in known], _("(secret, another one)"))


@dataclass(slots=True)
class Row:
    """One field as it is drawn."""

    field: Field
    id: str
    text: str = ""
    problems: list[str] = default_of(default_factory=list)
    changed: bool = False
    kept: bool = False
    many_lines: bool = False
    #: Something is wrong with it, or with what is in it.
    wrong: bool = False
    options: list[tuple[str, str]] = default_of(default_factory=list)
    rows: list[Row] = default_of(default_factory=list)
    open: bool = True
    own_shown: str = ""
    own_words: str = ""
    hint: str = ""
    back: str = ""

    @property
    def lines(self) -> int:
        """How many lines of it are shown at once."""
        return min(max(self.text.count("\n"), self.own_shown.count("\n")) + 2, 12)


class ValuesForm:
    """What is typed, what it means, and what is wrong with it."""

    def __init__(
        self, package: Package, data: QueryDict | None, *, user: Any, url: str, present: Mapping[str, Any] | None = None,
        drawn: Package | None = None,
    ) -> None:  # fmt: skip
        self.package, self.url, self.data = package, url, data
        self.known = known_of(package)
        self.present = dict(present or {})
        self.problems: dict[str, list[str]] = {}
        self.rest: list[str] = []
        self._texts: dict[str, str] = {}
        self._user = user
        self._checked = False
        self.given: dict[str, Any] = dict(self.present)
        self.text = ""
        self.view = "form" if self.known.tree.fields else "yaml"
        if data is not None:
            self._take(data, self.known if drawn is None or drawn.pk == package.pk else known_of(drawn))
        if not self.text:
            self.text = as_yaml(self.hide(self.given))

    @property
    def only_looks(self) -> bool:
        """Whether a button was pressed that only shows the form otherwise."""
        return self.data is not None and any(name in self.data for name in ("values-go", "values-reset", "values-draw"))

    @property
    def readable(self) -> bool:
        """Whether everything that is typed can be read; what the schema says of it is another question."""
        return not self.problems and not self.rest

    def is_valid(self) -> bool:
        """Hold the values against the chart's schema; each problem stands beside its field then."""
        if not self.rest and not self._checked:
            self._checked = True
            unread = [steps(where) for where in self.problems]
            try:
                for problem in fitting.problems(self.package, self.given, asker=str(self._user.pk)):
                    path = steps(problem.pointer)
                    # What cannot be read is no value yet, so nothing more is said of it.
                    if path not in unread:
                        self._place(path, problem.message)
            except BreakwaterError as error:
                self._blame(error)
        return self.readable

    def takes(self, error: BreakwaterError) -> bool:
        """Show what a service refused, if it is about the values; False leaves it to the page's own form."""
        if not str(error.context.get("field") or "").startswith("values"):
            return False
        self._blame(error)
        return True

    def hide(self, values: Any) -> Any:
        """Return the values without their secrets, to be shown."""
        return secrecy.hidden(values, self.known.says)

    @property
    def sealed(self) -> str:
        """What is given, sealed: the page carries it, secrets too, and nobody reads it on the way."""
        return Vault(settings.VAULT_KEY).seal(json.dumps(self.given).encode(), self._purpose).hex()

    def changes(self) -> list[tuple[str, Any, Any]]:
        """Return what differs from the chart's own values: (path, own, given), without secrets."""
        return self.since(self.known.own, merged(self.known.own, self.given))

    def since(self, before: Any, now: Any, *also: Known) -> list[tuple[str, Any, Any]]:
        """Return what differs between two states of values: (path, before, now), without what any schema calls secret."""
        return difference(*told_apart(before, now, self.known, *also))[:_MOST_SHOWN]

    @property
    def given_text(self) -> str:
        """What would be stored, as YAML without secrets."""
        return as_yaml(self.hide(self.given))

    @property
    def changed(self) -> list[str]:
        """The JSON pointers of the fields that are not as the chart has them."""
        stood = merged(self.known.own, self.given)
        return [each.pointer for each in self.known.tree.leaves() if not same(each.own, at(stood, each.path))]

    @property
    def told(self) -> list[str]:
        """Everything that is wrong, each with its place."""
        places = {each.pointer: each.label for each in _everything(self.known.tree.fields)}
        beside = [f"{places.get(where, where)}: {text}" for where, texts in self.problems.items() for text in texts]
        return [*self.rest, *beside]

    @property
    def summary(self) -> list[Problem]:
        """Everything that is wrong for the list above a form, with the id of the control to go to."""
        box = (_("Values"), "id_values") if self.view == "yaml" else ("", "")
        found = [Problem(text, *box) for text in self.rest]
        if self.problems and self.view == "form":
            # Numbered as `rows` numbers them.
            for number, each in enumerate(_in_order(self.known.tree.fields)):
                found += [Problem(text, each.label, f"v{number}") for text in self.problems.get(each.pointer, [])]
        return found

    @property
    def drawn(self) -> int:
        """How many fields there are."""
        return sum(1 for _each in self.known.tree.leaves())

    @property
    def is_long(self) -> bool:
        """Whether there are so many fields that one wants to search them."""
        return self.drawn > 7

    @property
    def only_in_yaml(self) -> int:
        """How many given values no field shows."""
        drawn = {each.path for each in self.known.tree.leaves()}
        return sum(1 for path in _leaves(self.given) if not any(path[:n] in drawn for n in range(1, len(path) + 1)))

    def rows(self) -> list[Row]:
        """Return the fields as they are drawn, with what is typed, what is wrong and what can be taken back."""
        stood = merged(self.known.own, self.given)
        numbers = iter(range(10**6))
        many = sum(1 for _each in self.known.tree.leaves()) > _MANY

        def draw(each: Field, depth: int) -> Row:
            row = Row(each, f"v{next(numbers)}", problems=self.problems.get(each.pointer, []))
            row.wrong = bool(row.problems)
            if each.kind == "group":
                row.rows = [draw(child, depth + 1) for child in each.children]
                row.wrong = row.wrong or any(inner.wrong for inner in row.rows)
                row.changed = any(inner.changed for inner in row.rows)
                row.open = not many or depth < _FOLDED_BELOW or row.wrong or row.changed
                return row
            value = at(stood, each.path)
            row.text = self._texts.get(each.pointer, typed.shown(each, value))
            row.changed = not same(each.own, value)
            row.kept = each.secret and at(self.given, each.path) is not UNSET
            row.own_shown = "" if each.secret else typed.shown(each, each.own)
            row.own_words = each.own if each.kind == "choice" and isinstance(each.own, str) else row.own_shown
            row.hint = "" if each.secret else typed.shown(each, each.hint)[:120]
            row.many_lines = each.kind == "text" and ("\n" in row.text or "\n" in row.own_shown)
            row.options = _options(each, row.text)
            row.back = json.dumps({"values-reset": each.pointer})
            return row

        return [draw(each, 0) for each in self.known.tree.fields]

    # ------------------------------------------------------------------------------------------------ what was sent

    def _take(self, data: QueryDict, drawn: Known) -> None:
        base = self._opened(data.get("values-base", ""))
        view = data.get("values-view", "yaml")
        self.view = view if view == "form" and self.known.tree.fields else "yaml"
        if view == "form":
            self.given, troubles = typed.read(drawn.tree, {key: str(data[key]) for key in data}, drawn.own, base)
            for where, told in troubles.items():
                self.problems.setdefault(where, []).append(told)
                self._texts[where] = str(data.get(f"v{where}", ""))
        else:
            self._read_text(data.get("values", ""), base)
        if self.readable:
            self._bound()
        reset = data.get("values-reset")
        if reset is not None:
            self._reset(steps(reset))
        go = data.get("values-go")
        if go in ("form", "yaml") and self.readable:
            self.view = go if self.known.tree.fields else "yaml"
            self.text = ""
        elif go == "yaml":
            self.rest.append(_("Mend what is marked first; then it can be shown as YAML."))

    def _read_text(self, text: str, base: dict[str, Any]) -> None:
        self.text = typed.lines_of(text)
        try:
            found = _revealed(parse(self.text), base)
        except Invalid as error:
            self.rest.append(error.detail)
            self.given = base
            return
        self.given = pruned(found, self.known.own, self.present)

    def _bound(self) -> None:
        try:
            rules.check(self.given)
        except Invalid as error:
            self._blame(error)

    def _blame(self, error: BreakwaterError) -> None:
        for told in error.context.get("errors") or [{"field": error.context.get("field")}]:
            where = str(told.get("field") or "").removeprefix("values").strip(".")
            self._place(tuple(where.split(".")) if where else (), error.detail)

    def _reset(self, path: Path) -> None:
        self.given = _without(self.given, path)
        self.problems.pop(pointer(path), None)
        self._texts.pop(pointer(path), None)

    def _place(self, path: Path, message: str) -> None:
        """Put a problem beside the field that it is about: the one that is missing, the nearest above, or above all."""
        places = {each.path: each for each in _everything(self.known.tree.fields)}
        wanted = [(*path, name) for name in words.missing(message)]
        named = [each for each in wanted if each in places]
        if named:
            for each in named:
                self._tell(each, _("It must be given."))
            if len(named) == len(wanted):
                return
        secret = any(path[: len(each)] == each for each in secrecy.secret_paths(self.given, self.known.says))
        # What the validator says may quote the value.
        message = _("The schema does not allow this value.") if secret else words.in_words(message)
        if self.view == "form":
            for length in range(len(path), 0, -1):
                if path[:length] in places:
                    below = ".".join(path[length:])
                    self._tell(path[:length], f"{below}: {message}" if below else message)
                    return
        where = ".".join(path)
        self.rest.append(f"{where}: {message}" if where else message)

    def _tell(self, path: Path, message: str) -> None:
        if self.view != "form":
            self.rest.append(f"{'.'.join(path)}: {message}")
            return
        told = self.problems.setdefault(pointer(path), [])
        if message not in told:
            told.append(message)

    @property
    def _purpose(self) -> str:
        return f"values:{self._user.pk}:{self.url}"

    def _opened(self, sealed: str) -> dict[str, Any]:
        """Return what the page carried; what is wished now when it carried nothing that can be opened."""
        try:
            found = json.loads(Vault(settings.VAULT_KEY).open(bytes.fromhex(sealed), self._purpose))
        except (Invalid, ValueError):
            return dict(self.present)
        return found if isinstance(found, dict) else {}


def asked(
    request: HttpRequest, package: Package, *, url: str, present: Mapping[str, Any] | None = None,
    drawn: Package | None = None,
) -> ValuesForm:  # fmt: skip
    """Return the form for a request: bound to what a POST sent, else with the `present` values.

    `url` is where the page asks for the form anew while somebody types; `drawn` is the package that the form was drawn
    for, when the page lets choose another.
    """
    data = request.POST if request.method == "POST" else None
    return ValuesForm(package, data, user=request.user, url=url, present=present, drawn=drawn)


def _in_order(level: list[Field]) -> Iterator[Field]:
    for each in level:
        yield each
        yield from _in_order(each.children)


def _everything(level: list[Field]) -> Iterator[Field]:
    waiting = list(level)
    while waiting:
        each = waiting.pop()
        yield each
        waiting += each.children


def _leaves(values: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(values, Mapping) and values:
        for key, inner in values.items():
            yield from _leaves(inner, (*path, str(key)))
    elif path:
        yield path


def _without(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    return placed(values, path, UNSET) if path and at(values, path) is not UNSET else dict(values)


def _revealed(values: Any, base: Any) -> Any:
    """Return the values with secrets that are shown as the mark as they were."""
    try:
        return secrecy.kept(values, base)
    except secrecy.NothingToKeep:
        told = _("There is no secret to keep; write it in the place of “%(mark)s”.") % {"mark": secrecy.HIDDEN}
        raise Invalid(told) from None


def _options(field: Field, text: str) -> list[tuple[str, str]]:
    """Return what can be chosen as (text in the form, words)."""
    if field.kind == "boolean":
        found = [("true", _("true")), ("false", _("false"))]
    elif field.kind == "choice":
        found = [(json.dumps(each, ensure_ascii=False), each if isinstance(each, str) else json.dumps(each))
                 for each in field.choices]  # fmt: skip
    else:
        return []
    if field.own is UNSET or not text:
        found.insert(0, ("", _("not set")))
    if text and text not in {value for value, _words in found}:
        found.append((text, text))
    return found
