"""`breakwater sandbox`: try a package on a node that is for trying, and see how it goes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import waiting
from cli.deployments import Values, values_of
from cli.errors import FAILED
from cli.names import resolve
from cli.show import Answer, Column, ago
from cli.wiring import Given, Organisation, Session, Timeout, body_of, command, verb

app = typer.Typer(no_args_is_help=True, help="Try packages on sandbox nodes for some minutes.")
_COLUMNS = (
    Column("id", "id"),
    Column("package", "package_name"),
    Column("node", "node_name"),
    Column("state", "state"),
    Column("started", lambda row: ago(row["started_at"])),
    Column("ends", "ends_at"),
)
Test = Annotated[str, typer.Argument(metavar="TEST", help="Id of the test deployment.")]


@command(app, "nodes")
def nodes(session: Session, organisation: Organisation = "") -> Answer:
    """List the nodes on which packages may be tried."""
    columns = (Column("id", "id"), Column("name", "name"), Column("engine", "engine"), Column("state", "state"),
               Column("free", "free"))  # fmt: skip
    return Answer(session.get("/sandbox/nodes", organisation=session.mine(organisation)), columns)


verb(app, "list", "GET", "/sandbox/tests", "List test deployments, newest first.", columns=_COLUMNS)


@command(app, "start")
def start(
    session: Session,
    package: Annotated[str, typer.Argument(metavar="PACKAGE", help="Its id, or NAME@VERSION.")],
    node: Annotated[str, typer.Option(help="Id or name of the sandbox.")],
    minutes: Annotated[int, typer.Option(min=1, help="After which it is removed.")] = 15,
    values: Values = "",
    organisation: Organisation = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until it is ready; exit code 1 when it fails.")
    ] = False,
    timeout: Timeout = 300,
) -> Answer:
    """Put a checked package on a sandbox."""
    wanted = body_of(
        package=resolve(session, "package", package),
        node=resolve(session, "node", node),
        minutes=minutes,
        values=values_of(session, values, []),
        organisation=session.mine(organisation),
    )
    made = session.post("/sandbox/tests", json=wanted)
    if wait:
        made = waiting.follow(
            session,
            lambda: session.get("/sandbox/tests/{test}", {"test": made["id"]}),
            lambda seen: seen["state"] in ("ready", "failed", "removing", "ended"),
            timeout=timeout,
            tell=lambda seen: f"{seen['state']} {seen['problem']}".rstrip(),
            what="The test deployment",
        )
    return Answer(made, say=_told(made), code=FAILED if wait and made["state"] != "ready" else 0)


@command(app, "show")
def show(session: Session, test: Test) -> Answer:
    """Show its workloads, and what it has registered on Mp1."""
    seen = session.get("/sandbox/tests/{test}", {"test": test})
    return Answer(seen, say=_told(seen))


@command(app, "logs")
def logs(session: Session, test: Test) -> Answer:
    """Show the last lines that it wrote."""
    seen = session.get("/sandbox/tests/{test}", {"test": test})
    return Answer(seen["logs"], say="\n".join(seen["logs"]) or "It has written nothing yet.")


verb(app, "prolong", "POST", "/sandbox/tests/{test}/prolong", "Give it more time, from now.",
     body=[Given("minutes", "Minutes from now.", kind=int)], say="It has more time now.")  # fmt: skip
verb(app, "end", "DELETE", "/sandbox/tests/{test}", "Remove it from the node.", say="It is being removed.")


def _told(seen: dict[str, Any]) -> str:
    """Return a test deployment in lines for people."""
    lines = [
        f"{seen['package_name']} on {seen['node_name']}: {seen['state']}",
        f"id {seen['id']}, ends {seen['ends_at']}",
    ]
    if seen["problem"]:
        lines.append(seen["problem"])
    for row in seen["status"].get("workloads") or []:
        lines.append(
            f"  {row['kind']} {row['name']}: {row['state']}, {row['ready']} of {row['wanted']} ready, {row['restarts']} restarts"
        )
    mep = seen["mep"]
    lines += [f"  service {row.get('serName')}: {row.get('state')}" for row in mep.get("services") or []]
    lines += [f"  DNS rule {row.get('dnsRuleId')}: {row.get('state')}" for row in mep.get("dns_rules") or []]
    lines += [
        f"  traffic rule {row.get('trafficRuleId')}: {row.get('state')}" for row in mep.get("traffic_rules") or []
    ]
    return "\n".join(lines)
