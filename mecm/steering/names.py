"""Who gets the answer of a DNS rule, and what rules about one name do to each other: as the node's responder judges it.

A client is looked up in the UE scopes that it is in, then its application scopes, its zone scopes, and what is for
everybody; the first of these that has the name decides about all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

EVERYBODY = ""
KINDS = ("ue", "application", "zone")
#: Scopes of a node that are read; what a node reports is not ours to bound.
MOST = 500
#: What another rule about the name is to this one: told beside it, overruled by it, overruling it, or as prefixes are.
SHARES, WINS, YIELDS, APART = "shares", "wins", "yields", "apart"


@dataclass(frozen=True, slots=True)
class Scope:
    """One DNS scope as a node told it: a few of its prefixes, and how many it has."""

    name: str
    kind: str
    networks: tuple[str, ...] = ()
    prefixes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One DNS rule about a name."""

    rule_id: str
    app: str
    family: str
    address: str
    scope: str = EVERYBODY


@dataclass(frozen=True, slots=True)
class Encounter:
    """What another rule about the same name is to the one that is judged."""

    how: str
    other: Answer


def scopes_of(status: Mapping[str, Any]) -> dict[str, Scope] | None:
    """Return the scopes that a node told, by name; None when it does not tell them, as older ones do not."""
    raw = status.get("dns_scopes")
    if not isinstance(raw, list):
        return None
    found = {}
    for each in raw[:MOST]:
        if isinstance(each, Mapping) and each.get("kind") in KINDS and isinstance(each.get("name"), str):
            networks, count = each.get("networks"), each.get("prefixes")
            shown = tuple(str(one)[:50] for one in networks[:5]) if isinstance(networks, list) else ()
            number = count if isinstance(count, int) and not isinstance(count, bool) else len(shown)
            found[each["name"]] = Scope(each["name"], each["kind"], shown, number)
    return found


def rank(scope: str, scopes: Mapping[str, Scope] | None) -> int | None:
    """Return when a scope is asked, the first being 0; None when its kind is not known."""
    if scope == EVERYBODY:
        return len(KINDS)
    known = (scopes or {}).get(scope)
    return KINDS.index(known.kind) if known else None


def missing(scope: str, scopes: Mapping[str, Scope] | None) -> bool:
    """Return whether the node is known to have no such scope, so that nobody would get the answer."""
    return scope != EVERYBODY and scopes is not None and scope not in scopes


def encounters(mine: Answer, others: Iterable[Answer], scopes: Mapping[str, Scope] | None) -> list[Encounter]:
    """Return what other rules about the same name are to `mine`; those of scopes that the node has not meet nobody."""
    if missing(mine.scope, scopes):
        return []
    found = []
    for other in others:
        if missing(other.scope, scopes):
            continue
        if other.scope == mine.scope:
            # The two families of a name are answered side by side.
            if other.family == mine.family and other.address != mine.address:
                found.append(Encounter(SHARES, other))
            continue
        first, second = rank(mine.scope, scopes), rank(other.scope, scopes)
        if first is None or second is None or first == second:
            found.append(Encounter(APART, other))
        else:
            found.append(Encounter(WINS if first < second else YIELDS, other))
    return found
