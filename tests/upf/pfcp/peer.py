"""A small UPF for tests: real UDP, its messages read and written by scapy and not by our codec.

It keeps an association and sessions, judges packets by its PDRs and counts them in its URRs, refuses what a real one would,
and misbehaves on demand.
"""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scapy.config import conf
from scapy.contrib import pfcp as sc

from tests.upf.pfcp.datapath import Rule, winner
from upf_adapter.flows import Packet

# A message with a whole set of rules has more elements than scapy reads by itself.
conf.max_list_count = 5000
#: scapy keeps defaults in its classes while it builds, so one thread at a time.
SCAPY = threading.RLock()
FTUP_MNOP = b"\x10\x00\x10\x00"
_starts = itertools.count(3_900_000_000)


@dataclass
class Held:
    """One session."""

    cp_seid: int
    cp_address: str
    pdrs: dict[int, Rule] = field(default_factory=dict)
    fars: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: URR -> octets and packets up and down since the last report.
    urrs: dict[int, list[int]] = field(default_factory=dict)
    qers: dict[int, int] = field(default_factory=dict)
    chosen: int = 0


class Refuse(Exception):
    """What this UPF says no to: a cause (0 for an answer without any), and perhaps the PDR that is to blame."""

    def __init__(self, cause: int, pdr: int | None = None) -> None:
        super().__init__(cause)
        self.cause, self.pdr = cause, pdr


