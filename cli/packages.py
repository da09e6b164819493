"""`breakwater packages` and `breakwater releases`: from a file on disk to a release, and what becomes of it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli import uploading, waiting
from cli.errors import BAD_USE, FAILED, Refused, Stop
from cli.names import resolve
from cli.show import Answer, Column, ago, size
from cli.wiring import (
    MAY_REASON,
    REASON,
    All,
    Given,
    Organisation,
    Page,
    PageSize,
    Session,
    Timeout,
    body_of,
    command,
    file_text,
    sure,
    verb,
)

app = typer.Typer(no_args_is_help=True, help="Upload, check and publish application packages.")
releases = typer.Typer(
    no_args_is_help=True, help="What becomes of what was published: deprecate, yank, recall, review."
)
recalls = typer.Typer(no_args_is_help=True, help="Recalls of releases, and how far they have come.")
reviews = typer.Typer(no_args_is_help=True, help="Packages that a second person looks at before they are published.")
releases.add_typer(recalls, name="recalls")
releases.add_typer(reviews, name="reviews")

PackageName = Annotated[str, typer.Argument(metavar="PACKAGE", help="Its id, or NAME@VERSION.")]
COLUMNS = (
    Column("id", "id"),
    Column("name", "name"),
    Column("version", "version"),
    Column("provider", "provider"),
    Column("state", "state"),
    Column("size", lambda row: size(row["size"])),
    Column("uploaded", lambda row: ago(row["created_at"])),
)
UPLOADS = (
    Column("id", "id"),
    Column("file", "filename"),
    Column("arrived", lambda row: size(row["offset"])),
    Column("of", lambda row: size(row["length"])),
    Column("begun", lambda row: ago(row["created_at"])),
    Column("kept until", "expires_at"),
)
_CHUNK = 1 << 20
_KINDS = {"package": "package", "id": "package"}


@command(app, "list")
def list_packages(
    session: Session,
    q: Annotated[str, typer.Option("--search", "-q", help="Words in name, provider, description.")] = "",
    state: Annotated[str, typer.Option(help="draft, checked, rejected, in-review, published, ...")] = "",
    format: Annotated[str, typer.Option(help="Short name of a package format.")] = "",
    organisation: Organisation = "",
    page: Page = 1,
    page_size: PageSize = 25,
    every: All = False,
) -> Answer:
    """List packages, newest first: all of your organisations, and what others have published."""
    params: dict[str, Any] = {"q": q, "state": state, "format": format, "organisation": organisation}
    return Answer(session.pages("/packages", every, page=page, page_size=page_size, **params), COLUMNS)


@command(app, "show")
def show(session: Session, package: PackageName) -> Answer:
    """Show a package with the findings of its check."""
    found = session.get("/packages/{id}", {"id": resolve(session, "package", package)})
    return Answer(found, say="" if session.printer.output != "table" else _told(found))


@command(app, "upload")
def upload(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The package.")],
    organisation: Organisation = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for its check; exit code 1 when it is rejected.")
    ] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Wait, and publish it when it passes.")] = False,
    known_ok: Annotated[
        bool, typer.Option("--known-ok", help="The same bytes being there already is no error.")
    ] = False,
    part_size: Annotated[
        int, typer.Option(min=1, help="Bytes of one part. What is larger goes up in parts, and goes on after a break.")
    ] = 8 << 20,
    timeout: Timeout = 600,
) -> Answer:
    """Upload a package; its SHA-256 is computed here and compared there.

    A large one goes up in parts: run the same command again after it was broken off, and only the rest is sent.
    """
    if not file.is_file():
        raise Stop(f"file: there is no file {str(file)!r}.", BAD_USE)
    if file.stat().st_size == 0:
        raise Stop(f"file: {str(file)!r} is empty.", BAD_USE)
    try:
        made = _sent(session, file, organisation, part_size)
    except Refused as problem:
        known = problem.problem.get("package")
        if problem.status != 409 or not known or not known_ok:
            if known:
                raise Stop(f"{problem.message} It is package {known}.", problem.code) from None
            raise
        made = session.get("/packages/{id}", {"id": known})
    if wait or publish:
        made = _checked(session, made["id"], timeout)
    if publish and made["state"] == "checked":
        made = session.post("/packages/{id}/publish", {"id": made["id"]}, json={})
    # Who did not ask for the verdict is told of the upload alone, however quick the check was.
    rejected = made["state"] == "rejected" and (wait or publish)
    return Answer(made, say=_told(made), code=FAILED if rejected else 0)


def _sent(session: Session, file: Path, organisation: str, part: int) -> Any:
    """Send the file with its digest. Nothing of it is in memory but the piece on its way."""
    length = file.stat().st_size
    with _bar(session) as bar, file.open("rb") as content:
        digest = hashlib.sha256()
        row = bar.add_task("reading", total=length)
        while piece := content.read(_CHUNK):
            digest.update(piece)
            bar.advance(row, len(piece))
        bar.reset(row, description="sending", total=length)

        def tell(arrived: int) -> None:
            bar.update(row, completed=arrived)

        mine = session.mine(organisation)
        if length > part:
            pk = uploading.send(session, file, digest.hexdigest(), organisation=mine, part=part, tell=tell)
            return session.get("/packages/{id}", {"id": pk})
        content.seek(0)
        return session.post(
            "/packages",
            params={"filename": file.name, "organisation": mine},
            content=content.read(length),
            headers={"Content-Type": "application/octet-stream", "X-Content-SHA256": digest.hexdigest()},
        )


def _bar(session: Session) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=session.printer.err,
        transient=True,
        disable=not session.printer.err.is_terminal,
    )


def _checked(session: Session, pk: str, timeout: float) -> Any:
    """Wait until a package is no draft, or its check is over without a result."""

    def look() -> Any:
        seen = session.get("/packages/{id}", {"id": pk})
        if seen["operation"]:
            work = session.get("/operations/{id}", {"id": seen["operation"]})
            seen["_work"] = work["state"]
            if work["state"] in ("failed", "cancelled"):
                why = (work["problem"] or {}).get("detail", "")
                raise Stop(f"The check {'was cancelled' if work['state'] == 'cancelled' else 'failed'}. {why}".strip())
        return seen

    seen = waiting.follow(
        session,
        look,
        lambda seen: seen["state"] != "draft" and seen.get("_work") not in ("pending", "running"),
        timeout=timeout,
        tell=lambda seen: f"{seen['filename']}: {'being checked' if seen['state'] == 'draft' else seen['state']}",
        what="The check",
    )
    return {name: value for name, value in seen.items() if name != "_work"}


def _told(package: dict[str, Any]) -> str:
    """Return a package in lines for people."""
    title = " ".join(str(package[name]) for name in ("name", "version") if package[name]) or package["filename"]
    lines = [
        f"{title}: {package['state']}",
        f"  id         {package['id']}",
        f"  provider   {package['provider'] or '-'}",
        f"  file       {package['filename']} ({size(package['size'])})",
        f"  sha256     {package['sha256']}",
        f"  visible to {package['visibility']}",
    ]
    if package["state_reason"]:
        lines.append(f"  reason     {package['state_reason']}")
    for finding in package.get("findings", []):
        place = f" at {finding['place']}" if finding.get("place") else ""
        lines.append(f"  {finding['level']}: {finding['message']}{place}")
        if finding.get("remedy"):
            lines.append(f"    {finding['remedy']}")
    return "\n".join(lines)


@command(app, "check")
def check(
    session: Session,
    package: PackageName,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait; exit code 1 when it is rejected.")] = False,
    timeout: Timeout = 600,
) -> Answer:
    """Check a package again; the answer is the operation, or with --wait the package."""
    pk = resolve(session, "package", package)
    work = session.post("/packages/{id}/check", {"id": pk})
    if not wait:
        return Answer(work)
    seen = _checked(session, pk, timeout)
    return Answer(seen, say=_told(seen), code=FAILED if seen["state"] == "rejected" else 0)


@command(app, "wait")
def wait_for(session: Session, package: PackageName, timeout: Timeout = 600) -> Answer:
    """Wait until a package is checked; exit code 1 when it is rejected."""
    seen = _checked(session, resolve(session, "package", package), timeout)
    return Answer(seen, say=_told(seen), code=FAILED if seen["state"] == "rejected" else 0)


@command(app, "publish")
def publish_package(
    session: Session,
    package: PackageName,
    visibility: Annotated[str, typer.Option(help="Who sees it: public, organisation or partners.")] = "",
) -> Answer:
    """Publish a package that has passed its check. Where somebody must look first, its state is `in-review` then."""
    ids = {"id": resolve(session, "package", package)}
    made = session.post("/packages/{id}/publish", ids, json=body_of(visibility=visibility))
    return Answer(made, say=_told(made))


@command(app, "download")
def download(
    session: Session,
    package: PackageName,
    to: Annotated[str, typer.Option("--to", help="Where to; by default its own file name.")] = "",
) -> Answer:
    """Download a package and compare its SHA-256."""
    found = session.get("/packages/{id}", {"id": resolve(session, "package", package)})
    # The name was chosen by whoever uploaded it: it names a file here, never a folder.
    own = re.sub(r"[^\w.+-]", "_", Path(found["filename"]).name).lstrip(".") or "package"
    target = Path(to or own)
    if target.exists() and not to:
        raise Stop(f"{target} exists already; choose another name with --to.", BAD_USE)
    part, digest = target.with_name(target.name + ".part"), hashlib.sha256()
    try:
        with _bar(session) as bar, part.open("wb") as file:
            row = bar.add_task("receiving", total=found["size"])
            for piece in session.centre.chunks("/packages/{id}/content", {"id": found["id"]}):
                digest.update(piece)
                file.write(piece)
                bar.advance(row, len(piece))
        if digest.hexdigest() != found["sha256"]:
            raise Stop(f"What arrived is not package {found['id']}: its SHA-256 is another.")
        part.replace(target)
    except OSError as problem:
        raise Stop(f"{target} cannot be written ({problem.strerror}).") from None
    finally:
        part.unlink(missing_ok=True)
    return Answer({"file": str(target), "sha256": found["sha256"], "size": found["size"]}, say=f"Saved as {target}.")


@command(app, "uploads")
def uploads(session: Session, page: Page = 1, page_size: PageSize = 25, every: All = False) -> Answer:
    """List uploads that were begun and are not finished."""
    return Answer(session.pages("/uploads", every, page=page, page_size=page_size), UPLOADS)


@command(app, "cancel-upload")
def cancel_upload(session: Session, upload: Annotated[str, typer.Argument(help="Its id.")]) -> Answer:
    """Cancel an unfinished upload; nothing of it is kept."""
    return Answer(session.delete("/uploads/{id}", {"id": upload}, headers=uploading.TUS), say="Cancelled.")


@command(app, "notes")
def notes(
    session: Session,
    package: PackageName,
    file: Annotated[str, typer.Option("--file", "-f", help="File with the text; - is stdin.")],
) -> Answer:
    """Set the release notes of a package."""
    ids = {"id": resolve(session, "package", package)}
    text = file_text(session, file, "notes")
    return Answer(session.post("/packages/{id}/notes", ids, json={"notes": text}), say="The notes are set.")


@command(app, "sign")
def sign(
    session: Session,
    package: PackageName,
    certificate: Annotated[str, typer.Option(help="Id of the signer certificate of your organisation.")],
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is signed.")] = False,
    timeout: Timeout = 600,
) -> Answer:
    """Have the store's own authority sign a package of yours."""
    pk = resolve(session, "package", package)
    work = session.post("/packages/{id}/sign", {"id": pk}, json={"certificate": certificate})
    if wait and work and "state" in work:
        work = waiting.operation(session, work["id"], timeout)
    return Answer(work, code=FAILED if work and work.get("state") == "failed" else 0)


