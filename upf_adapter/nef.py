"""The NEF of a 5G core as a user plane: traffic influence, TS 29.522 (Rel-17) clause 5.4.

A rule is one subscription. Which rule it is stands in its `afTransId`: owner, digest of the content, id of the rule.
So the NEF's own list is the truth after a restart or a lost answer, and nothing is made twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from core.errors import BreakwaterError, Invalid, Missing
from upf_adapter import influence, sbi
from upf_adapter.contract import Capabilities, Counters, TrafficRule, UpfAdapter
from upf_adapter.core_options import NefOptions
from upf_adapter.flow_descriptions import flows, only_ue
from upf_adapter.ledger import Ledger
from upf_adapter.limits import check as check_limits
from upf_adapter.routing import route_for
from upf_adapter.setbacks import Setbacks

log = logging.getLogger(__name__)
API = "3gpp-traffic-influence/v1"
#: Who a subscription is about. Only PUT could change it in place, and not every NEF lets it.
TARGETS = ("ipv4Addr", "ipv6Addr", "macAddr", "gpsi", "externalGroupId", "anyUeInd")


@dataclass(slots=True)
class Held:
    """One subscription of ours at the NEF."""

    subscription: str
    transaction: str
    target: dict[str, Any]
    #: The rule that it stands for; None when only its id is known.
    rule: TrafficRule | None = None
    #: It is not in force as it was sent, so it is sent again.
    renew: bool = False
    #: The transaction of a change of ours that is under way: if the NEF shows it, it was carried out.
    awaited: str = ""
    #: What the NEF showed of it first: another picture later is a foreign hand.
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the state file has of one rule."""

    subscription: str
    transaction: str
    rule: TrafficRule


