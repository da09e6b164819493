"""One PFCP session: it is brought to hold certain rules, in as few messages as they fit into, and asked for its counters."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
from collections.abc import Iterable, Mapping

from core.errors import BreakwaterError, Rejected
from upf_adapter.contract import Counters, TrafficRule
from upf_adapter.pfcp import messages, plan
from upf_adapter.pfcp.compile import UPLINK, Compiler, Image
from upf_adapter.pfcp.messages import Kind, SessionLost
from upf_adapter.pfcp.node import Node
from upf_adapter.pfcp.options import Options, Site
from upf_adapter.pfcp.plan import Change, Writer
from upf_adapter.pfcp.reading import Fields, Malformed, Message
from upf_adapter.pfcp.wire import FSeid, Ie, IpAddress, Tunnel, f_seid, node_id, octet

#: URRs asked for in one message, so that their reports fit into one answer.
QUERIES = 15
_PDN_TYPES = {frozenset({4}): 1, frozenset({6}): 2, frozenset({4, 6}): 3}


class Session:
    """The session of one site. Dead until `bring`, and dead again when the UPF has lost it."""

    def __init__(self, node: Node, site: Site, options: Options, compiler: Compiler) -> None:
        self._node, self._site, self._options, self.compiler = node, site, options, compiler
        self.seid = 0
        self._forget()

    def _forget(self) -> None:
        self._epoch = -1
        self._theirs = 0
        count_packets = bool(self._node.features & messages.COUNTS_PACKETS)
        self.writer = Writer(self._site, self._options, count_packets=count_packets)
        #: What the UPF has agreed to, by rule.
        self.held: dict[str, Image] = {}
        self._lock = threading.Lock()
        self._usage: dict[int, Counters] = {}

    @property
    def alive(self) -> bool:
        """Whether the UPF still has this session, as far as is known."""
        return bool(self._theirs) and self._node.associated and self._epoch == self._node.epoch

    def bring(self, rules: Iterable[TrafficRule]) -> dict[str, BreakwaterError]:
        """Make the session hold exactly these rules; return the refusal of each that the UPF does not take.

        What was there of a refused rule is still there: bring the others once more. `Unavailable` when the UPF is silent.
        """
        if not self.alive:
            self._forget()
        wanted = self.compiler.rules(rules)
        pending = list(plan.changes(self.held, wanted))
        problems: dict[str, BreakwaterError] = {}
        while pending:
            count = self._fitting(pending)
            several, pending = pending[:count], pending[count:]
            if self._send(several) is None:
                continue
            # One of them is to blame; the others shall not suffer for it.
            for change in several:
                problem = self._send([change])
                if problem is None:
                    continue
                if not change.rule:
                    raise problem
                problems[change.rule] = problem
        return problems

    def _fitting(self, pending: list[Change]) -> int:
        """Return how many changes go into one message; at least one."""
        room, count = self._options.message_octets - 64, 0
        for change in pending:
            room -= len(self.writer.write(change))
            if room < 0:
                break
            count += 1
        self.writer.undo()
        return max(count, 1)

    def _send(self, several: list[Change]) -> BreakwaterError | None:
        """Send changes in one message; return the refusal, None when they were accepted. `Unavailable` for silence."""
        if not self._node.associated:
            raise SessionLost("the PFCP association has ended")
        body = plan.join([self.writer.write(change) for change in several])
        epoch = self._node.epoch
        try:
            answer = self._modify(body) if self._theirs else self._establish(body)
        except (Rejected, messages.Passing) as problem:
            self.writer.undo()
            return problem
        except BreakwaterError:
            self.writer.undo()
            raise
        self._epoch = epoch if self._epoch < 0 else self._epoch
        self.writer.keep()
        for change in several:
            if change.after == Image():
                self.held.pop(change.rule, None)
            else:
                self.held[change.rule] = change.after
        self._count(answer.ies.all(Ie.USAGE_REPORT_MODIFIED))
        self._drop_usage()
        return None

    def _establish(self, body: bytes) -> Message:
        node, address = self._node, self._node.local
        self.seid = secrets.randbelow((1 << 64) - 1) + 1
        families = frozenset(each.version for each in self._site.ues)
        whole = b"".join(
            (node_id(node.name), f_seid(own_f_seid(self.seid, address)), body, octet(Ie.PDN_TYPE, _PDN_TYPES[families]))
        )
        answer = node.request(Kind.ESTABLISH, whole, seid=0)
        self._check(answer, "the UPF refuses the session")
        theirs = answer.ies.one(Ie.F_SEID)
        if theirs is None:
            raise Rejected("the UPF accepts the session and does not say how it calls it")
        tunnel = self._site.access or _chosen(answer.ies, self.writer.numbers["pdr"][UPLINK])
        if tunnel is None:
            # It cannot be used without: every later PDR has to name it.
            node.request(Kind.DELETE, b"", seid=theirs.seid)
            raise Rejected("the UPF has chosen no F-TEID for N3; give it in the option access of the session")
        self._theirs = theirs.seid
        self.writer.chosen(tunnel)
        return answer

    def _modify(self, body: bytes) -> Message:
        answer = self._node.request(Kind.MODIFY, body, seid=self._theirs)
        self._check(answer, "the UPF refuses the change")
        return answer

    def _check(self, answer: Message, what: str) -> None:
        """Raise what the cause of an answer means; a session that is not what we believe it to be is given up."""
        try:
            messages.check(answer.ies, what)
        except SessionLost as problem:
            if problem.context["cause"] == messages.Cause.NO_ASSOCIATION:
                self._node.end("the UPF knows of none")
            elif problem.context["cause"] == messages.Cause.IN_PART:
                self._give_up()
            self._forget()
            raise
        except Malformed as problem:
            self._give_up()
            self._forget()
            raise SessionLost(f"the UPF answers nonsense: {problem.detail}") from None

    def _give_up(self) -> None:
        """Delete the session at the UPF as well as can be: another one for the same UEs will follow."""
        if self._theirs:
            with contextlib.suppress(BreakwaterError):
                self._node.request(Kind.DELETE, b"", seid=self._theirs)

    # Counters

    def counters(self) -> dict[str, Counters]:
        """Ask the UPF what the rules have seen since they were put."""
        numbers = {number: key[0] for number, key in self.writer.numbers["urr"].elements().items()}
        waiting = iter(sorted(numbers))
        while some := list(itertools.islice(waiting, QUERIES)):
            answer = self._modify(b"".join(plan.query_urr(number) for number in some))
            self._count(answer.ies.all(Ie.USAGE_REPORT_MODIFIED))
        with self._lock:
            return {rule: self._usage.get(number, Counters()) for number, rule in numbers.items()}

    def reported(self, found: Message) -> tuple[int, bytes]:
        """Take a Session Report Request; return the SEID and the body of the answer. Called by the node's thread.

        Reports about buffered packets are only acknowledged: Open5GS sends them for packets that a FAR drops.
        """
        self._count(found.ies.all(Ie.USAGE_REPORT))
        missing = found.ies.one(Ie.REPORT_TYPE) is None
        cause = messages.Cause.MANDATORY_MISSING if missing else messages.Cause.ACCEPTED
        return self._theirs, octet(Ie.CAUSE, cause)

    def _count(self, reports: list[Fields]) -> None:
        """Add up usage reports: each tells what came since the one before."""
        with self._lock:
            for report in reports:
                number, volume = report.one(Ie.URR_ID), report.one(Ie.VOLUME_MEASUREMENT)
                if number is None or volume is None:
                    continue
                before = self._usage.get(number, Counters())
                octets = _total(volume.octets, volume.uplink_octets, volume.downlink_octets)
                packets = _total(volume.packets, volume.uplink_packets, volume.downlink_packets)
                self._usage[number] = Counters(before.packets + packets, before.octets + octets)

    def _drop_usage(self) -> None:
        """Forget the counts of URRs that are gone: their numbers are given again."""
        if self._usage:
            numbers = self.writer.numbers["urr"].elements()
            with self._lock:
                self._usage = {number: seen for number, seen in self._usage.items() if number in numbers}


def own_f_seid(seid: int, address: IpAddress) -> FSeid:
    """Return how we name a session."""
    return FSeid(seid, ipv4=address) if address.version == 4 else FSeid(seid, ipv6=address)  # type: ignore[arg-type]


def summed(several: Iterable[Mapping[str, Counters]]) -> dict[str, Counters]:
    """Add up the counters of several sessions."""
    whole: dict[str, Counters] = {}
    for each in several:
        for rule, seen in each.items():
            before = whole.get(rule, Counters())
            whole[rule] = Counters(before.packets + seen.packets, before.octets + seen.octets)
    return whole


def _total(total: int | None, uplink: int | None, downlink: int | None) -> int:
    return total if total is not None else (uplink or 0) + (downlink or 0)


def _chosen(ies: Fields, number: int) -> Tunnel | None:
    """Return the F-TEID that the UPF chose for the PDR with this number."""
    for created in ies.all(Ie.CREATED_PDR):
        if created.one(Ie.PDR_ID) == number:
            tunnel: Tunnel | None = created.one(Ie.F_TEID)
            return tunnel
    return None
