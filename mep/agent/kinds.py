"""The kind `app`: from the wish to a running release, and its state back to the centre."""

from __future__ import annotations

import contextlib
import enum
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import BreakwaterError, Invalid, Unavailable
from core.recalls import Entry
from engines.applier import RECALLED, Applier, AppSpec, Blob, absent, recalled
from engines.contract import Engine, Event, Reason, State
from engines.trials import NAMESPACE
from mep.agent import store
from mep.agent.backoff import pause
from mep.agent.blobs import Blobs, Fetcher
from mep.agent.models import Applied
from mep.agent.reports import Reporter
from mep.agent.store import Wish
from mep.mp1 import rules

logger = logging.getLogger("breakwater.agent")

KIND = "app"
#: Seconds between two looks at a release: while it moves, when it failed, when it is ready.
MOVING, TROUBLED, SETTLED = 0.5, 2.0, 5.0
#: Seconds between two looks at an app that may still say goodbye.
LEAVING = 0.25
#: Events of a moving release are told once in this many looks.
EVENTS_EVERY = 6
EVENTS = 50
#: Seconds between two tries to bring back images that the runtime lost.
IMAGES_AGAIN = 30.0


class Next(enum.Enum):
    """What is to be done about an app now."""

    APPLY = enum.auto()
    OBSERVE = enum.auto()
    REMOVE = enum.auto()
    REST = enum.auto()


def decide(wish: Wish, done: Applied | None) -> Next:
    """Compare the wish with what was done: nothing is applied again unless generation or content differ."""
    if wish.deleted:
        return Next.REMOVE
    if done is None or (done.generation, done.sha256) != (wish.generation, wish.sha256):
        return Next.APPLY
    if done.state == Applied.State.APPLIED:
        return Next.OBSERVE
    # What cannot work is not tried again until the wish changes.
    return Next.REST if done.state == Applied.State.FAILED else Next.APPLY


