"""One picture of all nodes in each process, however many pages look at it.

It is read in four queries at most twice a second while somebody looks (less often when reading takes long), and numbered: a row
that differs from the last reading gets the new number. A page that tells the number it has is told only what changed
since. Nobody sees rows of an organisation of which they may not read nodes.
"""

from __future__ import annotations

import gzip
import hashlib
import secrets
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db.models import Count, Sum
from django.utils import timezone

from core.accounts.access import Actor
from core.accounts.models import Organisation
from mecm.deployments.models import TRIAL_NAMESPACE, Deployment
from mecm.nodes.models import Node, silence_limit
from mecm.sites.models import Site

#: From well to worst; a cluster has the colour of its worst node.
STATES = ("online", "new", "enrolled", "troubled", "offline")
ONLINE, NEW, ENROLLED, TROUBLED, OFFLINE = range(5)
#: Seconds for which a reading holds, and how many times longer than the reading itself took.
FRESH, REST = 0.5, 8.0
#: How many steps back a page may be, and how many rows are told as changes; beyond that it reads everything.
STEPS, MOST = 300, 2000
_SCOPES = 32


class Row(NamedTuple):
    """What the map knows of a node. The names of apps are of its own organisation's deployments."""

    id: str
    name: str
    organisation: str
    longitude: float | None
    latitude: float | None
    state: int
    labels: tuple[str, ...]
    cpu_free: int | None
    memory_free: int | None
    apps: tuple[str, ...]
    deployed: int
    failed: int
    site: str
    simulated: bool


@dataclass(frozen=True)
class Scope:
    """Whose nodes somebody may see, and whose deployments."""

    nodes: frozenset[UUID]
    deployments: frozenset[UUID]

    @classmethod
    def of(cls, actor: Actor) -> Scope:
        """Return what `actor` may see."""
        return cls(frozenset(actor.organisations("nodes.read")), frozenset(actor.organisations("deployments.read")))

    @cached_property
    def mark(self) -> str:
        """Return a short name: who gets or loses a role sees everything anew."""
        words = "/".join(",".join(sorted(each.hex for each in part)) for part in (self.nodes, self.deployments))
        return hashlib.sha256(words.encode()).hexdigest()[:8]


class Whole(NamedTuple):
    """Everything that one scope sees, ready to be sent."""

    tag: str
    plain: bytes
    packed: bytes