class Peer:
    """The UPF. Its knobs may be turned at any time."""

    def __init__(self, host: str = "127.0.0.1", features: bytes = FTUP_MNOP) -> None:
        self.host, self.features = host, features
        self.recovery = next(_starts)
        self.sessions: dict[int, Held] = {}
        self.associated: str | None = None
        #: (message type, sequence number) of everything that came, repetitions included.
        self.came: list[tuple[int, int]] = []
        self.requests: list[Any] = []
        self.answers: list[Any] = []
        self.handled = 0
        #: Knobs: hear nothing; hear, act and say nothing; both for so many datagrams. Seconds before each answer.
        self.deaf = 0
        self.mute = 0
        self.slow = 0.0
        self.twice = False
        self.garbage_first = False
        #: Asked for each request, may raise Refuse or return True for no answer at all.
        self.mood: Callable[[Any], object] = lambda request: None
        self._kept: dict[bytes, bytes] = {}
        self._numbers = itertools.count(1)
        self._seids = itertools.count(0x1000)
        self._cp: tuple[str, int] | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.port = self._socket.getsockname()[1]
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopped = True
        with contextlib.suppress(OSError):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", (self.host, self.port))
        self._thread.join(5)
        self._socket.close()

    def restart(self) -> None:
        """Lose everything and count from the start, as a process that comes up again."""
        self.recovery = next(_starts)
        self.sessions.clear()
        self._kept.clear()
        self.associated = None
        self._numbers = itertools.count(1)

    # What it does for packets

    def packet(self, packet: Packet, uplink: bool = True, octets: int = 100, qfi: int | None = None) -> dict[str, Any]:
        """Judge one packet as the data path would, count it, and return the FAR that it meets ("gate" when one is closed)."""
        (held,) = self.sessions.values()
        rule = winner(held.pdrs.values(), packet, uplink, qfi)
        if rule is None:
            return {"action": "none"}
        for urr in rule.urrs:
            held.urrs[urr][0 if uplink else 1] += octets
            held.urrs[urr][2 if uplink else 3] += 1
        if any(held.qers[qer] & (0b0100 if uplink else 0b0001) for qer in rule.qers):
            return {"action": "gate"}
        return held.fars[rule.far]

    # What it asks the control plane

    def ask(self, message: Any, seid: int | None = None, sequence: int | None = None) -> int:
        """Send a request of our own; return its number."""
        assert self._cp
        number = next(self._numbers) if sequence is None else sequence
        with SCAPY:
            head = sc.PFCP(
                version=1, S=0 if seid is None else 1, seq=number, **({} if seid is None else {"seid": seid})
            )
            self._socket.sendto(bytes(head / message), self._cp)
        return number

    def heartbeat(self, sequence: int | None = None) -> int:
        with SCAPY:
            return self.ask(
                sc.PFCPHeartbeatRequest(IE_list=[sc.IE_RecoveryTimeStamp(timestamp=self.recovery)]), sequence=sequence
            )

    def answered(self, number: int) -> list[Any]:
        """Return the answers that came to a request of ours."""
        return [each for each in self.answers if each.seq == number]

    # Receiving

    def _run(self) -> None:
        while not self._stopped:
            datagram, source = self._socket.recvfrom(65535)
            if not datagram or self._stopped:
                continue
            if self.deaf:
                self.deaf -= 1
                continue
            with SCAPY:
                self._take(datagram, source)

    def _take(self, datagram: bytes, source: tuple[str, int]) -> None:
        message = sc.PFCP(datagram)
        if message.message_type in (2, 6, 8, 10, 11, 13, 57):
            self.answers.append(message)
            return
        self.came.append((message.message_type, message.seq))
        self._cp = source
        answer = self._kept.get(datagram)
        if answer is None:
            self.requests.append(message)
            answer = self._answer(message, source[0])
            if answer is None:
                return
            self._kept[datagram] = answer
        if self.mute:
            self.mute -= 1
            return
        if self.slow:
            time.sleep(self.slow)
        if self.garbage_first:
            self._socket.sendto(b"\x21\x35" + answer[2:9], source)
        for _ in range(2 if self.twice else 1):
            self._socket.sendto(answer, source)

    def _answer(self, message: Any, source: str) -> bytes | None:
        kind = message.message_type
        self.handled += 1
        handler = {
            1: self._heartbeat,
            5: self._setup,
            9: self._release,
            50: self._establish,
            52: self._modify,
            54: self._delete,
        }[kind]
        cause: int = 1
        elements: list[Any] = []
        seid = None
        blamed = None
        try:
            if self.mood(message):
                return None
            seid, elements = handler(message, source)
        except Refuse as no:
            cause, blamed = no.cause, no.pdr
            if kind >= 50:
                held = self.sessions.get(message.seid)
                seid = held.cp_seid if held else 0
        shape = {
            1: sc.PFCPHeartbeatResponse,
            5: sc.PFCPAssociationSetupResponse,
            9: sc.PFCPAssociationReleaseResponse,
            50: sc.PFCPSessionEstablishmentResponse,
            52: sc.PFCPSessionModificationResponse,
            54: sc.PFCPSessionDeletionResponse,
        }[kind]
        if kind != 1:
            start = [sc.IE_NodeId(id_type=0, ipv4=self.host)] if kind in (5, 9, 50) else []
            elements = [*start, *([sc.IE_Cause(cause=cause)] if cause else []), *elements]
        if blamed is not None:
            elements.append(sc.IE_FailedRuleId(type=0, pdr_id=blamed))
        head = sc.PFCP(version=1, S=0 if kind < 50 else 1, seq=message.seq, **({} if kind < 50 else {"seid": seid}))
        return bytes(head / shape(IE_list=elements))

    def _heartbeat(self, message: Any, source: str) -> tuple[None, list[Any]]:
        return None, [sc.IE_RecoveryTimeStamp(timestamp=self.recovery)]

    def _setup(self, message: Any, source: str) -> tuple[None, list[Any]]:
        one(message, sc.IE_NodeId), one(message, sc.IE_RecoveryTimeStamp)
        # 6.2.6.2.2: an association that is set up anew ends the one before, with its sessions.
        self.sessions.clear()
        self.associated = source
        octets = self.features
        return None, [
            sc.IE_RecoveryTimeStamp(timestamp=self.recovery),
            sc.IE_NotImplemented(struct.pack("!HH", 43, len(octets)) + octets),
        ]

    def _release(self, message: Any, source: str) -> tuple[None, list[Any]]:
        self.sessions.clear()
        self.associated = None
        return None, []

    def _establish(self, message: Any, source: str) -> tuple[int, list[Any]]:
        if self.associated != source:
            raise Refuse(72)
        f_seid = one(message, sc.IE_FSEID)
        held = Held(f_seid.seid, f_seid.ipv4)
        created = self._change(held, message)
        seid = next(self._seids)
        self.sessions[seid] = held
        return held.cp_seid, [sc.IE_FSEID(v4=1, seid=seid, ipv4=self.host), *created]

    def _modify(self, message: Any, source: str) -> tuple[int, list[Any]]:
        held = self._session(message)
        asked = [one(each, sc.IE_URR_Id).id for each in every(message, sc.IE_QueryURR)]
        gone = [one(each, sc.IE_URR_Id).id for each in every(message, sc.IE_RemoveURR)]
        reports = [usage(sc.IE_UsageReport_SMR, held, urr) for urr in [*asked, *gone]]
        after = copy.deepcopy(held)
        created = self._change(after, message)
        self.sessions[message.seid] = after
        return held.cp_seid, [*created, *reports]

    def _delete(self, message: Any, source: str) -> tuple[int, list[Any]]:
        held = self._session(message)
        del self.sessions[message.seid]
        return held.cp_seid, []

    def _session(self, message: Any) -> Held:
        held = self.sessions.get(message.seid)
        if held is None:
            raise Refuse(65)
        return held

    def _change(self, held: Held, message: Any) -> list[Any]:
        """Remove, create and update; nothing may be created twice, removed or changed that is not there, or point nowhere."""
        for remove, kept, number in (
            (sc.IE_RemovePDR, held.pdrs, sc.IE_PDR_Id),
            (sc.IE_RemoveFAR, held.fars, sc.IE_FAR_Id),
            (sc.IE_RemoveURR, held.urrs, sc.IE_URR_Id),
            (sc.IE_RemoveQER, held.qers, sc.IE_QER_Id),
        ):
            for each in every(message, remove):
                if kept.pop(one(each, number).id, None) is None:
                    raise Refuse(73)
        for each in every(message, sc.IE_CreateURR):
            _new(held.urrs, one(each, sc.IE_URR_Id).id, [0, 0, 0, 0])
        for each in every(message, sc.IE_CreateQER):
            gates = one(each, sc.IE_GateStatus)
            _new(held.qers, one(each, sc.IE_QER_Id).id, gates.ul << 2 | gates.dl)
        for each in every(message, sc.IE_CreateFAR):
            _new(held.fars, one(each, sc.IE_FAR_Id).id, far(each))
        for each in every(message, sc.IE_UpdateFAR):
            held.fars[_old(held.fars, one(each, sc.IE_FAR_Id).id)].update(far(each))
        created = []
        for each in every(message, sc.IE_CreatePDR):
            number = one(each, sc.IE_PDR_Id).id
            _new(held.pdrs, number, self._pdr(held, each))
            tunnel = maybe(one(each, sc.IE_PDI), sc.IE_FTEID)
            if tunnel is not None and tunnel.CH:
                answer = sc.IE_FTEID(V4=1, TEID=held.chosen, ipv4=self.host)
                created.append(sc.IE_CreatedPDR(IE_list=[sc.IE_PDR_Id(id=number), answer]))
        for each in every(message, sc.IE_UpdatePDR):
            number = _old(held.pdrs, one(each, sc.IE_PDR_Id).id)
            held.pdrs[number] = self._pdr(held, each)
        for number, rule in held.pdrs.items():
            if (
                rule.far not in held.fars
                or not set(rule.urrs) <= set(held.urrs)
                or not set(rule.qers) <= set(held.qers)
            ):
                raise Refuse(73, number)
        return created

    def _pdr(self, held: Held, element: Any) -> Rule:
        pdi = one(element, sc.IE_PDI)
        uplink = one(pdi, sc.IE_SourceInterface).interface == 0
        kind = one(pdi, sc.IE_3GPP_InterfaceType).interface_type
        assert kind == (11 if uplink else 17), "Open5GS sends nothing on where this is not told"
        rule = Rule(uplink, one(element, sc.IE_Precedence).precedence, one(element, sc.IE_FAR_Id).id)
        for each in every(pdi, sc.IE_SDF_Filter):
            tos = (each.tos_traffic_class, each.tos_traffic_mask) if each.TTC else None
            rule.filters.append(((each.flow_description or b"").decode(), tos))
        if (qfi := maybe(pdi, sc.IE_QFI)) is not None:
            rule.qfi = qfi.QFI
        if (ue := maybe(pdi, sc.IE_UE_IP_Address)) is not None:
            assert (0 if uplink else 1) == ue.SD
            rule.ue = [ipaddress.ip_network(ue.ipv4)] if ue.V4 else []
            rule.ue += [ipaddress.ip_network((ue.ipv6, 64), strict=False)] if ue.V6 else []
        if (tunnel := maybe(pdi, sc.IE_FTEID)) is not None:
            if tunnel.CH:
                if not self.features[0] & 0x10:
                    raise Refuse(71)
                held.chosen = held.chosen or next(self._seids)
            rule.teid = held.chosen if tunnel.CH else tunnel.TEID
        rule.urrs = [each.id for each in every(element, sc.IE_URR_Id)]
        rule.qers = [each.id for each in every(element, sc.IE_QER_Id)]
        if (instance := maybe(pdi, sc.IE_NetworkInstance)) is not None:
            rule.instance = instance.instance.decode()
        return rule


