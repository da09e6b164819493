"""`breakwater deployments`: wish that something runs somewhere, and see what became of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import waiting
from cli.errors import BAD_USE, FAILED, TIMED_OUT, Stop
from cli.names import resolve
from cli.show import Answer, Column, ago
from cli.wiring import (
    All,
    Organisation,
    Page,
    PageSize,
    Session,
    Timeout,
    body_of,
    command,
    file_text,
    structure,
    sure,
)

app = typer.Typer(
    no_args_is_help=True, help="Run applications on nodes: plan, create, upgrade, roll back, remove, give up."
)
Name = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its name or id.")]
PackageName = Annotated[str, typer.Option("--package", "-p", help="Id of the package, or NAME@VERSION.")]
Values = Annotated[
    str, typer.Option("--values", "-f", metavar="FILE", help="Values of the chart, YAML or JSON; - is stdin.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="One value; may be given several times.")
]
Wait = Annotated[bool, typer.Option("--wait", "-w", "--watch", help="Follow it to the end, as `watch` does.")]
COLUMNS = (
    Column("name", "name"),
    Column("state", lambda row: state_of(row)),
    Column("package", lambda row: f"{row['package']['name']} {row['package']['version']}"),
    Column("node", "node.name"),
    Column("generation", "generation"),
    Column("reason", lambda row: " ".join(filter(None, (row["reason"], row["message"])))[:80]),
    Column("changed", lambda row: ago(row["updated_at"])),
    Column("id", "id"),
)


@command(app, "list")
def list_deployments(
    session: Session,
    q: Annotated[str, typer.Option("--search", "-q", help="Part of the name.")] = "",
    state: Annotated[
        str, typer.Option(help="pending, progressing, ready, failed, removing, removed or abandoned.")
    ] = "",
    node: Annotated[str, typer.Option(help="On this node (name or id).")] = "",
    package: Annotated[str, typer.Option(help="Of this package (id or NAME@VERSION).")] = "",
    organisation: Organisation = "",
    page: Page = 1,
    page_size: PageSize = 25,
    every: All = False,
) -> Answer:
    """List deployments, newest first; those removed or given up only with --state removed or --state abandoned."""
    params: dict[str, Any] = {"q": q, "state": state, "organisation": organisation}
    params["node"] = resolve(session, "node", node) if node else ""
    params["package"] = resolve(session, "package", package) if package else ""
    return Answer(session.pages("/deployments", every, page=page, page_size=page_size, **params), COLUMNS)


@command(app, "plan")
def plan(
    session: Session,
    package: PackageName,
    node: Annotated[list[str] | None, typer.Option(help="Only these nodes; may be given several times.")] = None,
    name: Annotated[str, typer.Option(help="The name that it would have.")] = "",
    values: Values = "",
    sets: Sets = None,
    organisation: Organisation = "",
) -> Answer:
    """Say for each node whether a package would fit, and every reason why not. Exit code 1 when it fits nowhere."""
    wanted = {"package": resolve(session, "package", package), "values": values_of(session, values, sets)}
    if node:
        wanted["nodes"] = [resolve(session, "node", each) for each in node]
    wanted |= body_of(name=name, organisation=session.mine(organisation))
    found = session.post("/deployments/plan", json=wanted)
    lines = []
    for each in found["results"]:
        said = "; ".join(reason["message"] for reason in [*each["reasons"], *each["remarks"]])
        lines.append(f"{each['node']['name']:<24} {'fits' if each['fits'] else 'does not fit'}  {said}".rstrip())
    return Answer(found, say="\n".join(lines) or "You may deploy to no node.", code=0 if found["fits"] else FAILED)


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name, a DNS label.")],
    package: PackageName,
    node: Annotated[str, typer.Option("--node", "-n", help="Name or id of the node.")],
    values: Values = "",
    sets: Sets = None,
    organisation: Organisation = "",
    wait: Wait = False,
    timeout: Timeout = 600,
) -> Answer:
    """Wish that a package runs on a node."""
    wanted = {
        "name": name,
        "package": resolve(session, "package", package),
        "node": resolve(session, "node", node),
        "values": values_of(session, values, sets),
        **body_of(organisation=session.mine(organisation)),
    }
    return _wished(session, session.post("/deployments", json=wanted), wait, timeout)


@command(app, "show")
def show(session: Session, deployment: Name) -> Answer:
    """Show a deployment with its workloads and addresses."""
    found = session.get("/deployments/{id}", {"id": resolve(session, "deployment", deployment)})
    return Answer(found, say=_told(found))


@command(app, "upgrade")
def upgrade(
    session: Session,
    deployment: Name,
    package: Annotated[str, typer.Option("--package", "-p", help="Another release of the same application.")] = "",
    values: Values = "",
    sets: Sets = None,
    if_generation: Annotated[int | None, typer.Option(help="Only if nobody changed it since this generation.")] = None,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> Answer:
    """Go to another release, to other values, or both."""
    wanted: dict[str, Any] = {}
    if package:
        wanted["package"] = resolve(session, "package", package)
    if values or sets:
        wanted["values"] = values_of(session, values, sets)
    if not wanted:
        raise Stop("Say --package or --values, or both.", BAD_USE)
    ids = {"id": resolve(session, "deployment", deployment)}
    made = session.patch("/deployments/{id}", ids, json=wanted, headers=_guard(if_generation))
    return _wished(session, made, wait, timeout)


@command(app, "rollback")
def rollback(
    session: Session,
    deployment: Name,
    revision: Annotated[
        int | None, typer.Option("--to", help="Generation; by default the last that was ready.")
    ] = None,
    if_generation: Annotated[int | None, typer.Option(help="Only if nobody changed it since this generation.")] = None,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> Answer:
    """Go back to an earlier generation's package and values."""
    ids = {"id": resolve(session, "deployment", deployment)}
    wanted = body_of(revision=revision)
    made = session.post("/deployments/{id}/rollback", ids, json=wanted, headers=_guard(if_generation))
    return _wished(session, made, wait, timeout)


