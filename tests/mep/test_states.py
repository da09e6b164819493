"""The state machines of MEC 011, as rules that hold whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.errors import BreakwaterError, Conflict, Denied, Invalid
from mep.mp1 import states
from mep.mp1.states import Action, AppState, Change, RuleState, ServiceState

app_states = st.sampled_from(AppState)
service_states = st.sampled_from(ServiceState)
times = st.floats(0, 1e10)


def test_getting_ready_is_refused_on_the_way_out_only() -> None:
    refused = set()
    for state in AppState:
        try:
            assert states.confirmed_ready(state) is AppState.READY
        except Conflict:
            refused.add(state)
    assert refused == {AppState.TERMINATING, AppState.TERMINATED}


@given(app_states, st.booleans(), st.sampled_from(Action))
def test_only_a_ready_app_that_listens_is_given_time(state: AppState, listening: bool, action: Action) -> None:
    after = states.announced(state, listening=listening, action=action)
    if state in (AppState.TERMINATING, AppState.TERMINATED):
        assert after is state
    else:
        assert (after is AppState.TERMINATING) == (state is AppState.READY and listening)


@given(app_states, st.sampled_from(Action), st.sampled_from(Action))
def test_a_termination_is_confirmed_only_while_one_is_under_way_and_with_its_action(
    state: AppState, ongoing: Action, confirmed: Action
) -> None:
    if state is not AppState.TERMINATING:
        with pytest.raises(Conflict):
            states.confirmed_termination(state, ongoing, confirmed)
    elif ongoing is not confirmed:
        with pytest.raises(Invalid):
            states.confirmed_termination(state, ongoing, confirmed)
    else:
        assert states.confirmed_termination(state, ongoing, confirmed) is states.ended(ongoing)


@given(st.none() | app_states, times, times)
def test_nobody_waits_longer_than_the_deadline(state: AppState | None, deadline: float, now: float) -> None:
    over = states.termination_is_over(state, deadline, now)
    if state is AppState.TERMINATING:
        assert over == (now >= deadline)
    else:
        assert over == (state not in (AppState.PROVISIONED, AppState.READY))


@given(app_states)
def test_a_terminated_app_has_no_tokens_and_one_on_its_way_out_offers_nothing(state: AppState) -> None:
    assert states.may_use_tokens(state) == (state is not AppState.TERMINATED)
    if state in (AppState.TERMINATING, AppState.TERMINATED):
        with pytest.raises(Denied):
            states.may_offer(state)
    else:
        states.may_offer(state)


@given(st.none() | st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60), st.integers(0, 3600))
def test_the_granted_interval_is_within_bounds_and_only_for_those_who_asked(
    asked: int | None, default: int, shortest: int, more: int
) -> None:
    longest = shortest + more
    granted = states.granted_interval(asked, default=default, shortest=shortest, longest=longest)
    if asked is None:
        assert granted is None
    else:
        assert granted is not None
        assert shortest <= granted <= longest
        if shortest <= asked <= longest and asked:
            assert granted == asked


@given(app_states, st.sampled_from(RuleState), st.booleans())
def test_rules_of_an_app_that_is_gone_are_never_active(app: AppState, present: RuleState, chosen: bool) -> None:
    after = states.rule_state(app, present, chosen=chosen)
    if app in (AppState.TERMINATED, AppState.STOPPED):
        assert after is RuleState.INACTIVE
    if app is AppState.READY and not chosen:
        assert after is RuleState.ACTIVE
    if app is AppState.TERMINATING or (chosen and app is AppState.READY):
        assert after is present


@pytest.mark.parametrize(
    ("before", "after", "state_before", "state_after", "change"),
    [
        (1, 1, "ACTIVE", "ACTIVE", None),
        (1, 1, "ACTIVE", "INACTIVE", Change.STATE_CHANGED),
        (1, 2, "ACTIVE", "ACTIVE", Change.ATTRIBUTES_CHANGED),
        (1, 2, "ACTIVE", "INACTIVE", Change.ATTRIBUTES_CHANGED),
    ],
)
def test_a_change_of_attributes_outweighs_a_change_of_state(
    before: int, after: int, state_before: str, state_after: str, change: Change | None
) -> None:
    assert states.change_between(before, after, state_before, state_after) is change


class Liveness(RuleBasedStateMachine):
    """A service with heartbeats, its producer, and the sweep, in any order."""

    INTERVAL, GRACE = 10, 1.0

    def __init__(self) -> None:
        super().__init__()
        self.now, self.beat_at = 1000.0, 1000.0
        self.state = ServiceState.ACTIVE
        self.due = states.due(self.state, self.INTERVAL, self.beat_at, self.GRACE)

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        after = states.missed(self.state, self.due, self.now)
        late = self.now > self.beat_at + self.INTERVAL + self.GRACE
        assert (after is ServiceState.SUSPENDED) == (
            self.state is ServiceState.SUSPENDED or (self.state is ServiceState.ACTIVE and late)
        )
        self._become(after)

    @rule()
    @precondition(lambda self: self.state is not ServiceState.INACTIVE)
    def beat(self) -> None:
        self.beat_at = self.now
        self._become(states.beaten(self.state))
        assert self.state is ServiceState.ACTIVE

    @rule()
    @precondition(lambda self: self.state is ServiceState.INACTIVE)
    def beat_while_inactive(self) -> None:
        with pytest.raises(Conflict):
            states.beaten(self.state)

    @rule(state=st.sampled_from([ServiceState.ACTIVE, ServiceState.INACTIVE]))
    def producer_updates(self, state: ServiceState) -> None:
        if state is ServiceState.ACTIVE and self.state is not ServiceState.ACTIVE:
            self.beat_at = self.now
        self._become(state)

    @invariant()
    def only_an_active_service_owes_a_heartbeat(self) -> None:
        assert (self.due is not None) == (self.state is ServiceState.ACTIVE)

    def _become(self, state: ServiceState) -> None:
        self.state = state
        self.due = states.due(state, self.INTERVAL, self.beat_at, self.GRACE)


@pytest.mark.parametrize("app", AppState)
@given(present=st.sampled_from(RuleState), wanted=st.none() | st.sampled_from(RuleState))
def test_only_an_app_that_stays_may_have_an_active_rule(
    app: AppState, present: RuleState, wanted: RuleState | None
) -> None:
    active = (wanted or present) is RuleState.ACTIVE
    if active and app not in (AppState.READY, AppState.PROVISIONED):
        with pytest.raises(Denied):
            states.asked_rule_state(app, present, wanted)
    else:
        assert states.asked_rule_state(app, present, wanted) is (wanted or present)


class AppLife(RuleBasedStateMachine):
    """An app instance with a rule, the management and the clock, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.action, self.deadline, self.now = AppState.PROVISIONED, "", None, 0.0
        self.rule, self.chosen = RuleState.INACTIVE, False

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def provision(self) -> None:
        after = states.provisioned(self.state)
        if after is not AppState.READY:
            self.action, self.deadline = "", None
        self._become(after)

    @rule()
    def ready(self) -> None:
        try:
            self._become(states.confirmed_ready(self.state))
        except Conflict:
            assert self.state in (AppState.TERMINATING, AppState.TERMINATED)

    @rule(listening=st.booleans(), action=st.sampled_from(Action))
    def announce(self, listening: bool, action: Action) -> None:
        before = self.state
        self._become(states.announced(self.state, listening=listening, action=action))
        if self.state is AppState.TERMINATING and before is not AppState.TERMINATING:
            self.action, self.deadline = action, self.now + 10

    @rule(action=st.sampled_from(Action))
    def confirm(self, action: Action) -> None:
        try:
            after = states.confirmed_termination(self.state, self.action, action)
        except BreakwaterError:
            assert self.state is not AppState.TERMINATING or action != self.action
        else:
            self.action, self.deadline = "", None
            self._become(after)

    @rule()
    def sweep(self) -> None:
        if self.state is AppState.TERMINATING and states.termination_is_over(self.state, self.deadline, self.now):
            after = states.ended(Action(self.action))
            self.action, self.deadline = "", None
            self._become(after)

    @rule(wanted=st.sampled_from(RuleState))
    def switch(self, wanted: RuleState) -> None:
        try:
            self.rule = states.asked_rule_state(self.state, self.rule, wanted)
            self.chosen = True
        except Denied:
            assert wanted is RuleState.ACTIVE

    @invariant()
    def a_termination_under_way_has_an_action_and_a_deadline_and_nothing_else_has(self) -> None:
        under_way = self.state is AppState.TERMINATING
        assert under_way == (self.deadline is not None) == bool(self.action)

    @invariant()
    def a_rule_is_active_only_for_an_app_that_is_there(self) -> None:
        if self.state in (AppState.STOPPED, AppState.TERMINATED):
            assert self.rule is RuleState.INACTIVE
        if self.state is AppState.READY and not self.chosen:
            assert self.rule is RuleState.ACTIVE
        if self.rule is RuleState.ACTIVE and self.state is AppState.PROVISIONED:
            assert self.chosen

    @invariant()
    def nothing_is_left_of_an_app_exactly_when_its_tokens_are_worth_nothing(self) -> None:
        assert states.leaves_nothing(self.state) != states.may_use_tokens(self.state)

    def _become(self, state: AppState) -> None:
        changed, self.state = state is not self.state, state
        if changed:
            self.rule = states.rule_state(state, self.rule, chosen=self.chosen)
            self.chosen = self.chosen and not states.forgets_choice(state)


TestLiveness = Liveness.TestCase
TestAppLife = AppLife.TestCase
