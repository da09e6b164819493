"""What only people can judge: the answers to a manual check, their evidence, and the decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from appstore.certification import services
from appstore.certification.contract import Kind, Outcome
from appstore.certification.models import CheckResult, Evidence, Run
from appstore.packages import blobs
from appstore.packages.models import Blob
from appstore.packages.services import clean_name
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, TooLarge
from core.words import say

LARGEST_EVIDENCE, MOST_EVIDENCE, LONGEST_ANSWER = 10 << 20, 8, 4000
_PASSED, _FAILED = str(Outcome.PASSED), str(Outcome.FAILED)
#: First bytes of the files that are taken, and what they are; else it must be plain text.
_KINDS = ((b"%PDF-", "application/pdf"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


@dataclass(frozen=True, slots=True)
class Given:
    """A file that somebody gives as evidence."""

    field: str
    filename: str
    chunks: Iterable[bytes]


def decide(
    row: CheckResult,
    *,
    actor: Actor,
    passed: bool,
    answers: Mapping[str, Any],
    note: str = "",
    evidence: Sequence[Given] = (),
) -> CheckResult:
    """Decide a manual check with answers and evidence; the last one that is decided settles the run.

    `Denied` for whoever uploaded the package: nobody certifies their own work. `Invalid` names the answer that is
    missing or does not fit; `TooLarge` for evidence beyond 10 MiB. `Conflict` when the run is over.
    """
    run = Run.objects.select_related("package").get(pk=row.run_id)
    _may(run, actor)
    if row.described["kind"] != Kind.MANUAL:
        raise Conflict(say("This check is done by a program."))
    clean = _clean(row.described["form"], answers, {each.field for each in evidence} | _present(row))
    if not passed and not note.strip():
        raise Invalid(say("Say why it does not pass"), errors=[{"field": "note", "detail": say("must not be empty")}])
    if len(evidence) + row.evidence.count() > MOST_EVIDENCE:
        raise Invalid(
            say("At most {most_evidence} files are kept for a check", most_evidence=MOST_EVIDENCE), field="evidence"
        )
    kept = [_keep(each, row.described["form"]) for each in evidence]
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run.pk)
        if run.ended:
            raise Conflict(say("This run is over ({state}); start another.", state=run.state))
        row = CheckResult.objects.select_for_update().get(pk=row.pk)
        if row.carried_from_id is None and row.outcome != Outcome.WAITING and run.state != Run.State.WAITING:
            raise Conflict(say("This check is decided already."))
        for field, filename, kind, sha256, size in kept:
            blob, _ = Blob.objects.get_or_create(sha256=sha256, defaults={"size": size})
            Evidence.objects.create(
                result=row,
                field=field,
                filename=filename,
                content_type=kind,
                blob=blob,
                size=size,
                uploaded_by=actor.user,
            )
        row.outcome = _PASSED if passed else _FAILED
        row.answers, row.note = clean, note.strip()[:1000]
        row.decided_by, row.decided_at, row.carried_from, row.percent = actor.user, timezone.now(), None, 100
        row.save()
        audit.record(
            actor, "certification.decide", row, organisation=run.organisation_id, check=row.check_name, passed=passed
        )
        if run.state == Run.State.WAITING:
            services.settle(run)
    return row


def _may(run: Run, actor: Actor) -> None:
    actor.require("certification.decide", run.organisation_id)
    if actor is not SYSTEM and actor.user is not None and run.package.uploaded_by_id == actor.user.pk:
        raise Denied(say("You uploaded this package; somebody else has to judge it."))


def may_decide(run: Run, actor: Actor) -> bool:
    """Return whether `actor` may decide manual checks of the run."""
    mine = actor.user is not None and run.package.uploaded_by_id == actor.user.pk
    return not run.ended and not mine and actor.may("certification.decide", run.organisation_id)


def _present(row: CheckResult) -> set[str]:
    return set(row.evidence.values_list("field", flat=True))


def _clean(form: Iterable[Mapping[str, Any]], answers: Mapping[str, Any], files: set[str]) -> dict[str, Any]:
    """Return the answers in their types; `Invalid` lists every one that is wrong."""
    clean: dict[str, Any] = {}
    errors: list[dict[str, str]] = []
    for field in form:
        name, kind = field["name"], field["kind"]
        said = answers.get(name)
        text = "" if said is None else str(said).replace("\x00", "").strip()[:LONGEST_ANSWER]
        if kind == "file":
            if field["required"] and name not in files:
                errors.append({"field": name, "detail": say("attach a file")})
            continue
        if not text:
            if field["required"]:
                errors.append({"field": name, "detail": say("must be answered")})
            continue
        try:
            clean[name] = _typed(kind, text, field["choices"])
        except ValueError as problem:
            errors.append({"field": name, "detail": str(problem)})
    if errors:
        raise Invalid(say("Some answers are missing or do not fit."), errors=errors)
    return clean


def _typed(kind: str, text: str, choices: Sequence[str]) -> Any:
    if kind == "number":
        try:
            number = float(text)
        except ValueError:
            raise ValueError("must be a number") from None
        if not -1e15 < number < 1e15:
            raise ValueError("must be a number of a usual size")
        return int(number) if number.is_integer() else number
    if kind == "yes-no":
        if text.lower() not in ("yes", "no", "true", "false"):
            raise ValueError("must be yes or no")
        return text.lower() in ("yes", "true")
    if kind == "choice" and text not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return text


def _keep(given: Given, form: Iterable[Mapping[str, Any]]) -> tuple[str, str, str, str, int]:
    """Store one file; `Invalid` unless it is asked for and a PDF, a PNG, a JPEG or plain text."""
    if given.field not in {field["name"] for field in form if field["kind"] == "file"}:
        raise Invalid(say("No file is asked for there"), field=given.field[:100])
    with blobs.incoming(LARGEST_EVIDENCE) as file:
        head, plain = b"", True
        try:
            for chunk in given.chunks:
                head = head or chunk[:16]
                plain = plain and b"\x00" not in chunk
                file.write(chunk)
        except TooLarge:
            raise TooLarge(
                say("Evidence may have up to {largest_evidence} MiB a file", largest_evidence=LARGEST_EVIDENCE >> 20),
                field=given.field,
                limit=LARGEST_EVIDENCE,
            ) from None
        kind = next((word for start, word in _KINDS if head.startswith(start)), "text/plain" if plain else "")
        if not file.size or not kind:
            raise Invalid(say("Evidence is a PDF, a PNG, a JPEG or plain text"), field=given.field)
        sha256, size = file.keep()
    return given.field, clean_name(given.filename), kind, sha256, size
