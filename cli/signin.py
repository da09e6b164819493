"""Signing in and out, who one is, one's organisations and tokens."""

from __future__ import annotations

import getpass
import platform
from dataclasses import replace
from typing import Annotated, Any

import typer

from cli.centre import Centre
from cli.errors import BAD_USE, FAILED, NO_SUCH, TIMED_OUT, Refused, Stop
from cli.profiles import Profile
from cli.show import Answer, Column, ago
from cli.wiring import Given, Session, body_of, command, verb

organisations = typer.Typer(no_args_is_help=True, help="Your organisations, their people and roles.")
members = typer.Typer(no_args_is_help=True, help="Who has which role.")
organisations.add_typer(members, name="members")
invitations = typer.Typer(no_args_is_help=True, help="Links by which people get a role.")
organisations.add_typer(invitations, name="invitations")
sessions = typer.Typer(no_args_is_help=True, help="Where you are signed in with a browser.")
tokens = typer.Typer(no_args_is_help=True, help="API tokens for programs.")
servers = typer.Typer(no_args_is_help=True, help="The servers that you are signed in to.")

_CLIENT = "breakwater-cli"
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def login(
    session: Session,
    with_token: Annotated[
        bool, typer.Option("--token", help="Give an API token instead: asked for without echo, or read from stdin.")
    ] = False,
    organisation: Annotated[
        str, typer.Option("--organisation", "-O", help="Use this one when a command names none.")
    ] = "",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the approval.")] = 900,
) -> Answer:
    """Sign in: open the address that is shown, compare the code, and approve.

    The token is kept in ~/.config/breakwater/profiles.json, which only you may read. It is never taken from the command
    line, where other people of this machine would see it.
    """
    if session.world.environ.get("BREAKWATER_TOKEN"):
        raise Stop("BREAKWATER_TOKEN is set and would be used anyway; unset it to sign in.", BAD_USE)
    asked = replace(session.profile, token="")
    secret = _typed(session) if with_token else _approved(session, asked, no_browser, timeout)
    profile = Profile(asked.server, secret, asked.ca, organisation or asked.organisation)
    centre = Centre(profile, session.world.transport)
    try:
        me = centre.ask("GET", "/session")
    finally:
        centre.close()
    if organisation and organisation not in [row["slug"] for row in me["organisations"]]:
        raise Stop(f"You are no member of the organisation {organisation!r}.", NO_SUCH)
    session.profiles.keep(profile)
    return Answer(_me(profile, me), say=f"Signed in to {profile.server} as {me['username']}.")


def _typed(session: Session) -> str:
    stdin = session.world.stdin
    text = getpass.getpass("API token: ") if stdin.isatty() else stdin.readline(4096)
    if not text.strip():
        raise Stop("No token was given.", BAD_USE)
    return text.strip()


def _approved(session: Session, profile: Profile, no_browser: bool, timeout: float) -> str:
    """Return the token of the device flow (RFC 8628)."""
    centre = Centre(profile, session.world.transport)
    try:
        form = {"client_id": _CLIENT, "client_name": f"breakwater on {platform.node() or 'a machine'}"[:80]}
        asked = centre.ask("POST", "/device/authorization", data=form)
        session.printer.tell(f"Open {asked['verification_uri']} and enter the code {asked['user_code']}")
        session.printer.tell(f"or open {asked['verification_uri_complete']} and compare it.", "dim")
        if not no_browser and session.printer.err.is_terminal:
            import webbrowser  # only where a person sits

            webbrowser.open(asked["verification_uri_complete"])
        return _polled(session, centre, asked, timeout)
    finally:
        centre.close()


def _polled(session: Session, centre: Centre, asked: dict[str, Any], timeout: float) -> str:
    pause, ends = float(asked.get("interval", 5)), session.deadline(min(timeout, float(asked["expires_in"])))
    form = {"grant_type": _GRANT, "device_code": asked["device_code"], "client_id": _CLIENT}
    while session.world.clock() < ends:
        session.world.sleep(pause)
        try:
            return str(centre.ask("POST", "/device/token", data=form)["access_token"])
        except Refused as problem:
            error = problem.problem.get("error")
            if error == "slow_down":
                # RFC 8628, 3.5: five seconds more, for this and all later requests.
                pause += 5
            elif error == "access_denied":
                raise Stop("The sign-in was refused.", NO_SUCH) from None
            elif error == "expired_token":
                break
            elif error != "authorization_pending":
                raise
        except Stop as problem:
            # RFC 8628, 3.5: a connection that timed out is no end, but asked less often.
            if problem.code not in (FAILED, TIMED_OUT):
                raise
            pause *= 2
    raise Stop("Nobody approved the sign-in in time; run `breakwater login` again.", TIMED_OUT)


def logout(session: Session) -> Answer:
    """Sign out: the token is revoked at the server and forgotten here."""
    profile = session.profile
    _, kept = session.profiles.all()
    held = next((each.token for each in kept if each.server == profile.server), "")
    if not held:
        raise Stop(f"You are not signed in to {profile.server}.", BAD_USE)
    centre = Centre(replace(profile, token=held), session.world.transport)
    try:
        centre.ask("DELETE", "/tokens/current")
    except Refused as problem:
        # A token that opens nothing any more has nothing left to revoke.
        if problem.status != 401:
            raise
    finally:
        centre.close()
    session.profiles.forget(profile.server)
    return Answer({"server": profile.server, "signed_in": False}, say=f"Signed out of {profile.server}.")