class NefUpf(UpfAdapter):
    """Leads traffic by traffic influence subscriptions at a NEF."""

    name: ClassVar[str] = "nef"
    Options: ClassVar[type[msgspec.Struct]] = NefOptions
    options: NefOptions

    def __init__(self, options: NefOptions) -> None:
        super().__init__(options)
        self.client = sbi.Client("NEF", options.access)
        self.client.check_secrets(options.url)
        self.base = f"{options.url}/{API}/{quote(options.af_id, safe='')}/subscriptions"
        self.ledger = Ledger(options.state_file)
        self._known: dict[str, Known] = self.ledger.keep(Known)
        self.setbacks = Setbacks(options.retry_first, options.retry_longest)
        self._held: dict[str, Held] = {}
        self._twins: dict[str, list[str]] = {}
        #: Rules that are gone without our doing and have not been put since.
        self._gone: set[str] = set()
        self._stale, self._look_at = True, 0.0

    def capabilities(self) -> Capabilities:
        return Capabilities(
            actions=frozenset({"FORWARD_DECAPSULATED"}),
            filters=frozenset({"srcAddress", "dstAddress", "srcPort", "dstPort", "protocol"}),
            interfaces=frozenset({"IP"}),
            filter_types=frozenset({"FLOW"}),
            notes=(
                "Traffic is led to the DNAI that is set for a rule's destination; the core chooses the user plane.",
                "The standard has no precedence here: among overlapping rules with different destinations the core decides,"
                " not the priority.",
                "srcAddress is the UE's side. One address makes the rule about that UE, all else about any UE or the"
                " external group that is set.",
            ),
        )

    def check(self, rule: TrafficRule) -> None:
        self.body(rule)

    def body(self, rule: TrafficRule) -> dict[str, Any]:
        """Return the TrafficInfluSub of a rule (TS 29.522 5.4.3.3.2); raises as `check` does."""
        options = self.options
        matches = check_limits(rule, self.capabilities(), self.name)
        route = route_for(rule, options.routes, self.name)
        found = flows(matches, options.most_flows, names=options.protocol_names)
        body: dict[str, Any] = {
            **influence.target(only_ue(matches), options.external_group),
            **({"afServiceId": options.af_service_id} if options.af_service_id else {}),
            **({"dnn": options.dnn} if options.dnn else {}),
            **({"snssai": options.snssai} if options.snssai else {}),
            "appReloInd": options.relocatable,
            "trafficFilters": [
                {"flowId": number, "flowDescriptions": flow.both}
                for number, flow in enumerate((flow for each in found for flow in each), 1)
            ],
            "trafficRoutes": [route.location()],
            "suppFeat": options.supp_feat or ("4" if options.acknowledge else "0"),
        }
        if options.notification_url:
            body |= {
                "subscribedEvents": ["UP_PATH_CHANGE"],
                "dnaiChgType": options.dnai_change,
                "notificationDestination": _destination(options.notification_url),
                **({"afAckInd": True} if options.acknowledge else {}),
            }
        return {**body, "afTransId": self._transaction(rule, body)}

    def put(self, rule: TrafficRule) -> None:
        body = self.body(rule)
        # From here on it is reported by this call, no longer by `intact`.
        self._gone.discard(rule.id)
        self.setbacks.check(rule.id)
        self._fresh()
        held = self._held.get(rule.id)
        if held is not None and held.transaction == body["afTransId"] and not held.renew:
            # Also one that was made by a request whose answer was lost, or before a restart.
            held.rule = rule
        else:
            self._send(rule, body, held)
        self._remember(rule.id, rule)
        self._drop_twins(rule.id, "")

    def delete(self, rule_id: str) -> None:
        self._fresh()
        self._drop_twins(rule_id, "")
        self._remove_held(rule_id)
        self._forget(rule_id)
        self.setbacks.forget(rule_id)
        self._gone.discard(rule_id)

    def rules(self) -> dict[str, TrafficRule]:
        self._fresh()
        # Who sees what is there needs no word of `intact` any more about what is not.
        self._gone.clear()
        # One that we know by its id only, or that is not in force as it was sent, equals no wish: so it is put again,
        # which costs nothing if it is right, or taken out.
        return {
            key: held.rule if held.rule is not None and not held.renew else TrafficRule(key, "", 0, (), "")
            for key, held in self._held.items()
        }

    def intact(self) -> bool:
        now = time.monotonic()
        if not self._gone and now >= self._look_at:
            try:
                self._read()
                self._drop_twins(*self._twins)
            except BreakwaterError as problem:
                # Nothing is known to be lost; whether the NEF is there is told by `ping` and by each change.
                log.info("the NEF could not be asked for our subscriptions: %s", problem.detail)
        return not self._gone

    def counters(self) -> dict[str, Counters]:
        return {}

    def notified(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Take an EventNotification (TS 29.522 5.4.3.3.3); return the AfAckInfo that was sent, when one was asked for."""
        body = event.get("body")
        if str(event.get("path", "")).strip("/") != "nef" or not isinstance(body, dict):
            raise Invalid("This is no notification of a NEF")
        if set(body) == {"subscription"}:
            return None  # the test notification of TS 29.122 5.2.5.3
        news = influence.read(body)
        self._fresh()
        rule_id = self._rule_of(news.transaction)
        if rule_id is None or rule_id not in self._held:
            raise Missing("The notification is about no rule of this MEP")
        held = self._held[rule_id]
        ours = {route.dnai for route in self.options.routes}
        wanted = {self._dnai(held.rule)} if held.rule is not None else ours
        if influence.left(news, wanted, single="anyUeInd" not in held.target and "externalGroupId" not in held.target):
            self._take_back(rule_id, f"The NEF told that the traffic goes to {news.target or 'no DNAI'} now")
        if not news.ack_uri:
            return None
        answer = influence.acknowledgement(news, self.options.routes)
        influence.check_ack(news.ack_uri, self.options.url)
        self.client.send("POST", news.ack_uri, answer)
        return answer

    def ping(self) -> str:
        self._read()
        return f"NEF at {self.options.url} (TS 29.522), {len(self._held)} subscriptions of ours"

    def close(self) -> None:
        self.client.close()

    # The NEF's side

    def _fresh(self) -> None:
        if self._stale:
            self._read()

    def _read(self) -> None:
        """Compare what we hold with the NEF's own list."""
        self._look_at = time.monotonic() + self.options.check_every
        answer = self.client.send("GET", self.base, fine=(404,))
        listed = answer.json() if answer.status == 200 and answer.content else []
        if not isinstance(listed, list):
            raise sbi.Nonsense("The NEF answered something that is no list of subscriptions")
        by_subscription = {known.subscription: key for key, known in self._known.items()}
        found: dict[str, Held] = {}
        twins: dict[str, list[str]] = {}
        for item in listed:
            held = _held(item)
            if held is None:
                continue
            rule_id = self._rule_of(held.transaction)
            if rule_id is None and not held.transaction and held.subscription in by_subscription:
                # A NEF that drops the afTransId: then our own record tells.
                rule_id = by_subscription[held.subscription]
                held.transaction = self._known[rule_id].transaction
            if rule_id is None:
                if not held.transaction and self._calls_us(item):
                    twins.setdefault("", []).append(held.subscription)
                continue
            before = self._held.get(rule_id)
            if rule_id in found:
                if before is not None and before.subscription == held.subscription:
                    found[rule_id], held = held, found[rule_id]
                twins.setdefault(rule_id, []).append(held.subscription)
            else:
                found[rule_id] = held
        self._gone |= self._held.keys() - found.keys()
        for rule_id, held in found.items():
            self._recognise(rule_id, held)
        for rule_id in self._known.keys() - found.keys():
            self._forget(rule_id)
        self._held, self._twins, self._stale = found, twins, False

    def _recognise(self, rule_id: str, held: Held) -> None:
        """Fill in which rule a listed subscription stands for, unless a foreign hand has changed it."""
        before = self._held.get(rule_id)
        if before is not None and before.subscription == held.subscription:
            if before.awaited == held.transaction != before.transaction:
                return
            held.rule = before.rule
            held.renew = before.renew or before.transaction != held.transaction
            held.renew |= before.picture not in ("", held.picture)
            if held.renew and not before.renew:
                self._gone.add(rule_id)
            return
        known = self._known.get(rule_id)
        if known is not None and known.transaction == held.transaction:
            try:
                # Under changed options the same rule is another subscription.
                held.rule = known.rule if self.body(known.rule)["afTransId"] == held.transaction else None
            except Invalid:
                held.rule = None

    def _send(self, rule: TrafficRule, body: dict[str, Any], held: Held | None) -> None:
        target = {name: body[name] for name in TARGETS if name in body}
        # Whatever happens now, the NEF's list tells afterwards; only a clear answer makes that unnecessary.
        self._stale = True
        if held is not None and held.target == target:
            held.awaited = body["afTransId"]
            answer = self.client.send(
                "PUT", f"{self.base}/{quote(held.subscription, safe='')}", body, fine=(404, 405, 501)
            )
            if answer.status < 300:
                self._settled(rule, body, held.subscription, target)
                return
            if answer.status == 404:
                held = None
        if held is not None:
            self._remove_held(rule.id)
        answer = self.client.send("POST", self.base, body)
        subscription = sbi.last_segment(answer.location) or sbi.last_segment(answer.object().get("self"))
        if subscription:
            self._settled(rule, body, subscription, target)
            return
        self._read()
        if rule.id not in self._held:
            raise sbi.Nonsense("The NEF took the subscription, but neither names it nor lists it")
        self._held[rule.id].rule = rule

    def _settled(self, rule: TrafficRule, body: dict[str, Any], subscription: str, target: dict[str, Any]) -> None:
        self._held[rule.id] = Held(subscription, body["afTransId"], target, rule)
        self._stale = False

    def _remember(self, rule_id: str, rule: TrafficRule) -> None:
        held = self._held[rule_id]
        self._known[rule_id] = Known(held.subscription, held.transaction, rule)
        self.ledger.put(rule_id, msgspec.to_builtins(asdict(self._known[rule_id])))

    def _forget(self, rule_id: str) -> None:
        self._known.pop(rule_id, None)
        self.ledger.drop(rule_id)

    def _drop_twins(self, *rule_ids: str) -> None:
        for rule_id in rule_ids:
            for subscription in self._twins.pop(rule_id, []):
                self._remove(subscription)

    def _calls_us(self, item: dict[str, Any]) -> bool:
        """Return whether a subscription without afTransId is ours: nobody else knows where we listen."""
        url = self.options.notification_url
        return bool(url) and item.get("notificationDestination") == _destination(url)

    def _remove_held(self, rule_id: str) -> None:
        held = self._held.pop(rule_id, None)
        if held is not None:
            self._remove(held.subscription)

    def _remove(self, subscription: str) -> None:
        stale, self._stale = self._stale, True  # in case the answer is lost
        self.client.send("DELETE", f"{self.base}/{quote(subscription, safe='')}", fine=(404, 410))
        self._stale = stale

    def _take_back(self, rule_id: str, why: str) -> None:
        """Take the rule as not in force, so that it is sent anew; told twice is told once."""
        held = self._held[rule_id]
        if held.renew:
            return
        held.renew = True
        self._gone.add(rule_id)
        self.setbacks.note(rule_id, why)

    def _dnai(self, rule: TrafficRule) -> str:
        return route_for(rule, self.options.routes, self.name).dnai

    def _transaction(self, rule: TrafficRule, body: dict[str, Any]) -> str:
        content = msgspec.json.encode([body, rule.priority, rule.filters, rule.destinations], order="sorted")
        digest = hashlib.sha256(content).hexdigest()[:32]
        key = base64.urlsafe_b64encode(rule.id.encode()).decode().rstrip("=")
        return f"{self.options.owner}.{digest}.{key}"

    def _rule_of(self, transaction: Any) -> str | None:
        """Return the id of the rule that an afTransId of ours stands for; None for those of others."""
        owner, _, rest = str(transaction).partition(".")
        digest, _, key = rest.partition(".")
        if owner != self.options.owner or not re.fullmatch(r"[0-9a-f]{32}", digest):
            return None
        try:
            return base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)).decode()
        except (binascii.Error, ValueError):
            return None


def _destination(url: str) -> str:
    return f"{url.rstrip('/')}/nef"


def _held(item: Any) -> Held | None:
    """Return one entry of the NEF's list; None when it cannot be addressed."""
    subscription = sbi.last_segment(item.get("self")) if isinstance(item, dict) else ""
    if not subscription:
        return None
    shown = [item.get("trafficFilters"), item.get("trafficRoutes")]
    picture = hashlib.sha256(msgspec.json.encode(shown, order="sorted")).hexdigest()
    transaction = item.get("afTransId")
    target = {name: item[name] for name in TARGETS if item.get(name)}
    return Held(subscription, transaction if isinstance(transaction, str) else "", target, picture=picture)
