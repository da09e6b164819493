"""What two stores agree on: one document, the same bytes on both sides. Pure; knows no database and no network.

The document names each party by its store id, so it reads the same from both ends. Who wants to know what it means for
one of them reads it by `seen_by`, and gets a `Terms` that speaks of `out` (what we give) and `in` (what we take).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal

from core.errors import Invalid
from core.words import say

KIND: Final = "urn:breakwater:federation:terms:1"
#: The payload type of the DSSE envelopes with which both sign the document.
PAYLOAD: Final = "application/vnd.breakwater.terms+json"
OUT: Final = "out"
IN: Final = "in"
Direction = Literal["out", "in"]

#: From nothing to the strictest. A level that is not listed counts as none.
CERTIFICATION: Final = ("", "basic", "standard", "telco")
#: From nothing to the best; `broken` is below all of them and is never exchanged.
SIGNATURE: Final = ("unsigned", "unknown", "trusted")

#: Bounds of the document itself: what one can agree on at all.
LONGEST_DOCUMENT = 64 * 1024
LONGEST_LIST = 100
LONGEST_TEXT = 200
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one party may take of the other."""

    #: Releases that are offered at most.
    apps: int = 100_000
    #: Bytes of the largest package.
    package_bytes: int = 5 * 1024**3
    #: Bytes of packages that are handed over in 24 hours.
    bytes_per_day: int = 500 * 1024**3
    requests_per_minute: int = 600
    #: Notices about a release ("recommend") that the giver may send in 24 hours.
    recommendations_per_day: int = 50


@dataclass(frozen=True, slots=True)
class Offer:
    """What one party gives. An empty list means: all of them."""

    categories: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    #: The least certification and the least standing of the signature, as the giver's store sees them.
    certification: str = ""
    signature: str = "unsigned"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Terms:
    """An agreement as one of the two parties reads it; None says that nothing goes that way."""

    version: int
    us: str
    them: str
    out: Offer | None
    incoming: Offer | None
    expires: datetime | None
    our_contact: str = ""
    their_contact: str = ""

    @property
    def direction(self) -> str:
        """Return `out`, `in` or `both`."""
        return "both" if self.out and self.incoming else (OUT if self.out else IN)

    def offer(self, direction: Direction) -> Offer | None:
        """Return what goes out or comes in."""
        return self.out if direction == OUT else self.incoming

    def expired(self, now: datetime) -> bool:
        """Return whether it counts no more."""
        return self.expires is not None and self.expires <= now


