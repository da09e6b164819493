"""How commands are made: the options that every one has, one place where errors end, and commands that need no code.

A command is a function whose first parameter is the `Session`; it returns an `Answer` or a document, which is printed
in the form that was asked for. `verb` makes a command of one request out of a table row.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO
from urllib.parse import parse_qs, urlsplit

import httpx
import typer

from cli.centre import Centre
from cli.errors import BAD_USE, FAILED, INTERRUPTED, NO_SUCH, Stop
from cli.profiles import Profile, Profiles
from cli.show import Answer, Column, Output, Printer

_PANEL = "Common options"
_OUTPUT = Annotated[
    Output,
    typer.Option("--output", "-o", envvar="BREAKWATER_OUTPUT", help="Form of the answer.", rich_help_panel=_PANEL),
]
_SERVER = Annotated[
    str, typer.Option("--server", metavar="URL", help="The centre. Default: BREAKWATER_SERVER, or the last one.",
                      rich_help_panel=_PANEL)
]  # fmt: skip
_CA = Annotated[
    str, typer.Option("--ca", metavar="FILE", help="CA certificates of the server.", rich_help_panel=_PANEL)
]
_COMMON = {"output": (_OUTPUT, Output.table), "server": (_SERVER, ""), "ca": (_CA, "")}

Organisation = Annotated[str, typer.Option("--organisation", "-O", metavar="SLUG", help="Which of your organisations.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait at most.")]
Page = Annotated[int, typer.Option("--page", min=1, help="Which page.")]
PageSize = Annotated[int, typer.Option("--page-size", min=1, max=200, help="Rows on a page.")]
All = Annotated[bool, typer.Option("--all", help="Every page.")]


@dataclass
class World:
    """What a command stands on; tests bring their own."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class Session:
    """One run of one command: the server, how to print, how to wait."""

    def __init__(self, world: World, output: Output, server: str, ca: str) -> None:
        self.world = world
        self.printer = Printer(output, world.stdout, world.stderr)
        self.profiles = Profiles(world.environ)
        self._server, self._ca = server, ca
        self._profile: Profile | None = None
        self._centre: Centre | None = None

    @property
    def profile(self) -> Profile:
        """The server that is meant."""
        if self._profile is None:
            self._profile = self.profiles.chosen(self._server, self._ca)
        return self._profile

    @property
    def centre(self) -> Centre:
        """The API of that server."""
        if self._centre is None:
            self._centre = Centre(self.profile, self.world.transport)
        return self._centre

    def close(self) -> None:
        """Let the connection go."""
        if self._centre is not None:
            self._centre.close()

    def get(self, path: str, ids: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Ask for a document."""
        return self.centre.ask("GET", path, ids, params=params)

    def post(self, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Do something."""
        return self.centre.ask("POST", path, ids, **options)

    def put(self, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Set something."""
        return self.centre.ask("PUT", path, ids, **options)

    def patch(self, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Change something."""
        return self.centre.ask("PATCH", path, ids, **options)

    def delete(self, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Take something away."""
        return self.centre.ask("DELETE", path, ids, **options)

    def pages(
        self, path: str, every: bool, ids: Mapping[str, Any] | None = None, size: int = 200, **params: Any
    ) -> Any:
        """Ask for a page of a list; with `every` for all pages of `size`, in a document of the same form."""
        if not every:
            return self.get(path, ids, **params)
        found: list[Any] = []
        asked = {**{name: value for name, value in params.items() if name != "page"}, "page_size": size}
        while True:
            page = self.get(path, ids, **asked)
            if not isinstance(page, Mapping) or "results" not in page:
                return page
            found += page["results"]
            if not page.get("next"):
                whole = {"count": len(found), "next": None, "previous": None, "results": found}
                return {name: whole.get(name, value) for name, value in page.items()}
            # Pages have numbers, or keys where rows are many. Only what it asks is taken from `next`, never where.
            asked |= parse_qs(urlsplit(page["next"]).query)

    def mine(self, organisation: str) -> str:
        """Return the organisation that is meant: the option, or the profile's."""
        return organisation or self.profile.organisation

    def deadline(self, seconds: float) -> float:
        """Return the moment at which waiting ends."""
        return self.world.clock() + seconds


def body_of(**given: Any) -> dict[str, Any]:
    """Return the members that were given."""
    return {name: value for name, value in given.items() if value is not None and value != ""}


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a command, with the options that every command has."""

    def add(work: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(work, eval_str=True).parameters.values())[1:]
        register(app, name, work, own, inspect.getdoc(work) or "", **settings)
        return work

    return add


def register(
    app: typer.Typer, name: str, work: Callable[..., Any], own: list[inspect.Parameter], help: str, **settings: Any
) -> None:
    """Add a command that takes `own` parameters and the common ones."""

    def started(context: typer.Context, **given: Any) -> None:
        common = {key: given.pop(key) for key in _COMMON}
        world = context.obj if isinstance(context.obj, World) else World()
        raise typer.Exit(_carried_out(work, world, common, given))

    keyword = inspect.Parameter.KEYWORD_ONLY
    first = inspect.Parameter("context", keyword, annotation=typer.Context)
    common = [inspect.Parameter(key, keyword, annotation=kind, default=usual) for key, (kind, usual) in _COMMON.items()]
    parameters = [first, *(each.replace(kind=keyword) for each in own), *common]
    started.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    started.__annotations__ = {}
    started.__doc__ = help
    app.command(name, help=help, **settings)(started)


def _carried_out(work: Callable[..., Any], world: World, common: dict[str, Any], given: dict[str, Any]) -> int:
    """Run a command and return its exit code; nothing leaves as a traceback."""
    session = Session(world, **common)
    try:
        told = work(session, **given)
        answer = told if isinstance(told, Answer) else Answer(told)
        if told is not None or session.printer.output is Output.table:
            session.printer.answer(answer)
        return answer.code
    except Stop as end:
        if end.document is not None:
            session.printer.answer(Answer(end.document))
        session.printer.tell(f"breakwater: {end.message}", "red")
        return end.code
    except KeyboardInterrupt:
        session.printer.tell("breakwater: interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as problem:
        if world.environ.get("BREAKWATER_TRACE"):
            traceback.print_exc(file=world.stderr)
        said = f"breakwater: unexpected {type(problem).__name__}; BREAKWATER_TRACE=1 shows where."
        session.printer.tell(said, "red")
        return FAILED
    finally:
        session.close()


# --- commands that need no code


@dataclass(frozen=True, slots=True)
class Given:
    """One member of a request's body or query, as an option."""

    name: str
    help: str
    required: bool = False
    kind: Any = str
    default: Any = None
    flag: str = ""

    def parameter(self) -> inspect.Parameter:
        """Return it as a parameter of a command."""
        option = typer.Option(self.flag or f"--{self.name.replace('_', '-')}", help=self.help)
        kind = self.kind if self.required or self.kind is bool else self.kind | None
        default = inspect.Parameter.empty if self.required else (False if self.kind is bool else self.default)
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option], default=default
        )


#: Every request of a command that needs no code; a test compares them with the OpenAPI document.
VERBS: set[tuple[str, str]] = set()

REASON = Given("reason", "Why; people read it.", required=True)
MAY_REASON = Given("reason", "Why; people read it.")
ORGANISATION = Given("organisation", "Which of your organisations (slug).")


def verb(
    app: typer.Typer,
    name: str,
    method: str,
    path: str,
    help: str,
    *,
    body: Sequence[Given] = (),
    query: Sequence[Given] = (),
    kinds: Mapping[str, str] | None = None,
    columns: Sequence[Column] = (),
    say: str = "",
    constant: Mapping[str, Any] | None = None,
    confirm: str = "",
) -> None:
    """Make a command of one request: its path's names are arguments, `body` and `query` options.

    `kinds` says which arguments may be a name instead of an id (see `cli.names`). Lists are paged. `confirm` is asked
    before anything happens, unless `--yes` was given.
    """
    from cli.names import resolve  # it asks through the session, which is made here

    VERBS.add((method, path))
    names = [part[1:-1] for part in path.replace(".svg", "").split("/") if part.startswith("{")]
    own = [
        inspect.Parameter(
            each, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, typer.Argument(metavar=each.upper())]
        )
        for each in names
    ]
    own += [each.parameter() for each in (*body, *query)]
    paged = method == "GET" and bool(columns)
    if paged:
        for option, kind, usual in (("page", Page, 1), ("page_size", PageSize, 25), ("every", All, False)):
            own.append(inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=usual))
    if confirm:
        yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
        own.append(inspect.Parameter("yes", inspect.Parameter.KEYWORD_ONLY, annotation=yes, default=False))

    def work(session: Session, **given: Any) -> Any:
        if confirm:
            sure(session, confirm.format(**given), given["yes"])
        ids = {each: resolve(session, (kinds or {}).get(each, ""), given[each]) for each in names}
        sent = {**(constant or {}), **body_of(**{each.name: given[each.name] for each in body})}
        asked = {each.name: given[each.name] for each in query}
        if any(each.name == "organisation" for each in query):
            asked["organisation"] = session.mine(asked["organisation"] or "")
        if paged:
            asked |= {"page": given["page"], "page_size": given["page_size"]}
            return Answer(session.pages(path, given["every"], ids, **asked), columns)
        options: dict[str, Any] = {"params": asked}
        if body or constant:
            options["json"] = sent
        document = session.centre.ask(method, path, ids, **options)
        return Answer(document, columns, say=say.format(**{**given, **_words(document)}) if say else "")

    register(app, name, work, own, help)