@command(app, "sbom")
def sbom(session: Session, package: PackageName) -> Answer:
    """Show the bill of materials (CycloneDX)."""
    return Answer(session.get("/packages/{id}/sbom", {"id": resolve(session, "package", package)}))


@command(app, "readme")
def readme(session: Session, package: PackageName) -> Answer:
    """Show the README, in the safe HTML that the store shows."""
    found = session.get("/packages/{id}/readme", {"id": resolve(session, "package", package)})
    return Answer(found)


verb(app, "discard", "DELETE", "/packages/{package}", "Discard a package that never was published.", kinds=_KINDS,
     say="Discarded.", confirm="Discard package {package}? Its file goes with it.")  # fmt: skip
verb(app, "contents", "GET", "/packages/{package}/contents", "Show what is inside: permissions, images, software, licences.",
     kinds=_KINDS)  # fmt: skip
verb(
    app,
    "difference",
    "GET",
    "/packages/{package}/difference",
    "Show what differs from the release before.",
    kinds=_KINDS,
)
verb(app, "history", "GET", "/packages/{package}/history", "List what was done to a package.", kinds=_KINDS,
     columns=(Column("at", "at"), Column("deed", "deed"), Column("from", "before"), Column("to", "after"),
              Column("by", "actor"), Column("reason", "reason")))  # fmt: skip
