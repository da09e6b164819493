"""Why somebody should look at a package before it is published: finders by name, each asked for its reasons.

A finder gets the package and the release before it (None for a first one) and yields reasons: `Reason` objects, or from
topics that cannot know this one, plain sentences or mappings with `code`, `words` and perhaps `store`.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from appstore.packages import states
from appstore.packages.models import Package
from core.registry import Registry
from core.words import say

logger = logging.getLogger("breakwater.releases")


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; `store` says that it is for reviewers of the store, not for colleagues of the publisher."""

    code: str
    words: str
    store: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


class Finder(Protocol):
    """Finds reasons of one sort."""

    def __call__(self, package: Package, previous: Package | None) -> Iterable[Reason | str | Mapping[str, Any]]:
        """Yield the reasons; reads, and changes nothing."""


registry: Registry[Finder] = Registry(
    "review-reasons",
    {
        "signer": "appstore.releases.reasons:signer_changed",
        "provider": "appstore.releases.reasons:provider_is_new",
        "contents": "appstore.contents.reviewing:reasons",
    },
)


def of(package: Package) -> tuple[list[Reason], Package | None]:
    """Return every reason, and the release that the package was compared with."""
    previous = release_before(package)
    found: list[Reason] = []
    for name in registry.names():
        try:
            finder = registry.get(name)
        except ModuleNotFoundError as problem:
            # A topic that is not installed has nothing to say; any other missing module is a bug and stays one.
            if not str(problem.name or "").startswith(f"appstore.{name}"):
                raise
            continue
        found += [_reason(name, each) for each in finder(package, previous)]
    return list(dict.fromkeys(found)), previous


def release_before(package: Package) -> Package | None:
    """Return the newest release of the same application in its organisation, whatever its provider is called."""
    rows = Package.objects.filter(
        organisation=package.organisation_id, origin=package.origin, name=package.name, state__in=states.FINAL
    )
    return rows.exclude(pk=package.pk).order_by("-published_at").first()


def signer_changed(package: Package, previous: Package | None) -> Iterable[Reason]:
    """Somebody else signed this release than the one before, or nobody did any more."""
    if previous is None:
        return
    before, now = (_signer(each) for each in (previous, package))
    if before == now or not before[0]:
        return
    if not now[0]:
        yield Reason(
            "signer-changed",
            say("It is not signed; {version} was signed by {before}.", version=previous.version, before=before[1]),
        )
    else:
        yield Reason(
            "signer-changed",
            say(
                "It is signed by {now}; {version} was signed by {before}.",
                now=now[1],
                version=previous.version,
                before=before[1],
            ),
        )


def provider_is_new(package: Package, previous: Package | None) -> Iterable[Reason]:
    """The provider's name is used for the first time, differs from the release before, or looks like another's."""
    name = package.provider
    if previous is not None and previous.provider != name:
        yield Reason(
            "provider-changed",
            say(
                "Its provider is {name}; {version} was of {provider}.",
                name=name,
                version=previous.version,
                provider=previous.provider,
            ),
        )
    rows = Package.objects.filter(state__in=states.FINAL).exclude(provider="").exclude(pk=package.pk)
    if rows.filter(organisation=package.organisation_id, origin=package.origin, provider=name).exists():
        return
    others = rows.exclude(organisation=package.organisation_id, origin=package.origin)
    alike = sorted({each for each in others.values_list("provider", flat=True).distinct() if confusable(name, each)})
    if alike:
        told = say(
            "The name {name} is new here and can be taken for {alike}, a provider of somebody else.",
            name=name,
            alike=", ".join(alike[:3]),
        )
        yield Reason("provider-confusable", told, store=True)
    elif name:
        yield Reason("provider-new", say("It is the first release under the name {name}.", name=name))


#: Characters that people take for one another, beside those that Unicode's compatibility forms make equal.
_LOOKS = str.maketrans(
    "015|$@аеорсухіјѕԁһԛԝαορνικτ",
    "oisisaaeopcyxijsdhqwaopvikt",
)
_PAIRS = (("rn", "m"), ("vv", "w"))


def confusable(name: str, other: str) -> bool:
    """Return whether people may take one name for the other: equal but for look-alikes, or a slip of the pen apart."""
    ours, theirs = _skeleton(name), _skeleton(other)
    if not ours or not theirs:
        return False
    allowed = 0 if min(len(ours), len(theirs)) < 5 else 1 if min(len(ours), len(theirs)) < 10 else 2
    return ours == theirs or (abs(len(ours) - len(theirs)) <= allowed and distance(ours, theirs, allowed) <= allowed)


def distance(one: str, two: str, most: int) -> int:
    """Return how many letters must be changed, added, dropped or swapped with a neighbour; `most + 1` for more."""
    above: list[int] = []
    last = list(range(len(two) + 1))
    for row, letter in enumerate(one, 1):
        here = [row]
        for column, wanted in enumerate(two, 1):
            cost = min(last[column] + 1, here[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == two[column - 2] and one[row - 2] == wanted:
                cost = min(cost, above[column - 2] + 1)
            here.append(cost)
        if min(here) > most:
            return most + 1
        above, last = last, here
    return min(last[-1], most + 1)


def _skeleton(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).casefold().translate(_LOOKS).replace("l", "i")
    plain = "".join(letter for letter in plain if letter.isalnum())
    for pair, single in _PAIRS:
        plain = plain.replace(pair, single)
    return plain


def _signer(package: Package) -> tuple[str, str]:
    signature = package.signature if isinstance(package.signature, Mapping) else {}
    if signature.get("state") not in ("valid", "invalid"):
        return "", ""
    fingerprint, subject = str(signature.get("fingerprint", "")), str(signature.get("signer", ""))
    return fingerprint or subject, subject or fingerprint


def _reason(finder: str, found: Reason | str | Mapping[str, Any]) -> Reason:
    if isinstance(found, Reason):
        return found
    if isinstance(found, Mapping):
        words = str(found.get("words", ""))
        return Reason(str(found.get("code", finder))[:60], words[:500], bool(found.get("store", False)))
    return Reason(finder, str(found)[:500])
