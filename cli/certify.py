"""`breakwater certify`: have a package examined, decide what people decide, and hand the certificate on."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import waiting
from cli.errors import BAD_USE, FAILED, Stop
from cli.names import resolve
from cli.show import Answer, Column, ago
from cli.wiring import (
    ORGANISATION,
    REASON,
    Given,
    Organisation,
    Session,
    Timeout,
    body_of,
    command,
    file_text,
    structure,
    verb,
)

app = typer.Typer(no_args_is_help=True, help="Certification: run, report, decide, certificate.")
labs = typer.Typer(no_args_is_help=True, help="Labs whose certificates count here.")
app.add_typer(labs, name="labs")
_PACKAGE = Annotated[str, typer.Argument(metavar="PACKAGE", help="Its id, or NAME@VERSION.")]
_RUN = Annotated[str, typer.Argument(metavar="RUN")]
_OVER = ("waiting", "finished", "failed", "cancelled")
_RUNS = (
    Column("id", "id"),
    Column("package", "package"),
    Column("state", "state"),
    Column("verdict", "verdict"),
    Column("level", "level"),
    Column("began", lambda row: ago(row["created_at"])),
)


@command(app, "run")
def run(
    session: Session,
    package: _PACKAGE,
    suite: Annotated[list[str] | None, typer.Option(help="Suites; those of the profile when left out.")] = None,
    node: Annotated[str, typer.Option(help="Sandbox node for the live checks (name or id).")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Take no result over from an earlier run.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", "--watch", help="Wait; exit code 1 unless it passes.")] = False,
    timeout: Timeout = 1800,
) -> Answer:
    """Start a certification of a package."""
    wanted: dict[str, Any] = {"package": resolve(session, "package", package), "fresh": fresh}
    if suite:
        wanted["suites"] = suite
    if node:
        wanted["node"] = resolve(session, "node", node)
    made = session.post("/certification/runs", json=wanted)
    if wait:
        return _awaited(session, made["id"], timeout)
    return Answer(made, say=f"Run {made['id']} is {made['state']}.")


@command(app, "wait")
def wait_for(session: Session, run: _RUN, timeout: Timeout = 1800) -> Answer:
    """Wait until a run is over or waits for people; exit code 1 unless it passes."""
    return _awaited(session, run, timeout)


@command(app, "report")
def report(
    session: Session,
    run: _RUN,
    junit: Annotated[str, typer.Option("--junit", metavar="FILE", help="Also save it as a JUnit file.")] = "",
) -> Answer:
    """Show the report of a run."""
    found = session.get("/certification/runs/{id}", {"id": run})
    if junit:
        _save(junit, session.centre.send("GET", "/certification/runs/{id}/junit", {"id": run}).content)
    return Answer(found, say=_told(found))


@command(app, "evidence")
def evidence(
    session: Session,
    run: _RUN,
    evidence: Annotated[str, typer.Argument(metavar="EVIDENCE")],
    to: Annotated[str, typer.Option("--to", help="Where to save it.")],
) -> Answer:
    """Download a file that belongs to a result."""
    ids = {"id": run, "evidence": evidence}
    _save(to, session.centre.send("GET", "/certification/runs/{id}/evidence/{evidence}", ids).content)
    return Answer({"file": to}, say=f"Saved as {to}.")


@command(app, "decide")
def decide(
    session: Session,
    run: _RUN,
    check: Annotated[str, typer.Argument(metavar="CHECK", help="Name of the manual check.")],
    passed: Annotated[bool, typer.Option("--passed/--failed", help="The decision.")],
    note: Annotated[str, typer.Option(help="What was seen.")] = "",
    answers: Annotated[str, typer.Option(metavar="FILE", help="Answers to its form, YAML or JSON; - is stdin.")] = "",
) -> Answer:
    """Decide a manual check."""
    given = structure(file_text(session, answers, "answers"), "answers") if answers else {}
    if not isinstance(given, dict):
        raise Stop("answers: the file must hold a mapping.", BAD_USE)
    body = {"passed": passed, "note": note, "answers": given}
    found = session.post("/certification/runs/{id}/checks/{name}/decide", {"id": run, "name": check}, json=body)
    return Answer(found)


@command(app, "certificate")
def certificate(
    session: Session,
    certificate: Annotated[str, typer.Argument(metavar="CERTIFICATE")],
    envelope: Annotated[str, typer.Option("--envelope", metavar="FILE", help="Save the signed envelope alone.")] = "",
) -> Answer:
    """Show a certificate, and whether it counts."""
    found = session.get("/certificates/{id}", {"id": certificate})
    if envelope:
        _save(envelope, session.centre.send("GET", "/certificates/{id}/envelope", {"id": certificate}).content)
    return Answer(found)


@command(app, "verify")
def verify(
    session: Session,
    file: Annotated[str, typer.Argument(help="The signed envelope; - is stdin.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 of the package that it must be about.")] = "",
) -> Answer:
    """Have the centre judge a certificate; exit code 1 when it does not hold."""
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise Stop("--sha256 must be 64 hex digits.", BAD_USE)
    envelope = structure(file_text(session, file, "envelope"), "envelope")
    found = session.post("/certificates/verify", json={"envelope": envelope, **body_of(sha256=sha256)})
    said = f"valid: {found['level']} by {found['lab']}" if found["valid"] else f"does not hold: {found['reason']}"
    return Answer(found, say=said, code=0 if found["valid"] else FAILED)


@command(app, "set-profile")
def set_profile(
    session: Session,
    file: Annotated[
        str, typer.Option("--file", "-f", help="The profile, YAML or JSON as `profile` shows it; - is stdin.")
    ],
    organisation: Organisation = "",
) -> Answer:
    """Change what an organisation demands."""
    profile = structure(file_text(session, file, "profile"), "profile")
    params = {"organisation": session.mine(organisation)}
    return Answer(session.put("/certification/profile", json=profile, params=params))


@command(app, "revocations")
def revocations(
    session: Session,
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="Save the signed list for verification offline.")
    ] = "",
) -> Answer:
    """Show the signed list of the certificates that this store's lab has taken back."""
    content = session.centre.send("GET", "/certificates/revocations").content
    envelope = json.loads(content)
    if to:
        _save(to, content)
    listed = json.loads(base64.b64decode(envelope["payload"]))
    lines = [f"list {listed['serial']} of {listed['lab']}, issued {listed['issued']}, newer by {listed['expires']}"]
    lines += [f"  {each['revoked']}  {each['certificate']}  {each['reason']}" for each in listed["entries"]]
    return Answer(envelope, say="\n".join(lines))


