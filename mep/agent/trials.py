"""The kinds `sandbox` and `trial`: the centre tries an application on this node, looks closely and disturbs it.

A trial is one desired object with one command at a time: its spec names the verb, the application and until when the
command is wanted; its generation is the number of the command. Each is answered by one report of kind `trialReport`.
What disturbs is done only while this node is marked as a sandbox, only where `MEP_TRIALS` allows it, and only to a
release in a namespace of a trial: an application that people use cannot be meant.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings

import engines.trials as trials
from core.errors import BreakwaterError, Conflict, Denied, Invalid
from engines.contract import Engine
from mep.agent import store, trial_mep
from mep.agent.models import Applied
from mep.agent.reports import Reporter
from mep.agent.store import Wish

logger = logging.getLogger("breakwater.agent")

KIND, REPORT = "trial", "trialReport"
SANDBOX, SELF = "sandbox", "self"
#: Seconds between two looks at a command that takes its time.
SOON = 0.1
#: A command is late by this much when the clocks of node and centre differ; more is nobody's command any more.
SKEW = 60.0
#: After a cut, the node has this long to find its centre again before the report says that it did not.
FIND_BACK = 60.0
LINES, LONGEST_LINE = 500, 1000


class Cuttable(Protocol):
    """The link as far as a trial needs it."""

    connected: bool

    def cut(self, seconds: float) -> None:
        """Hang up for a while."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a trial wants to be done now."""

    verb: str
    name: str
    namespace: str
    app_instance_id: str
    until: float
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Command:
        """Return the command in a spec; `Invalid` when there is none."""
        texts = [raw.get(key) for key in ("verb", "name", "namespace", "appInstanceId")]
        until, arguments = raw.get("until"), raw.get("arguments") or {}
        if not all(isinstance(text, str) for text in texts) or not isinstance(arguments, Mapping):
            raise Invalid("A command of a trial needs verb, name, namespace and appInstanceId as text")
        if not isinstance(until, int | float) or isinstance(until, bool):
            raise Invalid("A command of a trial needs a time until which it is wanted")
        verb, name, namespace, app_instance_id = map(str, texts)
        return cls(verb, name, namespace, app_instance_id, float(until), arguments)


#: Something that is under way: asked again every moment until it has an answer.
Ongoing = Callable[[], dict[str, Any] | None]


