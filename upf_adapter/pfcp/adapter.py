"""The adapter `pfcp`: this MEP is the control plane of a UPF of its own, over N4 (3GPP TS 29.244)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from core.errors import BreakwaterError, Unavailable
from upf_adapter.contract import Capabilities, Counters, Outcome, Refused, TrafficRule, UpfAdapter
from upf_adapter.pfcp import messages
from upf_adapter.pfcp.compile import Compiler
from upf_adapter.pfcp.messages import Cause, Kind, SessionLost
from upf_adapter.pfcp.node import RECOVERY, Node
from upf_adapter.pfcp.options import Options as PfcpOptions
from upf_adapter.pfcp.options import read
from upf_adapter.pfcp.reading import Message
from upf_adapter.pfcp.session import Session, summed
from upf_adapter.pfcp.wire import Ie, octet

_FILTERS = {"srcAddress", "dstAddress", "srcPort", "dstPort", "protocol", "dSCP", "tC"}


class PfcpUpf(UpfAdapter):
    """Installs every rule in each configured session of one UPF."""

    name: ClassVar[str] = "pfcp"
    Options = PfcpOptions

    def __init__(self, options: PfcpOptions, *, recovery: int = RECOVERY) -> None:
        super().__init__(options)
        self._set = options
        self._reading = read(options)
        peer = self._reading.peer
        self.node = Node(
            (str(peer), options.peer_port),
            bind=(options.bind or ("0.0.0.0" if peer.version == 4 else "::"), options.bind_port),  # noqa: S104
            name=options.node_id,
            t1=options.t1,
            n1=options.n1,
            heartbeat=options.heartbeat,
            recovery=recovery,
            on_report=self._reported,
        )
        self.sessions = [
            Session(self.node, site, options, Compiler(site, options, self._reading)) for site in self._reading.sites
        ]
        #: What was put and taken by the UPF; in force as long as the sessions live.
        self._wished: dict[str, TrafficRule] = {}
        self._begun = False

    def capabilities(self) -> Capabilities:
        actions = {"DROP", "PASSTHROUGH", "FORWARD_ENCAPSULATED"}
        notes = [
            "Rules are in force while this process runs: a UPF may drop the sessions of a control plane that is silent.",
            "FORWARD_ENCAPSULATED needs the TEID of the tunnel: tunnelSpecificData.teid in the rule, or the option tunnels.",
        ]
        if self._reading.destinations:
            actions.add("FORWARD_DECAPSULATED")
        else:
            notes.append(
                "FORWARD_DECAPSULATED needs the option destinations: PFCP knows Network Instances, no next hops."
            )
        if self._set.duplicate:
            actions.add("DUPLICATE_ENCAPSULATED")
        else:
            notes.append(
                "No DUPLICATE: no open UPF carries it out and no feature of PFCP announces it (option duplicate)."
            )
        return Capabilities(
            actions=frozenset(actions),
            filters=frozenset(_FILTERS | ({"qCI"} if self._reading.qfis else set())),
            interfaces=frozenset({"IP", "TUNNEL/GTP_U"}),
            families=frozenset(ue.version for site in self._reading.sites for ue in site.ues),
            counters=self._set.counters,
            most_rules=self._set.most_pdrs - 2,
            notes=tuple(notes),
        )

    def check(self, rule: TrafficRule) -> None:
        super().check(rule)
        if not any(self._pdrs(rule)):
            ues = ", ".join(str(ue) for site in self._reading.sites for ue in site.ues)
            raise Refused("no packet of this user plane's UEs can match", nearest=f"a filter about {ues}")
        self._check_room(rule, [2] * len(self.sessions))

    def put(self, rule: TrafficRule) -> None:
        self.check(rule)
        problems = self._bring({**self._wished, rule.id: rule})
        if rule.id in problems:
            raise problems[rule.id]

    def delete(self, rule_id: str) -> None:
        if rule_id in self._wished:
            self._bring({key: rule for key, rule in self._wished.items() if key != rule_id})

    def replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        problems: dict[str, BreakwaterError] = {}
        sound: dict[str, TrafficRule] = {}
        for rule in wanted:
            try:
                self.check(rule)
                sound[rule.id] = rule
            except BreakwaterError as problem:
                problems[rule.id] = problem
        problems |= self._bring(sound)
        return Outcome(frozenset(sound.keys() - problems.keys()), problems)

    def intact(self) -> bool:
        return not self._begun or (
            all(session.alive for session in self.sessions) and self._in_force() == set(self._wished)
        )

    def rules(self) -> dict[str, TrafficRule]:
        in_force = self._in_force()
        return {key: rule for key, rule in self._wished.items() if key in in_force}

    def counters(self) -> dict[str, Counters]:
        if not self._set.counters or not self._wished:
            return {}
        if not all(session.alive for session in self.sessions):
            raise Unavailable("the UPF has lost its sessions; there are no counters until the rules are put again")
        return summed(session.counters() for session in self.sessions)

    def ping(self) -> str:
        self.node.ensure()
        self.node.request(Kind.HEARTBEAT, self.node.beat)
        if not self.node.associated:
            # The heartbeat told of a restart.
            self.node.ensure()
        return f"UPF {self.node.peer_name} by PFCP, features: {messages.feature_names(self.node.features)}"

    def close(self) -> None:
        self.node.close()

    def _bring(self, target: dict[str, TrafficRule]) -> dict[str, BreakwaterError]:
        """Make every session hold these rules; return the refusal of each that is in none."""
        self._begun = True
        target, problems = self._with_room(target)
        # A UPF that restarted unnoticed may first miss the session, and then the association.
        for last in (False, False, True):
            self.node.ensure()
            try:
                refused = self._bring_all(target)
                break
            except SessionLost:
                if last:
                    raise
        problems |= refused
        self._wished = {key: rule for key, rule in target.items() if key not in refused}
        return problems

    def _bring_all(self, target: dict[str, TrafficRule]) -> dict[str, BreakwaterError]:
        refused: dict[str, BreakwaterError] = {}
        for session in self.sessions:
            refused |= session.bring(rule for key, rule in target.items() if key not in refused)
        if refused:
            # An older version may still be there, and a session before may have taken what a later one did not.
            for session in self.sessions:
                refused |= session.bring(rule for key, rule in target.items() if key not in refused)
        return refused

    def _in_force(self) -> set[str]:
        """Return the rules that every session that they concern holds."""
        if not self._begun or not all(session.alive for session in self.sessions):
            return set()
        return {key for session in self.sessions for key in session.held if key}

    def _pdrs(self, rule: TrafficRule) -> list[int]:
        """Return how many PDRs the rule needs in each session."""
        return [len(session.compiler.rule(rule).pdrs) for session in self.sessions]

    def _check_room(self, rule: TrafficRule, taken: list[int]) -> list[int]:
        """Return what is taken with this rule; `Refused` when it is more than the UPF holds."""
        after = [before + more for before, more in zip(taken, self._pdrs(rule), strict=True)]
        if max(after) > self._set.most_pdrs:
            raise Refused(
                f"the session would need {max(after)} PDRs, the UPF holds {self._set.most_pdrs}",
                nearest="fewer rules, or fewer addresses, protocols and ports in them",
            )
        return after

    def _with_room(self, target: dict[str, TrafficRule]) -> tuple[dict[str, TrafficRule], dict[str, BreakwaterError]]:
        """Return the rules that there is room for, the highest priority first, and the refusal of the others."""
        taken = [2] * len(self.sessions)
        fitting: dict[str, TrafficRule] = {}
        problems: dict[str, BreakwaterError] = {}
        for rule in sorted(target.values(), key=lambda rule: rule.order):
            try:
                taken = self._check_room(rule, taken)
                fitting[rule.id] = rule
            except Refused as problem:
                problems[rule.id] = problem
        return fitting, problems

    def _reported(self, found: Message) -> tuple[int, bytes]:
        """Answer a Session Report Request; called by the node's thread."""
        for session in self.sessions:
            if session.alive and found.seid == session.seid:
                return session.reported(found)
        return 0, octet(Ie.CAUSE, Cause.SESSION_UNKNOWN)