class Apps:
    """Steps for the kind `app`; `stops` tells by a wish's spec whether its package is recalled and must not run."""

    def __init__(
        self,
        applier: Applier,
        blobs: Blobs,
        fetcher: Fetcher,
        reporter: Reporter,
        wake: Callable[[str], None],
        stops: Callable[[Mapping[str, Any]], Entry | None] = lambda spec: None,
    ) -> None:
        self.applier, self.blobs, self.fetcher, self.reporter, self.wake = applier, blobs, fetcher, reporter, wake
        self.stops = stops
        self._looks: dict[str, int] = {}
        self._images_at: dict[str, float] = {}

    def step(self, key: str) -> float | None:
        """Do what is next for one app."""
        wish = store.wish(KIND, key)
        if wish is None:
            return None
        try:
            spec = AppSpec.read(wish.spec)
        except Invalid as problem:
            return self._unreadable(wish, problem)
        if not wish.deleted and (entry := self.stops(wish.spec)):
            return self._recalled(wish, spec, entry)
        match decide(wish, store.outcome(KIND, key)):
            case Next.APPLY:
                return self._apply(wish, spec)
            case Next.OBSERVE:
                return self._observe(wish, spec)
            case Next.REMOVE:
                return self._remove(wish, spec)
            case Next.REST:
                self._rest(wish, spec)
                return None

    def _apply(self, wish: Wish, spec: AppSpec) -> float | None:
        lacking = self.blobs.lacking(spec.blobs())
        if lacking:
            return self._fetch(wish, spec, lacking)
        try:
            revision = self.applier.apply(spec, wish.generation)
        except BreakwaterError as problem:
            return self._failed(wish, spec, problem)
        except Exception:
            logger.exception("%s: applying generation %d broke", spec.name, wish.generation)
            return self._failed(wish, spec, Unavailable("The agent stumbled over this app; its log tells why"))
        logger.info("%s: generation %d is revision %d", spec.name, wish.generation, revision.number)
        store.note(wish, Applied.State.APPLIED)
        self._looks.pop(wish.key, None)
        return self._observe(wish, spec)

    def _fetch(self, wish: Wish, spec: AppSpec, lacking: list[Blob]) -> float | None:
        tries = [self.fetcher.want(blob, lambda: self.wake(wish.key)) for blob in lacking]
        if not self.blobs.lacking(lacking):
            return 0.0  # they came while we asked
        failed = next((each for each in tries if each.problem and not each.running), None)
        names = ", ".join(blob.name or blob.sha256[:12] for blob in lacking)
        message = f"waits for {len(lacking)} file(s): {names}"
        if failed is not None and failed.problem:
            message = f"{message}; {failed.problem.detail}"
        self._moving(wish, spec, "Fetching", message)
        return max(failed.again_at - time.monotonic(), 0.05) if failed else None

    def _failed(self, wish: Wish, spec: AppSpec, problem: BreakwaterError) -> float | None:
        """Remember and report that applying failed; return when to try again, None for never."""
        if not problem.retryable:
            logger.error("%s: generation %d cannot be applied: %s", spec.name, wish.generation, problem.detail)
            store.note(wish, Applied.State.FAILED, error=problem.problem())
            self._rest(wish, spec)
            self._events(wish, spec)
            return None
        done = store.note(wish, Applied.State.RETRYING, error=problem.problem())
        self._moving(wish, spec, problem.code, problem.detail)
        return max(0.2, pause(done.attempts, base=0.5))

    def _moving(self, wish: Wish, spec: AppSpec, reason: str, message: str) -> None:
        """Report that the app is on its way, over whatever the engine runs of it so far."""
        try:
            status = self.applier.observe(spec)
        except BreakwaterError:
            status = absent()
        status |= {"state": str(State.PROGRESSING), "reason": reason, "message": message}
        self.reporter.say(KIND, wish.key, wish.generation, status)

    def _rest(self, wish: Wish, spec: AppSpec | None) -> None:
        """Report that this wish cannot be fulfilled, beside what runs of an earlier one."""
        done = store.outcome(KIND, wish.key)
        problem: Mapping[str, Any] = (done.last_error if done else None) or {}
        status = absent()
        if spec is not None:
            with contextlib.suppress(BreakwaterError):
                status = self.applier.observe(spec)
        status |= {
            "state": str(State.FAILED),
            "reason": str(problem.get("code", "")),
            "message": str(problem.get("detail", "")),
            "problem": dict(problem),
        }
        self.reporter.say(KIND, wish.key, wish.generation, status)

    def _observe(self, wish: Wish, spec: AppSpec) -> float | None:
        try:
            status = self.applier.observe(spec)
        except BreakwaterError as problem:
            # We cannot see: that is not news about the app, and must not be told as such.
            logger.warning("%s cannot be observed: %s", spec.name, problem.detail)
            return TROUBLED
        state = status["state"]
        if state == State.ABSENT:
            # The runtime lost it (a node that was rebuilt): the wish still stands.
            logger.warning("%s is not there any more and is applied again", spec.name)
            store.note(wish, Applied.State.RETRYING)
            return 0.0
        if status["reason"] == Reason.IMAGE_MISSING and spec.images:
            self._bring_images_back(wish, spec)
        looks = self._looks.get(wish.key, 0)
        self._looks[wish.key] = looks + 1
        changed = self.reporter.say(KIND, wish.key, wish.generation, status)
        if changed or (state != State.READY and looks % EVENTS_EVERY == 0):
            self._events(wish, spec)
        return {State.READY: SETTLED, State.FAILED: TROUBLED}.get(state, MOVING)

    def _bring_images_back(self, wish: Wish, spec: AppSpec) -> None:
        """Load an app's images again, now and then: somebody has cleaned up the runtime."""
        now = time.monotonic()
        if now < self._images_at.get(wish.key, 0.0) or self.blobs.lacking(spec.images):
            return
        self._images_at[wish.key] = now + IMAGES_AGAIN
        try:
            self.applier.load_images_again(spec, wish.generation)
        except BreakwaterError as problem:
            logger.warning("%s: its images cannot be loaded: %s", spec.name, problem.detail)

    def _events(self, wish: Wish, spec: AppSpec) -> None:
        try:
            events = self.applier.engine.events(spec.name, spec.namespace, limit=EVENTS)
        except BreakwaterError:
            return
        self.reporter.say("appEvents", wish.key, wish.generation, {"events": [event_body(each) for each in events]})

    def _remove(self, wish: Wish, spec: AppSpec) -> float | None:
        if _name_is_anothers(wish, spec):
            # What runs under the name is not this app's, and stays.
            self.applier.mep.discard(spec.app_instance_id)
            return self._gone(wish)
        done = store.outcome(KIND, wish.key)
        if done is None or done.state != Applied.State.REMOVING:
            done = store.note(wish, Applied.State.REMOVING)
            self._moving(wish, spec, "Removing", "the app is asked to finish")
        try:
            gone = self.applier.remove(spec, waited=max(0.0, time.time() - done.since))
        except BreakwaterError as problem:
            done = store.note(wish, Applied.State.REMOVING, error=problem.problem())
            self._moving(wish, spec, problem.code, f"cannot be removed yet: {problem.detail}")
            return max(0.5, pause(done.attempts, base=0.5))
        return self._gone(wish) if gone else LEAVING

    def _recalled(self, wish: Wish, spec: AppSpec, entry: Entry) -> float | None:
        """End a recalled app as politely as any other, and keep it from running; the wish itself stays."""
        done = store.outcome(KIND, wish.key)
        told = recalled(entry.reason, entry.advice)
        try:
            ended = done is not None and done.state == Applied.State.RECALLED
            if ended and self.applier.observe(spec)["state"] == State.ABSENT:
                self.reporter.say(KIND, wish.key, wish.generation, told)
                return SETTLED
            if done is None or done.state != Applied.State.REMOVING:
                logger.warning("%s: its package is recalled and must not run: %s", spec.name, entry.reason)
                done = store.note(wish, Applied.State.REMOVING)
                self._moving(wish, spec, RECALLED, f"The package is recalled, the app is being stopped: {entry.reason}")
            gone = self.applier.remove(spec, waited=max(0.0, time.time() - done.since))
        except BreakwaterError as problem:
            done = store.note(wish, Applied.State.REMOVING, error=problem.problem())
            self._moving(
                wish, spec, problem.code, f"The package is recalled; it cannot be stopped yet: {problem.detail}"
            )
            return max(0.5, pause(done.attempts, base=0.5))
        if not gone:
            return LEAVING
        logger.warning("%s is stopped, because its package is recalled", spec.name)
        store.note(wish, Applied.State.RECALLED)
        self._looks.pop(wish.key, None)
        self.reporter.say(KIND, wish.key, wish.generation, told)
        return SETTLED

    def _gone(self, wish: Wish) -> float | None:
        if not store.forget(wish):
            return 0.0  # wished for again meanwhile
        logger.info("%s %s is gone", wish.kind, wish.key)
        self._looks.pop(wish.key, None)
        store.withdraw(f"appLog/{wish.key}", f"appEvents/{wish.key}")
        self.reporter.say(KIND, wish.key, wish.generation, absent())
        for kind in (KIND, "appEvents", "appLog"):
            self.reporter.forget(kind, wish.key)
        return None

    def _unreadable(self, wish: Wish, problem: Invalid) -> float | None:
        """A spec that cannot be read was never applied, so there is nothing to undo."""
        if wish.deleted:
            return self._gone(wish)
        store.note(wish, Applied.State.FAILED, error=problem.problem())
        self._rest(wish, None)
        return None