def far(element: Any) -> dict[str, Any]:
    """Return a FAR as plain values."""
    action = one(element, sc.IE_ApplyAction)
    words = [name for name in ("DROP", "FORW", "BUFF", "DUPL") if getattr(action, name)]
    whole: dict[str, Any] = {"action": "+".join(words)}
    for shape in (sc.IE_ForwardingParameters, sc.IE_UpdateForwardingParameters):
        if (parameters := maybe(element, shape)) is not None:
            whole["to"] = one(parameters, sc.IE_DestinationInterface).interface
            if (instance := maybe(parameters, sc.IE_NetworkInstance)) is not None:
                whole["instance"] = instance.instance.decode()
            if (outer := maybe(parameters, sc.IE_OuterHeaderCreation)) is not None:
                whole["outer"] = (outer.TEID, outer.ipv4 if outer.GTPUUDPIPV4 else outer.ipv6)
            whole["kind"] = one(parameters, sc.IE_3GPP_InterfaceType).interface_type
    for shape in (sc.IE_DuplicatingParameters, sc.IE_UpdateDuplicatingParameters):
        if (parameters := maybe(element, shape)) is not None:
            outer = one(parameters, sc.IE_OuterHeaderCreation)
            whole["copy"] = (outer.TEID, outer.ipv4 if outer.GTPUUDPIPV4 else outer.ipv6)
    return whole


