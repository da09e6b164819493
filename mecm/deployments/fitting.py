"""What a chart knows about its values, and what its schema says about given ones: quick enough for somebody who types."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from core.errors import Conflict, Invalid
from core.words import say
from engines.helm import helm
from engines.helm.schemas import Problem
from engines.peek import Peek, peek
from mecm.deployments import requirements
from mecm.deployments import values as given

if TYPE_CHECKING:
    from appstore.packages.models import Package

#: A schema that was too much for its validator is not asked again for so many seconds.
REST = 60.0
_KEEP_CHARTS, _KEEP_ANSWERS = 64, 512
#: Charts whose values and schema are larger are read anew each time, so that memory stays bounded.
_LARGEST_KEPT = 256 * 1024

Value = TypeVar("Value")


class _Recent(Generic[Value]):
    """The last answers of this process, by key."""

    def __init__(self, most: int) -> None:
        self._known: OrderedDict[Any, Value] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def get(self, key: Any) -> Value | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: Any, value: Value) -> None:
        with self._lock:
            self._known[key] = value
            while len(self._known) > self._most:
                self._known.popitem(last=False)


_charts: _Recent[Peek] = _Recent(_KEEP_CHARTS)
_answers: _Recent[tuple[Problem, ...]] = _Recent(_KEEP_ANSWERS)
_weary: _Recent[tuple[float, str]] = _Recent(_KEEP_CHARTS)


def chart_of(package: Package) -> Peek:
    """Return the chart's own values and its schema (empty when it has none).

    `Conflict` when the package has no chart, or not any more; `Invalid` when its values or schema cannot be read.
    """
    known = _charts.get(package.chart_sha256)
    if known is None:
        known = peek(_path(package))
        if _is_small(known):
            _charts.put(package.chart_sha256, known)
    return known


def problems(
    package: Package, values: Mapping[str, Any], *, asker: str = "", clock: Callable[[], float] = time.monotonic
) -> list[Problem]:
    """Return what stands against these values, by JSON pointer; empty when the chart takes them.

    It is Helm itself that holds them against the schema, as it does when they are deployed, in the guarded process that
    renders charts. `Invalid` when that takes too long; then the same `asker` waits a minute before that chart is asked
    again, and nobody else does.
    """
    checked = given.check(values)
    key = (package.chart_sha256, requirements.digest(checked))
    known = _answers.get(key)
    if known is None:
        whose = (package.chart_sha256, asker)
        tired = _weary.get(whose)
        if tired is not None and clock() < tired[0]:
            raise Invalid(tired[1], field="values")
        path = _path(package)
        try:
            found = helm().problems(path, requirements.handed_over(path, package.chart_sha256, checked))
        except Invalid as error:
            _weary.put(whose, (clock() + REST, error.detail))
            error.context.setdefault("field", "values")
            raise
        known = tuple(found)
        _answers.put(key, known)
    return list(known)


def _path(package: Package) -> Any:
    from appstore.packages import blobs  # the store's folder is a setting; deciding needs none

    if not package.chart_sha256:
        raise Conflict(say("{name} carries no Helm chart, so there is nothing to run.", name=package.name))
    chart = blobs.path_of(package.chart_sha256)
    if not chart.exists():
        raise Conflict(say("The chart of this package is no longer in the store."))
    return chart


def _is_small(known: Peek) -> bool:
    """Whether a chart's facts are small, counted without writing them out: aliases may unfold to very much."""
    waiting: list[Any] = [known.values, known.schema]
    size = 0
    while waiting and size <= _LARGEST_KEPT:
        each = waiting.pop()
        size += len(each) if isinstance(each, str) else 16
        if isinstance(each, Mapping):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each
    return size <= _LARGEST_KEPT