def release_of(spec: Mapping[str, Any]) -> tuple[str, str]:
    """Return namespace and name of the release that a spec wishes for; empty words where it has none."""
    return str(spec.get("namespace", "")), str(spec.get("name", ""))


def _name_is_anothers(gone: Wish, spec: AppSpec) -> bool:
    """Return whether the name of the release that is to go belongs to another app that is to stay."""
    return any(
        not each.deleted and each.key != gone.key and release_of(each.spec) == (spec.namespace, spec.name)
        for each in store.wishes(KIND)
    )


def unwished(engine: Engine) -> list[str]:
    """Return `namespace/name` of the releases of this node's engine that no wish is about; empty before a first snapshot.

    They are told and not touched: a release of our mark may be of another agent with this node's name, and only the
    centre's word ends an application.
    """
    if not store.position()["epoch"]:
        return []
    # The releases first: one that comes meanwhile is then wished for already.
    found = engine.releases()
    known = {release_of(wish.spec) for wish in store.wishes(KIND)}
    return [
        f"{namespace}/{name}"
        for namespace, name in found
        # What certification tries here is looked after by the sandbox.
        if (namespace, name) not in known and not namespace.startswith(NAMESPACE)
    ]


def event_body(event: Event) -> dict[str, Any]:
    """Return an event as JSON values."""
    return {
        "at": event.at.isoformat(),
        "type": event.type,
        "reason": event.reason,
        "object": event.object,
        "message": event.message,
        "count": event.count,
    }


class LogWatches:
    """Steps for the kind `logWatch`: the lines of an app, as long as somebody looks at them."""

    LINES, BYTES, EVERY, WANTED_FOR = 200, 64 * 1024, 1.0, 30.0

    def __init__(self, applier: Applier, reporter: Reporter) -> None:
        self.applier, self.reporter = applier, reporter

    def step(self, key: str) -> float | None:
        """Tell new lines until the watch ends."""
        watch = store.wish("logWatch", key)
        if watch is None:
            return None
        if watch.deleted:
            store.forget(watch)
            self.reporter.forget("appLog", key)
            return None
        until = watch.spec.get("until", 0)
        if not isinstance(until, int | float) or time.time() > until:
            self.reporter.forget("appLog", key)
            return None
        app = store.wish(KIND, key)
        if app is not None:
            self._tell(app)
        return self.EVERY

    def _tell(self, app: Wish) -> None:
        try:
            spec = AppSpec.read(app.spec)
            lines = self.applier.engine.logs(spec.name, spec.namespace, tail=self.LINES)
        except BreakwaterError:
            return
        kept: list[dict[str, Any]] = []
        size = 0
        for line in reversed(lines):
            size += len(line.text) + 100
            if size > self.BYTES:
                break
            at = line.at.isoformat() if line.at else None
            kept.append({"at": at, "pod": line.pod, "container": line.container, "text": line.text[:8192]})
        self.reporter.say("appLog", app.key, app.generation, {"lines": kept[::-1]}, ttl=self.WANTED_FOR)


