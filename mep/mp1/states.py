"""The state machines of MEC 011 as pure functions: what may follow what, and nothing else.

Times are epoch seconds and always handed in.
"""

from __future__ import annotations

import enum

from core.errors import Conflict, Denied, Invalid
from core.mecrules import RuleState as RuleState


class _Named(enum.StrEnum):
    @classmethod
    def choices(cls) -> list[tuple[str, str]]:
        """Return the members as Django wants choices."""
        return [(str(member), str(member)) for member in cls]


class AppState(_Named):
    """The life of an app instance here.

    PROVISIONED (has an identity) -> READY (said so) -> TERMINATING (was told to stop or go; has until its
    deadline) -> STOPPED (may come back) or TERMINATED (is being removed; its tokens are worth nothing).
    """

    PROVISIONED = "PROVISIONED"
    READY = "READY"
    TERMINATING = "TERMINATING"
    STOPPED = "STOPPED"
    TERMINATED = "TERMINATED"


class ServiceState(_Named):
    """MEC 011 8.1.6.2."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    SUSPENDED = "SUSPENDED"


class RuleOrigin(_Named):
    """Whose word a rule is: that of the app's descriptor, of the operator on this node, or of the centre."""

    DESCRIPTOR = "descriptor"
    OPERATOR = "operator"
    CENTRE = "centre"


class Severity(_Named):
    """How bad an alarm is (ITU-T X.733)."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    WARNING = "warning"


class Enforcement(_Named):
    """What the user plane made of a traffic rule, or the DNS server of a DNS rule."""

    PENDING = "pending"
    IN_FORCE = "in-force"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"


class Action(_Named):
    """MEC 011 7.1.3.3, OperationActionType."""

    STOPPING = "STOPPING"
    TERMINATING = "TERMINATING"


class Change(_Named):
    """MEC 011 8.1.4.2, changeType of a service availability notification."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    STATE_CHANGED = "STATE_CHANGED"
    ATTRIBUTES_CHANGED = "ATTRIBUTES_CHANGED"


# --- app instances ---------------------------------------------------------------------------------------------------


def provisioned(state: AppState | None) -> AppState:
    """Return the state after a (repeated) provisioning: a running app keeps running, a gone one starts anew."""
    return AppState.READY if state is AppState.READY else AppState.PROVISIONED


def confirmed_ready(state: AppState) -> AppState:
    """Return the state after confirm_ready; `Conflict` while the app is on its way out (7.2.12: it may retry)."""
    if state in (AppState.TERMINATING, AppState.TERMINATED):
        raise Conflict(f"The app instance is {state.lower()}; it can only become ready once it is started again")
    return AppState.READY


def announced(state: AppState, *, listening: bool, action: Action) -> AppState:
    """Return the state after a termination was asked for.

    An app that runs and listens gets its time; any other has nobody to wait for. Asking twice is asking once.
    """
    if state in (AppState.TERMINATING, AppState.TERMINATED):
        return state
    if state is AppState.READY and listening:
        return AppState.TERMINATING
    return ended(action)


def ended(action: Action) -> AppState:
    """Return the state that a finished `action` leads to."""
    return AppState.STOPPED if action is Action.STOPPING else AppState.TERMINATED


def confirmed_termination(state: AppState, ongoing: str, confirmed: Action) -> AppState:
    """Return the state after confirm_termination.

    `Conflict` when none is under way, `Invalid` when the action is not the announced one (7.1.4.2).
    """
    if state is not AppState.TERMINATING:
        raise Conflict("There is no termination ongoing for this app instance")
    if confirmed != ongoing:
        raise Invalid(f"operationAction must be {ongoing}, as in the notification, not {confirmed}")
    return ended(confirmed)


def termination_is_over(state: AppState | None, deadline: float | None, now: float) -> bool:
    """Return whether nobody needs to wait for the app any more."""
    if state is AppState.TERMINATING:
        return deadline is not None and now >= deadline
    return state in (None, AppState.TERMINATED, AppState.STOPPED)


def may_use_tokens(state: AppState) -> bool:
    """Return whether tokens of an app in `state` are issued and accepted."""
    return state is not AppState.TERMINATED


def leaves_nothing(state: AppState) -> bool:
    """Return whether services and subscriptions of an app that ended in `state` are gone; a stopped app may come back."""
    return state is AppState.TERMINATED


def may_offer(state: AppState) -> None:
    """Raise `Denied` when an app in `state` may not register or change services and subscriptions."""
    if state in (AppState.TERMINATING, AppState.TERMINATED):
        raise Denied(f"The app instance is {state.lower()} and may not offer anything new")


# --- services and their liveness (8.2.10) ------------------------------------------------------------------------------


def granted_interval(asked: int | None, *, default: int, shortest: int, longest: int) -> int | None:
    """Return the heartbeat interval that the platform wants; None when the app sends no heartbeats.

    Zero means that the platform chooses (8.1.2.2).
    """
    if asked is None:
        return None
    return max(shortest, min(longest, asked or default))


def due(state: ServiceState, interval: int | None, beat_at: float, grace: float) -> float | None:
    """Return the time after which a heartbeat counts as missed; None while none is awaited."""
    if interval is None or state is not ServiceState.ACTIVE:
        return None
    return beat_at + interval + grace


def beaten(state: ServiceState) -> ServiceState:
    """Return the state after a heartbeat: it lifts a suspension; `Conflict` on an inactive service (8.2.10.3.3)."""
    if state is ServiceState.INACTIVE:
        raise Conflict("The service is INACTIVE; update it to ACTIVE before sending heartbeats")
    return ServiceState.ACTIVE


def missed(state: ServiceState, due_at: float | None, now: float) -> ServiceState:
    """Return the state at `now`: an active service whose heartbeat is overdue is suspended."""
    if state is ServiceState.ACTIVE and due_at is not None and now > due_at:
        return ServiceState.SUSPENDED
    return state


def change_between(before: object, after: object, state_before: str, state_after: str) -> Change | None:
    """Return the changeType of an update; `before` and `after` are the attributes beside the state."""
    if before != after:
        return Change.ATTRIBUTES_CHANGED
    return Change.STATE_CHANGED if state_before != state_after else None


# --- rules -------------------------------------------------------------------------------------------------------------


def rule_state(app: AppState, present: RuleState, *, chosen: bool, wished: RuleState | None = None) -> RuleState:
    """Return the state of a rule when its app gets into `app`.

    Ready makes it active unless the app chose otherwise; an app that is not ready yet has only the rules that it
    activated itself, one that is gone has none. What the centre `wished` goes before both while the app is there.
    """
    if wished is not None and app in (AppState.READY, AppState.PROVISIONED):
        return wished
    if app is AppState.TERMINATING or (chosen and app in (AppState.READY, AppState.PROVISIONED)):
        return present
    return RuleState.ACTIVE if app is AppState.READY else RuleState.INACTIVE


def asked_rule_state(app: AppState, present: RuleState, wanted: RuleState | None) -> RuleState:
    """Return the state of a rule after its app asked for `wanted` (None: as it is).

    `Denied` when the app is on its way out or stopped and the rule would be active.
    """
    after = wanted or present
    if after is RuleState.ACTIVE and app not in (AppState.READY, AppState.PROVISIONED):
        raise Denied(f"The app instance is {app.lower()}; its rules cannot be activated")
    return after


def forgets_choice(app: AppState) -> bool:
    """Return whether what the app chose for its rules ends with its getting into `app`."""
    return app in (AppState.STOPPED, AppState.TERMINATED)
