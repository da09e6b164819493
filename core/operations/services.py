"""Verbs of long work: request, cancel, run, sweep; and the table of handlers."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, close_old_connections, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from core.errors import BreakwaterError, Conflict, Missing
from core.operations.models import LostLease, Operation
from core.words import say

logger = logging.getLogger("breakwater.operations")

Handle = Callable[[Operation], None]


class Cancelled(Exception):
    """Raised by a handler that saw `operation.cancelled()` and has cleaned up after itself."""


class HasId(Protocol):
    """Whatever stands for an organisation: only its id is kept."""

    id: Any


@dataclass(frozen=True)
class Handler:
    """What runs a kind of operation, and for how long one attempt is trusted without a sign of life."""

    handle: Handle
    lease: float | None
    max_attempts: int
    stoppable: bool = True


_handlers: dict[str, Handler] = {}


def handles(
    kind: str, *, lease: float | None = None, max_attempts: int = 5, stoppable: bool = True
) -> Callable[[Handle], Handle]:
    """Decorate the function that does operations of `kind`; it may run twice and must then have one effect.

    What the platform does for itself, such as clearing away when a time is over, is not `stoppable` by people.
    """

    def add(handle: Handle) -> Handle:
        present = _handlers.get(kind)
        if present is not None and present.handle.__qualname__ != handle.__qualname__:
            raise ValueError(f"{kind} is handled by {present.handle!r} already")
        _handlers[kind] = Handler(handle, lease, max_attempts, stoppable)
        return handle

    return add


def request(
    kind: str,
    target: str,
    *,
    organisation: HasId | UUID | None = None,
    actor: Any = None,
    run_after: datetime | None = None,
    **payload: Any,
) -> Operation:
    """Write down that `kind` should be done to `target`; asking twice while it is pending is asking once.

    `payload` holds ids in JSON. The bell rings when the transaction commits.
    """
    wanted_at = run_after or timezone.now()
    handler = _handlers.get(kind)
    fresh = {
        "payload": payload,
        "organisation_id": getattr(organisation, "id", organisation),
        "requested_by": str(actor or ""),
        "run_after": wanted_at,
        "max_attempts": handler.max_attempts if handler else 5,
    }
    for _ in range(5):
        try:
            with transaction.atomic():
                operation = Operation.objects.create(kind=kind, target=target, **fresh)
            break
        except IntegrityError:
            pending = Operation.objects.filter(kind=kind, target=target, state=Operation.State.PENDING)
            known = pending.first()
            # Claimed by a worker between our two looks: then a new row is right after all.
            if known is None:
                continue
            sooner = min(known.run_after, wanted_at)
            if not pending.filter(pk=known.pk).update(payload=payload, run_after=sooner):
                continue
            known.payload, known.run_after, operation = payload, sooner, known
            break
    else:
        raise Conflict(say("{kind} on {target} is asked for too often at once; try again", kind=kind, target=target))
    _ring_on_commit(operation)
    return operation


def cancel(operation: Operation, *, actor: Any = None) -> Operation:
    """Stop the work: at once while it is pending, else as soon as its handler looks; `Conflict` when it is over."""
    handler = _handlers.get(operation.kind)
    if actor is not None and handler is not None and not handler.stoppable:
        raise Conflict(say("The platform does {kind} for itself; nobody cancels that.", kind=operation.kind))
    waiting = Operation.objects.filter(pk=operation.pk, state=Operation.State.PENDING)
    by = f"cancelled by {actor}" if actor else "cancelled"
    if waiting.update(
        state=Operation.State.CANCELLED, cancel_requested=True, note=by[:300], finished_at=timezone.now()
    ):
        operation.refresh_from_db()
        return operation
    running = Operation.objects.filter(pk=operation.pk, state=Operation.State.RUNNING)
    if not running.update(cancel_requested=True):
        operation.refresh_from_db()
        raise Conflict(say("This operation is over already ({state})", state=operation.state))
    operation.refresh_from_db()
    return operation


def retry(operation: Operation, *, actor: Any = None) -> Operation:
    """Ask again for work that failed or was cancelled; `Conflict` while it is under way."""
    if not operation.finished or operation.state == Operation.State.SUCCEEDED:
        raise Conflict(
            say("Only failed or cancelled work can be asked for again; this is {state}", state=operation.state)
        )
    return request(
        operation.kind, operation.target, organisation=operation.organisation_id, actor=actor, **operation.payload
    )


def run(operation_id: Any) -> bool:
    """Claim one operation and do it; False when there was nothing to claim. Never raises for a failed operation."""
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        return False
    handler = _handlers.get(operation.kind)
    if handler is None or operation.state != Operation.State.PENDING or not operation.claim(handler.lease):
        return False
    with _leases.kept(operation):
        _perform(operation, handler)
    _ring_next(operation)
    return True


def run_due(limit: int = 100, kinds: Iterable[str] | None = None) -> int:
    """Do up to `limit` operations that are due, in this process; return how many were done."""
    done = 0
    wanted = set(_handlers) if kinds is None else set(kinds)
    while done < limit:
        due = list(Operation.objects.due().filter(kind__in=wanted).values_list("pk", flat=True)[: limit - done])
        # Workers that look at the same moment see the same rows; in the same order they would race for each.
        random.shuffle(due)
        ran = sum(run(pk) for pk in due)
        if not ran:
            break
        done += ran
    return done


def sweep() -> int:
    """Give the work of dead workers to living ones and ring for what is due; return how many rows were touched.

    This is what makes a lost message or a killed worker harmless. Safe to run anywhere, any number of times.
    """
    touched = 0
    for operation in Operation.objects.abandoned():
        touched += _release(operation, say("the worker was lost"), problem=None)
    for pk in Operation.objects.due().values_list("pk", flat=True)[:500]:
        _ring(pk, 0)
        touched += 1
    old = timezone.now() - timedelta(days=settings.OPERATION_KEEP_DAYS)
    finished = [Operation.State.SUCCEEDED, Operation.State.FAILED, Operation.State.CANCELLED]
    Operation.objects.filter(state__in=finished, finished_at__lt=old).delete()
    return touched


def backoff(attempt: int) -> float:
    """Return the seconds to wait before the attempt after `attempt`: full jitter below 1, 2, 4 ... 60 s."""
    return random.uniform(0.2, min(60.0, 2.0 ** max(0, attempt - 1)))  # noqa: S311  (spreads load, guards nothing)


def _perform(operation: Operation, handler: Handler) -> None:
    try:
        handler.handle(operation)
    except LostLease:
        logger.warning("%s: lost its lease in attempt %s", operation, operation.attempts)
    except Cancelled:
        _finish(operation, Operation.State.CANCELLED, note="cancelled")
    except BreakwaterError as error:
        logger.info("%s: attempt %s: %s", operation, operation.attempts, error.detail)
        if error.retryable and operation.attempts < operation.max_attempts:
            _release(operation, error.detail, problem=error.problem(), delay=backoff(operation.attempts))
        else:
            _finish(operation, Operation.State.FAILED, problem=error.problem())
    except Exception:
        # The traceback is for our log only: it may hold what the person must not see.
        logger.exception("%s: unexpected error in attempt %s", operation, operation.attempts)
        problem = BreakwaterError(say("An unexpected error stopped this work; the log of the worker has the details."))
        _finish(operation, Operation.State.FAILED, problem=problem.problem())
    else:
        _finish(operation, Operation.State.SUCCEEDED, percent=100)


def _finish(operation: Operation, state: str, **values: Any) -> None:
    mine = Operation.objects.filter(pk=operation.pk, state=Operation.State.RUNNING, attempts=operation.attempts)
    if state == Operation.State.SUCCEEDED:
        values["problem"] = None
    mine.update(state=state, finished_at=timezone.now(), lease_until=None, **values)


def _release(operation: Operation, note: str, *, problem: dict[str, Any] | None, delay: float = 0.0) -> int:
    """Put a running row back into the queue, unless its attempts are used up or a twin waits there already."""
    mine = Operation.objects.filter(pk=operation.pk, state=Operation.State.RUNNING, attempts=operation.attempts)
    now = timezone.now()
    if operation.attempts >= operation.max_attempts:
        lost = BreakwaterError(
            say("Given up after {attempts} attempts: {note}", attempts=operation.attempts, note=note)
        ).problem()
        return mine.update(
            state=Operation.State.FAILED, problem=problem or lost, finished_at=now, lease_until=None, note=note[:300]
        )
    again = {"state": Operation.State.PENDING, "run_after": now + timedelta(seconds=delay), "lease_until": None}
    try:
        with transaction.atomic():
            released = mine.update(note=note[:300], problem=problem, **again)
    except IntegrityError:
        return mine.update(
            state=Operation.State.CANCELLED,
            note=say("a newer request of the same work replaced this one"),
            finished_at=now,
        )
    if released:
        _ring(operation.pk, delay)
    return released


def _ring_next(operation: Operation) -> None:
    """Ring for what had to wait because this target was busy."""
    for pk in Operation.objects.due().filter(target=operation.target).values_list("pk", flat=True):
        _ring(pk, 0)


def _ring_on_commit(operation: Operation) -> None:
    delay = max(0.0, (operation.run_after - timezone.now()).total_seconds())
    transaction.on_commit(lambda: _ring(operation.pk, delay))


def _ring(pk: UUID, delay: float) -> None:
    if not settings.OPERATION_BELL:
        return
    try:
        import_string(settings.OPERATION_BELL)(str(pk), delay)
    except Exception:
        # The row is the queue; without the bell the sweep finds it within a minute.
        logger.warning("the bell for operation %s did not ring; the sweep will find it", pk, exc_info=True)


class _Leases:
    """Renews, from one thread a process, the leases of everything that runs in it."""

    def __init__(self) -> None:
        self._held: dict[UUID, Operation] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    class _Kept:
        def __init__(self, leases: _Leases, operation: Operation) -> None:
            self.leases, self.operation = leases, operation

        def __enter__(self) -> None:
            with self.leases._changed:
                self.leases._held[self.operation.pk] = self.operation
                if self.leases._thread is None or not self.leases._thread.is_alive():
                    self.leases._thread = threading.Thread(target=self.leases._keep, name="leases", daemon=True)
                    self.leases._thread.start()

        def __exit__(self, *_: object) -> None:
            with self.leases._changed:
                self.leases._held.pop(self.operation.pk, None)

    def kept(self, operation: Operation) -> _Kept:
        return self._Kept(self, operation)

    def _keep(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(settings.OPERATION_LEASE / 3)
                held = list(self._held.values())
                if not held:
                    self._thread = None
                    return
            close_old_connections()
            for operation in held:
                until = timezone.now() + timedelta(seconds=settings.OPERATION_LEASE)
                mine = Operation.objects.filter(pk=operation.pk, state="running", attempts=operation.attempts)
                try:
                    # A handler that asked for a longer lease keeps it.
                    mine.filter(lease_until__lt=until).update(lease_until=until)
                except Exception:
                    logger.warning("could not renew the lease of %s", operation, exc_info=True)
            close_old_connections()


_leases = _Leases()


def get(pk: Any) -> Operation:
    """Return the operation; `Missing` when there is none."""
    operation = Operation.objects.filter(pk=pk).first()
    if operation is None:
        raise Missing(say("There is no such operation"))
    return operation
