"""The agent's store: the wish as last heard, what was done about it, and reports that wait to be sent.

Every function is one transaction; when it returns, its effect is on disk.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q

from core.errors import Invalid
from core.frames import canonical, spec_digest, store_digest
from mep.agent.models import KV, Applied, Desired, Outbox
from mep.mp1.secrets import vault

Key = tuple[str, str]

#: A REPORT carries at most this much.
BATCH_ITEMS, BATCH_BYTES, ITEM_BYTES = 100, 512 * 1024, 3 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """One desired object, opened."""

    kind: str
    key: str
    rev: int
    generation: int
    deleted: bool
    sha256: str
    spec: Mapping[str, Any] = field(repr=False)


# --- the wish ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def take(objects: Iterable[Mapping[str, Any]], *, anew: bool = False) -> list[Key]:
    """Store what a PUT carries and return the keys in it; latest revision wins.

    `anew` says that the centre tells everything from the start, so that its revisions are not compared with ours.
    `Invalid` when an object is not what its digest says; nothing of the PUT is stored then.
    """
    changed: list[Key] = []
    reached = 0
    for raw in objects:
        wanted = _read(raw)
        reached = max(reached, wanted.rev)
        present = Desired.objects.filter(kind=wanted.kind, key=wanted.key).first()
        if present is not None and present.rev >= wanted.rev and not anew:
            continue
        if wanted.deleted and present is not None:
            # The spec stays: the removal needs to know what to remove. Its end is reported of this generation.
            Desired.objects.filter(pk=present.pk).update(deleted=True, rev=wanted.rev, generation=wanted.generation)
        else:
            # Also a deletion of something that we never heard of, or have forgotten with our disk: the centre waits for
            # its end, and the runtime may have kept what we have not.
            Desired.objects.update_or_create(
                kind=wanted.kind,
                key=wanted.key,
                defaults={
                    "rev": wanted.rev,
                    "generation": wanted.generation,
                    "deleted": wanted.deleted,
                    "sealed": vault().seal(canonical(wanted.spec), sealed_for(wanted.kind, wanted.key)),
                    "sha256": wanted.sha256,
                },
            )
        changed.append((wanted.kind, wanted.key))
    _write("last_rev", reached if anew else max(reached, last_rev()))
    return changed


def begin_snapshot() -> None:
    """Forget whose revisions we hold until the snapshot is complete: an interrupted one begins again."""
    _write("epoch", "")


@transaction.atomic
def end_snapshot(epoch: str, rev: int, told: set[Key]) -> list[Key]:
    """Drop what the centre did not tell of, remember where the stream stands, and return the keys to remove."""
    gone = [
        (kind, key)
        for kind, key in Desired.objects.filter(deleted=False).values_list("kind", "key")
        if (kind, key) not in told
    ]
    for kind, key in gone:
        Desired.objects.filter(kind=kind, key=key).update(deleted=True, rev=rev)
    _write("epoch", epoch)
    _write("last_rev", rev)
    return gone


def position() -> dict[str, Any]:
    """Return where our store stands, as HELLO tells it."""
    return {"epoch": _value("epoch", ""), "last_rev": last_rev(), "digest": digest(), "outbox": outbox_name()}


def last_rev() -> int:
    """Return the highest revision that is on our disk."""
    return int(_value("last_rev", 0))


def digest() -> str:
    """Return the digest over everything that is wished for here."""
    return store_digest(Desired.objects.filter(deleted=False).values_list("kind", "key", "rev"))


def wish(kind: str, key: str) -> Wish | None:
    """Return the present wish for one thing; None when there is none."""
    row = Desired.objects.filter(kind=kind, key=key).first()
    return None if row is None else _open(row)


def wishes(kind: str | None = None) -> list[Wish]:
    """Return every wish (of one kind), those to be removed too."""
    rows = Desired.objects.order_by("rev")
    return [_open(row) for row in (rows.filter(kind=kind) if kind else rows)]


def keys() -> list[Key]:
    """Return the key of every wish, those to be removed too."""
    return list(Desired.objects.order_by("rev").values_list("kind", "key"))


@transaction.atomic
def forget(gone: Wish) -> bool:
    """Forget a wish whose thing is gone; False when it was wished for again meanwhile."""
    Applied.objects.filter(kind=gone.kind, key=gone.key).delete()
    count, _ = Desired.objects.filter(kind=gone.kind, key=gone.key, rev=gone.rev, deleted=True).delete()
    return bool(count)


# --- the outcome ------------------------------------------------------------------------------------------------------
def outcome(kind: str, key: str) -> Applied | None:
    """Return what was done about a wish so far."""
    return Applied.objects.filter(kind=kind, key=key).first()


@transaction.atomic
def note(about: Wish, state: str, *, error: Mapping[str, Any] | None = None) -> Applied:
    """Remember how far we got with a wish; attempts count up while the state is the same."""
    before = outcome(about.kind, about.key)
    same = (
        before is not None
        and before.state == state
        and (before.generation, before.sha256) == (about.generation, about.sha256)
    )
    defaults = {
        "generation": about.generation,
        "sha256": about.sha256,
        "state": state,
        "last_error": dict(error) if error else None,
        "attempts": before.attempts + 1 if same and before else 1,
        "since": before.since if same and before else time.time(),
    }
    row, _ = Applied.objects.update_or_create(kind=about.kind, key=about.key, defaults=defaults)
    return row


# --- reports ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def post(kind: str, key: str, observed_generation: int, status: Mapping[str, Any], *, ttl: float | None = None) -> int:
    """Put a report into the outbox, in place of an older one about the same thing; returns its number."""
    route = f"{kind}/{key}"
    Outbox.objects.filter(route=route).delete()
    body = {"kind": kind, "key": key, "observed_generation": observed_generation, "status": dict(status)}
    expires = None if ttl is None else time.time() + ttl
    return int(Outbox.objects.create(route=route, body=body, expires=expires).pk)


def waiting() -> list[dict[str, Any]]:
    """Return the oldest reports that are still wanted, as many as one REPORT carries; each has its `seq`."""
    Outbox.objects.filter(expires__lt=time.time()).delete()
    batch: list[dict[str, Any]] = []
    size = 0
    for row in Outbox.objects.order_by("seq")[:BATCH_ITEMS]:
        weight = len(canonical(row.body))
        if weight > ITEM_BYTES:
            row.delete()  # nobody could take it; the next one of its route may be smaller
            continue
        size += weight
        if batch and size > BATCH_BYTES:
            break
        batch.append({"seq": row.seq, **row.body})
    return batch


def delivered(seq: int) -> None:
    """Drop the reports that the centre has on its disk."""
    Outbox.objects.filter(seq__lte=seq).delete()


def withdraw(*routes: str) -> None:
    """Drop reports that make no sense any more."""
    Outbox.objects.filter(route__in=routes).delete()


def outbox_name() -> str:
    """Return the name of this store, by which the centre knows whose numbers it counts."""
    row, _ = KV.objects.get_or_create(name="outbox", defaults={"value": secrets.token_hex(16)})
    return str(row.value)


# --- facts ------------------------------------------------------------------------------------------------------------
def joined_with() -> str:
    """Return the mark of the join string that was used last; empty when none was."""
    return str(_value("joined_with", ""))


def remember_join(mark: str) -> None:
    """Remember the join string that was used, so that a restart does not use it again."""
    _write("joined_with", mark)


def note_link(state: str, why: str = "", *, now: float | None = None) -> None:
    """Write down how the link to the centre stands: `connected`, `cut-off` or `not-joined`.

    `since` stays while the state does; `at` says when the agent last knew, so that a dead agent is not believed.
    """
    now = time.time() if now is None else now
    before = link()
    since = before["since"] if before.get("state") == state else now
    _write("link", {"state": state, "since": since, "at": now, "why": why[:300]})


def link() -> dict[str, Any]:
    """Return what was last written down about the link: `state`, `since`, `at`, `why`; empty before the first time."""
    return dict(_value("link", {}))


def recalls() -> dict[str, Any]:
    """Return the recall list that is in force here, as it was kept; empty before the first."""
    return dict(_value("recalls", {}))


def recalls_in_words() -> str:
    """Return a sentence about the recall list for people; empty while it names nothing."""
    said = recalls().get("list", {})
    entries = said.get("entries") or []
    if not entries:
        return ""
    stopped = Applied.objects.filter(kind="app", state=Applied.State.RECALLED).count()
    applications = "1 application of this node is" if stopped == 1 else f"{stopped} applications of this node are"
    told = f"Recall list {said.get('serial')} names {len(entries)} package{'' if len(entries) == 1 else 's'}"
    return f"{told}; {applications} stopped by it." if stopped else f"{told}; none of them was stopped here."


def keep_recalls(held: Mapping[str, Any]) -> None:
    """Keep the recall list that is in force from now on."""
    _write("recalls", dict(held))


# --- inside -----------------------------------------------------------------------------------------------------------
def _read(raw: Mapping[str, Any]) -> Wish:
    try:
        wanted = Wish(
            kind=str(raw["kind"])[:41],
            key=str(raw["key"])[:121],
            rev=int(raw["rev"]),
            generation=int(raw["generation"]),
            deleted=bool(raw["deleted"]),
            sha256=str(raw["sha256"]),
            spec=dict(raw["spec"]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise Invalid("The centre sent an object that is none") from problem
    if len(wanted.kind) > 40 or len(wanted.key) > 120:
        raise Invalid("The centre sent an object whose name is too long")
    if spec_digest(wanted.spec) != wanted.sha256:
        raise Invalid(f"The spec of {wanted.kind} {wanted.key} is not what its digest says")
    return wanted


def _open(row: Desired) -> Wish:
    spec = json.loads(vault().open(bytes(row.sealed), sealed_for(row.kind, row.key)))
    return Wish(row.kind, row.key, row.rev, row.generation, row.deleted, row.sha256, spec)


def sealed_for(kind: str, key: str) -> str:
    """Return the purpose for which the spec of a wish is sealed."""
    return f"desired:{kind}:{key}"


def _value(name: str, default: Any) -> Any:
    row = KV.objects.filter(Q(name=name)).first()
    return default if row is None else row.value


def _write(name: str, value: Any) -> None:
    KV.objects.update_or_create(name=name, defaults={"value": value})