def sure(session: Session, question: str, yes: bool) -> None:
    """Go on only when the person says so; a script says `--yes`."""
    if yes:
        return
    if not session.world.stdin.isatty():
        raise Stop(f"{question} Say --yes to go on without being asked.", BAD_USE)
    session.printer.err.print(f"{question} [y/N] ", end="")
    if session.world.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Stop("Nothing was done.", FAILED)


def file_text(session: Session, name: str, field: str, limit: int = 4 << 20) -> str:
    """Return the text of a file, `-` for stdin; `BAD_USE` when there is none."""
    if name == "-":
        return session.world.stdin.read(limit)
    try:
        path = Path(name)
        if path.stat().st_size > limit:
            raise Stop(f"{field}: {name} is larger than {limit} bytes.", BAD_USE)
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise Stop(f"{field}: {name} is no text.", BAD_USE) from None
    except OSError as problem:
        raise Stop(f"{field}: {name} cannot be read ({problem.strerror}).", BAD_USE) from None


def structure(text: str, field: str) -> Any:
    """Return JSON or YAML as a document."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    import yaml  # only when it is no JSON

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as problem:
        where = getattr(problem, "problem_mark", None)
        place = f" in line {where.line + 1}" if where else ""
        raise Stop(f"{field}: this is neither JSON nor YAML{place}.", BAD_USE) from None


def missing(what: str, name: str) -> Stop:
    """Return the end of a command whose object is not there."""
    return Stop(f"There is no {what} {name!r}, or you may not see it.", NO_SUCH)


def _words(document: Any) -> dict[str, Any]:
    return {key: value for key, value in document.items() if isinstance(key, str)} if isinstance(document, dict) else {}