@command(app, "lab-key")
def lab_key(session: Session) -> Answer:
    """Show the public key of this store's lab."""
    pem = session.centre.send("GET", "/certification/lab-key").text
    return Answer({"public_pem": pem}, say=pem)


def _awaited(session: Session, pk: str, timeout: float) -> Answer:
    seen = waiting.follow(
        session,
        lambda: session.get("/certification/runs/{id}", {"id": pk}),
        lambda seen: seen["state"] in _OVER,
        timeout=timeout,
        tell=lambda seen: f"{seen['state']}: {_ended(seen)} of {len(seen['results'])} checks",
        what="The run",
        stream="/certification/runs/{id}/stream",
        ids={"id": pk},
    )
    good = seen["state"] == "finished" and seen["verdict"] == "passed"
    if seen["state"] == "waiting":
        session.printer.tell("It waits for people: see `breakwater certify decide`.")
    return Answer(seen, say=_told(seen), code=0 if good else FAILED)


def _ended(run: dict[str, Any]) -> int:
    return sum(bool(each["outcome"]) for each in run["results"])


def _told(run: dict[str, Any]) -> str:
    lines = [f"{run['state']}  verdict {run['verdict'] or '-'}  level {run['level'] or '-'}  run {run['id']}"]
    for each in run["results"]:
        lines.append(f"  {each['outcome'] or 'open':<12} {each['title'] or each['name']}")
        lines += [f"      {finding.get('level', '')}: {finding.get('message', '')}" for finding in each["findings"]]
    lines += [f"  {json.dumps(each) if isinstance(each, dict) else each}" for each in run["reasons"] or []]
    if run.get("certificate"):
        held = run["certificate"]
        lines.append(f"  certificate {held['id'] if isinstance(held, dict) else held}")
    return "\n".join(lines)


def _save(name: str, content: bytes) -> None:
    try:
        Path(name).write_bytes(content)
    except OSError as problem:
        raise Stop(f"{name} cannot be written ({problem.strerror}).", BAD_USE) from None


verb(app, "list", "GET", "/certification/runs", "List runs, newest first.", columns=_RUNS,
     query=[Given("package", "Of this package (id).")])  # fmt: skip
verb(app, "cancel", "POST", "/certification/runs/{run}/cancel", "Stop a run.", say="The run is {state}.")
verb(app, "revoke", "POST", "/certificates/{certificate}/revoke", "Take a certificate back.", body=[REASON],
     confirm="Revoke the certificate?")  # fmt: skip
verb(app, "suites", "GET", "/certification/suites", "List the suites of checks.",
     columns=(Column("name", "name"), Column("version", "version"), Column("title", "title")))  # fmt: skip
verb(app, "nodes", "GET", "/certification/nodes", "Show the sandbox nodes of the live checks.")
verb(app, "profile", "GET", "/certification/profile", "Show what an organisation demands.", query=[ORGANISATION])
verb(labs, "list", "GET", "/certification/labs", "List trusted labs.",
     columns=(Column("id", "id"), Column("name", "name"), Column("owner", "owner"), Column("key", "key_id"),
              Column("revoked", "revoked_at")))  # fmt: skip
verb(labs, "distrust", "POST", "/certification/labs/{lab}/distrust", "Trust a lab no longer.", body=[REASON])


@command(labs, "trust")
def trust_lab(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is called.")],
    key: Annotated[
        str, typer.Option("--key", metavar="FILE", help="Its public key in PEM; compare it by another way.")
    ],
    owner: Annotated[str, typer.Option(help="Who runs it.")] = "",
    expires_at: Annotated[str, typer.Option(help="Until when (ISO 8601).")] = "",
) -> Answer:
    """Let the certificates of a lab count in this store."""
    facts = body_of(name=name, owner=owner, expires_at=expires_at, public_pem=file_text(session, key, "key"))
    return Answer(session.post("/certification/labs", json=facts))