def whoami(session: Session) -> Answer:
    """Show who is signed in, with roles and permissions."""
    me = session.get("/session")
    document = _me(session.profile, me)
    lines = [f"{document['username']} at {document['server']}"]
    for row in document["organisations"]:
        mark = "*" if row["slug"] == session.profile.organisation else " "
        lines.append(f"{mark} {row['slug']:<20} {', '.join(row['roles'])}")
    return Answer(document, say="\n".join(lines))


def _me(profile: Profile, me: dict[str, Any]) -> dict[str, Any]:
    # The CSRF token is for browsers; nobody needs it in a log.
    return {"server": profile.server, **{name: value for name, value in me.items() if name != "csrf"}}


verb(organisations, "list", "GET", "/organisations", "List your organisations.",
     columns=(Column("slug", "slug"), Column("name", "name"), Column("id", "id")))  # fmt: skip
verb(organisations, "create", "POST", "/organisations", "Found an organisation.",
     body=[Given("slug", "Short name.", required=True), Given("name", "Name.", required=True)],
     say="Founded {slug}.")  # fmt: skip
_IN = {"organisation": "organisation"}
verb(members, "list", "GET", "/organisations/{organisation}/members", "List members and their roles.", kinds=_IN,
     columns=(Column("id", "id"), Column("user", "username"), Column("role", "role")))  # fmt: skip
verb(members, "add", "POST", "/organisations/{organisation}/members", "Give a member a role.", kinds=_IN,
     body=[Given("username", "Who.", required=True),
           Given("role", "admin, operator, developer, certifier or viewer.", required=True)],
     say="{username} is {role} now.")  # fmt: skip
verb(members, "remove", "DELETE", "/organisations/{organisation}/members/{membership}", "Take a role away.", kinds=_IN,
     say="Taken away.", confirm="Take the role away?")  # fmt: skip
verb(invitations, "list", "GET", "/organisations/{organisation}/invitations", "List invitations, newest first.", kinds=_IN,
     columns=(Column("id", "id"), Column("role", "role"), Column("email", "email"), Column("state", "state"),
              Column("by", "invited_by"), Column("ends", lambda row: ago(row["expires_at"]))))  # fmt: skip
verb(invitations, "create", "POST", "/organisations/{organisation}/invitations",
     "Invite somebody; the answer is the only time that the link is shown.", kinds=_IN,
     body=[Given("role", "admin, operator, developer, certifier or viewer.", required=True),
           Given("email", "Send the link there.")],
     say="{link}")  # fmt: skip
verb(invitations, "withdraw", "DELETE", "/organisations/{organisation}/invitations/{invitation}",
     "Withdraw an invitation: its link opens nothing any more.", kinds=_IN, say="Withdrawn.")  # fmt: skip
verb(sessions, "list", "GET", "/sessions", "List your open sessions, the one used last first.",
     columns=(Column("id", "id"), Column("device", "device"), Column("address", "address"), Column("how", "how"),
              Column("second factor", "strong"), Column("seen", lambda row: ago(row["seen_at"]))))  # fmt: skip
verb(sessions, "revoke", "DELETE", "/sessions/{ref}", "End a session; whoever sits there is signed out.", say="Ended.")


@command(organisations, "use")
def use(session: Session, organisation: Annotated[str, typer.Argument(metavar="SLUG")]) -> Answer:
    """Use this organisation when a command names none."""
    known = [row["slug"] for row in session.pages("/organisations", True)["results"]]
    if organisation not in known:
        raise Stop(f"You are no member of the organisation {organisation!r}.", NO_SUCH)
    session.profiles.keep(replace(session.profiles.chosen(session.profile.server), organisation=organisation))
    return Answer({"organisation": organisation}, say=f"Commands are about {organisation} now.")


verb(tokens, "list", "GET", "/tokens", "List your tokens; the tokens themselves are not shown again.",
     columns=(Column("id", "id"), Column("name", "name"), Column("begins", "hint"), Column("may", "scopes"),
              Column("used", lambda row: ago(row["last_used_at"])), Column("revoked", "revoked_at")))  # fmt: skip
verb(tokens, "revoke", "DELETE", "/tokens/{token}", "Revoke a token; it opens nothing from now on.", say="Revoked.")


@command(tokens, "create")
def create_token(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="Permission; all of yours when left out.")] = None,
    organisation: Annotated[str, typer.Option("--organisation", "-O", help="Bind it to this organisation.")] = "",
    expires_at: Annotated[str, typer.Option(help="Until when (ISO 8601).")] = "",
) -> Answer:
    """Make a token; the answer is the only time that it is shown."""
    wanted = {"name": name, "scopes": scope or [], **body_of(organisation=organisation, expires_at=expires_at)}
    made = session.post("/tokens", json=wanted)
    return Answer(made, say=made["token"])


@command(servers, "list")
def list_servers(session: Session) -> Answer:
    """List the servers that you are signed in to."""
    current, rows = session.profiles.all()
    document = [
        {"server": row.server, "current": row.server == current, "organisation": row.organisation, "ca": row.ca}
        for row in rows
    ]
    columns = (Column("server", "server"), Column("current", "current"), Column("organisation", "organisation"))
    return Answer(document, columns, empty="You are signed in nowhere; run `breakwater login`.")


@command(servers, "use")
def use_server(session: Session, url: Annotated[str, typer.Argument(metavar="URL")]) -> Answer:
    """Make a server the one that commands talk to."""
    profile = session.profiles.use(url)
    return Answer({"server": profile.server}, say=f"Commands go to {profile.server} now.")
