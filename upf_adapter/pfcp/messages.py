"""The messages of PFCP that both sides of N4 need: their numbers, what goes into them, and what a refusal means."""

from __future__ import annotations

from core.errors import BreakwaterError, Rejected, Unavailable
from upf_adapter.pfcp.reading import Fields, Malformed
from upf_adapter.pfcp.wire import Ie, four, node_id, octet


class Kind:
    """Message types (7.3). An answer has the number behind its request."""

    HEARTBEAT, HEARTBEAT_ANSWER = 1, 2
    SETUP, SETUP_ANSWER, UPDATE, UPDATE_ANSWER, RELEASE, RELEASE_ANSWER = 5, 6, 7, 8, 9, 10
    VERSION_ANSWER, NODE_REPORT, NODE_REPORT_ANSWER = 11, 12, 13
    ESTABLISH, ESTABLISH_ANSWER, MODIFY, MODIFY_ANSWER, DELETE, DELETE_ANSWER = 50, 51, 52, 53, 54, 55
    REPORT, REPORT_ANSWER = 56, 57


#: Requests that a UPF may send us, with the message that answers each.
REQUESTS = {
    Kind.HEARTBEAT: Kind.HEARTBEAT_ANSWER,
    Kind.SETUP: Kind.SETUP_ANSWER,
    Kind.UPDATE: Kind.UPDATE_ANSWER,
    Kind.RELEASE: Kind.RELEASE_ANSWER,
    Kind.NODE_REPORT: Kind.NODE_REPORT_ANSWER,
    Kind.REPORT: Kind.REPORT_ANSWER,
}


class Cause:
    """Values of the element Cause (8.2.1) that decide something here."""

    ACCEPTED, MORE_REPORTS, IN_PART = 1, 2, 3
    SESSION_UNKNOWN, MANDATORY_MISSING, NO_ASSOCIATION = 65, 66, 72


_WORDS = {
    3: "accepted in part, which we never allow",
    64: "request rejected, no reason given",
    65: "session context not found",
    66: "mandatory information element missing",
    67: "conditional information element missing",
    68: "invalid length",
    69: "mandatory information element incorrect",
    70: "invalid forwarding policy",
    71: "invalid F-TEID allocation option",
    72: "no established PFCP association",
    73: "rule creation or modification failure",
    74: "PFCP entity in congestion",
    75: "no resources available",
    76: "service not supported",
    77: "system failure",
    78: "redirection requested",
    79: "all dynamic addresses are occupied",
}
#: Causes that pass by themselves.
_PASSING = frozenset({74, 75, 77})


class SessionLost(Unavailable):
    """The UPF has our session no more, or not as we believe; making it anew helps."""

    code, title = "unavailable", Unavailable.title


class Passing(Unavailable):
    """The UPF refused for a reason that passes by itself."""

    code, title = "unavailable", Unavailable.title


#: The bit of UP Function Features (8.2.25) for counting packets, not only octets: MNOP. Octet 5 is the lowest.
COUNTS_PACKETS = 1 << 20
#: The names of the features that say the most about a UPF; for people.
_FEATURES = {
    0: "BUCP", 3: "TRST", 4: "FTUP", 5: "PFDM", 8: "EMPU", 9: "PDIU", 12: "TRACE", 15: "EPFAR", 18: "UEIP", 19: "SSET",
    20: "MNOP", 22: "BUNDL", 29: "IP6PL",
}  # fmt: skip


def feature_names(features: int) -> str:
    """Return the features in the names of the standard."""
    return ", ".join(name for bit, name in _FEATURES.items() if features & 1 << bit) or "none"


def check(ies: Fields, what: str) -> None:
    """Pass when the answer accepts; else raise what its Cause means, with the rule or element that the UPF blames."""
    cause = ies.one(Ie.CAUSE)
    if cause is None:
        raise Malformed(f"{what}: the answer has no cause")
    if cause not in (Cause.ACCEPTED, Cause.MORE_REPORTS):
        raise refusal(cause, what, ies)


def refusal(cause: int, what: str, ies: Fields) -> BreakwaterError:
    """Return the error that a Cause stands for: `Unavailable` when waiting helps, `Rejected` otherwise."""
    words = f"{what}: {_WORDS.get(cause, 'refused')} (cause {cause})"
    if (blamed := ies.one(Ie.FAILED_RULE_ID)) is not None:
        words += f", because of {blamed}"
    if (element := ies.one(Ie.OFFENDING_IE)) is not None:
        words += f", because of information element {element}"
    if cause in (Cause.IN_PART, Cause.SESSION_UNKNOWN, Cause.NO_ASSOCIATION):
        return SessionLost(words, cause=cause)
    kind = Passing if cause in _PASSING else Rejected
    return kind(words, cause=cause)


def heartbeat(recovery: int) -> bytes:
    """Return the body of a Heartbeat Request, and of its answer."""
    return four(Ie.RECOVERY_TIME_STAMP, recovery)


def setup(node: str, recovery: int) -> bytes:
    """Return the body of an Association Setup Request."""
    return node_id(node) + four(Ie.RECOVERY_TIME_STAMP, recovery)


def setup_answer(node: str, recovery: int) -> bytes:
    """Return the body of an Association Setup Response that accepts."""
    return node_id(node) + octet(Ie.CAUSE, Cause.ACCEPTED) + four(Ie.RECOVERY_TIME_STAMP, recovery)


def answer(node: str, cause: int = Cause.ACCEPTED) -> bytes:
    """Return the body of any other answer between nodes."""
    return node_id(node) + octet(Ie.CAUSE, cause)
