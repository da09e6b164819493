"""`breakwater apps`: the catalogue, reviews, followed applications, notices and webhooks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import BAD_USE, NO_SUCH, Stop
from cli.show import Answer, Column, Output, ago, plain, text_of
from cli.wiring import (
    ORGANISATION,
    REASON,
    All,
    Given,
    Organisation,
    Page,
    PageSize,
    Session,
    body_of,
    command,
    missing,
    verb,
)

app = typer.Typer(no_args_is_help=True, help="Find applications in the catalogue, and say what you think of them.")
reviews = typer.Typer(no_args_is_help=True, help="What organisations say that have run an application.")
notices = typer.Typer(no_args_is_help=True, help="What happened to the applications that you follow.")
webhooks = typer.Typer(no_args_is_help=True, help="Signed messages to a server of yours when releases change.")
app.add_typer(reviews, name="reviews")

AppName = Annotated[str, typer.Argument(metavar="APP", help="Its number, or ORGANISATION/PROVIDER/NAME.")]
Several = Annotated[list[str] | None, typer.Option(help="May be given several times: one of them.")]
COLUMNS = (
    Column("app", "app"),
    Column("name", "name"),
    Column("version", "version"),
    Column("provider", "provider"),
    Column("category", "category"),
    Column("certified", "certification"),
    Column("signature", "signature"),
    Column("package", "package"),
)


@command(app, "list")
def list_apps(
    session: Session,
    q: Annotated[str, typer.Option("--search", "-q", help="Words.")] = "",
    category: Several = None,
    provider: Several = None,
    architecture: Several = None,
    service: Several = None,
    certification: Several = None,
    signature: Several = None,
    licence: Several = None,
    store: Several = None,
    sort: Annotated[str, typer.Option(help="relevance, newest, name, downloads or rating.")] = "",
    page: Page = 1,
    page_size: Annotated[int, typer.Option("--page-size", min=1, max=100, help="Rows on a page.")] = 25,
    every: All = False,
) -> Answer:
    """List the catalogue, with the facets of the page."""
    facets = {"category": category, "provider": provider, "architecture": architecture, "service": service}
    facets |= {"certification": certification, "signature": signature, "licence": licence, "store": store}
    return _found(session, every, q=q, sort=sort, page=page, page_size=page_size, **facets)


@command(app, "search")
def search(
    session: Session,
    words: Annotated[list[str], typer.Argument(help="Words; each also finds words that begin with it.")],
    page: Page = 1,
    every: All = False,
) -> Answer:
    """Search the catalogue."""
    return _found(session, every, q=" ".join(words), page=page)


def _found(session: Session, every: bool, **params: Any) -> Answer:
    document = session.pages("/catalogue", every, size=100, **params)
    if document["suggestion"] and session.printer.output is Output.table:
        session.printer.tell(f"Did you mean {document['suggestion']!r}?", "dim")
    return Answer(document, COLUMNS, empty="No application was found.")


@command(app, "show")
def show(session: Session, app: AppName) -> Answer:
    """Show an application with its releases."""
    document = _one(session, app)
    shown = ("app", "name", "provider", "version", "state", "package", "category", "architectures", "services", "licences",
             "certification", "signature", "store_name", "rating", "downloads", "deployments", "description")  # fmt: skip
    lines = [f"{name.replace('_', ' '):<14} {plain(text_of(document[name]))}" for name in shown]
    lines += ["", "releases:"]
    lines += [
        f"  {each['version']:<12} {each['state']:<12} {ago(each['published_at']):<10} {each['package'] or 'elsewhere'}"
        for each in document["releases"]
    ]
    return Answer(document, say="\n".join(lines))


PLACES = (
    Column("node", lambda row: row["node"]["name"]),
    Column("state", lambda row: row["node"]["state"]),
    Column("engine", lambda row: row["node"]["engine"]),
    Column("fits", "fits"),
    Column("runs", lambda row: ", ".join(f"{each['name']} {each['version']}" for each in row["running"])),
    Column("why", lambda row: "; ".join(each["message"] for each in row["reasons"] + row["remarks"])),
)


@command(app, "where")
def where(
    session: Session,
    app: AppName,
    release: Annotated[
        str, typer.Option("--release", metavar="VERSION", help="Which release. Default: the newest.")
    ] = "",
    fits: Annotated[bool, typer.Option("--fits", help="Only nodes where it fits.")] = False,
    code: Annotated[str, typer.Option(help="Only nodes with this kind of reason, such as memory.")] = "",
    q: Annotated[str, typer.Option("--search", "-q", help="Part of a node's name.")] = "",
    organisation: Organisation = "",
    page: Page = 1,
    page_size: PageSize = 25,
    every: All = False,
) -> Answer:
    """Say on which of your nodes an application could run, and why not on the others."""
    document = _one(session, app)
    wanted = release or document["version"]
    package = next((each["package"] for each in document["releases"] if each["version"] == wanted), None)
    if package is None:
        raise Stop(f"{document['name']} has no release {wanted!r} whose package is in this store.", NO_SUCH)
    params: dict[str, Any] = {"organisation": session.mine(organisation), "q": q, "code": code, "page": page}
    params |= {"page_size": page_size, "fits": "true" if fits else ""}
    found = session.pages("/packages/{id}/where", every, {"id": package}, **params)
    if session.printer.output is Output.table:
        session.printer.tell(f"It fits on {found['fits']} of {found['nodes']} nodes. {found['refused']}".strip(), "dim")
    return Answer(found, PLACES, empty="No node is like that.")


def _one(session: Session, named: str) -> Any:
    if named.isdecimal():
        return session.get("/catalogue/apps/{app}", {"app": named})
    organisation, _, rest = named.partition("/")
    provider, _, name = rest.partition("/")
    if name:
        ids = {"organisation": organisation, "provider": provider, "name": name}
        return session.get("/catalogue/named/{organisation}/{provider}/{name}", ids)
    # A bare name: when one application has it, that one is meant.
    found = [row for row in session.pages("/catalogue", True, size=100, q=named)["results"] if row["name"] == named]
    if not found:
        raise missing("application", named)
    if len(found) > 1:
        listed = "\n".join(f"  {row['app']}  {row['name']} of {row['provider']}" for row in found[:10])
        raise Stop(f"Several applications are called {named!r}; name one by its number:\n{listed}", BAD_USE)
    return session.get("/catalogue/apps/{app}", {"app": found[0]["app"]})


verb(
    app, "favourite", "PUT", "/catalogue/apps/{app}/favourite", "Put an application among your favourites.", say="Done."
)
verb(app, "unfavourite", "DELETE", "/catalogue/apps/{app}/favourite", "Take it out again.", say="Done.")
verb(app, "follow", "PUT", "/catalogue/apps/{app}/follow", "Be told of new releases.", say="Done.")
verb(app, "unfollow", "DELETE", "/catalogue/apps/{app}/follow", "Be told no longer.", say="Done.")

verb(reviews, "list", "GET", "/catalogue/apps/{app}/reviews", "List the reviews of an application.",
     columns=(Column("id", "id"), Column("by", "organisation"), Column("rating", "rating"), Column("title", "title"),
              Column("text", "text")))  # fmt: skip
verb(reviews, "write", "PUT", "/catalogue/apps/{app}/reviews", "Write or change the review of your organisation.",
     body=[Given("rating", "1 to 5.", required=True, kind=int), Given("title", "One line."), Given("text", "More."),
           ORGANISATION])  # fmt: skip
verb(reviews, "answer", "PUT", "/feedback/{review}/answer", "Answer a review of your application.",
     body=[Given("text", "The answer.", required=True)])  # fmt: skip
verb(reviews, "remove", "DELETE", "/feedback/{review}", "Take your review back.", say="Removed.")
verb(reviews, "report", "POST", "/feedback/{review}/report", "Report a review to the moderators.", body=[REASON])
verb(reviews, "hide", "POST", "/feedback/{review}/hide", "Hide a review (moderators).", body=[REASON])
verb(reviews, "restore", "POST", "/feedback/{review}/restore", "Show a hidden review again.", body=[REASON])

verb(notices, "list", "GET", "/notices", "List notices, newest first.",
     columns=(Column("when", lambda row: ago(row["created_at"])), Column("kind", "kind"), Column("text", "text"),
              Column("read", lambda row: bool(row["read_at"]))))  # fmt: skip
verb(notices, "read", "POST", "/notices", "Mark all as read.", say="All are read.")


def _hook(name: str, url: str, event: list[str], everything: bool, active: bool, organisation: str) -> dict[str, Any]:
    facts = {"name": name, "url": url, "events": event, "everything": everything, "active": active}
    return {**facts, **body_of(organisation=organisation)}


HookName = Annotated[str, typer.Option("--name", help="What it is called.")]
HookUrl = Annotated[str, typer.Option("--url", help="Where messages go.")]
HookEvent = Annotated[
    list[str], typer.Option("--event", help="release, security, deprecation, yank, quarantine, recall.")
]
HookEverything = Annotated[bool, typer.Option("--everything", help="Also of applications that you do not follow.")]
HookActive = Annotated[bool, typer.Option("--active/--paused", help="Whether messages are sent.")]
HookOwner = Annotated[str, typer.Option("--organisation", "-O", help="Which of your organisations.")]


@command(webhooks, "create")
def create_webhook(
    session: Session,
    name: HookName,
    url: HookUrl,
    event: HookEvent,
    everything: HookEverything = False,
    active: HookActive = True,
    organisation: HookOwner = "",
) -> Answer:
    """Make a webhook; the answer shows its secret this once."""
    return Answer(
        session.post("/webhooks", json=_hook(name, url, event, everything, active, session.mine(organisation)))
    )


@command(webhooks, "change")
def change_webhook(
    session: Session,
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK")],
    name: HookName,
    url: HookUrl,
    event: HookEvent,
    everything: HookEverything = False,
    active: HookActive = True,
) -> Answer:
    """Set all of a webhook anew."""
    return Answer(session.put("/webhooks/{id}", {"id": webhook}, json=_hook(name, url, event, everything, active, "")))


verb(webhooks, "list", "GET", "/webhooks", "List the webhooks of your organisations.",
     columns=(Column("id", "id"), Column("name", "name"), Column("url", "url"), Column("events", "events"),
              Column("active", "active")))  # fmt: skip
verb(webhooks, "show", "GET", "/webhooks/{webhook}", "Show a webhook.")
verb(webhooks, "ping", "POST", "/webhooks/{webhook}/ping", "Send a message to try it.", say="A message is on its way.")
verb(webhooks, "deliveries", "GET", "/webhooks/{webhook}/deliveries", "List what was sent, and what came back.",
     columns=(Column("id", "id"), Column("event", "event"), Column("state", "state"), Column("status", "status"),
              Column("note", "note"), Column("when", lambda row: ago(row["created_at"]))))  # fmt: skip
verb(
    webhooks,
    "remove",
    "DELETE",
    "/webhooks/{webhook}",
    "Remove a webhook.",
    say="Removed.",
    confirm="Remove the webhook?",
)
