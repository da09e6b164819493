"""Live parts of pages: what many come for at once is made once."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import get_language

#: Seconds for which a part is given to others, and as many parts as are kept.
FRESH, MOST = 5.0, 128
#: The header in which `live.js` says of which state it was told; only digests of the hub name everything that a part shows.
STATE = "Live-State"
_DIGEST = re.compile(r"[0-9a-f]{16}")


class _Part:
    """A part of a page that somebody makes, or has made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made_at = 0.0
        self.text = ""


class Shared:
    """Parts by key: whoever comes first makes one, those who come meanwhile wait for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._parts: OrderedDict[Hashable, _Part] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], str]) -> str:
        """Return the part of that key, made anew when it is older than `FRESH`."""
        with self._lock:
            part = self._parts.setdefault(key, _Part())
            self._parts.move_to_end(key)
            while len(self._parts) > MOST:
                self._parts.popitem(last=False)
        with part.lock:
            if not part.made_at or self._clock() - part.made_at > FRESH:
                begun = self._clock()
                part.text = make()
                part.made_at = begun
            return part.text


_shared = Shared()


def answer(
    request: HttpRequest, template: str, key: tuple[Hashable, ...], facts: Callable[[], dict[str, Any]]
) -> HttpResponse:
    """Answer a live part made of `facts`; those who were told of the same state and may see the same share it.

    `key` names what the part is about and everything of the person that it depends on. The template is given nothing of
    the request, so that nothing of one person gets to another.
    """

    def make() -> str:
        return render_to_string(template, facts())

    state = request.headers.get(STATE, "")
    if not _DIGEST.fullmatch(state):
        return HttpResponse(make())
    return HttpResponse(_shared.get((template, *key, state, get_language()), make))
