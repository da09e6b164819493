"""Whether those who opened a stream may still listen: asked for all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.accounts.access import Actor
from core.accounts.models import ApiToken, Membership, User
from core.sign_in.models import Session

#: SQLite takes a thousand parameters at least; sessions of one statement stay below that.
_AT_ONCE = 500


@dataclass(frozen=True)
class Pass:
    """By what somebody came in, and the roles that they had: a stream ends when any of it is no longer so.

    Somebody who gains a role is let go as well: the stream is opened anew by itself and shows what may be seen then.
    """

    user: UUID
    session: str = ""
    token: UUID | None = None
    organisation: UUID | None = None
    roles: frozenset[tuple[UUID, str]] = frozenset()

    @classmethod
    def of(cls, request: Any, actor: Actor) -> Pass | None:
        """Return the pass of who asks; None for visitors, who have nothing that could be taken from them."""
        if actor.user is None:
            return None
        token = actor.token
        return cls(
            user=actor.user.pk,
            session="" if token else getattr(getattr(request, "session", None), "session_key", None) or "",
            token=token.pk if token else None,
            organisation=token.organisation_id if token else None,
            roles=frozenset((organisation, role) for organisation, held in actor.roles.items() for role in held),
        )


def void(passes: Collection[Pass]) -> set[Pass]:
    """Return those that open nothing any more; four queries, however many streams there are (of 500 people each)."""
    users = {each.user for each in passes}
    sessions = {each.session for each in passes if each.session}
    tokens = {each.token for each in passes if each.token}
    active: set[Any] = set()
    roles: dict[UUID, set[tuple[UUID, str]]] = defaultdict(set)
    for some in _parts(users):
        active |= set(User.objects.filter(pk__in=some, is_active=True).values_list("pk", flat=True))
        for user, organisation, role in Membership.objects.filter(user__in=some).values_list(
            "user_id", "organisation_id", "role"
        ):
            roles[user].add((organisation, role))
    open_ones = {
        row
        for some in _parts(sessions)
        for row in Session.objects.open().filter(session_key__in=some).values_list("session_key", "user_id")
    }
    alive = {
        pk
        for some in _parts(tokens)
        for pk in ApiToken.objects.alive().filter(pk__in=some).values_list("pk", flat=True)
    }

    def good(each: Pass) -> bool:
        held = {row for row in roles[each.user] if each.organisation in (None, row[0])}
        return (
            each.user in active
            and held == each.roles
            and (not each.session or (each.session, each.user) in open_ones)
            and (each.token is None or each.token in alive)
        )

    return {each for each in passes if not good(each)}


def _parts(keys: Collection[Any]) -> Iterator[Sequence[Any]]:
    listed = list(keys)
    for first in range(0, len(listed), _AT_ONCE):
        yield listed[first : first + _AT_ONCE]