class Picture:
    """The picture of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reading, self._encoding = threading.Lock(), threading.Lock()
        self._next = 0.0
        self.forget()

    def forget(self) -> None:
        """Know nothing: the next question reads everything anew."""
        self.epoch = secrets.token_hex(4)
        self.version = 0
        self._next = 0.0
        self._rows: dict[UUID, tuple[UUID, Row]] = {}
        self._slugs: dict[UUID, str] = {}
        self._tenants: dict[UUID, int] = {}
        self._steps: deque[tuple[int, dict[UUID, UUID]]] = deque(maxlen=STEPS)
        self._wholes: OrderedDict[Scope, Whole] = OrderedDict()
        self._told: dict[tuple[Scope, int], bytes | None] = {}
        self._told_at = 0

    @property
    def due(self) -> bool:
        """Whether it is time to read again."""
        return self._clock() >= self._next

    def hurry(self) -> None:
        """Read at the next question: something was just changed here."""
        self._next = 0.0

    def refresh(self) -> None:
        """Read again when it is time. Who comes while another thread reads, goes on with what is known."""
        if not self.due or not self._reading.acquire(blocking=self.version == 0):
            return
        try:
            if not self.due:
                return
            begun = self._clock()
            self._take(_read())
            took = self._clock() - begun
            self._next = begun + took + max(FRESH, REST * took)
        finally:
            self._reading.release()

    def version_of(self, scope: Scope) -> int:
        """Return the number of the last change that `scope` can see."""
        return max((self._tenants.get(each, 0) for each in scope.nodes), default=0)

    def tag(self, scope: Scope) -> str:
        """Return the name of what `scope` sees now."""
        return f"{self.epoch}{scope.mark}-{self.version_of(scope)}"

    def whole(self, scope: Scope) -> Whole:
        """Return everything that `scope` sees, encoded once for all who see the same."""
        with self._encoding:
            tag = self.tag(scope)
            known = self._wholes.get(scope)
            return known if known is not None and known.tag == tag else self._encode(scope, tag)

    def _encode(self, scope: Scope, tag: str) -> Whole:
        body = _encoded({"version": tag, "states": STATES, "nodes": columns(self.rows(scope))})
        made = Whole(tag, body, gzip.compress(body, 5, mtime=0))
        self._wholes[scope] = made
        self._wholes.move_to_end(scope)
        while len(self._wholes) > _SCOPES:
            self._wholes.popitem(last=False)
        return made

    def rows(self, scope: Scope) -> list[Row]:
        """Return what `scope` sees, by name."""
        rows = [row for tenant, row in list(self._rows.values()) if tenant in scope.nodes]
        return sorted(self._shown(rows, scope), key=lambda row: row.name)

    def since(self, scope: Scope, tag: str) -> bytes | None:
        """Return what `scope` sees changed since `tag`; None when that is too much or too long ago to be told."""
        number = self._number(tag, scope)
        if number is None:
            return None
        if self._told_at != self.version:
            self._told_at, self._told = self.version, {}
        key = (scope, number)
        if key not in self._told:
            self._told[key] = self._changes(scope, number)
        return self._told[key]

    def _number(self, tag: str, scope: Scope) -> int | None:
        epoch, _, number = tag.partition("-")
        # isdigit would let figures through that int does not read.
        if epoch != self.epoch + scope.mark or not number.isdecimal() or len(number) > 12 or int(number) > self.version:
            return None
        steps = list(self._steps)
        oldest = steps[0][0] - 1 if steps else self.version
        return int(number) if int(number) >= oldest else None

    def _changes(self, scope: Scope, number: int) -> bytes | None:
        tag = self.tag(scope)
        touched: dict[UUID, UUID] = {}
        for version, tenants in reversed(list(self._steps)):
            if version <= number:
                break
            touched |= {pk: tenant for pk, tenant in tenants.items() if tenant in scope.nodes}
        if len(touched) > MOST:
            return None
        rows, gone = [], []
        for pk in touched:
            known = self._rows.get(pk)
            if known is not None and known[0] in scope.nodes:
                rows.append(known[1])
            else:
                gone.append(pk.hex)
        return _encoded({"version": tag, "nodes": columns(self._shown(rows, scope)), "gone": gone})

    def _shown(self, rows: Iterable[Row], scope: Scope) -> list[Row]:
        if scope.nodes <= scope.deployments:
            return list(rows)
        slugs = {self._slugs.get(each) for each in scope.deployments}
        return [row if row.organisation in slugs else _without_deployments(row) for row in rows]

    def _take(self, read: tuple[dict[UUID, tuple[UUID, Row]], dict[UUID, str]]) -> None:
        rows, self._slugs = read
        before = self._rows
        touched = {pk: value[0] for pk, value in rows.items() if before.get(pk) != value}
        # A node that went is news for those who saw it before.
        left = {pk: value[0] for pk, value in before.items() if pk not in rows}
        if touched or left or self.version == 0:
            # In this order: who reads meanwhile may see new rows under the old number, never the other way round.
            self._rows = rows
            self._steps.append((self.version + 1, touched | left))
            self._tenants |= dict.fromkeys({*touched.values(), *left.values()}, self.version + 1)
            self.version += 1


def columns(rows: list[Row]) -> dict[str, Any]:
    """Return the rows as one list for each member; words that repeat are numbers into a list beside them."""
    words: dict[str, dict[str, int]] = defaultdict(dict)

    def code(kind: str, word: str) -> int:
        return words[kind].setdefault(word, len(words[kind]))

    made: dict[str, Any] = {
        "id": [row.id for row in rows],
        "name": [row.name for row in rows],
        "lon": [row.longitude for row in rows],
        "lat": [row.latitude for row in rows],
        "state": [row.state for row in rows],
        "organisation": [code("organisations", row.organisation) for row in rows],
        "site": [code("sites", row.site) for row in rows],
        "labels": [[code("label_words", each) for each in row.labels] for row in rows],
        "apps": [[code("app_words", each) for each in row.apps] for row in rows],
        "cpu_free": [row.cpu_free for row in rows],
        "memory_free": [row.memory_free for row in rows],
        "deployed": [row.deployed for row in rows],
        "failed": [row.failed for row in rows],
        "simulated": [index for index, row in enumerate(rows) if row.simulated],
    }
    for kind in ("organisations", "sites", "label_words", "app_words"):
        made[kind] = list(words[kind])
    return made


def state_of(enrolled_at: datetime | None, last_seen_at: datetime | None, failed: int, silent_since: datetime) -> int:
    """Return the state of a node as a number into `STATES`; the same as `Node.state`, and troubled when an app failed."""
    if last_seen_at is None:
        return ENROLLED if enrolled_at else NEW
    if last_seen_at < silent_since:
        return OFFLINE
    return TROUBLED if failed else ONLINE


def _read() -> tuple[dict[UUID, tuple[UUID, Row]], dict[UUID, str]]:
    slugs = dict(Organisation.objects.values_list("id", "slug"))
    sites = {pk: (name, lon, lat) for pk, name, lon, lat in _sites()}
    held = _deployments()
    silent_since = timezone.now() - silence_limit()
    rows: dict[UUID, tuple[UUID, Row]] = {}
    known = Node.objects.order_by().values_list(
        "id", "name", "organisation_id", "latitude", "longitude", "labels", "cpu_millis", "memory_bytes",
        "enrolled_at", "last_seen_at", "simulated", "placement__site_id",
    )  # fmt: skip
    for pk, name, tenant, lat, lon, labels, cpu, memory, enrolled, seen, simulated, site in known.iterator(5000):
        load = held.get(pk, _NOTHING)
        # A node without coordinates of its own stands where its site is.
        where, site_lon, site_lat = sites.get(site, ("", None, None))
        lon, lat = (site_lon, site_lat) if lat is None else (lon, lat)
        rows[pk] = (
            tenant,
            Row(
                id=pk.hex,
                name=name,
                organisation=slugs.get(tenant, ""),
                longitude=None if lon is None else round(lon, 5),
                latitude=None if lat is None else round(lat, 5),
                state=state_of(enrolled, seen, load.failed.get(tenant, 0), silent_since),
                labels=tuple(f"{key}={value}" for key, value in labels.items()) if labels else (),
                cpu_free=cpu - load.cpu if cpu else None,
                memory_free=(memory - load.memory) >> 20 if memory else None,
                apps=tuple(sorted(load.apps.get(tenant, ()))),
                deployed=load.deployed.get(tenant, 0),
                failed=load.failed.get(tenant, 0),
                site=where,
                simulated=simulated,
            ),
        )
    return rows, slugs


def _sites() -> Iterable[tuple[UUID, str, float, float]]:
    return Site.objects.order_by().values_list("id", "name", "longitude", "latitude")


class _Load:
    """What is on one node: what it takes in all, and what each tenant has there."""

    def __init__(self) -> None:
        self.cpu = self.memory = 0
        self.apps: dict[UUID, set[str]] = defaultdict(set)
        self.deployed: dict[UUID, int] = defaultdict(int)
        self.failed: dict[UUID, int] = defaultdict(int)


_NOTHING = _Load()


def _deployments() -> dict[UUID, _Load]:
    held: dict[UUID, _Load] = defaultdict(_Load)
    groups = (
        Deployment.objects.present()
        .order_by()
        .values_list("node_id", "organisation_id", "package__name", "state", "namespace")
        .annotate(number=Count("id"), cpu=Sum("cpu_millis"), memory=Sum("memory_bytes"))
    )
    for node, tenant, app, state, namespace, number, cpu, memory in groups.iterator(5000):
        load = held[node]
        load.cpu += cpu
        load.memory += memory
        # A trial takes room like any other, but it is nobody's (see DeploymentQuerySet.visible_to).
        if namespace.startswith(TRIAL_NAMESPACE):
            continue
        load.apps[tenant].add(app)
        load.deployed[tenant] += number
        if state == Deployment.State.FAILED:
            load.failed[tenant] += number
    return held


def _without_deployments(row: Row) -> Row:
    state = ONLINE if row.state == TROUBLED else row.state
    return row._replace(apps=(), deployed=0, failed=0, state=state)


def _encoded(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document)


#: The one of this process.
picture = Picture()
