"""What can be set for the adapter `pfcp`, and the same in the form that the compiler needs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from core.errors import Invalid
from upf_adapter.flows import Network, Span
from upf_adapter.pfcp.wire import IpAddress, Tunnel

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Teid = Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]


class TunnelEnd(msgspec.Struct, forbid_unknown_fields=True):
    """One end of a GTP-U tunnel."""

    address: str
    teid: Teid


class SessionOptions(msgspec.Struct, forbid_unknown_fields=True):
    """One PFCP session: the UEs behind one N3 tunnel."""

    #: Addresses or prefixes of the UEs. One address goes into the PDI; a pool is matched by the SDF filters.
    ue: Annotated[list[str], msgspec.Meta(min_length=1, max_length=16)]
    #: Where packets to the UEs are sent: the end at the radio side.
    radio: TunnelEnd
    #: The end at the UPF; without it the UPF chooses, which needs its feature FTUP.
    access: TunnelEnd | None = None


class Options(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of the adapter; docs/upf-pfcp.md explains each."""

    #: Address of the UPF.
    peer: str
    peer_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8805
    #: Where our socket listens; empty is every address of the family of `peer`.
    bind: str = ""
    bind_port: Port = 8805
    #: Our Node ID, an address or a name; empty is the address that our packets to the UPF have.
    node_id: str = ""
    #: Seconds until a request is repeated, and how often.
    t1: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    n1: Annotated[int, msgspec.Meta(ge=0, le=10)] = 3
    #: Seconds between our heartbeats.
    heartbeat: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    sessions: Annotated[list[SessionOptions], msgspec.Meta(min_length=1, max_length=64)]
    #: Network Instances of N3 and N6; empty leaves the element out.
    access_instance: str = ""
    core_instance: str = ""
    #: Network Instance behind which a destination is reached: prefix -> name. FORWARD_DECAPSULATED needs it.
    destinations: dict[str, str] = {}
    #: TEID of the GTP-U tunnel at an address, where the rule does not tell it. FORWARD_ENCAPSULATED needs one.
    tunnels: dict[str, Teid] = {}
    #: QFI that carries a qCI. Without it rules about a qCI are refused.
    qfis: dict[str, Annotated[int, msgspec.Meta(ge=0, le=63)]] = {}
    #: DROP by the FAR, or by a QER with closed gates.
    drop: Literal["far", "gate"] = "far"
    #: The UPF carries out Apply Action DUPL. No feature of the standard tells, so it is the operator's word.
    duplicate: bool = False
    #: A URR per rule, for the counters.
    counters: bool = True
    #: Network Instances as DNS labels, or as plain text.
    instance_form: Literal["labels", "text"] = "labels"
    #: Octets of one message; a rule that needs more goes alone.
    message_octets: Annotated[int, msgspec.Meta(ge=500, le=60000)] = 1400
    #: SDF filters in one PDR; more make a further PDR.
    filters_per_pdr: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    #: PDRs that one session of the UPF holds.
    most_pdrs: Annotated[int, msgspec.Meta(ge=3, le=65000)] = 65000


@dataclass(frozen=True, slots=True)
class Site:
    """One session's surroundings, read and checked."""

    ues: tuple[Network, ...]
    radio: Tunnel
    access: Tunnel | None
    #: The addresses of the UEs once more.
    spans: tuple[Span, ...]

    def lone(self, version: int) -> IpAddress | None:
        """Return the address to name in the PDI: of one UE, not of a pool. An IPv6 UE has a whole /64."""
        if len({each.version for each in self.ues}) < len(self.ues):
            return None
        longest = 32 if version == 4 else 64
        return next(
            (each.network_address for each in self.ues if each.version == version and each.prefixlen >= longest), None
        )

    @property
    def single(self) -> bool:
        """Whether every UE address is named in the PDI."""
        return all(self.lone(each.version) is not None for each in self.ues)


@dataclass(frozen=True, slots=True)
class Reading:
    """The options in typed form."""

    peer: IpAddress
    sites: tuple[Site, ...]
    destinations: tuple[tuple[Network, str], ...]
    tunnels: dict[IpAddress, int]
    qfis: dict[int, int]

    def instance(self, address: IpAddress) -> str | None:
        """Return the Network Instance behind which an address is reached, by the longest prefix."""
        return next((name for network, name in self.destinations if address in network), None)


def read(options: Options) -> Reading:
    """Return the options in typed form; `Invalid` names the one that cannot be used."""
    sites = tuple(_site(each, f"sessions[{at}]") for at, each in enumerate(options.sessions))
    destinations = [(_network(text, "destinations"), name) for text, name in options.destinations.items()]
    for name in (options.access_instance, options.core_instance, *(name for _, name in destinations)):
        _check_name(name, "a Network Instance")
    peer = _address(options.peer, "peer")
    if options.bind and _address(options.bind, "bind").version != peer.version:
        raise Invalid(f"bind: {options.bind} and peer {options.peer} are of different address families")
    if any(site.access and site.access.address.version != site.radio.address.version for site in sites):
        raise Invalid("sessions: access and radio must be of one address family, they are the ends of one tunnel")
    _check_name(options.node_id if not _is_address(options.node_id) else "", "a Node ID")
    if not all(key.isascii() and key.isdigit() and int(key) <= 255 for key in options.qfis):
        raise Invalid("qfis: the keys must be numbers from 0 to 255")
    return Reading(
        peer=peer,
        sites=sites,
        destinations=tuple(sorted(destinations, key=lambda each: -each[0].prefixlen)),
        tunnels={_address(text, "tunnels"): teid for text, teid in options.tunnels.items()},
        qfis={int(key): value for key, value in options.qfis.items()},
    )


def _check_name(name: str, what: str) -> None:
    parts = name.split(".") if name else []
    if not name.isascii() or len(name) > 100 or not all(1 <= len(part) <= 63 for part in parts):
        raise Invalid(f"{name!r} cannot be {what}: ASCII, at most 100 characters, 1 to 63 between dots")


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _site(given: SessionOptions, place: str) -> Site:
    ues = tuple(_network(text, f"{place}.ue") for text in given.ue)
    return Site(
        ues=ues,
        radio=_tunnel(given.radio, f"{place}.radio"),
        access=_tunnel(given.access, f"{place}.access") if given.access else None,
        spans=tuple(Span(ue.version, int(ue.network_address), int(ue.broadcast_address)) for ue in ues),
    )


def _tunnel(end: TunnelEnd, place: str) -> Tunnel:
    return Tunnel(end.teid, _address(end.address, place))


def _address(text: str, place: str) -> IpAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise Invalid(f"{place}: {text!r} is no IP address") from None


def _network(text: str, place: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as problem:
        raise Invalid(f"{place}: {text!r} is no address or prefix: {problem}") from None
