"""`breakwater audit`: who did what."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from cli.show import Answer, Column
from cli.wiring import All, PageSize, Session

COLUMNS = (
    Column("at", "at"),
    Column("actor", "actor"),
    Column("action", "action"),
    Column("object", "object_name"),
    Column("id", "object_id"),
)


def audit(
    session: Session,
    q: Annotated[str, typer.Option("--search", "-q", help="Words in any part; the last 90 days without --since.")] = "",
    actor: Annotated[str, typer.Option(help="User name; deeds by their tokens as well.")] = "",
    action: Annotated[str, typer.Option(help="Such as deployment.create, or a topic such as `deployment.`.")] = "",
    target: Annotated[str, typer.Option(help="Id of the object, or part of its name.")] = "",
    object_id: Annotated[str, typer.Option(help="About this object.")] = "",
    since: Annotated[str, typer.Option(help="From when (ISO 8601).")] = "",
    until: Annotated[str, typer.Option(help="Until when (ISO 8601).")] = "",
    after: Annotated[str, typer.Option(metavar="KEY", help="Go on where the page before ended; it told the key.")] = "",
    page_size: PageSize = 50,
    every: All = False,
) -> Answer:
    """Search the audit trail, newest first."""
    params: dict[str, Any] = {"q": q, "actor": actor, "action": action, "target": target, "object_id": object_id}
    params |= {"since": since, "until": until, "after": after}
    found = session.pages("/audit", every, page_size=page_size, **params)
    if found["next"]:
        key = parse_qs(urlsplit(found["next"]).query)["after"][0]
        session.printer.tell(f"There are more: --after '{key}', or all with --all.", "dim")
    return Answer(found, COLUMNS)
