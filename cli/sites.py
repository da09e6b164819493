"""`breakwater sites`: the places of the network, the area each serves, and the links between them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import BAD_USE, Stop
from cli.names import resolve
from cli.nodes import Labels, Latitude, Longitude, NodeName, labels_of
from cli.show import Answer, Column, as_json
from cli.wiring import Given, Organisation, Session, body_of, command, file_text, structure, verb

app = typer.Typer(no_args_is_help=True, help="Sites: where nodes stand, what area they serve, what connects them.")
links = typer.Typer(no_args_is_help=True, help="Links between sites; a monitoring system tells their state here.")
app.add_typer(links, name="links")
SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Its name or id.")]
Radius = Annotated[int | None, typer.Option("--radius", min=1, help="Metres round the position that it serves.")]
Area = Annotated[
    str, typer.Option("--area", metavar="FILE", help="GeoJSON Polygon or MultiPolygon that it serves; - is stdin.")
]
_KINDS = {"site": "site"}
_KIND = "radio, ue-pool, edge or data-centre."
_STATES = "up, degraded, down or unknown."

verb(app, "list", "GET", "/sites", "List sites.",
     query=[Given("q", "Part of the name.", flag="--search"), Given("kind", _KIND),
            Given("organisation", "Which of your organisations (slug).")],
     columns=(Column("name", "name"), Column("kind", "kind"), Column("latitude", "latitude"),
              Column("longitude", "longitude"), Column("radius", "radius_m"), Column("id", "id")))  # fmt: skip
verb(app, "show", "GET", "/sites/{site}", "Show a site.", kinds=_KINDS)
verb(app, "remove", "DELETE", "/sites/{site}", "Forget a site; its nodes stay.", kinds=_KINDS, say="Removed.",
     confirm="Forget the site {site}?")  # fmt: skip
verb(links, "list", "GET", "/sites/{site}/links", "List the links from and to a site.", kinds=_KINDS,
     columns=(Column("id", "id"), Column("from", "source"), Column("to", "target"), Column("state", "state"),
              Column("note", "note"), Column("told", "told_at")))  # fmt: skip
verb(links, "tell", "PATCH", "/site-links/{link}", "Say how a link is.",
     body=[Given("state", _STATES, required=True), Given("note", "Why.")], say="The link is {state}.")  # fmt: skip
verb(links, "remove", "DELETE", "/site-links/{link}", "Forget a link.", say="Removed.")


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is called.")],
    kind: Annotated[str, typer.Option(help=_KIND)] = "edge",
    latitude: Latitude = None,
    longitude: Longitude = None,
    radius: Radius = None,
    area: Area = "",
    label: Labels = None,
    organisation: Organisation = "",
) -> Answer:
    """Add a site, at a position or where its area is."""
    facts = _facts(session, name, kind, latitude, longitude, radius, area, label)
    made = session.post("/sites", json={**facts, **body_of(organisation=session.mine(organisation))})
    return Answer(made, say=f"Site {made['name']} is known now: {made['id']}")


@command(app, "change")
def change(
    session: Session,
    site: SiteName,
    name: Annotated[str, typer.Option(help="A new name.")] = "",
    kind: Annotated[str, typer.Option(help=_KIND)] = "",
    latitude: Latitude = None,
    longitude: Longitude = None,
    radius: Radius = None,
    area: Area = "",
    label: Labels = None,
) -> Answer:
    """Change name, kind, place, area or labels."""
    facts = _facts(session, name, kind, latitude, longitude, radius, area, label)
    if not facts:
        raise Stop("Say what is to change.", BAD_USE)
    return Answer(session.patch("/sites/{id}", {"id": resolve(session, "site", site)}, json=facts))


@command(app, "place")
def place(session: Session, site: SiteName, node: NodeName) -> Answer:
    """Say that a node stands at a site; it leaves the site where it stood."""
    wanted = {"node": resolve(session, "node", node)}
    session.post("/sites/{id}/nodes", {"id": resolve(session, "site", site)}, json=wanted)
    return Answer(None, say=f"{node} stands at {site}.")


@command(app, "export")
def export(session: Session, organisation: Organisation = "") -> Answer:
    """Write sites and links as GeoJSON, which `import` reads."""
    found = session.get("/map/sites", organisation=session.mine(organisation))
    return Answer(found, say=as_json(found).rstrip())


@command(app, "import")
def take_in(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="GeoJSON FeatureCollection; - is stdin.")],
    organisation: Organisation = "",
) -> Answer:
    """Make or change the sites and links of a GeoJSON file, by name: all of them, or none."""
    document = structure(file_text(session, file, "file"), "file")
    done = session.post("/map/sites", json=document, params={"organisation": session.mine(organisation)})
    return Answer(done, say=f"{done['made']} sites made, {done['changed']} changed, {done['links']} links.")


@command(links, "create")
def connect(
    session: Session,
    site: SiteName,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Name or id of the other site.")],
    state: Annotated[str, typer.Option(help=_STATES)] = "",
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> Answer:
    """Connect a site to another one."""
    wanted = {"target": resolve(session, "site", target), **body_of(state=state, note=note)}
    made = session.post("/sites/{id}/links", {"id": resolve(session, "site", site)}, json=wanted)
    return Answer(made, say=made["id"])


def _facts(
    session: Session,
    name: str,
    kind: str,
    latitude: float | None,
    longitude: float | None,
    radius: int | None,
    area: str,
    label: list[str] | None,
) -> dict[str, Any]:
    facts = body_of(name=name, kind=kind, latitude=latitude, longitude=longitude, radius_m=radius)
    if area:
        facts["area"] = structure(file_text(session, area, "area"), "area")
    if label:
        facts["labels"] = labels_of(label)
    return facts
