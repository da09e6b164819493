"""Where marked packets go: one routing table and one `ip rule` for each exit, over rtnetlink."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from core.errors import BreakwaterError, Unavailable
from upf_adapter.nftables.lowering import Exit

#: Marks our routes and rules as ours, in `ip route` and `ip rule` (rtm_protocol; free by /etc/iproute2/rt_protos).
PROTOCOL = 177
#: How an exit is reached: table, next hop, device.
Way = tuple[int, str, int]
_ONLINK = 4
_UNICAST, _LOCAL = 1, 2
#: FR_ACT_GOTO, FR_ACT_NOP
_GOTO, _NOP = 2, 3
_SETTINGS = Path("/proc/sys/net")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass
class Router:
    """Keeps routing in step with the exits that rules use.

    `mask` are the bits of the packet mark that are ours, `tables` the first of our routing tables, `priority` where our
    rules stand among those of `ip rule`: from there on, three numbers.
    """

    mask: int
    tables: int
    priority: int
    #: The number of each exit, from 1; it gives mark and table.
    numbers: dict[Exit, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shift = (self.mask & -self.mask).bit_length() - 1
        self._most = self.mask >> self._shift
        self._link = IPRoute()
        self._ways: dict[Exit, Way] = {}
        self._tidy = False

    def close(self) -> None:
        """Let go; routes stay."""
        self._link.close()

    def mark(self, exit_: Exit) -> int:
        """Return the mark of packets for an exit."""
        return self.numbers[exit_] << self._shift

    def settle(self, exits: Iterable[Exit], *, again: bool) -> dict[Exit, BreakwaterError]:
        """Make marked packets for these exits go there, and return what is wrong with those that cannot be reached.

        Those that were settled before are looked at only when told to do it `again`.
        """
        problems: dict[Exit, BreakwaterError] = {}
        fresh: dict[Exit, Way] = {}
        for exit_ in sorted(exits):
            if again or exit_ not in self._ways:
                self._ways.pop(exit_, None)
                try:
                    fresh[exit_] = self._way(exit_)
                except BreakwaterError as problem:
                    problems[exit_] = problem
        present = {family: self._routes(family) for family in {exit_.family for exit_ in fresh}}
        for exit_, way in fresh.items():
            try:
                if way not in present[exit_.family]:
                    self._set_route(exit_.family, way)
                self._ways[exit_] = way
            except BreakwaterError as problem:
                problems[exit_] = problem
        if fresh:
            for family in _FAMILIES:
                self._settle_rules(family)
        return problems

    def forget(self, used: Iterable[Exit]) -> None:
        """Take away what leads to exits that no rule uses any more; with `used` all that were settled, nothing is asked."""
        used = set(used)
        if self.numbers.keys() <= used and self._tidy:
            return
        self.numbers = {exit_: number for exit_, number in self.numbers.items() if exit_ in used}
        self._ways = {exit_: way for exit_, way in self._ways.items() if exit_ in used}
        for family in _FAMILIES:
            for table, _, device in self._routes(family) - self._wanted(family):
                self._take_route(family, table, device)
            self._settle_rules(family)
        # After a start there may be routes of a life before.
        self._tidy = True

    def intact(self) -> bool:
        """Return whether all routes and rules are still there."""
        return all(
            self._wanted(family) <= self._routes(family) and self._wanted_rules(family) == self._rules(family)
            for family in _FAMILIES
        )

    def _wanted(self, family: int) -> set[Way]:
        return {way for exit_, way in self._ways.items() if exit_.family == family}

    def _number(self, exit_: Exit) -> int:
        """Return the number of an exit; nearly always the same one after a restart, because a digest proposes it."""
        if exit_ not in self.numbers:
            taken = set(self.numbers.values())
            if len(taken) >= self._most:
                raise Unavailable(f"rules lead to more than {self._most} destinations; mark_mask bounds their number")
            number = int.from_bytes(blake2b(repr(exit_).encode(), digest_size=4).digest(), "big") % self._most
            while number + 1 in taken:
                number = (number + 1) % self._most
            self.numbers[exit_] = number + 1
        return self.numbers[exit_]

    def _way(self, exit_: Exit) -> Way:
        """Return how an exit is reached; `Unavailable` when it is not beside this node."""
        try:
            found = self._link.route("get", dst=exit_.address)[0]
        except NetlinkError as problem:
            raise Unavailable(f"{exit_.address} cannot be reached from this node: {problem}") from None
        if found["type"] == _LOCAL:
            raise Unavailable(f"{exit_.address} is an address of this node itself; packets cannot be routed to it")
        if found["type"] != _UNICAST or found.get_attr("RTA_GATEWAY") or not found.get_attr("RTA_OIF"):
            raise Unavailable(
                f"{exit_.address} is not on a network of this node; packets for other addresses would not arrive there"
            )
        return self.tables + self._number(exit_), exit_.address, found.get_attr("RTA_OIF")

    def _set_route(self, family: int, way: Way) -> None:
        table, hop, device = way
        try:
            self._link.route(
                "replace", family=_FAMILIES[family], dst="default", gateway=hop, oif=device, table=table,
                proto=PROTOCOL, flags=_ONLINK,
            )  # fmt: skip
        except NetlinkError as problem:
            raise Unavailable(f"the way to {hop} cannot be made: {problem}") from None

    def _take_route(self, family: int, table: int, device: int) -> None:
        try:
            self._link.route(
                "del", family=_FAMILIES[family], dst="default", oif=device, table=table, proto=PROTOCOL
            )  # fmt: skip
        except NetlinkError as problem:
            if problem.code not in (errno.ESRCH, errno.ENOENT, errno.ENODEV):
                raise Unavailable(f"a route cannot be taken away: {problem}") from None

    def _routes(self, family: int) -> set[Way]:
        found = set()
        for route in self._link.get_routes(family=_FAMILIES[family], proto=PROTOCOL):
            table = route.get_attr("RTA_TABLE")
            if route["proto"] == PROTOCOL and self.tables < table <= self.tables + self._most:
                # The kernel tells addresses in their shortest form, as we do.
                found.add((table, str(route.get_attr("RTA_GATEWAY") or ""), route.get_attr("RTA_OIF") or 0))
        return found

    def _wanted_rules(self, family: int) -> set[tuple[int, int, int]]:
        """Return the rules as priority, mark, table: packets without a mark pass all the others over in one step."""
        tables = {table for table, *_ in self._wanted(family)}
        if not tables:
            return set()
        marked = {(self.priority + 1, (table - self.tables) << self._shift, table) for table in tables}
        return marked | {(self.priority, 0, 0), (self.priority + 2, 0, 0)}

    def _rules(self, family: int) -> set[tuple[int, int, int]]:
        found = set()
        for rule in self._link.get_rules(family=_FAMILIES[family]):
            priority = rule.get_attr("FRA_PRIORITY") or 0
            if rule.get_attr("FRA_PROTOCOL") == PROTOCOL and 0 <= priority - self.priority <= 2:
                marked = priority == self.priority + 1
                table = (rule.get_attr("FRA_TABLE") or rule["table"]) if marked else 0
                found.add((priority, rule.get_attr("FRA_FWMARK") or 0, table))
        return found

    def _settle_rules(self, family: int) -> None:
        wanted, present = self._wanted_rules(family), self._rules(family)
        # The last comes first and goes last: the jump over all of them needs its landing place.
        for rule in sorted(wanted - present, reverse=True):
            self._rule("add", family, rule)
        for rule in sorted(present - wanted):
            self._rule("del", family, rule)

    def _rule(self, what: str, family: int, rule: tuple[int, int, int]) -> None:
        priority, mark, table = rule
        asked: dict[str, Any] = {"priority": priority, "family": _FAMILIES[family], "protocol": PROTOCOL}
        if table:
            asked |= {"fwmark": mark, "fwmask": self.mask, "table": table}
        elif priority == self.priority:
            asked |= {"fwmark": 0, "fwmask": self.mask, "goto": self.priority + 2, "action": _GOTO, "table": 0}
        else:
            asked |= {"action": _NOP, "table": 0}
        try:
            self._link.rule(what, **asked)
        except NetlinkError as problem:
            if problem.code not in (errno.EEXIST, errno.ENOENT):
                raise Unavailable(f"the rules of routing cannot be changed: {problem}") from None


def hints() -> list[str]:
    """Return what in the node's own settings keeps packets from arriving."""
    found = []
    for family, path in ((4, "ipv4/conf/all/forwarding"), (6, "ipv6/conf/all/forwarding")):
        with suppress(OSError):
            if (_SETTINGS / path).read_text().strip() == "0":
                found.append(f"IPv{family} is not forwarded here (net.{path.replace('/', '.')} is 0)")
    # The stricter of `all` and the interface counts (ip-sysctl, rp_filter).
    strict = sorted(each.parent.name for each in (_SETTINGS / "ipv4/conf").glob("*/rp_filter") if _strict(each))
    if strict:
        found.append(f"answers of applications may be dropped, because rp_filter is strict (1) for {', '.join(strict)}")
    return found


def _strict(path: Path) -> bool:
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False
