"""One picture of all nodes in each process, however many pages look at it.

It is read in four queries at most twice a second while somebody looks (less often when reading takes long), and numbered: a row
that differs from the last reading gets the new number. A page that tells the number it has is told only what changed
since. Nobody sees rows of an organisation of which they may not read nodes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db.models import Case, Count, F, IntegerField, Sum, TextField, Value, When
from django.db.models.functions import Cast
from django.utils import timezone

from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.words import as_text
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
#: How hard the whole is packed: level 5 saves a twentieth of the bytes and takes three times as long.
_PACKED = 1


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


#: Whose node it is and what is known of it, by the node's number in hex.
Rows = dict[str, tuple[UUID, Row]]


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
        self._rows: Rows = {}
        self._slugs: dict[UUID, str] = {}
        self._tenants: dict[UUID, int] = {}
        self._steps: deque[tuple[int, dict[str, UUID]]] = deque(maxlen=STEPS)
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
        made = Whole(tag, body, gzip.compress(body, _PACKED, mtime=0))
        self._wholes[scope] = made
        self._wholes.move_to_end(scope)
        while len(self._wholes) > _SCOPES:
            self._wholes.popitem(last=False)
        return made

    def rows(self, scope: Scope) -> list[Row]:
        """Return what `scope` sees, by name."""
        rows = [row for tenant, row in list(self._rows.values()) if tenant in scope.nodes]
        # As the page compares names; what is in order already it need not sort.
        return sorted(self._shown(rows, scope), key=lambda row: row.name.lower())

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
        touched: dict[str, UUID] = {}
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
                gone.append(pk)
        return _encoded({"version": tag, "nodes": columns(self._shown(rows, scope)), "gone": gone})

    def _shown(self, rows: Iterable[Row], scope: Scope) -> list[Row]:
        if scope.nodes <= scope.deployments:
            return list(rows)
        slugs = {self._slugs.get(each) for each in scope.deployments}
        return [row if row.organisation in slugs else _without_deployments(row) for row in rows]

    def _take(self, read: tuple[Rows, dict[UUID, str]]) -> None:
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
    """Return the rows as one list for each member; what repeats are numbers into a list beside them.

    `labels` and `apps` are numbers into `label_sets` and `app_sets`, and these hold lists of numbers into `label_words`
    and `app_words`: many nodes are labelled alike, and a page need not keep a list for each of them.
    """
    words: dict[str, dict[str, int]] = defaultdict(dict)
    sets: dict[str, dict[tuple[str, ...], int]] = {"label_sets": {}, "app_sets": {}}

    def code(known: dict[Any, int], each: Any) -> int:
        return known.setdefault(each, len(known))

    made: dict[str, Any] = {
        "id": [row.id for row in rows],
        "name": [row.name for row in rows],
        "lon": [row.longitude for row in rows],
        "lat": [row.latitude for row in rows],
        "state": [row.state for row in rows],
        "organisation": [code(words["organisations"], row.organisation) for row in rows],
        "site": [code(words["sites"], row.site) for row in rows],
        "labels": [code(sets["label_sets"], row.labels) for row in rows],
        "apps": [code(sets["app_sets"], row.apps) for row in rows],
        "cpu_free": [row.cpu_free for row in rows],
        "memory_free": [row.memory_free for row in rows],
        "deployed": [row.deployed for row in rows],
        "failed": [row.failed for row in rows],
        "simulated": [index for index, row in enumerate(rows) if row.simulated],
    }
    for kind, of in (("label_sets", "label_words"), ("app_sets", "app_words")):
        made[kind] = [[code(words[of], word) for word in each] for each in sets[kind]]
    for kind in ("organisations", "sites", "label_words", "app_words"):
        made[kind] = list(words[kind])
    return made


def _read() -> tuple[Rows, dict[UUID, str]]:
    """Read all nodes in four queries.

    The database turns numbers, times and labels into what is needed here: turning each of them into an object of Python first
    takes ten times as long as everything else.
    """
    slugs = dict(Organisation.objects.values_list("id", "slug"))
    tenants = {tenant.hex: (tenant, slug) for tenant, slug in slugs.items()}
    sites = {pk.hex: (name, lon, lat) for pk, name, lon, lat in _sites()}
    held = _deployments()
    labels_of = _Labels()
    rows: Rows = {}
    for raw_pk, name, raw_tenant, lat, lon, labels, cpu, memory, seen, simulated, site in _nodes():
        pk = raw_pk.replace("-", "")
        tenant, slug = tenants.get(raw_tenant.replace("-", "")) or (UUID(raw_tenant), "")
        load = held.get(pk, _NOTHING)
        # A node without coordinates of its own stands where its site is.
        where, site_lon, site_lat = sites[site.replace("-", "")] if site else _NOWHERE
        if lat is None:
            lon, lat = site_lon, site_lat
        failed = load.failed.get(tenant, 0)
        rows[pk] = (
            tenant,
            Row(
                pk,
                name,
                slug,
                None if lon is None else round(lon, 5),
                None if lat is None else round(lat, 5),
                TROUBLED if failed and seen == ONLINE else seen,
                labels_of[labels],
                cpu - load.cpu if cpu else None,
                (memory - load.memory) >> 20 if memory else None,
                tuple(sorted(load.apps[tenant])) if tenant in load.apps else (),
                load.deployed.get(tenant, 0),
                failed,
                where,
                simulated == 1,
            ),
        )
    return rows, slugs


def _nodes() -> Iterable[tuple[Any, ...]]:
    # The same as `Node.state`.
    seen = Case(
        When(last_seen_at=None, enrolled_at=None, then=Value(NEW)),
        When(last_seen_at=None, then=Value(ENROLLED)),
        When(last_seen_at__lt=timezone.now() - silence_limit(), then=Value(OFFLINE)),
        default=Value(ONLINE),
        output_field=IntegerField(),
    )
    known = Node.objects.order_by().values_list(
        _as_text("id"), "name", _as_text("organisation_id"), "latitude", "longitude", _as_text("labels"), "cpu_millis",
        "memory_bytes", seen, Cast("simulated", IntegerField()), _as_text("placement__site_id"),
    )  # fmt: skip
    return known.iterator(5000)


def _as_text(name: str) -> Cast:
    return Cast(F(name), TextField())


class _Labels(dict[str, tuple[str, ...]]):
    """The words of labels by their JSON, each read once."""

    def __missing__(self, text: str) -> tuple[str, ...]:
        labels = json.loads(text) if text else {}
        words = self[text] = tuple(f"{key}={value}" for key, value in labels.items()) if labels else ()
        return words


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
_NOWHERE = ("", None, None)


def _deployments() -> dict[str, _Load]:
    held: dict[str, _Load] = defaultdict(_Load)
    tenants: dict[str, UUID] = {}
    groups = (
        Deployment.objects.present()
        .order_by()
        .annotate(at=_as_text("node_id"), tenant=_as_text("organisation_id"))
        .values_list("at", "tenant", "package__name", "state", "namespace")
        .annotate(number=Count("id"), cpu=Sum("cpu_millis"), memory=Sum("memory_bytes"))
    )
    for at, whose, app, state, namespace, number, cpu, memory in groups.iterator(5000):
        load = held[at.replace("-", "")]
        load.cpu += cpu
        load.memory += memory
        # A trial takes room like any other, but it is nobody's (see DeploymentQuerySet.visible_to).
        if namespace.startswith(TRIAL_NAMESPACE):
            continue
        tenant = tenants.get(whose) or tenants.setdefault(whose, UUID(whose))
        load.apps[tenant].add(app)
        load.deployed[tenant] += number
        if state == Deployment.State.FAILED:
            load.failed[tenant] += number
    return held


def _without_deployments(row: Row) -> Row:
    state = ONLINE if row.state == TROUBLED else row.state
    return row._replace(apps=(), deployed=0, failed=0, state=state)


def _encoded(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document, enc_hook=as_text)


#: The one of this process.
picture = Picture()