class Sandboxes:
    """Steps for the kind `sandbox`: the mark of the centre that this node may be used for trials."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def step(self, key: str) -> float | None:
        """Tell whether trials are taken here."""
        wish = store.wish(SANDBOX, key)
        if wish is None:
            return None
        if wish.deleted:
            store.forget(wish)
            self.reporter.say(SANDBOX, key, wish.generation, {"state": "absent", "reason": "", "message": ""})
            return None
        told = {"state": "ready", "reason": "", "message": ""}
        if not settings.TRIALS:
            told = {"state": "failed", "reason": "Refused", "message": "MEP_TRIALS of this node forbids trials"}
        self.reporter.say(SANDBOX, key, wish.generation, told)
        return None


class Trials:
    """Steps for the kind `trial`."""

    def __init__(self, engine: Engine, reporter: Reporter, link: Cuttable) -> None:
        self.engine, self.reporter, self.link = engine, reporter, link
        self._runtime: trials.Trials[Any] | None = None
        #: What is under way, with the number of its command.
        self._ongoing: dict[str, tuple[int, Ongoing]] = {}
        self._verbs: dict[str, Callable[[Command], dict[str, Any] | Ongoing]] = {
            "state": self._state,
            "usage": self._usage,
            "request": self._request,
            "kill": self._kill,
            "mep": self._mep,
            "logs": self._logs,
            "cut": self._cut,
            "goodbye": self._goodbye,
            "leftovers": self._leftovers,
        }

    def step(self, key: str) -> float | None:
        """Do the present command once and tell what came of it."""
        wish = store.wish(KIND, key)
        if wish is None:
            return None
        if wish.deleted:
            self._forget(wish)
            return None
        done = store.outcome(KIND, key)
        begun = done is not None and done.generation == wish.generation
        if begun and done is not None and done.state != Applied.State.RETRYING:
            return None
        number, ongoing = self._ongoing.get(key, (0, None))
        try:
            if begun and (ongoing is None or number != wish.generation):
                raise Conflict("the agent was started again in the middle of this")
            answer = self._begin(wish) if not begun else ongoing and ongoing()
        except BreakwaterError as problem:
            answer = trials.trouble(problem)
        except Exception:
            logger.exception("trial %s: command %d broke", key, wish.generation)
            answer = {"problem": "the agent stumbled over this; its log tells why", "code": "broken"}
        if answer is None:
            return SOON
        self._ongoing.pop(key, None)
        store.note(wish, Applied.State.APPLIED)
        self.reporter.say(REPORT, key, wish.generation, answer)
        return None

    def _begin(self, wish: Wish) -> dict[str, Any] | None:
        """Start the command; None when it takes its time."""
        command = Command.read(wish.spec)
        verb = self._verbs.get(command.verb)
        if verb is None:
            raise Invalid(f"this agent knows no command {command.verb[:40]!r}")
        self._permit(command)
        # On disk before it is done: an agent that dies meanwhile neither does it twice nor says that it was done.
        store.note(wish, Applied.State.RETRYING)
        answer = verb(command)
        if callable(answer):
            self._ongoing[wish.key] = (wish.generation, answer)
            return None
        return answer

    def _permit(self, command: Command) -> None:
        if not settings.TRIALS:
            raise Denied("MEP_TRIALS of this node forbids trials")
        mark = store.wish(SANDBOX, SELF)
        if mark is None or mark.deleted:
            raise Denied("this node is no sandbox")
        if not command.namespace.startswith(trials.NAMESPACE):
            raise Denied("the application is none that is on trial")
        if time.time() > command.until + SKEW:
            raise Conflict("the command came too late; nobody waits for it any more")

    def _forget(self, wish: Wish) -> None:
        self._ongoing.pop(wish.key, None)
        store.forget(wish)
        store.withdraw(f"{REPORT}/{wish.key}")
        # Nothing is told of the end: the centre has forgotten the trial, and the report would stay there for ever.
        self.reporter.forget(REPORT, wish.key)

    @property
    def runtime(self) -> trials.Trials[Any]:
        """What can be tried on our engine; `Invalid` when nothing can."""
        if self._runtime is None:
            self._runtime = trials.of(self.engine)
        return self._runtime

    # --- verbs

    def _state(self, command: Command) -> dict[str, Any]:
        return trials.status_of(self.engine, command.name, command.namespace)

    def _usage(self, command: Command) -> dict[str, Any]:
        return {"containers": [each.as_dict() for each in self.runtime.usage(command.name, command.namespace)]}

    def _request(self, command: Command) -> dict[str, Any]:
        return self.runtime.ask(command.name, command.namespace, trials.Request.read(command.arguments))

    def _kill(self, command: Command) -> dict[str, Any]:
        before = trials.status_of(self.engine, command.name, command.namespace)
        return {"before": before, "killed": self.runtime.kill(command.name, command.namespace)}

    def _mep(self, command: Command) -> dict[str, Any]:
        return trial_mep.look(command.app_instance_id)

    def _logs(self, command: Command) -> dict[str, Any]:
        lines = command.arguments.get("lines", 200)
        wanted = min(max(lines, 1), LINES) if isinstance(lines, int) else LINES
        found = self.engine.logs(command.name, command.namespace, tail=wanted)
        return {"lines": [f"{each.container}: {each.text[:LONGEST_LINE]}" for each in found]}

    def _leftovers(self, command: Command) -> dict[str, Any]:
        held = self.runtime.leftovers(command.name, command.namespace)
        return {"left": [*held, *trial_mep.leftovers(command.app_instance_id)]}

    def _goodbye(self, command: Command) -> Ongoing:
        grace = command.arguments.get("grace", 10.0)
        if not isinstance(grace, int | float) or isinstance(grace, bool) or not 0 <= grace <= 600:
            raise Invalid("grace must be 0 to 600 seconds")
        return trial_mep.Goodbye(command.app_instance_id, float(grace)).look

    def _cut(self, command: Command) -> Ongoing:
        seconds = command.arguments.get("seconds", 5.0)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= 120:
            raise Invalid("seconds must be more than 0 and at most 120")
        asked = command.arguments.get("request")
        request = trials.Request.read(asked) if isinstance(asked, Mapping) else None
        return Cut(self, command, float(seconds), request).look


class Cut:
    """One cut of the link: how the application fared meanwhile, seen by the node alone."""

    #: Seconds between two looks at the application while the link is cut.
    EVERY = 0.5

    def __init__(self, of: Trials, command: Command, seconds: float, request: trials.Request | None) -> None:
        self.of, self.command, self.seconds, self.request = of, command, seconds, request
        self.before = of._state(command)
        self.states: list[str] = []
        self.answered = self.unanswered = 0
        self.was_connected, self.was_cut = of.link.connected, False
        self.began, self.looked_at = time.monotonic(), 0.0
        self.silent = 0.0
        of.link.cut(seconds)

    def look(self) -> dict[str, Any] | None:
        """Return what came of it once the link is back; None before."""
        now = time.monotonic()
        if not self.of.link.connected:
            self.was_cut, self.silent = True, now - self.began
        over = now - self.began >= self.seconds
        if not over and now - self.looked_at >= self.EVERY:
            self.looked_at = now
            self._look_at_app()
        if not over or (not self.of.link.connected and now - self.began < self.seconds + FIND_BACK):
            return None
        return {
            "was_cut": self.was_connected and self.was_cut,
            "found_back": self.of.link.connected,
            "seconds": round(self.silent, 1),
            "before": self.before,
            "after": self.of._state(self.command),
            "states": self.states,
            "answered": self.answered,
            "unanswered": self.unanswered,
        }

    def _look_at_app(self) -> None:
        seen = str(self.of._state(self.command)["state"])
        if not self.states or self.states[-1] != seen:
            self.states.append(seen)
        if self.request is None or self.of.link.connected:
            return
        told = self.of.runtime.ask(self.command.name, self.command.namespace, self.request)
        if told.get("connected"):
            self.answered += 1
        else:
            self.unanswered += 1
