"""Verbs of uploads that come in parts: begin, write, settle, cancel, sweep. The last byte makes a package.

Whoever changes an upload that is under way holds the lock of its file (see `partial`), and looks at the row only then:
so the offset that a writer sees is the one it writes behind.
"""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from appstore.packages import blobs, partial, services
from appstore.packages.models import Package, Upload
from appstore.packages.partial import Partial
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.errors import BreakwaterError, Conflict, Denied, Invalid, Missing, TooLarge
from core.words import say

logger = logging.getLogger("breakwater.uploads")

#: A file without a row may be one whose row is being written; after this many seconds it is not.
_ORPHAN = 3600.0


@transaction.atomic
def begin(*, actor: Actor, organisation: Organisation, filename: str, length: int, expected: str = "") -> Upload:
    """Return a new upload that waits for the bytes of a file of `length`.

    `TooLarge` when the store takes no file of that size; `Conflict` when the organisation has too many unfinished
    uploads, or too large ones.
    """
    actor.require("packages.write", organisation)
    if actor.user is None:
        raise Denied(say("An upload in parts belongs to a person; the platform itself sends none."))
    if length <= 0:
        raise Invalid(say("The file is empty"))
    if length > settings.MAX_PACKAGE_BYTES:
        limit = settings.MAX_PACKAGE_BYTES
        raise TooLarge(say("The file is larger than the {limit} bytes that are taken", limit=limit), limit=limit)
    # Two who begin at once are counted one after the other.
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    others = Upload.objects.under_way().filter(organisation=organisation)
    if others.count() >= settings.UPLOADS_AT_ONCE:
        raise Conflict(
            say(
                "Your organisation has {uploads_at_once} unfinished uploads; finish or cancel one first",
                uploads_at_once=settings.UPLOADS_AT_ONCE,
            ),
            limit=settings.UPLOADS_AT_ONCE,
        )
    promised = others.aggregate(bytes=Sum("length"))["bytes"] or 0
    if promised + length > settings.UPLOADS_BYTES:
        raise Conflict(
            say(
                "The unfinished uploads of your organisation would come to more than {uploads_bytes} "
                "bytes; finish or cancel one first",
                uploads_bytes=settings.UPLOADS_BYTES,
            ),
            limit=settings.UPLOADS_BYTES,
        )
    return Upload.objects.create(
        organisation=organisation,
        sender=actor.user,
        filename=services.clean_name(filename),
        length=length,
        expected=expected,
        expires_at=_end(),
    )


def offset_of(upload: Upload) -> int:
    """Return how many bytes count: never more than lie on disk, which is less after an old backup was brought back."""
    if upload.finished_at or upload.sha256:
        return upload.offset
    return min(upload.offset, partial.size_of(upload.pk))


def open_for_writing(
    upload: Upload, offset: int, *, coming: int | None = None, algorithm: str = "", checksum: bytes = b""
) -> Partial:
    """Return the file, ready for the bytes behind `offset`; the caller closes it whatever happens.

    `Conflict` when it has another offset, `Busy` when somebody writes already, `TooLarge` when `coming` bytes are more
    than are missing.
    """
    file = Partial(upload.pk)
    try:
        now = Upload.objects.present().filter(pk=upload.pk).first()
        if now is None:
            file.remove()
            raise Missing(say("This upload is gone; begin a new one."))
        if now.finished_at:
            file.remove()
            raise Conflict(say("This upload is over"), offset=now.offset, **_told(now))
        present = now.offset if now.sha256 else min(now.offset, file.present)
        if present != now.offset:
            Upload.objects.filter(pk=now.pk).update(offset=present)
        if offset != present:
            raise Conflict(
                say("{present} bytes have arrived; go on there, not at {offset}", present=present, offset=offset),
                offset=present,
            )
        if coming is not None and offset + coming > now.length:
            raise TooLarge(
                say("More than the {length} bytes that this upload was said to have", length=now.length),
                limit=now.length,
                offset=present,
            )
        if now.sha256:
            return file  # all is there; only the package is missing
        file.begin(offset, now.length, algorithm=algorithm, checksum=checksum)
    except BaseException:
        file.close()
        raise
    return file


