"""`breakwater operations`: the long work of the centre."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import waiting
from cli.errors import FAILED, Stop
from cli.show import Answer, Column, ago
from cli.wiring import Given, Session, Timeout, command, verb

app = typer.Typer(no_args_is_help=True, help="Long work: look, wait, cancel, try again.")
COLUMNS = (
    Column("id", "id"),
    Column("kind", "kind"),
    Column("state", "state"),
    Column("done", lambda row: f"{row['percent']}%"),
    Column("target", "target"),
    Column("problem", lambda row: (row["problem"] or {}).get("detail", "")),
    Column("asked", lambda row: ago(row["created_at"])),
)

verb(app, "list", "GET", "/operations", "List operations, newest first.", columns=COLUMNS,
     query=[Given("state", "pending, running, succeeded, failed or cancelled."), Given("kind", "Such as package.check."),
            Given("target", "Such as package:ID.")])  # fmt: skip
verb(app, "show", "GET", "/operations/{operation}", "Show an operation.")
verb(app, "cancel", "POST", "/operations/{operation}/cancel", "Stop an operation.", say="{kind} is {state}.")
verb(app, "retry", "POST", "/operations/{operation}/retry", "Ask for failed work again; the answer is a new operation.",
     say="{id}")  # fmt: skip


@command(app, "wait")
def wait_for(
    session: Session, operation: Annotated[str, typer.Argument(metavar="OPERATION")], timeout: Timeout = 600
) -> Answer:
    """Wait until an operation is over; exit code 1 when it failed or was cancelled."""
    seen = waiting.operation(session, operation, timeout)
    if seen["state"] != "succeeded":
        why = (seen["problem"] or {}).get("detail", "")
        raise Stop(f"{seen['kind']}: {seen['state']}. {why}".rstrip(), FAILED, seen)
    return Answer(seen, say=f"{seen['kind']}: succeeded.")