verb(app, "trust", "GET", "/packages/{package}/trust", "Show who signed a package, and whether that counts.", kinds=_KINDS,
     query=[Given("organisation", "By whose trust list.")])  # fmt: skip
verb(app, "values-schema", "GET", "/packages/{package}/values-schema", "Show the JSON schema of its chart's values.",
     kinds=_KINDS)  # fmt: skip

_ADVICE = (REASON, Given("successor", "Id of the package to go to instead."))
_STATE = "{name} {version} is {state} now."


def _life(name: str, help: str, *body: Given, confirm: str = "") -> None:
    verb(
        releases,
        name,
        "POST",
        f"/packages/{{package}}/{name}",
        help,
        body=body,
        kinds=_KINDS,
        say=_STATE,
        confirm=confirm,
    )


for _name, _help, _body, _question in (
    ("deprecate", "Advise against a release; it can still be deployed.", _ADVICE, ""),
    ("undeprecate", "Take the advice back.", (MAY_REASON,), ""),
    ("yank", "Take a release out of the catalogue; who runs it may go on.", _ADVICE, "Yank {package}?"),
    ("unyank", "Bring a yanked release back.", (MAY_REASON,), ""),
    (
        "quarantine",
        "Keep everybody from deploying a release while it is looked into.",
        (REASON,),
        "Quarantine {package}?",
    ),
    ("unquarantine", "End the quarantine.", (REASON,), ""),
):
    _life(_name, _help, *_body, confirm=_question)

