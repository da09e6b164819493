"""Verbs of sites: add, change, remove, place nodes, connect, import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.words import say
from mecm.nodes.models import Node
from mecm.sites import geojson, live
from mecm.sites.models import Placement, Site, SiteLink

_FIELDS = ("name", "kind", "latitude", "longitude", "radius_m", "area", "labels")


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    made: int
    changed: int
    links: int


@transaction.atomic
def add_site(*, actor: Actor, organisation: Organisation, **facts: Any) -> Site:
    """Write down a site of `organisation`; `Conflict` when it has one of that name already."""
    actor.require("nodes.write", organisation)
    site = Site(organisation=organisation, **_checked(facts))
    _clean(site)
    try:
        with transaction.atomic():
            site.save(force_insert=True)
    except IntegrityError:
        raise Conflict(
            say("{organisation} has a site named {name} already.", organisation=organisation, name=repr(site.name)),
            field="name",
        ) from None
    audit.record(actor, "site.add", site, kind=str(site.kind))
    return site


@transaction.atomic
def change_site(site: Site, *, actor: Actor, **changes: Any) -> Site:
    """Change what is said of a site: name, kind, position, radius, area, labels."""
    actor.require("nodes.write", site.organisation_id)
    site = Site.objects.select_for_update().get(pk=site.pk)
    for name, value in _checked(changes).items():
        setattr(site, name, value)
    _clean(site)
    try:
        with transaction.atomic():
            site.save()
    except IntegrityError:
        raise Conflict(say("There is a site named {name} already.", name=repr(site.name)), field="name") from None
    transaction.on_commit(live.picture.hurry)
    audit.record(actor, "site.change", site, fields=sorted(changes))
    return site


@transaction.atomic
def remove_site(site: Site, *, actor: Actor) -> None:
    """Forget a site and its links; the nodes that stand there stay, without a site."""
    actor.require("nodes.write", site.organisation_id)
    audit.record(actor, "site.remove", site, kind=str(site.kind))
    site.delete()
    transaction.on_commit(live.picture.hurry)


@transaction.atomic
def place_node(node: Node, site: Site | None, *, actor: Actor) -> None:
    """Say at which site a node stands; None takes it away from its site."""
    actor.require("nodes.write", node.organisation_id)
    if site is None:
        Placement.objects.filter(node=node).delete()
    else:
        if site.organisation_id != node.organisation_id:
            raise Invalid(say("The node and the site belong to different organisations."), field="node")
        Placement.objects.update_or_create(node=node, defaults={"site": site})
    transaction.on_commit(live.picture.hurry)
    audit.record(actor, "node.place", node, site=str(site.pk) if site else "")


@transaction.atomic
def connect(
    source: Site, target: Site, *, actor: Actor, state: str = SiteLink.State.UNKNOWN, note: str = ""
) -> SiteLink:
    """Say that traffic goes from `source` to `target`; `Conflict` when that is known, in either direction."""
    actor.require("nodes.write", source.organisation_id)
    if target.organisation_id != source.organisation_id:
        raise Invalid(say("The two sites belong to different organisations."), field="target")
    if source == target:
        raise Invalid(say("A link joins two sites."), field="target")
    if SiteLink.objects.filter(source=target, target=source).exists():
        raise Conflict(say("{target} is connected to {source} already.", target=target, source=source), field="target")
    link = SiteLink(organisation_id=source.organisation_id, source=source, target=target)
    _say(link, state, note)
    try:
        with transaction.atomic():
            link.save(force_insert=True)
    except IntegrityError:
        raise Conflict(
            say("{source} is connected to {target} already.", source=source, target=target), field="target"
        ) from None
    audit.record(actor, "site.connect", source, target=str(target.pk), state=link.state)
    return link


@transaction.atomic
def tell_link(link: SiteLink, *, actor: Actor, state: str, note: str | None = None) -> SiteLink:
    """Say how a link is now."""
    actor.require("nodes.write", link.organisation_id)
    link = SiteLink.objects.select_for_update().select_related("source").get(pk=link.pk)
    before = link.state
    _say(link, state, link.note if note is None else note)
    link.save()
    audit.record(actor, "site.link", link.source, target=str(link.target_id), before=before, state=link.state)
    return link


@transaction.atomic
def disconnect(link: SiteLink, *, actor: Actor) -> None:
    """Forget a link."""
    actor.require("nodes.write", link.organisation_id)
    audit.record(actor, "site.disconnect", link.source, target=str(link.target_id))
    link.delete()


@transaction.atomic
def take_in(document: Any, *, actor: Actor, organisation: Organisation) -> Imported:
    """Make or change the sites and links that a GeoJSON document describes, by name: all of them, or none."""
    actor.require("nodes.write", organisation)
    wishes, links = geojson.read(document)
    known = {site.name: site for site in Site.objects.select_for_update().filter(organisation=organisation)}
    fresh = [Site(organisation=organisation, **asdict(wish)) for wish in wishes if wish.name not in known]
    changed = [_told(known[wish.name], wish) for wish in wishes if wish.name in known]
    Site.objects.bulk_create(fresh)
    now = timezone.now()
    for site in changed:
        site.updated_at = now
    Site.objects.bulk_update(changed, [*_FIELDS, "updated_at"], batch_size=200)
    known |= {site.name: site for site in fresh}
    _take_links(links, known, organisation)
    transaction.on_commit(live.picture.hurry)
    audit.record(
        actor, "site.import", organisation, organisation=organisation.pk, made=len(fresh), changed=len(changed)
    )
    return Imported(len(fresh), len(changed), len(links))


def _take_links(links: Iterable[geojson.LinkWish], known: dict[str, Site], organisation: Organisation) -> None:
    there = {(link.source_id, link.target_id): link for link in SiteLink.objects.filter(organisation=organisation)}
    wanted: dict[tuple[Any, Any], SiteLink] = {}
    for wish in links:
        ends = [known.get(wish.source), known.get(wish.target)]
        for name, end in zip((wish.source, wish.target), ends, strict=True):
            if end is None:
                raise Invalid(
                    say("A link names the site {name}, which is not known.", name=repr(name)), field="features"
                )
        source, target = ends
        assert source is not None
        assert target is not None
        if source == target or (target.pk, source.pk) in there or (target.pk, source.pk) in wanted:
            raise Invalid(
                say(
                    "The link from {source} to {target} is there in the other direction, or joins nothing.",
                    source=repr(wish.source),
                    target=repr(wish.target),
                ),
                field="features",
            )
        key = (source.pk, target.pk)
        link = there.get(key) or SiteLink(organisation=organisation, source=source, target=target)
        _say(link, wish.state, wish.note)
        wanted[key] = link
    SiteLink.objects.bulk_create([link for key, link in wanted.items() if key not in there])
    SiteLink.objects.bulk_update(
        [link for key, link in wanted.items() if key in there], ["state", "note", "told_at"], batch_size=500
    )


def _told(site: Site, wish: geojson.SiteWish) -> Site:
    for name, value in asdict(wish).items():
        setattr(site, name, value)
    return site


def _say(link: SiteLink, state: str, note: str) -> None:
    if state not in SiteLink.State.values:
        raise Invalid(say("state must be one of {values}", values=", ".join(SiteLink.State.values)), field="state")
    if not isinstance(note, str) or len(note) > 200 or "\x00" in note:
        raise Invalid(say("note must be a text of up to 200 characters"), field="note")
    link.state, link.note = state, note
    link.told_at = None if state == SiteLink.State.UNKNOWN else timezone.now()


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    unknown = set(facts) - set(_FIELDS)
    if unknown:
        raise Invalid(say("This cannot be set here: {unknown}", unknown=", ".join(sorted(unknown))))
    checked = dict(facts)
    if facts.get("area") is not None:
        checked["area"] = geojson.area(facts["area"])
    if "labels" in facts:
        checked["labels"] = geojson.labels(facts["labels"])
    return checked


def _clean(site: Site) -> None:
    if site.area and (site.latitude is None or site.longitude is None):
        site.longitude, site.latitude = geojson.middle(site.area)
    try:
        site.full_clean(validate_unique=False, exclude=["organisation"])
    except ValidationError as problem:
        problems = [
            {"field": "coordinates" if name == "__all__" else name, "detail": " ".join(messages)}
            for name, messages in problem.message_dict.items()
        ]
        detail = "; ".join(f"{each['field']}: {each['detail']}" for each in problems)
        raise Invalid(detail, errors=problems) from None
