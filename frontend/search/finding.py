"""What one search finds: pages, applications, packages, nodes, deployments, rollouts, operations; a fixed number of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appstore.catalog import search as catalogue
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.operations.models import Operation
from frontend.templatetags.portal import WORK
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.rollouts.models import Rollout

#: Name of the page, icon, label, and the permission that it needs; "" for whoever signed in, None for everybody.
PAGES: tuple[tuple[str, str, Any, str | None], ...] = (
    ("catalogue", "apps", gettext_lazy("Catalogue"), None),
    ("compare", "arrows-exchange", gettext_lazy("Compare two applications"), None),
    ("sign-in", "user", gettext_lazy("Sign in"), None),
    ("notices", "bell", gettext_lazy("Notices"), ""),
    ("packages", "packages", gettext_lazy("My packages"), "packages.read"),
    ("develop", "flask", gettext_lazy("Workbench"), "packages.read"),
    ("upload", "cloud-upload", gettext_lazy("Upload a package"), "packages.write"),
    ("certifications", "certificate", gettext_lazy("Certification"), "certification.run"),
    ("reviews", "eye-check", gettext_lazy("To review"), "packages.review"),
    ("trust", "shield-check", gettext_lazy("Trust"), "packages.read"),
    ("map", "map-2", gettext_lazy("Map"), "nodes.read"),
    ("sites", "map-pin", gettext_lazy("Sites"), "nodes.read"),
    ("nodes", "server-2", gettext_lazy("Nodes"), "nodes.read"),
    ("new-node", "plus", gettext_lazy("Register a node"), "nodes.write"),
    ("fleet", "activity", gettext_lazy("Fleet"), "nodes.read"),
    ("alarms", "alarm", gettext_lazy("Alarms"), "nodes.read"),
    ("deployments", "rocket", gettext_lazy("Deployments"), "deployments.read"),
    ("rollouts", "stack-2", gettext_lazy("Rollouts"), "deployments.read"),
    ("operations", "list-check", gettext_lazy("Operations"), "operations.read"),
    ("recalls", "urgent", gettext_lazy("Recalls"), "packages.recall"),
    ("partners", "affiliate", gettext_lazy("Partner stores"), "federation.manage"),
    ("members", "users", gettext_lazy("Members"), "accounts.manage"),
    ("webhooks", "webhook", gettext_lazy("Webhooks"), "accounts.manage"),
    ("audit", "history", gettext_lazy("Audit log"), "audit.read"),
    ("backup", "device-floppy", gettext_lazy("Backup"), "accounts.manage"),
    ("security", "shield-lock", gettext_lazy("Sign-in and security"), ""),
    ("profile", "key", gettext_lazy("Profile and API tokens"), ""),
    ("reference", "api", gettext_lazy("API reference"), None),
)
#: Of each kind, as many as fit on a screen.
FEW, MANY = 5, 20


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found."""

    url: str
    label: str
    note: str = ""
    mark: str = "file-text"
    state: str = ""


@dataclass(slots=True)
class Group:
    """What was found of one kind; `more` leads to all of them."""

    name: str
    label: str
    hits: list[Hit] = field(default_factory=list)
    more: str = ""


def find(words: str, actor: Actor, organisation: Organisation | None, *, most: int = FEW) -> list[Group]:
    """Return what the actor may see of it: public applications, and the things of the current organisation.

    At most twelve queries: up to seven of the catalogue, one for each other kind. Without words only pages, and none.
    """
    may = actor.permissions(organisation.pk) if organisation else frozenset()
    groups = [Group("pages", _("Pages"), list(_pages(words, actor, may)))]
    if words:
        groups.append(_applications(words, actor, most))
        if organisation is not None:
            groups += [make(words, organisation, most) for permission, make in _KINDS if permission in may]
    return [group for group in groups if group.hits]


def _pages(words: str, actor: Actor, may: frozenset[str]) -> Iterator[Hit]:
    asked = words.casefold().split()
    for name, mark, label, needs in PAGES:
        allowed = needs is None or (actor.authenticated and (not needs or needs in may))
        if not allowed or (name == "sign-in" and actor.authenticated):
            continue
        # The English name is found in every language: it is what the documentation and colleagues call it.
        said = f"{label} {name}".casefold()
        if all(word in said for word in asked):
            try:
                url = reverse(f"frontend:{name}")
            except NoReverseMatch:
                continue
            yield Hit(url, str(label), mark=mark)