def allows(terms: Terms | None, direction: Direction, facts: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether a release may go that way, and why not.

    `facts` has the members of a catalogue entry: `category`, `licences`, `provider`, `certification`, `signature` and
    `size` (bytes). A fact that is missing never passes a filter. Expiry is asked of `Terms.expired`.
    """
    offer = terms.offer(direction) if terms else None
    if offer is None:
        return False, "nothing is agreed in this direction"
    if offer.categories and _folded(facts.get("category")) not in _all_folded(offer.categories):
        return False, f"the category {str(facts.get('category') or 'none')!r} is not agreed"
    if offer.providers and _folded(facts.get("provider")) not in _all_folded(offer.providers):
        return False, f"the provider {str(facts.get('provider') or 'none')!r} is not agreed"
    if offer.licences:
        licences = [str(each) for each in facts.get("licences") or ()]
        agreed = _all_folded(offer.licences)
        foreign = [each for each in licences if _folded(each) not in agreed]
        if foreign or not licences:
            return False, f"the licence {', '.join(foreign) or 'is not known and'} is not agreed"
    if certification_rank(facts.get("certification")) < certification_rank(offer.certification):
        return False, f"it is not certified for {offer.certification!r}"
    if signature_rank(facts.get("signature")) < max(0, signature_rank(offer.signature)):
        return (
            False,
            f"its signature is {str(facts.get('signature') or 'unknown')!r}, and {offer.signature!r} is agreed",
        )
    size = facts.get("size")
    if not isinstance(size, int) or size < 0 or size > offer.limits.package_bytes:
        return False, f"it is larger than the agreed {offer.limits.package_bytes} bytes"
    return True, ""


def certification_rank(level: Any) -> int:
    """Return the place of a level in the order of levels; 0 for none and for one that is not known."""
    return CERTIFICATION.index(level) if level in CERTIFICATION else 0


def signature_rank(standing: Any) -> int:
    """Return the place of a standing; -1 for `broken` and whatever is not known, so that it passes nowhere."""
    return SIGNATURE.index(standing) if standing in SIGNATURE else -1


def document(terms: Terms) -> dict[str, Any]:
    """Return the document that both sign."""
    offers = {terms.us: terms.out, terms.them: terms.incoming}
    contact = {terms.us: terms.our_contact, terms.them: terms.their_contact}
    return {
        "type": KIND,
        "version": terms.version,
        "parties": sorted((terms.us, terms.them)),
        "offers": {party: _offer_document(offer) for party, offer in offers.items() if offer is not None},
        "expires": terms.expires.astimezone(UTC).isoformat(timespec="seconds") if terms.expires else None,
        "contact": {party: text for party, text in contact.items() if text},
    }


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the one way to write the document: sorted members, no blanks, UTF-8; no numbers but integers are in it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical document."""
    return hashlib.sha256(canonical(value)).hexdigest()


def seen_by(value: Mapping[str, Any], us: str) -> Terms:
    """Read a document as the party `us` does; `Invalid` says which member is wrong.

    Nothing unknown is passed over: both sides must have understood the same, so a member that we do not know is an
    error, and a document that is read and written again has the same bytes.
    """
    _members(value, "", {"type", "version", "parties", "offers", "expires", "contact"})
    if value["type"] != KIND:
        raise _wrong("type", say("must be {kind}", kind=KIND))
    parties = value["parties"]
    if not isinstance(parties, list) or len(parties) != 2 or not all(_is_id(each) for each in parties):
        raise _wrong("parties", say("must be two ids of stores"))
    if parties != sorted(parties) or parties[0] == parties[1] or us not in parties:
        raise _wrong("parties", say("must name this store and one other, in order"))
    them = parties[1] if parties[0] == us else parties[0]
    offers, contact = value["offers"], value["contact"]
    for name, part in (("offers", offers), ("contact", contact)):
        if not isinstance(part, Mapping) or not set(part) <= {us, them}:
            raise _wrong(name, say("must speak of the two parties alone"))
    if not offers:
        raise _wrong("offers", say("an agreement in which nobody offers anything is none"))
    out, incoming = (_read_offer(offers[who], f"offers.{who}") if who in offers else None for who in (us, them))
    terms = Terms(
        version=_integer(value["version"], "version", least=1, most=1_000_000),
        us=us,
        them=them,
        out=out,
        incoming=incoming,
        expires=_moment(value["expires"]),
        our_contact=_text(contact.get(us, ""), "contact"),
        their_contact=_text(contact.get(them, ""), "contact"),
    )
    again = canonical(document(terms))
    if len(again) > LONGEST_DOCUMENT:
        raise Invalid(say("The terms are longer than {longest_document} bytes", longest_document=LONGEST_DOCUMENT))
    if again != canonical(value):
        raise Invalid(say("The terms are not written in the one agreed way"))
    return terms


def read(payload: bytes, us: str) -> tuple[Terms, dict[str, Any]]:
    """Read signed bytes; they must be the canonical document, so that both sides hold the same. `Invalid` otherwise."""
    if len(payload) > LONGEST_DOCUMENT:
        raise Invalid(say("The terms are longer than {longest_document} bytes", longest_document=LONGEST_DOCUMENT))
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as problem:
        raise Invalid(say("The terms are no JSON")) from problem
    if not isinstance(value, dict):
        raise Invalid(say("The terms are no JSON object"))
    terms = seen_by(value, us)
    if canonical(value) != payload:
        raise Invalid(say("The terms are not written in the one agreed way"))
    return terms, value


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the difference between two versions."""

    place: str
    before: str
    after: str


def difference(before: Terms | None, after: Terms) -> list[Change]:
    """Return what differs, in words; everything when there was nothing before."""
    old, new = _lines(before) if before else {}, _lines(after)
    places = [*new, *(place for place in old if place not in new)]
    return [
        Change(place, old.get(place, "–"), new.get(place, "–"))
        for place in places
        if old.get(place, "–") != new.get(place, "–")
    ]


def _lines(terms: Terms) -> dict[str, str]:
    lines = {"Valid until": f"{terms.expires:%Y-%m-%d %H:%M} UTC" if terms.expires else "for ever"}
    for title, offer in (("We offer", terms.out), ("They offer", terms.incoming)):
        if offer is None:
            lines[title] = "nothing"
            continue
        lines[title] = "releases"
        lines[f"{title}: categories"] = ", ".join(offer.categories) or "all"
        lines[f"{title}: licences"] = ", ".join(offer.licences) or "all"
        lines[f"{title}: providers"] = ", ".join(offer.providers) or "all"
        lines[f"{title}: least certification"] = offer.certification or "none"
        lines[f"{title}: least signature"] = offer.signature
        limits = offer.limits
        lines[f"{title}: releases at most"] = f"{limits.apps:,}"
        lines[f"{title}: largest package"] = _bytes(limits.package_bytes)
        lines[f"{title}: in a day"] = _bytes(limits.bytes_per_day)
        lines[f"{title}: requests a minute"] = f"{limits.requests_per_minute:,}"
        lines[f"{title}: recommendations a day"] = f"{limits.recommendations_per_day:,}"
    lines["Our contact"] = terms.our_contact or "–"
    lines["Their contact"] = terms.their_contact or "–"
    return lines


def _bytes(number: int) -> str:
    """Write bytes so that no two numbers look the same: only whole units are shortened."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number and number % size == 0:
            return f"{number // size:,} {unit}"
    return f"{number:,} bytes"


def _offer_document(offer: Offer) -> dict[str, Any]:
    lists = {name: sorted(set(getattr(offer, name))) for name in ("categories", "licences", "providers")}
    return {
        **lists,
        "certification": offer.certification,
        "signature": offer.signature,
        "limits": asdict(offer.limits),
    }


def _read_offer(value: Any, place: str) -> Offer:
    _members(value, place, {each.name for each in fields(Offer)})
    _members(value["limits"], f"{place}.limits", {each.name for each in fields(Limits)})
    if value["certification"] not in CERTIFICATION:
        raise _wrong(
            f"{place}.certification",
            say("must be one of {list}, or empty", list=", ".join(filter(None, CERTIFICATION))),
        )
    if value["signature"] not in SIGNATURE:
        raise _wrong(f"{place}.signature", say("must be one of {signature}", signature=", ".join(SIGNATURE)))
    limits = {
        name: _integer(number, f"{place}.limits.{name}", least=0, most=1 << 53)
        for name, number in value["limits"].items()
    }
    return Offer(
        categories=_list(value["categories"], f"{place}.categories"),
        licences=_list(value["licences"], f"{place}.licences"),
        providers=_list(value["providers"], f"{place}.providers"),
        certification=value["certification"],
        signature=value["signature"],
        limits=Limits(**limits),
    )


def _members(value: Any, place: str, wanted: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(place or "terms", say("must be a JSON object"))
    if set(value) != wanted:
        odd = sorted(str(each)[:40] for each in set(value) ^ wanted)
        raise _wrong(place or "terms", say("has members too many or too few: {odd}", odd=", ".join(odd[:8])))


def _list(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > LONGEST_LIST:
        raise _wrong(place, say("must be a list of at most {longest_list}", longest_list=LONGEST_LIST))
    return tuple(_text(each, place, least=1) for each in value)


def _text(value: Any, place: str, least: int = 0) -> str:
    if not isinstance(value, str) or not least <= len(value) <= LONGEST_TEXT or not value.isprintable():
        raise _wrong(
            place,
            say(
                "must be text of at most {longest_text} characters, without control characters",
                longest_text=LONGEST_TEXT,
            ),
        )
    return value


def _integer(value: Any, place: str, *, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(place, say("must be an integer from {least} to {most}", least=least, most=most))
    return value


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong("expires", say("must be a date and time with its zone, or null"))
    return moment.astimezone(UTC)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _wrong(place: str, detail: str) -> Invalid:
    return Invalid(
        say("The terms cannot be read: {place} {detail}", place=place, detail=detail),
        errors=[{"field": place, "detail": detail}],
    )


def _folded(value: Any) -> str:
    return str(value or "").strip().casefold()


def _all_folded(values: Iterable[str]) -> set[str]:
    return {_folded(each) for each in values}
