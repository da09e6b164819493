"""`breakwater rules`: traffic and DNS rules of deployed applications, and the packet tester."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import BAD_USE, FAILED, Stop
from cli.names import resolve
from cli.show import Answer, Column
from cli.wiring import Session, body_of, command, file_text, structure, sure

app = typer.Typer(
    no_args_is_help=True,
    help="Traffic and DNS rules of deployed applications: see, change, add, give back, try a packet.",
)
DeploymentName = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its name or id.")]
RuleId = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.")]
Dns = Annotated[bool, typer.Option("--dns", help="DNS rules; traffic rules when left out.")]
Document = Annotated[
    str, typer.Option("--file", "-f", metavar="FILE", help="The rule of MEC 011 as JSON or YAML, - for stdin.")
]
State = Annotated[
    str | None, typer.Option("--state", help="active, inactive, or follow: it follows from the application.")
]
Expected = Annotated[
    int | None, typer.Option("--expected", help="The generation that was read; ends with 1 when it changed meanwhile.")
]
Priority = Annotated[int | None, typer.Option(min=0, max=255, help="The lowest number decides.")]
Action = Annotated[str, typer.Option(help="DROP, FORWARD_DECAPSULATED, PASSTHROUGH, ...")]
Protocols = Annotated[list[str] | None, typer.Option("--protocol", help="Like UDP; may be given several times.")]
Sources = Annotated[list[str] | None, typer.Option("--from", metavar="ADDRESS", help="Of UEs; several times.")]
Goals = Annotated[list[str] | None, typer.Option("--to", metavar="ADDRESS", help="Where packets go; several times.")]
SourcePorts = Annotated[list[str] | None, typer.Option("--from-port", metavar="PORT", help="Several times.")]
GoalPorts = Annotated[list[str] | None, typer.Option("--port", metavar="PORT", help="Target port; several times.")]
Dscp = Annotated[int | None, typer.Option(min=0, max=63, help="DSCP.")]
Via = Annotated[str, typer.Option("--app-address", metavar="ADDRESS", help="Where the application takes the packets.")]
Domain = Annotated[str, typer.Option("--domain", help="The name of a DNS rule.")]
Address = Annotated[str, typer.Option("--address", help="What a DNS rule answers.")]
Ttl = Annotated[int | None, typer.Option("--ttl", min=0, help="Seconds for which a DNS answer may be kept.")]
Scope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="NAME",
        help="The DNS scope of the node whose clients get the answer; '' for everybody, - as the package or the node says.",
    ),
]
_STATES = {"active": "ACTIVE", "inactive": "INACTIVE", "follow": ""}


def _does(row: Any) -> str:
    rule = row["rule"]
    if "domainName" in rule:
        scope = rule.get("scope")
        return f"{rule['domainName']} is {rule.get('ipAddress')}{f' for {scope}' if scope else ''}"
    return f"{rule.get('priority')} {rule.get('action')}"


COLUMNS = (
    Column("rule", "id"),
    Column("app", "app"),
    Column("does", _does),
    Column("from", "source"),
    Column("state", "state"),
    Column("enforcement", "enforcement"),
    Column("change", "outcome"),
    Column("packets", "packets"),
    Column("reason", lambda row: row["reason"][:80]),
)


@command(app, "list")
def list_rules(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NODE", help="A node, or with --deployment a deployment.")],
    deployment: Annotated[bool, typer.Option("--deployment", help="NODE is the name or id of a deployment.")] = False,
    dns: Dns = False,
) -> Answer:
    """List rules in the order in which they decide, with what the node made of them."""
    ids = _ids(session, name, dns, of="deployment" if deployment else "node")
    found = (
        session.get("/deployments/{id}/rules/{kind}", ids)
        if deployment
        else session.get("/nodes/{id}/rules/{kind}", ids)
    )
    return Answer(found, COLUMNS)


@command(app, "show")
def show(session: Session, deployment: DeploymentName, rule: RuleId, dns: Dns = False) -> Answer:
    """Show one rule: as it is wished, as the package says, and what the node made of it."""
    return Answer(_read(session, _ids(session, deployment, dns, rule)))


@command(app, "set")
def set_rule(
    session: Session,
    deployment: DeploymentName,
    rule: RuleId,
    state: State = None,
    file: Document = "",
    priority: Priority = None,
    action: Action = "",
    protocol: Protocols = None,
    source: Sources = None,
    to: Goals = None,
    from_port: SourcePorts = None,
    port: GoalPorts = None,
    dscp: Dscp = None,
    app_address: Via = "",
    domain: Domain = "",
    address: Address = "",
    ttl: Ttl = None,
    scope: Scope = None,
    dns: Dns = False,
    expected: Expected = None,
) -> Answer:
    """Change what a rule says, switch it on or off. What is not named stays; filters that are named replace the first one."""
    ids = _ids(session, deployment, dns, rule)
    change: dict[str, Any] = body_of(expected=expected)
    if state is not None:
        change["state"] = _state(state)
    filters = _filter(protocol, source, to, from_port, port, dscp)
    parts = _parts(dns, priority, action, filters, app_address, domain, address, ttl, scope)
    if file and parts:
        raise Stop("--file has the whole rule; leave the other options about it away.", BAD_USE)
    if file:
        change["rule"] = _document(session, file)
    elif parts:
        change["rule"] = _merged(_read(session, ids)["rule"], parts, filters)
    if not {"rule", "state"} & set(change):
        raise Stop("Say what is to change.", BAD_USE)
    made = session.patch("/deployments/{id}/rules/{kind}/{rule}", ids, json=change)
    return Answer(made, say=f"Rule {made['id']}: {_does(made)}; the wish is {made['outcome'] or 'as the package says'}")


@command(app, "add")
def add(
    session: Session,
    deployment: DeploymentName,
    rule: RuleId,
    state: State = None,
    file: Document = "",
    priority: Priority = None,
    action: Action = "",
    protocol: Protocols = None,
    source: Sources = None,
    to: Goals = None,
    from_port: SourcePorts = None,
    port: GoalPorts = None,
    dscp: Dscp = None,
    app_address: Via = "",
    domain: Domain = "",
    address: Address = "",
    ttl: Ttl = None,
    scope: Scope = None,
    dns: Dns = False,
    expected: Expected = None,
) -> Answer:
    """Add a rule that the package does not have: from a file, or from options."""
    filters = _filter(protocol, source, to, from_port, port, dscp)
    parts = _parts(dns, priority, action, filters, app_address, domain, address, ttl, scope)
    if bool(file) == bool(parts):
        raise Stop("Give the rule by --file or by the other options.", BAD_USE)
    whole = _document(session, file) if file else _merged({"filterType": "FLOW"} if not dns else {}, parts, filters)
    body = {"id": rule, "rule": whole, **body_of(expected=expected), "state": _state(state or "follow")}
    ids = _ids(session, deployment, dns)
    made = session.post("/deployments/{id}/rules/{kind}", ids, json=body)
    return Answer(made, say=f"Rule {made['id']} is added: {_does(made)}")


@command(app, "remove")
def remove(
    session: Session,
    deployment: DeploymentName,
    rule: RuleId,
    dns: Dns = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Answer:
    """Take away a rule that was added; one of the package is switched off by `rules set --state inactive`."""
    sure(session, f"Remove rule {rule} of {deployment}?", yes)
    session.delete("/deployments/{id}/rules/{kind}/{rule}", _ids(session, deployment, dns, rule))
    return Answer(None, say=f"Rule {rule} is removed.")


@command(app, "reset")
def reset(session: Session, deployment: DeploymentName, rule: RuleId, dns: Dns = False) -> Answer:
    """Let a rule be as the package says again."""
    ids = _ids(session, deployment, dns, rule)
    found = session.post("/deployments/{id}/rules/{kind}/{rule}/reset", ids)
    return Answer(found, say=f"Rule {rule} is as the package says.")


@command(app, "test")
def try_packet(
    session: Session,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its name or id.")],
    src: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Of the UE.")],
    dst: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Where the packet goes.")],
    protocol: Annotated[str, typer.Option(help="A name or a number.")] = "UDP",
    src_port: Annotated[int, typer.Option("--from-port", min=0, max=65535)] = 0,
    dst_port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Target port.")] = 0,
    dscp: Annotated[int, typer.Option(min=0, max=63)] = 0,
    draft: Annotated[str, typer.Option(metavar="FILE", help="A traffic rule that is tried with the others.")] = "",
    deployment: Annotated[str, typer.Option(help="With --draft: whose rule it is to be.")] = "",
) -> Answer:
    """Say which traffic rule of a node decides about a packet; nothing is sent. Exit code 1 when none does."""
    packet: dict[str, Any] = {
        "src": src, "dst": dst, "protocol": protocol, "src_port": src_port, "dst_port": dst_port, "dscp": dscp,
    }  # fmt: skip
    if bool(draft) != bool(deployment):
        raise Stop("--draft and --deployment go together.", BAD_USE)
    if draft:
        whose = resolve(session, "deployment", deployment)
        packet["draft"] = {"deployment": whose, "rule": _document(session, draft)}
    found = session.post("/nodes/{id}/packet-test", {"id": resolve(session, "node", node)}, json=packet)
    decides = found["decides"]
    who = f"Rule {decides['id']} of {decides['app']} decides, with priority {decides['priority']}. " if decides else ""
    return Answer(found, say=f"{who}{found['fate']}", code=0 if decides else FAILED)


def _ids(session: Session, name: str, dns: bool, rule: str = "", *, of: str = "deployment") -> dict[str, str]:
    """Return what fills the path of rules, or of one rule; `of` says whose they are."""
    found = {"id": resolve(session, of, name), "kind": "dns" if dns else "traffic"}
    return {**found, "rule": rule} if rule else found


def _read(session: Session, ids: dict[str, str]) -> Any:
    return session.get("/deployments/{id}/rules/{kind}/{rule}", ids)


def _state(word: str) -> str:
    if word.lower() not in _STATES:
        raise Stop(f"--state: say {', '.join(_STATES)}, not {word!r}.", BAD_USE)
    return _STATES[word.lower()]


def _document(session: Session, file: str) -> Any:
    found = structure(file_text(session, file, "--file"), "--file")
    if not isinstance(found, dict):
        raise Stop("--file: a rule is an object.", BAD_USE)
    return found


def _filter(
    protocol: list[str] | None,
    source: list[str] | None,
    to: list[str] | None,
    from_port: list[str] | None,
    port: list[str] | None,
    dscp: int | None,
) -> dict[str, Any]:
    named = {"protocol": protocol, "srcAddress": source, "dstAddress": to, "srcPort": from_port, "dstPort": port}
    found: dict[str, Any] = {name: value for name, value in named.items() if value}
    return found if dscp is None else {**found, "dSCP": dscp}


def _parts(
    dns: bool,
    priority: int | None,
    action: str,
    filters: dict[str, Any],
    app_address: str,
    domain: str,
    address: str,
    ttl: int | None,
    scope: str | None,
) -> dict[str, Any]:
    """Return the members of a rule that were named; the two kinds have none in common."""
    traffic = body_of(priority=priority, action=action.upper())
    if filters:
        traffic["trafficFilter"] = [filters]
    if app_address:
        traffic["dstInterface"] = [{"interfaceType": "IP", "dstIpAddress": app_address}]
    names = body_of(domainName=domain, ipAddress=address, ttl=ttl)
    if address:
        names["ipAddressType"] = "IP_V6" if ":" in address else "IP_V4"
    if scope is not None:
        # Not said is null, which no rule keeps; an empty text says everybody.
        names["scope"] = None if scope == "-" else scope
    if dns and traffic:
        raise Stop("These options are about traffic rules; leave --dns away.", BAD_USE)
    if not dns and names:
        raise Stop("These options are about DNS rules; say --dns.", BAD_USE)
    return names if dns else traffic


def _merged(present: dict[str, Any], parts: dict[str, Any], filters: dict[str, Any]) -> dict[str, Any]:
    """Lay what was named over a rule: other filters stay, and a rule that drops has no targets."""
    whole = {**present, **parts}
    given = present.get("trafficFilter")
    if filters and isinstance(given, list):
        whole["trafficFilter"] = [filters, *given[1:]]
    if whole.get("action") == "DROP" and "dstInterface" not in parts:
        whole.pop("dstInterface", None)
    return whole
