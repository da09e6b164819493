"""`breakwater alarms` and `breakwater figures`: what is wrong in the fleet, and how it was over time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.names import resolve
from cli.show import Answer, Column, ago
from cli.wiring import All, Page, PageSize, Session, command, verb
from cli.wiring import Organisation as Which

app = typer.Typer(no_args_is_help=True, help="What is wrong in the fleet: look, and say that somebody cares.")
COLUMNS = (
    Column("severity", "severity"),
    Column("state", "state"),
    Column("source", lambda row: f"{row['source_kind']} {row['source_name']}"),
    Column("text", "text"),
    Column("times", "times"),
    Column("since", lambda row: ago(row["raised_at"])),
    Column("by", "acknowledged_by"),
    Column("id", "id"),
)


@command(app, "list")
def list_alarms(
    session: Session,
    show: Annotated[str, typer.Option(help="standing, open, acknowledged, cleared or all.")] = "standing",
    severity: Annotated[str, typer.Option(help="critical, major, minor or warning.")] = "",
    source: Annotated[str, typer.Option(help="Kind of source, such as node or deployment.")] = "",
    node: Annotated[str, typer.Option(help="About this node (name or id).")] = "",
    q: Annotated[str, typer.Option("--search", "-q", help="Words in text, cause or name.")] = "",
    page: Page = 1,
    page_size: PageSize = 25,
    every: All = False,
) -> Answer:
    """List alarms, the worst first; cleared ones by when they were cleared."""
    params: dict[str, Any] = {"show": show, "severity": severity, "source": source, "q": q}
    params["node"] = resolve(session, "node", node) if node else ""
    found = session.pages("/alarms", every, page=page, page_size=page_size, **params)
    return Answer(found, COLUMNS, empty="No alarms.")


verb(app, "show", "GET", "/alarms/{alarm}", "Show an alarm with what to do about it.")
verb(app, "history", "GET", "/alarms/{alarm}/history", "Show what happened to an alarm, and the earlier times of the same "
     "trouble.")  # fmt: skip


@command(app, "acknowledge")
def acknowledge(
    session: Session,
    alarms: Annotated[list[str], typer.Argument(metavar="ALARM...", help="Ids, up to a thousand.")],
    note: Annotated[str, typer.Option("--note", "-m", help="What is being done.")] = "",
) -> Answer:
    """Say that somebody looks after an alarm, or after several."""
    if len(alarms) == 1:
        seen = session.post("/alarms/{id}/acknowledge", {"id": alarms[0]}, json={"note": note})
        return Answer(seen, say=f"Acknowledged: {seen['text']}")
    done = session.post("/alarms/acknowledge", json={"alarms": alarms, "note": note})
    # Those that were cleared meanwhile, or are not ours, stay as they are.
    return Answer(done, say=f"{done['acknowledged']} of {len(alarms)} acknowledged now.")


def figures(
    session: Session,
    node: Annotated[str, typer.Option(help="Of this node (name or id), by the hour.")] = "",
    resolution: Annotated[str, typer.Option(help="minute or hour.")] = "",
    metric: Annotated[list[str] | None, typer.Option(help="Such as nodes.online; may be given several times.")] = None,
    since: Annotated[str, typer.Option(help="From when (ISO 8601).")] = "",
    until: Annotated[str, typer.Option(help="Until when (ISO 8601).")] = "",
    organisation: Which = "",
) -> Answer:
    """Show figures over time: for people the last, lowest and highest of each; --output json has every value."""
    if node:
        ids = {"id": resolve(session, "node", node)}
        found = session.get("/nodes/{id}/figures", ids, since=since, until=until)
    else:
        found = session.get("/figures", organisation=session.mine(organisation), resolution=resolution,
                            metrics=",".join(metric or []), since=since, until=until)  # fmt: skip
    return Answer(found, say=_summary(found))


def _summary(found: dict[str, Any]) -> str:
    moments = found["at"]
    if not moments:
        return "Nothing was written down in that time."
    first, last = (datetime.fromtimestamp(each, UTC).isoformat() for each in (moments[0], moments[-1]))
    lines = [f"{first} to {last}, by the {found['resolution']}", f"{'':<26}{'last':>16}{'lowest':>16}{'highest':>16}"]
    for name, values in found["series"].items():
        known = [value for value in values if value is not None]
        told = (values[-1], min(known), max(known)) if known else (None, None, None)
        lines.append(f"{name:<26}" + "".join(f"{'-' if value is None else f'{value:.10g}':>16}" for value in told))
    return "\n".join(lines)