def _applications(words: str, actor: Actor, most: int) -> Group:
    found = catalogue.search(catalogue.Query(text=words, size=most), actor, values=0)
    hits = [
        Hit(
            reverse("frontend:catalogue-app", args=[row.app_id]),
            row.app.name,
            _line(row.app.provider, row.release),
            "apps",
        )
        for row in found.rows
    ]
    more = reverse("frontend:catalogue") + catalogue.Query(text=words).address() if found.total > len(hits) else ""
    return Group("applications", _("Applications"), hits, more)


def _line(provider: str, release: Any) -> str:
    return " · ".join(part for part in (provider, release.version if release else "") if part)


def _packages(words: str, organisation: Organisation, most: int) -> Group:
    rows = Package.objects.filter(organisation=organisation).matching(words)  # type: ignore[attr-defined]
    rows = rows.only("name", "version", "provider", "state", "filename", "created_at")
    return _group("packages", _("Packages"), rows, most, words, lambda row: Hit(
        reverse("frontend:package", args=[row.pk]), str(row), row.provider, "package", row.state
    ))  # fmt: skip


def _nodes(words: str, organisation: Organisation, most: int) -> Group:
    rows = _having(Node.objects.filter(organisation=organisation), words, "name__contains")
    rows = rows.only("name", "engine", "link", "last_seen_at", "enrolled_at").order_by("name")
    return _group("nodes", _("Nodes"), rows, most, words, lambda row: Hit(
        reverse("frontend:node", args=[row.pk]), row.name, row.engine, "server-2", row.state
    ))  # fmt: skip


def _deployments(words: str, organisation: Organisation, most: int) -> Group:
    rows = _having(
        Deployment.objects.present().filter(organisation=organisation), words, "name__contains",
        "node__name__contains", "package__name__icontains",
    )  # fmt: skip
    rows = rows.select_related("node").only("name", "state", "node__name").order_by("name", "pk")
    return _group("deployments", _("Deployments"), rows, most, words, lambda row: Hit(
        reverse("frontend:deployment", args=[row.pk]), row.name, row.node.name, "rocket", row.state
    ))  # fmt: skip


def _rollouts(words: str, organisation: Organisation, most: int) -> Group:
    rows = _having(
        Rollout.objects.filter(organisation=organisation),
        words,
        "title__icontains",
        "name__contains",
        "package__name__icontains",
    )
    rows = rows.select_related("package").order_by("-created_at")
    rows = rows.only("title", "state", "created_at", "package__name", "package__version", "package__filename")
    return _group("rollouts", _("Rollouts"), rows, most, "", lambda row: Hit(
        reverse("frontend:rollout", args=[row.pk]), row.title, str(row.package), "stack-2", row.state
    ))  # fmt: skip


def _operations(words: str, organisation: Organisation, most: int) -> Group:
    asked = words.casefold().split()
    # What people read of an operation is not what is stored: its kind is found by its words, too.
    kinds = [kind for kind, text in WORK.items() if all(word in f"{text} {kind}".casefold() for word in asked)]
    rows = Operation.objects.filter(Q(kind__in=kinds) | Q(requested_by__iexact=words), organisation_id=organisation.pk)
    rows = rows.only("kind", "state", "created_at", "requested_by").order_by("-created_at")
    return _group("operations", _("Operations"), rows, most, "", lambda row: Hit(
        reverse("frontend:operations"), str(WORK.get(row.kind, row.kind)), row.requested_by, "list-check", row.state
    ))  # fmt: skip


def _having(rows: QuerySet[Any], words: str, *lookups: str) -> QuerySet[Any]:
    """Keep the rows in which each word is somewhere. DNS labels are small letters: `contains` finds them, and costs less."""
    for word in words.lower().split()[:8]:
        has = Q()
        for lookup in lookups:
            has |= Q(**{lookup: word})
        rows = rows.filter(has)
    return rows


def _group(name: str, label: str, rows: QuerySet[Any], most: int, words: str, hit: Callable[[Any], Hit]) -> Group:
    found = list(rows[: most + 1])
    more = reverse(f"frontend:{name}") if len(found) > most else ""
    if more and words:
        more += catalogue.Query(text=words).address()
    return Group(name, label, [hit(row) for row in found[:most]], more)


#: What is searched in the current organisation, and the permission that it needs there.
_KINDS: tuple[tuple[str, Callable[[str, Organisation, int], Group]], ...] = (
    ("packages.read", _packages),
    ("nodes.read", _nodes),
    ("deployments.read", _deployments),
    ("deployments.read", _rollouts),
    ("operations.read", _operations),
)