verb(releases, "visibility", "POST", "/packages/{package}/visibility", "Change who sees a release.", kinds=_KINDS,
     body=[Given("visibility", "public, organisation or partners.", required=True), MAY_REASON], say=_STATE)  # fmt: skip


@command(releases, "recall")
def recall(
    session: Session,
    packages: Annotated[list[str], typer.Argument(metavar="PACKAGE...", help="Ids, or NAME@VERSION.")],
    reason: Annotated[str, typer.Option(help="Why; everybody who runs it reads this.")],
    severity: Annotated[str, typer.Option(help="low, medium, high or critical.")] = "",
    advice: Annotated[str, typer.Option(help="What to do.")] = "",
    action: Annotated[str, typer.Option(help="warn or stop.")] = "",
    successor: Annotated[str, typer.Option(help="Package to go to instead.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Answer:
    """Recall releases: nobody deploys them any more, and whoever runs them is told."""
    sure(session, f"Recall {', '.join(packages)}?", yes)
    wanted = [resolve(session, "package", each) for each in packages]
    instead = resolve(session, "package", successor) if successor else ""
    facts = body_of(reason=reason, severity=severity, advice=advice, action=action, successor=instead)
    made = session.post("/recalls", json={"packages": wanted, **facts})
    return Answer(made, say=f"Recall {made['id']} is issued.")


verb(recalls, "list", "GET", "/recalls/known", "List the recalls that concern you.",
     columns=(Column("id", "id"), Column("severity", "severity"), Column("action", "action"), Column("reason", "reason"),
              Column("issued", lambda row: ago(row["issued_at"])),
              Column("lifted", lambda row: ago(row["lifted_at"]))))  # fmt: skip
verb(recalls, "show", "GET", "/recalls/{recall}", "Show a recall.")
verb(recalls, "progress", "GET", "/recalls/{recall}/progress", "Show where it has arrived, and what stopped.")
verb(recalls, "lift", "POST", "/recalls/{recall}/lift", "End a recall.", body=[REASON], say="The recall is lifted.")

verb(reviews, "list", "GET", "/reviews", "List the packages that wait for a look.",
     query=[Given("state", "open or all that were decided.")],
     columns=(Column("id", "id"), Column("package", "package.name"), Column("version", "package.version"),
              Column("state", "state")))  # fmt: skip
verb(reviews, "show", "GET", "/reviews/{review}", "Show why a package waits.")
verb(reviews, "approve", "POST", "/reviews/{review}/approve", "Publish it.", body=[MAY_REASON], say="Approved.")
verb(reviews, "decline", "POST", "/reviews/{review}/decline", "Send it back.", body=[REASON], say="Declined.")
verb(reviews, "retract", "POST", "/reviews/{review}/retract", "Take one's own package out of review.", body=[MAY_REASON],
     say="Retracted.")  # fmt: skip
verb(releases, "policy", "GET", "/release-policy", "Show when a second person must look.")
verb(releases, "set-policy", "PUT", "/release-policy", "Say when a second person must look.",
     body=[Given("review", "never, new or always."), Given("freeze_days", "Days.", required=True, kind=int)])  # fmt: skip
