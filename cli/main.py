"""The program: every group of commands under one name."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import (
    alarms,
    apps,
    certify,
    deployments,
    federation,
    nodes,
    operations,
    packages,
    rollouts,
    rules,
    sandbox,
    signin,
    sites,
    trust,
)
from cli.audit import audit
from cli.errors import INTERRUPTED
from cli.raw import api
from cli.wiring import command

VERSION = "0.1.0"
_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 took too long, 4 not found or not allowed, 130 interrupted."

app = typer.Typer(
    name="breakwater",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=f"The command line of a Breakwater centre. Every command has --output table, json or yaml.\n\n{_EXIT_CODES}",
)


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"breakwater {VERSION}")
        raise typer.Exit


command(app, "login")(signin.login)
command(app, "logout")(signin.logout)
command(app, "whoami")(signin.whoami)
command(app, "api")(api)
command(app, "audit")(audit)
command(app, "figures")(alarms.figures)
for _group, _name in (
    (apps.app, "apps"),
    (packages.app, "packages"),
    (packages.releases, "releases"),
    (nodes.app, "nodes"),
    (deployments.app, "deployments"),
    (rollouts.app, "rollouts"),
    (sandbox.app, "sandbox"),
    (rules.app, "rules"),
    (sites.app, "sites"),
    (alarms.app, "alarms"),
    (operations.app, "operations"),
    (certify.app, "certify"),
    (trust.app, "trust"),
    (federation.app, "federation"),
    (signin.organisations, "organisations"),
    (signin.tokens, "tokens"),
    (signin.sessions, "sessions"),
    (signin.servers, "servers"),
    (apps.notices, "notices"),
    (apps.webhooks, "webhooks"),
):
    app.add_typer(_group, name=_name)


def run() -> None:
    """Be the program `breakwater`."""
    try:
        app(prog_name="breakwater")
    except KeyboardInterrupt:
        # Before a command had begun.
        sys.exit(INTERRUPTED)
