"""Search in the trail, and paging by key: the millionth page costs what the first one does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from core.audit.models import Entry
from core.errors import Invalid
from core.words import say

#: No index helps to find words inside texts, so without a range of time only the latest entries are looked through.
WORDS_WITHIN = timedelta(days=90)
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Sought:
    """What somebody looks for; empty members ask nothing."""

    actor: str = ""
    action: str = ""
    target: str = ""
    words: str = ""
    object_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def begins(self) -> datetime | None:
        """From when on entries are looked at."""
        if self.since is None and (self.words or self.target):
            return (self.until or timezone.now()) - WORDS_WITHIN
        return self.since

    def within(self, rows: QuerySet[Entry]) -> QuerySet[Entry]:
        """Return those of `rows` that are sought, the newest first."""
        if self.actor:
            # A person's tokens act as "name (token what-for)".
            rows = rows.filter(Q(actor=self.actor) | Q(actor__startswith=f"{self.actor} (token "))
        if self.action.endswith("."):
            rows = rows.filter(action__startswith=self.action)
        elif self.action:
            rows = rows.filter(action=self.action)
        if self.object_id:
            rows = rows.filter(object_id=self.object_id)
        if self.target:
            rows = rows.filter(Q(object_id=self.target) | Q(object_name__icontains=self.target))
        if self.words:
            said = Q(actor__icontains=self.words) | Q(action__icontains=self.words)
            said |= Q(object_name__icontains=self.words) | Q(told__icontains=self.words)
            rows = rows.annotate(told=Cast("facts", TextField())).filter(said)
        if self.begins is not None:
            rows = rows.filter(at__gte=self.begins)
        if self.until is not None:
            rows = rows.filter(at__lt=self.until)
        return rows.order_by("-at", "-id")


def read(given: Mapping[str, Any]) -> Sought:
    """Return what the parameters of a request ask for; `Invalid` names each that is wrong."""
    wrong: list[dict[str, str]] = []
    moments: dict[str, datetime | None] = {}
    for name in ("since", "until"):
        try:
            moments[name] = _moment(str(given.get(name) or ""), end=name == "until")
        except (ValueError, OverflowError):
            moments[name] = None
            wrong.append(
                {"field": name, "detail": say("must be a day or a time, as 2026-03-01 or 2026-03-01T12:00:00Z")}
            )
    since, until = moments["since"], moments["until"]
    if since and until and since >= until:
        wrong.append({"field": "since", "detail": say("must be before the end")})
    if wrong:
        raise Invalid("; ".join(f"{each['field']}: {each['detail']}" for each in wrong), errors=wrong)
    texts = {
        name: str(given.get(key) or "").replace("\x00", "").strip()[:LONGEST]
        for name, key in (
            ("actor", "actor"),
            ("action", "action"),
            ("target", "target"),
            ("words", "q"),
            ("object_id", "object_id"),
        )
    }
    return Sought(**texts, since=since, until=until)


def page(rows: QuerySet[Entry], after: str, size: int) -> tuple[list[Entry], str]:
    """Return one page of entries that come after a key, and the key for the next page; no key when it is the last."""
    if after:
        at, pk = _key(after)
        rows = rows.filter(Q(at__lt=at) | Q(at=at, id__lt=pk))
    found = list(rows[: size + 1])
    return found[:size], key_of(found[size - 1]) if len(found) > size else ""


def key_of(entry: Entry) -> str:
    """Return where an entry stands in the trail."""
    return f"{entry.at.isoformat()}~{entry.pk}"


def _key(text: str) -> tuple[datetime, UUID]:
    try:
        # A plus sign that nobody encoded came as a blank.
        at, _, pk = text.replace(" ", "+").partition("~")
        moment = datetime.fromisoformat(at)
        return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)), UUID(pk)
    except (ValueError, OverflowError):
        told = {"field": "after", "detail": say("must be the key that a page before gave")}
        raise Invalid(say("after: {detail}", detail=told["detail"]), errors=[told]) from None


def _moment(text: str, *, end: bool) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text)
    if end and len(text) == len("2026-03-01"):
        found += timedelta(days=1)  # a day that is named as the end is still in
    return found if timezone.is_aware(found) else timezone.make_aware(found)
