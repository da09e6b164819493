"""`breakwater federation`: partner stores and the agreements with them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import waiting
from cli.errors import BAD_USE, FAILED, Stop
from cli.show import Answer, Column, ago
from cli.wiring import REASON, Given, Session, Timeout, command, file_text, structure, verb

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


@command(app, "sync")
def sync(
    session: Session,
    peer: Annotated[str, typer.Argument(metavar="PEER")],
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait; exit code 1 when it fails.")] = False,
    timeout: Timeout = 300,
) -> Answer:
    """Look now what a partner offers."""
    work = session.post("/federation/peers/{id}/sync", {"id": peer})
    if wait:
        work = waiting.operation(session, work["id"], timeout)
        if work["state"] != "succeeded":
            raise Stop((work["problem"] or {}).get("detail", f"It was {work['state']}."), FAILED, work)
    return Answer(work)


@command(app, "propose")
def propose(
    session: Session,
    peer: Annotated[str, typer.Argument(metavar="PEER")],
    file: Annotated[str, typer.Option("--file", "-f", help="The terms: out, incoming, expires, contact; - is stdin.")],
) -> Answer:
    """Sign the next version of an agreement and send it to a partner."""
    terms: Any = structure(file_text(session, file, "terms"), "terms")
    if not isinstance(terms, dict):
        raise Stop("terms: the file must hold a mapping.", BAD_USE)
    return Answer(session.post("/federation/peers/{id}/propose", {"id": peer}, json=terms))


_FINGERPRINT = Given("fingerprint", "As its administrator told you, by another way.", required=True)
_URL = Given("url", "Its address, or an invitation.", required=True)
_VERSION = "/federation/peers/{peer}/agreements/{version}"
verb(
    app, "look", "POST", "/federation/look", "Look which store answers at an address; nothing is written.", body=[_URL]
)
verb(app, "meet", "POST", "/federation/meet", "Confirm a store by its fingerprint and introduce this one.",
     body=[_URL, _FINGERPRINT])  # fmt: skip
verb(app, "confirm", "POST", "/federation/peers/{peer}/confirm", "Confirm a store that introduced itself.",
     body=[_FINGERPRINT])  # fmt: skip
verb(app, "refuse", "POST", "/federation/peers/{peer}/refuse", "Refuse it, with a reason.", body=[REASON])
verb(app, "suspend", "POST", "/federation/peers/{peer}/suspend", "Set a partner aside at once.", body=[REASON],
     confirm="Suspend {peer}? Nothing is exchanged any more.")  # fmt: skip
verb(app, "resume", "POST", "/federation/peers/{peer}/resume", "Take a suspended partner up again.")
verb(
    app,
    "end",
    "POST",
    "/federation/peers/{peer}/end",
    "Part for good.",
    body=[REASON],
    confirm="Part with {peer} for good?",
)
verb(app, "deliver", "POST", "/federation/peers/{peer}/deliver", "Try again to deliver what waits.")
verb(app, "accept", "POST", f"{_VERSION}/accept", "Sign the version that a partner proposed.",
     confirm="Sign version {version} of the agreement?")  # fmt: skip
verb(app, "decline", "POST", f"{_VERSION}/decline", "Decline it, with a reason.", body=[REASON])
verb(app, "end-agreement", "POST", f"{_VERSION}/end", "End an agreement.", body=[REASON],
     confirm="End version {version} of the agreement?")  # fmt: skip
