"""Sites: list, draw, import, one site with its topology, its nodes and its links."""

from __future__ import annotations

import json
import math
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from core.accounts import access
from core.errors import BreakwaterError, Denied, Missing
from frontend import tenancy
from frontend.operator.maps import ground, site_words
from frontend.page import page, paged, told, words_of
from frontend.sites import picture
from frontend.sites.forms import ConnectForm, ImportForm, LinkForm, PlaceNodeForm, SiteForm
from mecm.nodes.models import Node
from mecm.sites import geojson, services, topology
from mecm.sites.models import Site, SiteLink

#: Names that are offered while somebody types.
OFFERED = 50
SITES = Site.objects.select_related("organisation")


@require_GET
@page
def sites_page(request: HttpRequest) -> HttpResponse:
    """List the sites that the person may see, by name."""
    return _sites(request, ImportForm())


@page
def new_site(request: HttpRequest) -> HttpResponse:
    """Add a site to the current organisation."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    actor.require("nodes.write", organisation)
    form, status = SiteForm(request.POST or None, initial=_place(request)), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                site = services.add_site(actor=actor, organisation=organisation, **form.wanted())  # type: ignore[arg-type]
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect("frontend:site", site.pk)
    context = {"section": "sites", "form": form, **ground()}
    return render(request, "frontend/sites/site_form.html", context, status=status)


@require_POST
@page
def import_sites(request: HttpRequest) -> HttpResponse:
    """Take a GeoJSON file in: all of it, or nothing."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    actor.require("nodes.write", organisation)
    form = ImportForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            document = geojson.parse(form.cleaned_data["file"].read(geojson.BYTES + 1))
            done = services.take_in(document, actor=actor, organisation=organisation)  # type: ignore[arg-type]
        except BreakwaterError as error:
            places = error.context.get("errors") or [{"field": "", "detail": error.detail}]
            for each in places:
                place = f"{each['field']}: " if str(each["field"]).startswith("features") else ""
                form.add_error("file", f"{place}{each['detail']}.")
        else:
            with told(request, _("{made} sites are new, {changed} were changed.").format(**done.__dict__)):
                return redirect("frontend:sites")
    return _sites(request, form, status=400)


@require_GET
@page
def site_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one site."""
    return _site(request, access.get(SITES, tenancy.actor_of(request), "nodes.read", pk))


@page
def change_site(request: HttpRequest, pk: Any) -> HttpResponse:
    """Change what is said of a site."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    form, status = SiteForm(request.POST or None, initial=SiteForm.of(site)), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                services.change_site(site, actor=actor, **form.wanted())
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect("frontend:site", site.pk)
    context = {"section": "sites", "form": form, "site": site, **ground()}
    return render(request, "frontend/sites/site_form.html", context, status=status)


