"""`breakwater federation`: partner stores and the agreements with them."""

from __future__ import annotations

import typer

from cli.show import Answer, Column, ago
from cli.wiring import Session, command, verb

app = typer.Typer(no_args_is_help=True, help="Partner stores, agreements, the state of the exchange.")
_PEERS = (
    Column("id", "id"),
    Column("name", "name"),
    Column("state", "state"),
    Column("url", "url"),
    Column("heard", lambda row: ago(row["heard_at"])),
    Column(
        "problem",
        lambda row: (row["problem"] or {}).get("detail", "") if isinstance(row["problem"], dict) else row["problem"],
    ),
)

verb(app, "peers", "GET", "/federation/peers", "List partner stores.", columns=_PEERS)
verb(app, "show", "GET", "/federation/peers/{peer}", "Show a partner store.")
verb(app, "agreements", "GET", "/federation/peers/{peer}/agreements", "List the versions of the agreement with a partner.",
     columns=(Column("id", "id"), Column("version", "version"), Column("state", "state"), Column("digest", "digest"),
              Column("ends", lambda row: ago(row["expires_at"]))))  # fmt: skip


@command(app, "identity")
def identity(session: Session) -> Answer:
    """Show the identity document of this store."""
    return Answer(session.get("/federation/identity"))
