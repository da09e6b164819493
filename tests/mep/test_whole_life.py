"""The verbs with the database, in any order: a model in plain Python must agree after every step.

What is compared: the states of app instances, which rules are active, which services can be discovered and in which
state, what waits for whom in the outbox, and whose tokens are good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings as mep
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.errors import Conflict, Denied, Invalid, Missing
from mep.mp1 import catalogue, rules, services, subscriptions, tokens
from mep.mp1.discovery import Offer, Query
from mep.mp1.models import App, DnsRule, Notice, Service, TrafficRule
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, service

APPS = st.sampled_from(["a", "b"])
ACTIONS = st.sampled_from(["STOPPING", "TERMINATING"])
TIMES = st.sampled_from([0.5, 3, 6, 12])
INTERVAL, GRACE_TIME = 5, 10
AVAILABILITY, TERMINATION = "SerAvailabilityNotificationSubscription", "AppTerminationNotificationSubscription"


@dataclass
class Offered:
    """What the model knows of a service."""

    app: str
    name: str
    state: str
    beats: bool
    beat_at: float

    def late(self, now: float) -> bool:
        return self.beats and self.state == "ACTIVE" and now > self.beat_at + INTERVAL + mep.LIVENESS_GRACE


@dataclass
class Known:
    """What the model knows of an app instance."""

    token: str
    state: str = "PROVISIONED"
    action: str = ""
    deadline: float = 0.0
    #: By kind of rule: whether it is active, and whether the app said so itself.
    rules: dict[str, tuple[bool, bool]] = field(
        default_factory=lambda: {"traffic": (False, False), "dns": (False, False)}
    )


class Life(RuleBasedStateMachine):
    """Two app instances, the management, and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()
        self.now = time.time()
        self.apps: dict[str, Known] = {}
        self.offers: dict[str, Offered] = {}
        self.ears: dict[str, tuple[str, str, str]] = {}
        self.told: dict[str, list[tuple[str, ...]]] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undone.__exit__(None, None, None)

    # --- the management ----------------------------------------------------------------------------------------------

    @initialize(ready=st.booleans())
    def begin(self, ready: bool) -> None:
        for app in ("a", "b"):
            self.provision(app)
            if ready:
                self.get_ready(app)

    @rule(app=APPS)
    def provision(self, app: str) -> None:
        services.provision(app, app_name=app, traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE])
        if app not in self.apps:
            self.apps[app] = Known(tokens.issue(App.objects.get(pk=app)))
        known = self.apps[app]
        if known.state != "READY":
            known.state, known.action = "PROVISIONED", ""
            known.rules = {kind: (active and chosen, chosen) for kind, (active, chosen) in known.rules.items()}

    @rule(app=APPS, action=ACTIONS, patient=st.booleans())
    def announce(self, app: str, action: str, patient: bool) -> None:
        services.begin_termination(app, action=action, timeout=GRACE_TIME if patient else 0, now=self.now)
        known = self.apps.get(app)
        if known is None or known.state in ("TERMINATING", "TERMINATED"):
            return
        listening = [key for key, (owner, kind, _) in self.ears.items() if owner == app and kind == TERMINATION]
        if known.state == "READY" and patient and listening:
            known.state, known.action, known.deadline = "TERMINATING", action, self.now + GRACE_TIME
            for key in listening:
                self.told[key].append((action, str(GRACE_TIME)))
        else:
            self._ends(app, action)

    @rule(app=APPS)
    def discard(self, app: str) -> None:
        services.discard(app)
        if app in self.apps:
            self._withdraws(app)
            del self.apps[app]

    # --- the app -------------------------------------------------------------------------------------------------------

    @rule(app=APPS)
    def get_ready(self, app: str) -> None:
        known = self.apps.get(app)
        if known is None:
            return self._refused(Missing, lambda: services.confirm_ready(app))
        if known.state in ("TERMINATING", "TERMINATED"):
            return self._refused(Conflict, lambda: services.confirm_ready(app))
        services.confirm_ready(app)
        if known.state != "READY":
            known.state = "READY"
            known.rules = {kind: (active or not chosen, chosen) for kind, (active, chosen) in known.rules.items()}
        return None

    @rule(app=APPS, action=ACTIONS)
    def confirm(self, app: str, action: str) -> None:
        known, verb = self.apps.get(app), lambda: services.confirm_termination(app, services.Action(action))
        if known is None or known.state != "TERMINATING":
            return self._refused((Conflict, Missing), verb)
        if action != known.action:
            return self._refused(Invalid, verb)
        verb()
        return self._ends(app, action)

    @rule(app=APPS, kind=st.sampled_from(["traffic", "dns"]), active=st.booleans())
    def switch(self, app: str, kind: str, active: bool) -> None:
        known = self.apps.get(app)
        if known is None:
            return None
        state = "ACTIVE" if active else "INACTIVE"
        row = App.objects.get(pk=app)

        def verb() -> Any:
            if kind == "traffic":
                return rules.put_traffic(row, "t1", {**TRAFFIC_RULE, "state": state}, None)
            return rules.put_dns(row, "d1", {**DNS_RULE, "state": state}, None)

        if active and known.state not in ("READY", "PROVISIONED"):
            return self._refused(Denied, verb)
        verb()
        known.rules[kind] = (active, True)
        return None

    @rule(app=APPS, name=st.sampled_from(["x", "y"]), beats=st.booleans())
    def register(self, app: str, name: str, beats: bool) -> None:
        row = App.objects.filter(pk=app).first()
        if row is None:
            return None
        raw = service(serName=name, **({"livenessInterval": INTERVAL} if beats else {}))
        if not self._may_offer(app):
            return self._refused(Denied, lambda: catalogue.register(row, raw, now=self.now))
        made = catalogue.register(row, raw, now=self.now)
        self.offers[made.pk] = Offered(app, name, "ACTIVE", beats, self.now)
        return self._tells(made.pk, "ADDED")

    @rule(data=st.data(), state=st.sampled_from(["ACTIVE", "INACTIVE"]))
    def update(self, data: st.DataObject, state: str) -> None:
        key, offer = self._one(data)
        if key is None or offer is None:
            return None
        row = App.objects.get(pk=offer.app)
        raw = service(serName=offer.name, state=state, **({"livenessInterval": INTERVAL} if offer.beats else {}))
        if not self._may_offer(offer.app):
            return self._refused(Denied, lambda: catalogue.update(row, key, raw, None, now=self.now))
        catalogue.update(row, key, raw, None, now=self.now)
        if state != offer.state:
            if offer.state != "ACTIVE" or not offer.beat_at:
                offer.beat_at = self.now
            offer.state = state
            self._tells(key, "STATE_CHANGED")
        return None

    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        key, offer = self._one(data)
        if key is None or offer is None:
            return None
        row, verb = App.objects.get(pk=offer.app), lambda: catalogue.beat(row, key, {"state": "ACTIVE"}, now=self.now)
        if not offer.beats:
            return self._refused(Missing, verb)
        if offer.state == "INACTIVE":
            return self._refused(Conflict, verb)
        verb()
        offer.beat_at = self.now
        if offer.state == "SUSPENDED":
            offer.state = "ACTIVE"
            self._tells(key, "STATE_CHANGED")
        return None

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key, offer = self._one(data)
        if key is None or offer is None:
            return
        catalogue.remove(App.objects.get(pk=offer.app), key)
        self._tells(key, "REMOVED")
        del self.offers[key]

    @rule(app=APPS, kind=st.sampled_from([AVAILABILITY, TERMINATION]), name=st.sampled_from(["", "x"]))
    def subscribe(self, app: str, kind: str, name: str) -> None:
        row = App.objects.filter(pk=app).first()
        if row is None:
            return None
        raw: dict[str, Any] = {"subscriptionType": kind, "callbackReference": "http://10.1.2.3/x", "appInstanceId": app}
        if name and kind == AVAILABILITY:
            raw["filteringCriteria"] = {"serNames": [name]}
        if not self._may_offer(app):
            return self._refused(Denied, lambda: subscriptions.subscribe(row, kind, raw, "https://mep:8443"))
        made = subscriptions.subscribe(row, kind, raw, "https://mep:8443").pk
        self.ears[made], self.told[made] = (app, kind, name), []
        return None

    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        if self.ears:
            key = data.draw(st.sampled_from(list(self.ears)))
            app, kind, _ = self.ears[key]
            subscriptions.unsubscribe(App.objects.get(pk=app), kind, key)
            self._forgets(key)

    # --- the clock -----------------------------------------------------------------------------------------------------

    @rule(seconds=TIMES)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        late = [key for key, offer in self.offers.items() if offer.late(self.now)]
        assert catalogue.suspend_silent(self.now) == len(late)
        for key in self._by_age(late):
            self.offers[key].state = "SUSPENDED"
        self._tells_all(late, "STATE_CHANGED")
        overdue = [
            app for app, known in self.apps.items() if known.state == "TERMINATING" and self.now >= known.deadline
        ]
        assert services.end_overdue_terminations(self.now) == len(overdue)
        for app in sorted(overdue):
            self._ends(app, self.apps[app].action)

    # --- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def apps_are_in_their_states_and_tokens_are_good_until_the_end(self) -> None:
        assert dict(App.objects.values_list("pk", "state")) == {app: known.state for app, known in self.apps.items()}
        for app, known in self.apps.items():
            try:
                assert tokens.holder(known.token).pk == app
                assert known.state != "TERMINATED"
            except tokens.BadToken:
                assert known.state == "TERMINATED"

    @invariant()
    def the_active_rules_are_those_of_the_model(self) -> None:
        for kind, table in (("traffic", TrafficRule), ("dns", DnsRule)):
            active = set(table.objects.filter(state="ACTIVE").values_list("app_id", flat=True))  # type: ignore[attr-defined]
            assert active == {app for app, known in self.apps.items() if known.rules[kind][0]}

    @invariant()
    def what_is_discovered_is_what_is_offered(self) -> None:
        found = {row.pk: (row.name, row.state) for row in Service.objects.all() if Query().wants(Offer.of(row))}
        assert found == {key: (offer.name, offer.state) for key, offer in self.offers.items()}

    @invariant()
    def everybody_is_told_what_it_asked_for_in_order(self) -> None:
        found: dict[str, list[tuple[str, ...]]] = {key: [] for key in self.ears}
        for notice in Notice.objects.order_by("id"):
            found[notice.subscription_id] += list(_sayings(notice.body))
        # Several services may change at once; their order within one change says nothing.
        assert {key: sorted(told) for key, told in found.items()} == {
            key: sorted(told) for key, told in self.told.items()
        }
        for key, told in found.items():
            for service_id in {saying[0] for saying in told}:
                ours = [saying for saying in self.told[key] if saying[0] == service_id]
                assert [saying for saying in told if saying[0] == service_id] == ours

    # --- the model -----------------------------------------------------------------------------------------------------

    def _one(self, data: st.DataObject) -> tuple[str | None, Offered | None]:
        if not self.offers:
            return None, None
        key = data.draw(st.sampled_from(self._by_age(self.offers)))
        return key, self.offers[key]

    def _by_age(self, keys: Any) -> list[str]:
        return [key for key in self.offers if key in set(keys)]

    def _may_offer(self, app: str) -> bool:
        return self.apps[app].state not in ("TERMINATING", "TERMINATED")

    def _ends(self, app: str, action: str) -> None:
        known = self.apps[app]
        known.state, known.action = ("STOPPED" if action == "STOPPING" else "TERMINATED"), ""
        known.rules = dict.fromkeys(known.rules, (False, False))
        if known.state == "TERMINATED":
            return self._withdraws(app)
        changed = [key for key, offer in self.offers.items() if offer.app == app and offer.state != "INACTIVE"]
        for key in changed:
            self.offers[key].state = "INACTIVE"
        return self._tells_all(changed, "STATE_CHANGED")

    def _withdraws(self, app: str) -> None:
        gone = [key for key, offer in self.offers.items() if offer.app == app]
        self._tells_all(gone, "REMOVED")
        for key in gone:
            del self.offers[key]
        for key in [key for key, (owner, _, _) in self.ears.items() if owner == app]:
            self._forgets(key)

    def _forgets(self, key: str) -> None:
        del self.ears[key], self.told[key]

    def _tells_all(self, keys: list[str], change: str) -> None:
        for key in keys:
            self._tells(key, change)

    def _tells(self, key: str, change: str) -> None:
        offer = self.offers[key]
        for ear, (_, kind, name) in self.ears.items():
            if kind == AVAILABILITY and name in ("", offer.name):
                self.told[ear].append((key, offer.state, change))

    def _refused(self, kind: Any, verb: Callable[[], Any]) -> None:
        with pytest.raises(kind):
            verb()


def _sayings(body: dict[str, Any]) -> list[tuple[str, ...]]:
    if body["notificationType"] == "AppTerminationNotification":
        return [(body["operationAction"], str(body["maxGracefulTimeout"]))]
    return [(each["serInstanceId"], each["state"], each["changeType"]) for each in body["serviceReferences"]]


def lives(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_verbs_do_what_the_model_says(db: None) -> None:
    lives(examples=8, steps=25)


@pytest.mark.live
@pytest.mark.timeout(300)
def test_the_verbs_do_what_the_model_says_for_longer(db: None) -> None:
    lives(examples=16, steps=40)