@require_POST
@page
def remove_site(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget a site."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    with told(request, _("The site {name} is gone; its nodes are still there.").format(name=site.name)):
        services.remove_site(site, actor=actor)
    return redirect("frontend:sites")


@require_POST
@page
def place_node(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say that a node stands at a site."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    form = PlaceNodeForm(request.POST)
    if form.is_valid():
        named = Node.objects.filter(organisation_id=site.organisation_id, name=form.cleaned_data["node"].strip())
        node = named.first()
        if node is None:
            form.add_error("node", _("There is no node of that name in {name}.").format(name=site.organisation.name))
            form.is_valid()
        else:
            with told(request, _("{node} stands at {site} now.").format(node=node.name, site=site.name)):
                services.place_node(node, site, actor=actor)
            return redirect("frontend:site", site.pk)
    return _site(request, site, status=400, place_form=form)


@require_POST
@page
def take_node_away(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say that a node stands at a site no more."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    form = PlaceNodeForm(request.POST)
    node = None
    if form.is_valid():
        node = Node.objects.filter(placement__site=site, name=form.cleaned_data["node"]).first()
    if node is not None:
        with told(request, _("{node} stands at no site now.").format(node=node.name)):
            services.place_node(node, None, actor=actor)
    return redirect("frontend:site", site.pk)


@require_POST
@page
def connect(request: HttpRequest, pk: Any) -> HttpResponse:
    """Connect a site to another one."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    form = ConnectForm(request.POST)
    if form.is_valid():
        given = dict(form.cleaned_data)
        target = Site.objects.filter(organisation_id=site.organisation_id, name=given.pop("target").strip()).first()
        if target is None:
            form.add_error("target", _("There is no site of that name in {name}.").format(name=site.organisation.name))
        else:
            try:
                services.connect(site, target, actor=actor, **given)
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect("frontend:site", site.pk)
    return _site(request, site, status=400, connect_form=form)


@require_POST
@page
def tell_link(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say how a link of a site is."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    form = LinkForm(request.POST)
    if form.is_valid():
        link = _link(site, form.cleaned_data["link"])
        with told(request, _("The state of the link is noted.")):
            services.tell_link(link, actor=actor, state=form.cleaned_data["state"])
    return redirect("frontend:site", site.pk)


@require_POST
@page
def disconnect(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget a link of a site."""
    actor = tenancy.actor_of(request)
    site = access.get(SITES, actor, "nodes.write", pk)
    form = LinkForm({**request.POST.dict(), "state": SiteLink.State.UNKNOWN})
    if form.is_valid():
        with told(request, _("The link is gone.")):
            services.disconnect(_link(site, form.cleaned_data["link"]), actor=actor)
    return redirect("frontend:site", site.pk)


def _sites(request: HttpRequest, form: ImportForm, *, status: int = 200) -> HttpResponse:
    actor = tenancy.actor_of(request)
    if not actor.organisations("nodes.read"):
        raise Denied(_("Your roles do not show you nodes."))
    words = words_of(request)
    rows = SITES.visible_to(actor).annotate(nodes=Count("placements")).order_by("name", "id")  # type: ignore[attr-defined]
    if words:
        rows = rows.filter(Q(name__icontains=words) | Q(organisation__name__icontains=words))
    context = {"section": "sites", "rows": paged(request, rows), "q": words, "form": form}
    return render(request, "frontend/sites/sites.html", context, status=status)


def _site(request: HttpRequest, site: Site, *, status: int = 200, **more: Any) -> HttpResponse:
    actor = tenancy.actor_of(request)
    may_write = actor.may("nodes.write", site.organisation_id)
    found = topology.of(site, actor)
    ours = Node.objects.filter(organisation_id=site.organisation_id, placement=None)
    others = Site.objects.filter(organisation_id=site.organisation_id).exclude(pk=site.pk)
    context = {
        "section": "sites",
        "site": site,
        "may_write": may_write,
        "topology": found,
        "picture": picture.draw(found),
        "left_out": ngettext("{n} more node is not drawn.", "{n} more nodes are not drawn.", found.left_out).format(
            n=found.left_out
        )
        if found.left_out
        else "",
        "nodes": found.here,
        "links": found.links,
        "link_states": SiteLink.State.choices,
        "place_form": PlaceNodeForm(),
        "connect_form": ConnectForm(),
        "free_nodes": list(ours.values_list("name", flat=True)[:OFFERED]) if may_write else [],
        "other_sites": list(others.values_list("name", flat=True)[:OFFERED]) if may_write else [],
        "shape": json.dumps(geojson.collection([site, *_ends(site, found.links)], found.links)),
        "words": json.dumps(site_words()),
        **ground(),
        **more,
    }
    return render(request, "frontend/sites/site.html", context, status=status)


def _ends(site: Site, links: list[SiteLink]) -> list[Site]:
    """Return the sites at the other ends."""
    ends = {end.pk: end for link in links for end in (link.source, link.target)}
    return [end for pk, end in ends.items() if pk != site.pk]


def _place(request: HttpRequest) -> dict[str, float]:
    """Return the place that a link from the map names (`?at=60.17,24.94,12`)."""
    try:
        latitude, longitude = (float(part) for part in request.GET.get("at", "").split(",")[:2])
    except ValueError:
        return {}
    there = math.isfinite(latitude + longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return {"latitude": latitude, "longitude": longitude} if there else {}


def _link(site: Site, pk: Any) -> SiteLink:
    found = SiteLink.objects.select_related("source").filter(Q(source=site) | Q(target=site), pk=pk).first()
    if found is None:
        raise Missing(_("There is no such link, or you may not see it."))
    return found
