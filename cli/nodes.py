"""`breakwater nodes`: edge machines and clusters, and what their platforms report."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import waiting
from cli.errors import BAD_USE, FAILED, Stop
from cli.names import resolve
from cli.show import Answer, Column, ago, size
from cli.wiring import All, Given, Organisation, Page, PageSize, Session, Timeout, body_of, command, file_text, verb

app = typer.Typer(no_args_is_help=True, help="Edge nodes: register, join, look at, remove.")
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Its name or id.")]
COLUMNS = (
    Column("name", "name"),
    Column("state", "state"),
    Column("engine", "engine"),
    Column("link", "link"),
    Column("cpu", lambda row: "-" if row["cpu_millis"] is None else f"{row['cpu_millis'] / 1000:g}"),
    Column("memory", lambda row: size(row["memory_bytes"])),
    Column("apps", "deployments"),
    Column("seen", lambda row: ago(row["last_seen_at"])),
    Column("id", "id"),
)
_KINDS = {"node": "node"}
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="May be given several times.")
]
Latitude = Annotated[float | None, typer.Option(help="Degrees north.")]
Longitude = Annotated[float | None, typer.Option(help="Degrees east.")]
Cpu = Annotated[int | None, typer.Option("--cpu-millis", help="Thousandths of a core; as reported when left out.")]
Memory = Annotated[int | None, typer.Option("--memory-bytes", help="Bytes; as reported when left out.")]
Storage = Annotated[int | None, typer.Option("--storage-bytes", help="Bytes; as reported when left out.")]


@command(app, "list")
def list_nodes(
    session: Session,
    q: Annotated[str, typer.Option("--search", "-q", help="Part of the name.")] = "",
    state: Annotated[str, typer.Option(help="new, enrolled, online or offline.")] = "",
    engine: Annotated[str, typer.Option(help="docker, kubernetes or memory.")] = "",
    link: Annotated[str, typer.Option(help="agent or direct.")] = "",
    organisation: Organisation = "",
    page: Page = 1,
    page_size: PageSize = 25,
    every: All = False,
) -> Answer:
    """List nodes."""
    params: dict[str, Any] = {"q": q, "state": state, "engine": engine, "link": link, "organisation": organisation}
    return Answer(session.pages("/nodes", every, page=page, page_size=page_size, **params), COLUMNS)


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is called.")],
    engine: Annotated[str, typer.Option(help="docker, kubernetes or memory.")],
    link: Annotated[str, typer.Option(help="agent: it dials in; direct: a cluster that we reach.")] = "agent",
    label: Labels = None,
    latitude: Latitude = None,
    longitude: Longitude = None,
    cpu_millis: Cpu = None,
    memory_bytes: Memory = None,
    storage_bytes: Storage = None,
    organisation: Organisation = "",
) -> Answer:
    """Register a node; `nodes join-string` lets a machine become it."""
    facts = _facts(label, latitude, longitude, cpu_millis, memory_bytes, storage_bytes)
    owner = body_of(organisation=session.mine(organisation))
    made = session.post("/nodes", json={"name": name, "engine": engine, "link": link, **facts, **owner})
    return Answer(made, say=f"Node {made['name']} is registered: {made['id']}")


@command(app, "change")
def change(
    session: Session,
    node: NodeName,
    name: Annotated[str, typer.Option(help="A new name.")] = "",
    label: Labels = None,
    latitude: Latitude = None,
    longitude: Longitude = None,
    cpu_millis: Cpu = None,
    memory_bytes: Memory = None,
    storage_bytes: Storage = None,
) -> Answer:
    """Change name, labels, place or capacity."""
    facts = {**body_of(name=name), **_facts(label, latitude, longitude, cpu_millis, memory_bytes, storage_bytes)}
    if not facts:
        raise Stop("Say what is to change.", BAD_USE)
    return Answer(session.patch("/nodes/{id}", {"id": resolve(session, "node", node)}, json=facts))


def _facts(label: list[str] | None, *numbers: float | None) -> dict[str, Any]:
    names = ("latitude", "longitude", "cpu_millis", "memory_bytes", "storage_bytes")
    facts = body_of(**dict(zip(names, numbers, strict=True)))
    if label:
        facts["labels"] = labels_of(label)
    return facts


def labels_of(given: list[str]) -> dict[str, str]:
    """Return labels that were given as KEY=VALUE."""
    pairs = [each.partition("=") for each in given]
    wrong = [key or each for (key, separator, each) in pairs if not key or not separator]
    if wrong:
        raise Stop(f"--label: {wrong[0]!r} is not KEY=VALUE.", BAD_USE)
    return {key: value for key, _, value in pairs}


@command(app, "join-string")
def join_string(session: Session, node: NodeName) -> Answer:
    """Make a string by which one machine becomes this node; good for an hour, shown this once."""
    made = session.post("/nodes/{id}/enrolment-tokens", {"id": resolve(session, "node", node)})
    return Answer(made, say=made["join"])


@command(app, "probe")
def probe(
    session: Session,
    node: NodeName,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait; exit code 1 when it cannot be reached.")] = False,
    timeout: Timeout = 120,
) -> Answer:
    """Test the connection to the cluster of a direct node."""
    made = session.post("/nodes/{id}/probe", {"id": resolve(session, "node", node)})
    return _work(session, made, wait, timeout)


@command(app, "kubeconfig")
def kubeconfig(
    session: Session,
    node: NodeName,
    file: Annotated[str, typer.Option("--file", "-f", help="The kubeconfig; - is stdin.")],
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the test of the connection.")] = False,
    timeout: Timeout = 120,
) -> Answer:
    """Give a direct node the way to its cluster. It goes in and never comes out."""
    text = file_text(session, file, "kubeconfig")
    made = session.put("/nodes/{id}/kubeconfig", {"id": resolve(session, "node", node)}, json={"kubeconfig": text})
    return _work(session, made, wait, timeout)


@command(app, "set-mep")
def set_mep(
    session: Session,
    node: NodeName,
    url: Annotated[str, typer.Option(help="Where its MEP is managed (Mm5).")],
    token_file: Annotated[str, typer.Option("--token-file", help="File with the token; - is stdin.")],
    mep_ca: Annotated[str, typer.Option("--mep-ca", help="File with its CA certificate.")] = "",
) -> Answer:
    """Say where the edge platform of a direct node is."""
    # A token on the command line would be in the list of processes and in the shell's history.
    wanted = {"url": url, "token": file_text(session, token_file, "token").strip()}
    if mep_ca:
        wanted["ca"] = file_text(session, mep_ca, "ca")
    session.put("/nodes/{id}/mep", {"id": resolve(session, "node", node)}, json=wanted)
    return Answer(None)


@command(app, "mep")
def mep(session: Session, node: NodeName) -> Answer:
    """Show services, applications, DNS and traffic rules as the platform of the node last reported them."""
    return Answer(session.get("/nodes/{id}/mep", {"id": resolve(session, "node", node)}))


@command(app, "wait")
def wait_for(session: Session, node: NodeName, timeout: Timeout = 300) -> Answer:
    """Wait until a node is online; exit code 3 when it does not come."""
    pk = resolve(session, "node", node)
    seen = waiting.follow(
        session,
        lambda: session.get("/nodes/{id}", {"id": pk}),
        lambda seen: seen["state"] == "online",
        timeout=timeout,
        tell=lambda seen: f"{seen['name']}: {seen['state']}",
        what="The node",
        stream="/nodes/{id}/stream",
        ids={"id": pk},
    )
    return Answer(seen, say=f"{seen['name']} is online.")


def _work(session: Session, made: dict[str, Any], wait: bool, timeout: float) -> Answer:
    if not wait:
        return Answer(made)
    seen = waiting.operation(session, made["operation"], timeout)
    if seen["state"] != "succeeded":
        raise Stop((seen["problem"] or {}).get("detail", f"It was {seen['state']}."), FAILED, seen)
    return Answer(seen)


verb(app, "show", "GET", "/nodes/{node}", "Show a node; secrets are never part of the answer.", kinds=_KINDS)
verb(app, "remove", "DELETE", "/nodes/{node}", "Forget a node; not while deployments hold a place on it.", kinds=_KINDS,
     say="Removed.", confirm="Remove node {node}? Its machine is shut out.")  # fmt: skip
verb(app, "geo", "GET", "/geo/nodes", "Show the nodes with coordinates as GeoJSON.",
     query=[Given("organisation", "Which of your organisations (slug).")])  # fmt: skip

orphans = typer.Typer(no_args_is_help=True, help="Releases in a node's runtime that nobody wishes for.")
app.add_typer(orphans, name="orphans")
verb(orphans, "list", "GET", "/nodes/{node}/orphans", "List the releases that the node runs and nobody wishes for.",
     kinds=_KINDS, columns=(Column("namespace", "namespace"), Column("name", "name"), Column("removal", "state"),
                            Column("message", "message")))  # fmt: skip
verb(orphans, "remove", "DELETE", "/nodes/{node}/orphans/{namespace}/{name}",
     "Ask the node to end a release that nobody wishes for, with its data.", kinds=_KINDS,
     say="The node is asked; `nodes orphans list` shows when it is gone.",
     confirm="Remove {namespace}/{name} from the node? It ends, with the data that the runtime keeps for it.")  # fmt: skip