class RuleWishes:
    """Steps for the kind `rules`: what the centre wants of an app's traffic and DNS rules.

    The MEP keeps the wish itself and lays it over every descriptor that comes, so nothing here waits for the app.
    """

    KIND, EVERY = "rules", 5.0

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def step(self, key: str) -> float | None:
        """Hand the wish to the MEP and tell what became of it; look again, since an upgrade may change that."""
        wish = store.wish(self.KIND, key)
        if wish is None:
            return None
        app = str(wish.spec.get("appInstanceId", ""))
        if wish.deleted:
            rules.unwish(app)
            if not store.forget(wish):
                return 0.0
            self.reporter.say(self.KIND, key, wish.generation, {"state": "absent", "reason": "", "message": ""})
            self.reporter.forget(self.KIND, key)
            return None
        status = rules.told(rules.wish(app, wish.generation, wish.spec))
        done = store.outcome(self.KIND, key)
        if done is None or (done.generation, done.sha256) != (wish.generation, wish.sha256):
            store.note(wish, Applied.State.APPLIED)
        self.reporter.say(self.KIND, key, wish.generation, status)
        return self.EVERY


class Orphans:
    """Steps for the kind `orphan`: a release that the centre does not wish for and an operator wants gone."""

    KIND, EVERY = "orphan", 1.0

    def __init__(self, engine: Engine, reporter: Reporter, gone: Callable[[], None] = lambda: None) -> None:
        self.engine, self.reporter, self.gone = engine, reporter, gone

    def step(self, key: str) -> float | None:
        """Remove the release unless somebody wishes for it; tell that it is absent when the runtime shows nothing of it."""
        wish = store.wish(self.KIND, key)
        if wish is None:
            return None
        if wish.deleted:
            store.forget(wish)
            self.reporter.forget(self.KIND, key)
            return None
        done = store.outcome(self.KIND, key)
        if done and (done.generation, done.state) == (wish.generation, Applied.State.APPLIED):
            return None
        namespace, name = release_of(wish.spec)
        if any(release_of(app.spec) == (namespace, name) for app in store.wishes(KIND)):
            self._end(wish, "kept", "It is wished for again, so it stays")
            return None
        try:
            if (namespace, name) in self.engine.releases():
                self.engine.remove(name, namespace)
            if self.engine.status(name, namespace).state is not State.ABSENT:
                self._say(wish, str(State.PROGRESSING), "it is asked to finish")
                return self.EVERY
        except BreakwaterError as problem:
            if not problem.retryable:
                self._end(wish, str(State.FAILED), problem.detail)
                return None
            done = store.note(wish, Applied.State.RETRYING, error=problem.problem())
            self._say(wish, str(State.PROGRESSING), f"cannot be removed yet: {problem.detail}")
            return max(0.5, pause(done.attempts, base=0.5))
        logger.warning("%s is removed: nobody wished for it, and an operator wanted it gone", key)
        self._end(wish, "absent", "")
        return None

    def _end(self, wish: Wish, state: str, message: str) -> None:
        store.note(wish, Applied.State.APPLIED)
        self._say(wish, state, message)
        self.gone()

    def _say(self, wish: Wish, state: str, message: str) -> None:
        self.reporter.say(self.KIND, wish.key, wish.generation, {"state": state, "reason": "", "message": message})


def unsupported(reporter: Reporter) -> Callable[[str, str], float | None]:
    """Return the step for kinds of a newer centre: kept, acknowledged, and told that we cannot do it."""

    def step(kind: str, key: str) -> float | None:
        wish = store.wish(kind, key)
        if wish is None:
            return None
        if wish.deleted:
            store.forget(wish)
            reporter.say(kind, key, wish.generation, {"state": "absent", "reason": "", "message": ""})
            return None
        message = f"this agent knows nothing of the kind {kind}"
        reporter.say(kind, key, wish.generation, {"state": "failed", "reason": "Unsupported", "message": message})
        return None

    return step
