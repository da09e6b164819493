"""The PCF of a 5G core as a user plane: policy authorization over N5, TS 29.514 (Rel-17).

A rule about one UE is one application session at the PCF that serves this UE. N5 has no list of sessions, so what we have
there is kept in a state file, and each attempt has a notification address of its own by which a lost one is known again.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Unavailable
from upf_adapter import sbi, sessions
from upf_adapter.bsf import API as BSF_API
from upf_adapter.bsf import Binding, Bindings
from upf_adapter.contract import Capabilities, Counters, Refused, TrafficRule, UpfAdapter
from upf_adapter.core_options import PcfOptions
from upf_adapter.flow_descriptions import flows, only_ue
from upf_adapter.flows import IpAddress
from upf_adapter.ledger import Ledger
from upf_adapter.limits import check as check_limits
from upf_adapter.routing import route_for
from upf_adapter.setbacks import Setbacks

log = logging.getLogger(__name__)
API = "npcf-policyauthorization/v1/app-sessions"
#: Sessions that one `intact` asks for; the next call goes on with the next ones.
AT_ONCE = 16
#: Attempts without an answer that are remembered.
MOST_LOST = 1000
#: An address that no UE has (RFC 5737), to see whether a BSF answers.
NOBODY = "192.0.2.1"


@dataclass(slots=True)
class Session:
    """One application session of ours, as the state file has it."""

    pcf: str
    id: str
    attempt: str
    ue: str
    rule: TrafficRule
    #: What can be patched, in every version that the PCF may have.
    sent: list[dict[str, Any]]
    #: It is not in force as it was asked for, so it is made anew.
    renew: bool = False


@dataclass(slots=True)
class Wish:
    """A rule as the PCF is asked for it."""

    rule: TrafficRule
    ue: IpAddress
    form: dict[str, Any] = field(default_factory=dict)


class PcfUpf(UpfAdapter):
    """Leads or blocks the traffic of single UEs by application sessions at their PCF."""

    name: ClassVar[str] = "pcf"
    Options: ClassVar[type[msgspec.Struct]] = PcfOptions
    options: PcfOptions

    def __init__(self, options: PcfOptions) -> None:
        super().__init__(options)
        self.client = sbi.Client("PCF", options.access)
        self.client.check_secrets(options.bsf or options.pcf)
        self._bsf = sbi.Client("BSF", options.access)
        self.bindings = Bindings(
            self._bsf,
            options.bsf,
            fixed=options.pcf,
            lifetime=options.binding_lifetime,
            networks=[ipaddress.ip_network(each) for each in options.pcf_networks],
        )
        self.ledger = Ledger(options.state_file)
        self.setbacks = Setbacks(options.retry_first, options.retry_longest)
        self._sessions: dict[str, Session] = self.ledger.keep(Session, "rule:")
        self.ledger.keep(str, "attempt:")
        self._gone: set[str] = set()
        self._mute: set[str] = set()
        self._look_at, self._last_looked = 0.0, ""

    def capabilities(self) -> Capabilities:
        return Capabilities(
            actions=frozenset({"FORWARD_DECAPSULATED", "DROP"}),
            filters=frozenset({"srcAddress", "dstAddress", "srcPort", "dstPort", "protocol", "dSCP", "tC"}),
            interfaces=frozenset({"IP"}),
            filter_types=frozenset({"FLOW"}),
            notes=(
                "A rule is about one UE, its srcAddress; the adapter nef has rules about any UE or a group.",
                "Forwarding is the PCF's InfluenceOnTrafficRouting: free5GC's PCF has it, its SMF uses the first route;"
                " Open5GS 2.7.7 takes the request and routes nothing, there only DROP (the gate) is real.",
                "The standard has no precedence here: among overlapping rules the PCF decides, not the priority.",
            ),
        )

    def check(self, rule: TrafficRule) -> None:
        self._wish(rule)

    def put(self, rule: TrafficRule) -> None:
        wish = self._wish(rule)
        # From here on it is reported by this call, no longer by `intact`.
        self._gone.discard(rule.id)
        self.setbacks.check(rule.id)
        session = self._sessions.get(rule.id)
        if session is not None and session.ue == str(wish.ue) and not session.renew:
            if session.sent == [wish.form] or self._change(session, wish):
                session.rule = rule
                self._keep(rule.id, session)
                return
        elif session is not None:
            self._end(rule.id, session)
        self._create(wish)

    def delete(self, rule_id: str) -> None:
        session = self._sessions.get(rule_id)
        if session is not None:
            self._end(rule_id, session)
        self.setbacks.forget(rule_id)
        self._gone.discard(rule_id)

    def rules(self) -> dict[str, TrafficRule]:
        # Who sees what is there needs no word of `intact` any more about what is not.
        self._gone.clear()
        return {key: self._shown(key, session) for key, session in self._sessions.items()}

    def intact(self) -> bool:
        now = time.monotonic()
        if not self._gone and now >= self._look_at:
            self._look_at = now + self.options.check_every
            self._look()
        return not self._gone

    def counters(self) -> dict[str, Counters]:
        return {}

    def ping(self) -> str:
        if self.options.bsf:
            self._bsf.send("GET", f"{self.options.bsf}/{BSF_API}", params={"ipv4Addr": NOBODY}, fine=(400, 404))
            return f"BSF at {self.options.bsf} (TS 29.521), {len(self._sessions)} sessions of ours"
        self.client.send("GET", f"{self.options.pcf}/{API}/none", fine=(400, 404, 405))
        return f"PCF at {self.options.pcf} (TS 29.514), {len(self._sessions)} sessions of ours"

    def close(self) -> None:
        self.client.close()
        self._bsf.close()

    def notified(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Take a notification of a PCF: `pcf/<attempt>/terminate` (TerminationInfo) or `/notify` (EventsNotification)."""
        body = event.get("body")
        kind, attempt, what, *more = [*str(event.get("path", "")).strip("/").split("/"), "", ""]
        if kind != "pcf" or what not in ("terminate", "notify") or any(more) or not isinstance(body, dict):
            raise Invalid("This is no notification of a PCF")
        rule_id = next((key for key, session in self._sessions.items() if session.attempt == attempt), None)
        if rule_id is None:
            self._found_again(attempt, body)
            return None
        if what == "terminate":
            self._terminated(rule_id, sbi.words(body.get("termCause") or "no cause given"))
        elif "FAILED_RESOURCES_ALLOCATION" in _events(body):
            self._failed(rule_id)
        return None

    # What a rule becomes

    def _wish(self, rule: TrafficRule) -> Wish:
        matches = check_limits(rule, self.capabilities(), self.name)
        ue = only_ue(matches)
        if ue is None:
            raise Refused(
                f"the user plane {self.name} needs the address of one UE as srcAddress of every filter of a rule",
                nearest="the user plane nef, which has rules about any UE or a group",
            )
        options = self.options
        found = flows(matches, options.most_flows, names=options.protocol_names)
        more = {
            "medType": options.media_type, "marBwUl": options.uplink, "marBwDl": options.downlink,
            "qosReference": options.qos_reference,
        }  # fmt: skip
        given = {name: value for name, value in more.items() if value}
        form: dict[str, Any] = {
            "medComponents": sessions.media(matches, found, open_gate=rule.action != "DROP", **given),
            **({"afAppId": options.af_app_id} if options.af_app_id else {}),
        }
        if rule.action != "DROP":
            location = route_for(rule, options.routes, self.name).location()
            form["afRoutReq"] = {"appReloc": options.relocatable, "routeToLocs": [location]}
        return Wish(rule, ue, form)

    def _shown(self, rule_id: str, session: Session) -> TrafficRule:
        """Return the rule that a session stands for; one that equals no wish when it is not in force as it should be."""
        other = TrafficRule(rule_id, "", 0, (), "")
        if session.renew:
            return other
        rule = session.rule
        try:
            # Under changed options the same rule is another session.
            return rule if session.sent == [self._wish(rule).form] else other
        except Invalid:
            return other

    # The PCF's side

    def _create(self, wish: Wish) -> None:
        binding, remembered = self.bindings.find(wish.ue)
        if binding is None:
            why = f"The UE {wish.ue} has no session in the core at the moment"
            self.setbacks.note(wish.rule.id, why)
            raise Unavailable(why)
        try:
            self._ask(wish, binding)
        except sbi.Lost:
            self.bindings.forget(wish.ue)
            raise
        except BreakwaterError:
            # The PCF may have moved since we asked for it. What it has never taken may be asked of another.
            self.bindings.forget(wish.ue)
            again, _ = self.bindings.find(wish.ue) if remembered else (None, False)
            if again is None or again == binding:
                raise
            self._ask(wish, again)

    def _ask(self, wish: Wish, binding: Binding) -> None:
        """Make the session, so that it is known again even when its answer is lost."""
        attempt = secrets.token_hex(12)
        uri = f"{self.options.notification_url}/pcf/{attempt}"
        dnn, snssai = self.options.dnn or binding.dnn, self.options.snssai or binding.snssai
        body = {
            "ascReqData": {
                "notifUri": uri,
                "suppFeat": self.options.supp_feat,
                **sessions.ue_member(wish.ue),
                **({"dnn": dnn} if dnn else {}),
                **({"sliceInfo": snssai} if snssai else {}),
                "evSubsc": sessions.events(uri),
                **wish.form,
            }
        }
        self._remember_attempt(attempt, binding.pcf)
        try:
            # 303: the PCF recognises a repeated request and names the session that it has already made.
            answer = self.client.send("POST", f"{binding.pcf}/{API}", body, fine=(303,))
        except BreakwaterError as problem:
            if not isinstance(problem, sbi.Lost | sbi.Nonsense):
                self.ledger.drop(f"attempt:{attempt}")
            raise
        session_id = sbi.last_segment(answer.location)
        if not session_id:
            raise sbi.Nonsense("The PCF made a session and does not say where")
        made = Session(binding.pcf, session_id, attempt, str(wish.ue), wish.rule, [wish.form])
        self._keep(wish.rule.id, made)
        self.ledger.drop(f"attempt:{attempt}")
        if "afRoutReq" in wish.form and self.options.insist_on_routing and sessions.routes(answer.object()) is False:
            self._end(wish.rule.id, made)
            raise Refused("the PCF of this UE leads no traffic (no InfluenceOnTrafficRouting)", nearest="DROP")

    def _change(self, session: Session, wish: Wish) -> bool:
        """Patch the session into the wish; False when it is gone."""
        patch = sessions.patch(session.sent, wish.form)
        # Until a clear answer both versions are possible, and the next patch must fit both.
        session.sent = [*session.sent[-3:], wish.form]
        self._keep(wish.rule.id, session)
        answer = self.client.send(
            "PATCH", self._url(session), {"ascReqData": patch}, content_type=sbi.MERGE_PATCH, fine=(404,)
        )
        if answer.status == 404:
            self._forget(wish.rule.id)
            return False
        session.sent = [wish.form]
        return True

    def _end(self, rule_id: str, session: Session) -> None:
        try:
            self.client.send("POST", f"{self._url(session)}/delete", fine=(404,))
        except Unavailable:
            if not self._moved(session):
                raise
            log.warning("the PCF of %s is gone, and its session for rule %s with it", session.ue, rule_id)
        self._forget(rule_id)

    def _moved(self, session: Session) -> bool:
        """Return whether the BSF says that another PCF, or none, serves the UE now: sessions end with their PCF."""
        if not self.options.bsf:
            return False
        ue = ipaddress.ip_address(session.ue)
        self.bindings.forget(ue)
        binding, _ = self.bindings.find(ue)
        return binding is None or binding.pcf != session.pcf

    def _look(self) -> None:
        order = sorted(self._sessions)
        order = [key for key in order if key > self._last_looked] + [key for key in order if key <= self._last_looked]
        for rule_id in order[:AT_ONCE]:
            session = self._sessions[rule_id]
            if session.pcf in self._mute:
                continue
            self._last_looked = rule_id
            try:
                answer = self.client.send("GET", self._url(session), fine=(403, 404, 405, 501))
            except BreakwaterError as problem:
                # Nothing is known to be lost; whether the core is there is told by `ping` and by each change.
                log.info("the session of rule %s could not be asked for: %s", rule_id, problem.detail)
                return
            if answer.status == 404:
                self._forget(rule_id)
                self._gone.add(rule_id)
            elif answer.status >= 400:
                self._mute.add(session.pcf)

    def _terminated(self, rule_id: str, cause: str) -> None:
        session = self._sessions[rule_id]
        self._forget(rule_id)
        self._gone.add(rule_id)
        self.bindings.forget(ipaddress.ip_address(session.ue))
        self.setbacks.note(rule_id, f"The PCF ended the session ({cause})")
        self._tidy(self._url(session))

    def _failed(self, rule_id: str) -> None:
        session = self._sessions[rule_id]
        if session.renew:
            return
        session.renew = True
        self._keep(rule_id, session)
        self._gone.add(rule_id)
        self.setbacks.note(rule_id, "The network has no resources for the rule")

    def _found_again(self, attempt: str, body: Mapping[str, Any]) -> None:
        """End a session whose making was never answered: it is known by its own notification address."""
        fact = self.ledger.facts.get(f"attempt:{attempt}")
        if fact is None:
            raise Missing("The notification is about no session of this MEP")
        resource = (
            str(body.get("resUri") or body.get("evSubsUri") or "").rstrip("/").removesuffix("/events-subscription")
        )
        session_id = sbi.last_segment(resource)
        if not session_id:
            raise Conflict("A session of a lost attempt is told of, but not where it is")
        self.client.send("POST", f"{fact}/{API}/{quote(session_id, safe='')}/delete", fine=(404,))
        self.ledger.drop(f"attempt:{attempt}")

    def _tidy(self, url: str) -> None:
        # TS 29.514 4.2.5.3: after the notification the consumer deletes the session; the PCF does without it as well.
        try:
            self.client.send("POST", f"{url}/delete", fine=(404,))
        except BreakwaterError as problem:
            log.info("a session that the PCF ended could not be deleted: %s", problem.detail)

    def _remember_attempt(self, attempt: str, pcf: str) -> None:
        lost = [key for key in self.ledger.facts if key.startswith("attempt:")]
        for key in lost[: max(0, len(lost) - MOST_LOST + 1)]:
            self.ledger.drop(key)
        self.ledger.put(f"attempt:{attempt}", pcf)

    def _url(self, session: Session) -> str:
        return f"{session.pcf}/{API}/{quote(session.id, safe='')}"

    def _keep(self, rule_id: str, session: Session) -> None:
        self._sessions[rule_id] = session
        self.ledger.put(f"rule:{rule_id}", msgspec.to_builtins(asdict(session)))

    def _forget(self, rule_id: str) -> None:
        self._sessions.pop(rule_id, None)
        self.ledger.drop(f"rule:{rule_id}")


def _events(body: Mapping[str, Any]) -> set[str]:
    found = body.get("evNotifs")
    return {str(each.get("event")) for each in found if isinstance(each, dict)} if isinstance(found, list) else set()