def usage(shape: Any, held: Held, urr: int) -> Any:
    """Return a usage report, and start counting anew as a UPF does."""
    up, down, packets_up, packets_down = held.urrs[_old(held.urrs, urr)]
    held.urrs[urr] = [0, 0, 0, 0]
    return shape(
        IE_list=[
            sc.IE_URR_Id(id=urr),
            sc.IE_UR_SEQN(number=0),
            sc.IE_UsageReportTrigger(IMMER=1),
            # scapy stops before the packets: TONOP is the lowest of its spare bits, the number follows.
            sc.IE_VolumeMeasurement(
                spare=1, TOVOL=1, total=up + down, extra_data=struct.pack("!Q", packets_up + packets_down)
            ),
        ]
    )


def every(message: Any, shape: Any) -> list[Any]:
    """Return the elements of a class right inside a message or group."""
    holder = message.payload if isinstance(message, sc.PFCP) else message
    return [each for each in holder.IE_list if isinstance(each, shape)]


def one(message: Any, shape: Any) -> Any:
    """Return the one element of a class; a UPF refuses a message without what is mandatory."""
    found = every(message, shape)
    if len(found) != 1:
        raise Refuse(66)
    return found[0]


def maybe(message: Any, shape: Any) -> Any:
    """Return the element of a class, or None."""
    return next(iter(every(message, shape)), None)


def _new(kept: dict[int, Any], number: int, value: Any) -> None:
    if number in kept:
        raise Refuse(73)
    kept[number] = value


def _old(kept: dict[int, Any], number: int) -> int:
    if number not in kept:
        raise Refuse(73)
    return number
