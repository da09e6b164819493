"""Who sees a release, in words."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

NAMES: dict[str, Promise] = {
    "public": _("everybody"),
    "organisation": _("its own organisation"),
    "partners": _("chosen partner stores"),
}
#: What each means, for who has to choose.
MEANINGS: dict[str, Promise] = {
    "public": _("Everybody who opens this store, and every partner store that we have an agreement with."),
    "organisation": _("Its own organisation only."),
    "partners": _("Its own organisation, and the partner stores that it is granted to."),
}


def choices() -> list[tuple[str, Promise, Promise]]:
    """Return what can be chosen: the value, its name and what it means."""
    return [(value, name, MEANINGS[value]) for value, name in NAMES.items()]