@command(app, "remove")
def remove(
    session: Session,
    deployment: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = False,
    timeout: Timeout = 600,
) -> Answer:
    """Wish that a deployment goes; the application is asked to end first."""
    sure(session, f"Remove the deployment {deployment}?", yes)
    made = session.delete("/deployments/{id}", {"id": resolve(session, "deployment", deployment)})
    return _wished(session, made, wait, timeout)


@command(app, "abandon")
def abandon(
    session: Session,
    deployment: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Answer:
    """Give up a removal whose node is away.

    The application may go on running there. The node is told to remove it should it ever speak again; until it says that
    it is gone, the name stays taken on that node.
    """
    pk = resolve(session, "deployment", deployment)
    sure(
        session, f"Give {deployment} up? It may go on running on its node, and nobody here sees it or can stop it.", yes
    )
    made = session.post("/deployments/{id}/abandon", {"id": pk})
    return Answer(made, say=_told(made))


@command(app, "watch")
def watch(
    session: Session,
    deployment: Name,
    generation: Annotated[int | None, typer.Option(help="Of this generation; by default of the present one.")] = None,
    timeout: Timeout = 600,
) -> Answer:
    """Follow a deployment to its end.

    Ends with 0 when it is ready (or gone, when that is the wish), 1 when it failed, 3 when it takes too long, 4 when there
    is none or you may not see it, and 130 on Ctrl-C; what was wished goes on in any case.
    """
    return _followed(session, resolve(session, "deployment", deployment), generation, timeout)


@command(app, "logs")
def logs(
    session: Session,
    deployment: Name,
    tail: Annotated[int, typer.Option(min=1, max=500, help="How many lines.")] = 200,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the node to send some.")] = False,
    timeout: Timeout = 30,
) -> Answer:
    """Show the last lines that its containers wrote; a node with an agent begins to send them when it is asked."""
    ids = {"id": resolve(session, "deployment", deployment)}
    found = session.get("/deployments/{id}/logs", ids, tail=tail)
    ends = session.deadline(timeout)
    while wait and not found["lines"]:
        if session.world.clock() >= ends:
            raise Stop(f"No line came within {timeout:g} seconds.", TIMED_OUT, found)
        session.world.sleep(1)
        found = session.get("/deployments/{id}/logs", ids, tail=tail)
    return Answer(found, say="\n".join(_log_line(each) for each in found["lines"]) or "No lines yet; ask again.")


@command(app, "events")
def events(session: Session, deployment: Name) -> Answer:
    """Show what happened to its objects on the node."""
    found = session.get("/deployments/{id}/events", {"id": resolve(session, "deployment", deployment)})
    lines = [" ".join(str(value) for value in each.values() if value not in (None, "")) for each in found["events"]]
    return Answer(found, say="\n".join(lines) or "Nothing was reported.")


@command(app, "revisions")
def revisions(
    session: Session, deployment: Name, page: Page = 1, page_size: PageSize = 25, every: All = False
) -> Answer:
    """List what was wished, by whom and how it ended."""
    columns = (
        Column("generation", "generation"),
        Column("action", "action"),
        Column("package", lambda row: f"{row['package']['name']} {row['package']['version']}"),
        Column("outcome", "outcome"),
        Column("by", "requested_by"),
        Column("when", lambda row: ago(row["created_at"])),
    )
    ids = {"id": resolve(session, "deployment", deployment)}
    return Answer(session.pages("/deployments/{id}/revisions", every, ids, page=page, page_size=page_size), columns)


def values_of(session: Session, file: str, sets: list[str] | None) -> dict[str, Any]:
    """Return the values of a file with single ones set over them."""
    given = structure(file_text(session, file, "values"), "values") if file else {}
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise Stop("values: the file must hold a mapping.", BAD_USE)
    for each in sets or []:
        path, separator, text = each.partition("=")
        *above, last = path.split(".")
        if not separator or not all((*above, last)):
            raise Stop(f"--set: {each!r} is not A.B=VALUE.", BAD_USE)
        inner = given
        for name in above:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise Stop(f"--set: {path}: {name} holds no values.", BAD_USE)
        inner[last] = structure(text, "--set") if text else ""
    return given


def settled(document: dict[str, Any], generation: int) -> str:
    """Return how a generation ended: ready, failed, removed, abandoned, replaced; empty while it is under way."""
    state, seen = document["state"], document["observed_generation"] or 0
    if state in ("removed", "abandoned"):
        return str(state)
    if document["generation"] > generation:
        return "replaced"
    if document["wish"] == "absent":
        return "failed" if state == "failed" and seen >= generation else ""
    return state if state in ("ready", "failed") and seen >= generation else ""


def _followed(session: Session, pk: str, generation: int | None, timeout: float) -> Answer:
    wanted = generation

    def over(seen: dict[str, Any]) -> bool:
        nonlocal wanted
        wanted = seen["generation"] if wanted is None else wanted
        return bool(settled(seen, wanted))

    seen = waiting.follow(
        session,
        lambda: session.get("/deployments/{id}", {"id": pk}),
        over,
        timeout=timeout,
        tell=_line,
        what="The deployment",
        stream="/deployments/{id}/stream",
        ids={"id": pk},
    )
    ended = settled(seen, wanted or 0)
    if ended == "replaced":
        raise Stop(f"{seen['name']}: somebody changed it meanwhile to generation {seen['generation']}.", FAILED, seen)
    if ended == "abandoned":
        raise Stop(f"{seen['name']} was given up; it may go on running on {seen['node']['name']}.", FAILED, seen)
    good = ended == "ready" or (ended == "removed" and seen["wish"] == "absent")
    if not good:
        why = " ".join(filter(None, (seen["reason"], seen["message"])))
        raise Stop(
            f"{seen['name']} {'was removed' if ended == 'removed' else 'failed'}: {why}".rstrip(": "), FAILED, seen
        )
    return Answer(seen, say=_told(seen))


def _wished(session: Session, made: dict[str, Any], wait: bool, timeout: float) -> Answer:
    if wait:
        return _followed(session, made["id"], made["generation"], timeout)
    return Answer(made, say=f"{_line(made)}\n{made['id']}")


def state_of(seen: dict[str, Any]) -> str:
    """Return the state in words: `abandoned` is one for programs."""
    return "given up" if seen["state"] == "abandoned" else str(seen["state"])


def _guard(generation: int | None) -> dict[str, str]:
    return {} if generation is None else {"If-Match": f'"{generation}"'}


def _line(seen: dict[str, Any]) -> str:
    why = " ".join(filter(None, (seen["reason"], seen["message"])))
    return (
        f"{seen['name']} on {seen['node']['name']}: {state_of(seen)} (generation {seen['generation']}) {why}".rstrip()
    )


def _told(seen: dict[str, Any]) -> str:
    package = seen["package"]
    lines = [_line(seen), f"  id       {seen['id']}", f"  package  {package['name']} {package['version']}"]
    if seen.get("abandoned_at"):
        by = f" by {seen['abandoned_by']}" if seen.get("abandoned_by") else ""
        lines.append(f"  given up {ago(seen['abandoned_at'])}{by}")
    for each in seen.get("workloads") or []:
        lines.append("  workload " + " ".join(str(value) for value in each.values() if isinstance(value, (str, int))))
    for each in seen.get("endpoints") or []:
        lines.append(f"  address  {each.get('address', '')}:{each.get('port', '')}")
    return "\n".join(lines)


def _log_line(line: dict[str, Any]) -> str:
    text = str(line.get("line", line.get("text", line.get("message", ""))))
    source = "/".join(str(line[name]) for name in ("pod", "container") if line.get(name))
    return f"{source}: {text}" if source else text