def settle(upload: Upload, file: Partial, *, actor: Actor) -> Upload:
    """Count what was written; with the last byte make the package. Returns the upload as it is then.

    Raises what keeps the file from becoming a package; the upload is over then, and tells the same to who asks later.
    """
    if not upload.sha256:
        size = file.settle()
        counted = Upload.objects.filter(pk=upload.pk, offset=file.offset, finished_at=None)
        if not counted.update(offset=size, expires_at=_end()):
            file.remove()
            raise Missing(say("This upload was cancelled."))
        upload.refresh_from_db()
    if upload.offset == upload.length:
        _finish(upload, file, actor)
    return upload


def _finish(upload: Upload, file: Partial, actor: Actor) -> None:
    """Put the whole file into the store and make it a package. May run twice with one effect."""
    try:
        if not upload.sha256:
            upload.sha256 = _digest(file)
            upload.save(update_fields=["sha256"])
        if upload.expected and upload.expected != upload.sha256:
            raise Invalid(say("The file did not arrive as it was sent: its SHA-256 is another"), sha256=upload.sha256)
        if file.present == upload.length and file.path.exists():
            blobs.adopt(file.path, upload.sha256)
        elif not blobs.path_of(upload.sha256).exists():
            Upload.objects.filter(pk=upload.pk).update(offset=0, sha256="")
            raise Conflict(say("The bytes of this upload are lost; begin again"), offset=0)
        with transaction.atomic():
            upload.package = services.admit(
                upload.sha256, upload.length, actor=actor, organisation=upload.organisation, filename=upload.filename
            )
            _over(upload)
    except BreakwaterError as problem:
        if not problem.retryable and "offset" not in problem.context:
            upload.problem = problem.problem()
            _over(upload)
            file.remove()
        raise


def _digest(file: Partial) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _over(upload: Upload) -> None:
    upload.finished_at, upload.expires_at = timezone.now(), _end()
    upload.save(update_fields=["package", "problem", "finished_at", "expires_at"])


def cancel(upload: Upload, *, actor: Actor) -> None:
    """Forget an upload and its bytes. Who writes to it at the moment is told that it is gone."""
    actor.require("packages.write", upload.organisation_id)
    Upload.objects.filter(pk=upload.pk).delete()
    with suppress(FileNotFoundError):
        partial.path_of(upload.pk).unlink()


def sweep() -> int:
    """Forget what has expired, finish what a dead process left whole; return how many files and rows went."""
    for row in Upload.objects.under_way().filter(offset=F("length")).select_related("organisation", "sender"):
        _finish_left(row)
    gone = 0
    for row in Upload.objects.expired():
        try:
            file = Partial(row.pk)
        except partial.Busy:
            continue  # its last part is arriving
        try:
            if Upload.objects.expired().filter(pk=row.pk).delete()[0]:
                file.remove()
                gone += 1
        finally:
            file.close()
    return gone + _sweep_orphans()


def _finish_left(row: Upload) -> None:
    try:
        file = open_for_writing(row, row.length)
    except BreakwaterError:
        return
    try:
        settle(row, file, actor=Actor(row.sender))
    except BreakwaterError as problem:
        logger.info("upload %s became no package: %s", row.pk, problem.detail)
    finally:
        file.close()


def _sweep_orphans() -> int:
    """Remove files whose rows are gone: of organisations and people who were deleted, or from before a restore."""
    gone = 0
    for path in (Path(settings.BLOB_DIR) / "partial").glob("*"):
        try:
            known = Upload.objects.filter(pk=UUID(path.name)).exists()
        except ValueError:
            known = False
        with suppress(FileNotFoundError):
            if not known and path.stat().st_mtime < time.time() - _ORPHAN:
                path.unlink()
                gone += 1
    return gone


def _told(upload: Upload) -> dict[str, str]:
    return {"package": str(upload.package_id)} if upload.package_id else {}


def package_of(upload: Upload) -> Package | None:
    """Return what became of it: the new package, or the one that has had the same bytes before."""
    known = upload.package_id or (upload.problem or {}).get("package")
    return Package.objects.filter(pk=known, organisation=upload.organisation_id).first() if known else None


def _end() -> datetime:
    return timezone.now() + timedelta(seconds=settings.UPLOAD_TTL)
