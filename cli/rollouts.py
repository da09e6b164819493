"""`breakwater rollouts`: bring a release to many nodes in waves, and see how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import waiting
from cli.deployments import PackageName, Sets, Values, values_of
from cli.errors import BAD_USE, FAILED, Stop
from cli.names import resolve
from cli.nodes import labels_of
from cli.show import Answer, Column, ago
from cli.wiring import Given, Organisation, Session, Timeout, body_of, command, sure, verb

app = typer.Typer(
    no_args_is_help=True, help="Bring a release to many nodes in waves: plan, start, watch, halt, go back."
)
Name = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its title or id.")]
ReleaseName = Annotated[str, typer.Option("--name", help="Name of deployments that are made, a DNS label.")]
Waves = Annotated[
    list[str] | None, typer.Option("--wave", metavar="SIZE", help="1, 10% or rest; may be given several times.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Nodes with this label.")]
Nodes = Annotated[list[str] | None, typer.Option("--node", "-n", help="Only these nodes; may be given several times.")]
Words = Annotated[str, typer.Option("--search", "-q", help="Part of the node's name.")]
Area = Annotated[str, typer.Option(metavar="W,S,E,N", help="Nodes in this area, in degrees.")]
There = Annotated[bool, typer.Option("--deployments", help="Upgrade what is deployed; make no new deployments.")]
Release = Annotated[
    str, typer.Option(help="With --deployments: only where this package (id or NAME@VERSION) runs now.")
]
Watch = Annotated[bool, typer.Option("--watch", "-w", "--wait", help="Follow it to the end, as `watch` does.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
COLUMNS = (
    Column("title", "title"),
    Column("state", "state"),
    Column("package", lambda row: f"{row['package']['name']} {row['package']['version']}"),
    Column("wave", lambda row: f"{row['wave']} of {row['wave_count']}"),
    Column("why", "why"),
    Column("made", lambda row: ago(row["created_at"])),
    Column("id", "id"),
)
PLACES = (
    Column("node", "node.name"),
    Column("name", "name"),
    Column("wave", "wave"),
    Column("action", "action"),
    Column("state", "state"),
    Column("reason", lambda row: " ".join(filter(None, (row["reason"], row["message"])))[:80]),
)
#: Where nothing goes on unless a person says so.
_STILL = ("done", "failed", "aborted", "rolled-back", "paused")
_KINDS = {"rollout": "rollout"}

verb(app, "list", "GET", "/rollouts", "List rollouts, newest first.", columns=COLUMNS,
     query=[Given("state", "planned, running, paused, stopping, done, failed, aborted or rolled-back."),
            Given("organisation", "Which of your organisations (slug).")])  # fmt: skip
verb(app, "nodes", "GET", "/rollouts/{rollout}/places", "List each node with what is done there and what became of it.",
     kinds=_KINDS, columns=PLACES,
     query=[Given("state", "waiting, going, ready, failed, skipped, returning, returned or stuck."),
            Given("action", "install, upgrade, keep or unfit."), Given("wave", "Of this wave.", kind=int),
            Given("q", "Part of the node's name.", flag="--search")])  # fmt: skip
verb(app, "events", "GET", "/rollouts/{rollout}/events", "List what happened to it as a whole, newest first.",
     kinds=_KINDS, columns=(Column("at", "at"), Column("actor", "actor"), Column("what", "what"), Column("text", "text")),
     )  # fmt: skip


@command(app, "plan")
def plan(
    session: Session,
    package: PackageName,
    name: ReleaseName = "",
    wave: Waves = None,
    label: Labels = None,
    node: Nodes = None,
    q: Words = "",
    area: Area = "",
    deployments: There = False,
    release: Release = "",
    values: Values = "",
    sets: Sets = None,
    organisation: Organisation = "",
) -> Answer:
    """Say for each chosen node what would be done in which wave; nothing is written. Exit code 1 when it fits nowhere.

    Everything that is given must hold; nothing given means all nodes of the organisation.
    """
    target = _target(session, label, node, q, area, deployments, release)
    wanted = _what(session, package, name, wave, target, values, sets, organisation)
    found = session.post("/rollouts/plan", json=wanted)
    doing = found["counts"].get("install", 0) + found["counts"].get("upgrade", 0)
    lines = [", ".join(f"{number} {action}" for action, number in found["counts"].items())]
    lines.append(f"waves of {', '.join(map(str, found['waves']))}" if found["waves"] else "no waves")
    for each in found["results"]:
        said = "; ".join(filter(None, [each["message"] or each["reason"], *each["remarks"]]))
        lines.append(f"{each['node']['name']:<24} wave {each['wave']:<3} {each['action']:<8} {said}".rstrip())
    if found["shown"] < found["total"]:
        lines.append(f"... and {found['total'] - found['shown']} more")
    return Answer(found, say="\n".join(lines), code=0 if doing else FAILED)


@command(app, "create")
def create(
    session: Session,
    package: PackageName,
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
    name: ReleaseName = "",
    wave: Waves = None,
    label: Labels = None,
    node: Nodes = None,
    q: Words = "",
    area: Area = "",
    deployments: There = False,
    release: Release = "",
    values: Values = "",
    sets: Sets = None,
    max_parallel: Annotated[int | None, typer.Option(help="How many nodes at once; 10 when left out.")] = None,
    pause: Annotated[int | None, typer.Option(min=0, help="Seconds between waves; 0 when left out.")] = None,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Each wave waits for `rollouts resume`.")] = False,
    stop_over: Annotated[
        int | None, typer.Option(min=0, help="Stop when more fail in a wave; 0 when left out.")
    ] = None,
    stop_percent: Annotated[
        int | None,
        typer.Option(min=0, max=100, help="Stop when a larger share of a wave fails; instead of --stop-over."),
    ] = None,
    node_timeout: Annotated[
        int | None, typer.Option(help="Seconds until a node that is not ready failed; 600 when left out.")
    ] = None,
    on_stop: Annotated[str, typer.Option(help="hold or rollback.")] = "hold",
    organisation: Organisation = "",
    start: Annotated[bool, typer.Option("--start", help="Begin at once.")] = False,
    wait: Watch = False,
    timeout: Timeout = 3600,
) -> Answer:
    """Write a plan down, and begin with --start. Nodes are chosen as in `rollouts plan`."""
    if by_hand and pause is not None:
        raise Stop("--by-hand and --pause: say one of them.", BAD_USE)
    if wait and not start:
        raise Stop("--watch: nothing goes on before it is started; say --start as well.", BAD_USE)
    target = _target(session, label, node, q, area, deployments, release)
    wanted = _what(session, package, name, wave, target, values, sets, organisation)
    wanted |= body_of(title=title, max_parallel=max_parallel, pause=pause, stop_over=stop_over,
                      stop_percent=stop_percent, node_timeout=node_timeout, on_stop=on_stop)  # fmt: skip
    if by_hand:
        wanted["pause"] = None
    if stop_percent is not None and stop_over is None:
        # Left out it would be 0, and the share would never matter.
        wanted["stop_over"] = None
    made = session.post("/rollouts", json={**wanted, "start": start})
    return _told(session, made, wait, timeout, "done")


@command(app, "show")
def show(session: Session, rollout: Name) -> Answer:
    """Show a rollout with how far each wave is."""
    found = session.get("/rollouts/{id}", {"id": resolve(session, "rollout", rollout)})
    return Answer(found, say=_whole(found))


@command(app, "watch")
def watch(session: Session, rollout: Name, timeout: Timeout = 3600) -> Answer:
    """Follow a rollout to its end.

    Ends with 0 when it is done, 1 when it failed, was aborted or rolled back, or is paused and waits for a person, 3
    when it takes too long, 4 when there is none or you may not see it, and 130 on Ctrl-C; it goes on in any case.
    """
    return _followed(session, resolve(session, "rollout", rollout), "done", timeout)


@command(app, "plan-again")
def plan_again(session: Session, rollout: Name) -> Answer:
    """Judge the nodes anew, before it has begun."""
    made = session.post("/rollouts/{id}/plan", {"id": resolve(session, "rollout", rollout)})
    return Answer(made, say=_whole(made))


@command(app, "start")
def start_it(session: Session, rollout: Name, wait: Watch = False, timeout: Timeout = 3600) -> Answer:
    """Begin with the first wave."""
    made = session.post("/rollouts/{id}/start", {"id": resolve(session, "rollout", rollout)})
    return _told(session, made, wait, timeout, "done")


@command(app, "pause")
def pause_it(session: Session, rollout: Name) -> Answer:
    """Begin nothing new; what is under way goes on."""
    made = session.post("/rollouts/{id}/pause", {"id": resolve(session, "rollout", rollout)})
    return Answer(made, say=_line(made))


@command(app, "resume")
def resume(session: Session, rollout: Name, wait: Watch = False, timeout: Timeout = 3600) -> Answer:
    """Go on after a pause, with the next wave, or in spite of the failures that stopped it."""
    made = session.post("/rollouts/{id}/resume", {"id": resolve(session, "rollout", rollout)})
    return _told(session, made, wait, timeout, "done")


@command(app, "retry")
def retry(session: Session, rollout: Name, wait: Watch = False, timeout: Timeout = 3600) -> Answer:
    """Try again where it failed."""
    made = session.post("/rollouts/{id}/retry", {"id": resolve(session, "rollout", rollout)})
    return _told(session, made, wait, timeout, "done")


@command(app, "abort")
def abort(
    session: Session,
    rollout: Name,
    rollback: Annotated[bool, typer.Option("--rollback", help="Bring back what it has changed.")] = False,
    yes: Yes = False,
    wait: Watch = False,
    timeout: Timeout = 3600,
) -> Answer:
    """End it; what it has changed stays, or goes back with --rollback."""
    sure(session, f"Abort the rollout {rollout}?", yes)
    ids = {"id": resolve(session, "rollout", rollout)}
    made = session.post("/rollouts/{id}/abort", ids, json={"rollback": rollback})
    return _told(session, made, wait, timeout, "rolled-back" if rollback else "aborted")


@command(app, "rollback")
def roll_back(
    session: Session, rollout: Name, yes: Yes = False, wait: Watch = False, timeout: Timeout = 3600
) -> Answer:
    """Bring back what it has changed, also after its end; what was new is removed with what it stored."""
    sure(session, f"Roll back {rollout}? What was new is removed with what it stored.", yes)
    made = session.post("/rollouts/{id}/rollback", {"id": resolve(session, "rollout", rollout)})
    return _told(session, made, wait, timeout, "rolled-back")


@command(app, "table")
def table(
    session: Session,
    rollout: Name,
    to: Annotated[str, typer.Option("--to", help="Where to; by default to stdout.")] = "",
) -> Answer:
    """Write every node of it as CSV, for a spreadsheet; `nodes --all --output json` has the same for programs."""
    pieces = session.centre.chunks("/rollouts/{id}/places.csv", {"id": resolve(session, "rollout", rollout)})
    if not to:
        # RFC 4180 ends lines as a terminal does not.
        text = b"".join(pieces).decode("utf-8", "replace").replace("\r\n", "\n")
        return Answer({"content": text}, say=text.rstrip())
    target = Path(to)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(target)
    except OSError as problem:
        raise Stop(f"{target} cannot be written ({problem.strerror}).") from None
    finally:
        part.unlink(missing_ok=True)
    return Answer({"file": str(target)}, say=str(target))


def _what(
    session: Session,
    package: str,
    name: str,
    wave: list[str] | None,
    target: dict[str, Any],
    values: str,
    sets: list[str] | None,
    organisation: str,
) -> dict[str, Any]:
    wanted: dict[str, Any] = {"package": resolve(session, "package", package), "target": target, "waves": wave or []}
    if values or sets:
        # Left out, deployments keep their own.
        wanted["values"] = values_of(session, values, sets)
    return wanted | body_of(name=name, organisation=session.mine(organisation))


def _target(
    session: Session,
    label: list[str] | None,
    node: list[str] | None,
    q: str,
    area: str,
    deployments: bool,
    release: str,
) -> dict[str, Any]:
    """Return which nodes or deployments are meant, as the API writes it."""
    if release and not deployments:
        raise Stop("--release chooses deployments; say --deployments as well.", BAD_USE)
    target: dict[str, Any] = {"kind": "deployments" if deployments else "nodes", **body_of(q=q)}
    if label:
        target["labels"] = labels_of(label)
    if node:
        target["nodes" if deployments else "ids"] = [resolve(session, "node", each) for each in node]
    if area:
        try:
            target["area"] = [float(each) for each in area.split(",")]
        except ValueError:
            raise Stop(f"--area: {area!r} is not WEST,SOUTH,EAST,NORTH in degrees.", BAD_USE) from None
    if release:
        target["release"] = resolve(session, "package", release)
    return target


def _followed(session: Session, pk: str, wish: str, timeout: float) -> Answer:
    seen = waiting.follow(
        session,
        lambda: session.get("/rollouts/{id}", {"id": pk}),
        lambda seen: seen["state"] in _STILL,
        timeout=timeout,
        tell=_line,
        what="The rollout",
        stream="/rollouts/{id}/stream",
        ids={"id": pk},
    )
    if seen["state"] != wish:
        hint = ". `breakwater rollouts resume` goes on." if seen["state"] == "paused" else ""
        raise Stop(f"{_line(seen).rstrip('.') if hint else _line(seen)}{hint}", FAILED, seen)
    return Answer(seen, say=_whole(seen))


def _told(session: Session, made: dict[str, Any], wait: bool, timeout: float, wish: str) -> Answer:
    if wait:
        return _followed(session, made["id"], wish, timeout)
    return Answer(made, say=f"{_line(made)}\n{made['id']}")


def _line(seen: dict[str, Any]) -> str:
    """Return how it stands; the numbers are of the waves, where something is to be done."""
    waves = [counts for wave, counts in seen["counts"].items() if wave != "0"]
    ready, failed, size = (sum(counts[each] for counts in waves) for each in ("ready", "failed", "size"))
    broken = f", {failed} failed" if failed else ""
    line = f"{seen['title']}: {seen['state']}, wave {seen['wave']} of {seen['wave_count']}, {ready} of {size} ready{broken}"
    return f"{line}. {seen['why']}" if seen["why"] else line


def _whole(seen: dict[str, Any]) -> str:
    package = seen["package"]
    lines = [_line(seen), f"  id       {seen['id']}", f"  package  {package['name']} {package['version']}"]
    for wave, counts in seen["counts"].items():
        said = ", ".join(f"{number} {state}" for state, number in counts.items() if number and state != "size")
        place, number = "beside " if wave == "0" else f"wave {wave:<2}", counts["size"]
        lines.append(f"  {place}  {number} node{'' if number == 1 else 's'}: {said}".rstrip(": "))
    return "\n".join(lines)
