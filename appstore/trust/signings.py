"""Signing a package with a certificate of its organisation that lies here: long work, whose result is a new package."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appstore.packages import blobs, signing, states
from appstore.packages import services as packages
from appstore.packages.models import Package
from appstore.trust import authority
from appstore.trust.models import SignerCertificate, Signing
from core.accounts.access import Actor
from core.archives import Limits
from core.errors import BreakwaterError, Conflict, Invalid
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

SIGN = "package.sign"
_CHUNK = 1 << 20


def can_be_signed(package: Package) -> bool:
    """Return whether a signed copy of this package can be made here."""
    right = package.state in (states.CHECKED, states.PUBLISHED) and package.format.endswith("csar")
    return right and not package.origin


@transaction.atomic
def request(package: Package, certificate: SignerCertificate, *, actor: Actor) -> tuple[Signing, Operation]:
    """Ask a worker to sign the package; a new package comes of it, and this one stays as it is.

    `Conflict` for a package that is not checked or is from another store, and for a certificate that cannot sign.
    """
    actor.require("packages.write", package.organisation_id)
    if certificate.organisation_id != package.organisation_id:
        raise Invalid(say("This certificate belongs to another organisation"), field="certificate")
    if not certificate.usable:
        raise Conflict(say("This certificate cannot sign: it is revoked, out of force, or its key is not kept here."))
    if package.origin:
        raise Conflict(say("A package from another store is signed by its publisher, not by us."))
    if package.state not in (states.CHECKED, states.PUBLISHED):
        raise Conflict(
            say("Only a package that passed its check is signed; this one is {state}.", state=package.state),
            state=package.state,
        )
    if not package.format.endswith("csar"):
        raise Conflict(say("Only a CSAR can be signed; a chart alone has no manifest."))
    made = Signing.objects.create(package=package, certificate=certificate, user=actor.user)
    operation = operations.request(
        SIGN, packages.target_of(package), organisation=package.organisation_id, actor=actor, signing=str(made.pk)
    )
    return made, operation


@operations.handles(SIGN, lease=300)
def sign(operation: Operation) -> None:
    """Sign, and take the result in as a new upload of whoever asked. Twice is once: the result is remembered."""
    wish = (
        Signing.objects.select_related("package__organisation", "certificate", "user")
        .filter(pk=operation.payload["signing"], finished_at=None)
        .first()
    )
    if wish is None:
        operation.progress(100, say("nothing to do: it is signed, or gone"))
        return

    def tell(percent: int, note: str) -> None:
        if operation.cancelled():
            raise operations.Cancelled
        operation.progress(percent, note)

    try:
        made = _sign(wish, tell)
    except BreakwaterError as problem:
        if not problem.retryable:
            Signing.objects.filter(pk=wish.pk).update(problem=problem.detail[:500], finished_at=timezone.now())
        raise
    operation.progress(100, say("signed as {filename}", filename=made.filename)[:200])


def _sign(wish: Signing, tell: signing.Progress) -> Package:
    package, certificate = wish.package, wish.certificate
    key = authority.private_key(certificate)
    own = x509.load_pem_x509_certificate(certificate.pem.encode())
    limits = Limits(total_bytes=settings.MAX_UNPACKED_BYTES, member_bytes=settings.MAX_UNPACKED_BYTES)
    incoming = Path(settings.BLOB_DIR) / "incoming"
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=incoming) as folder:
        target = signing.sign_csar(
            blobs.path_of(package.sha256),
            Path(folder) / "signed.csar",
            key=key,
            certificate=own,
            limits=limits,
            progress=tell,
        )
        stem = Path(package.filename).stem or package.name or "package"
        with transaction.atomic():
            made = packages.receive(
                _chunks(target),
                actor=Actor(wish.user),
                organisation=package.organisation,
                filename=f"{stem}-signed.csar",
            )
            Signing.objects.filter(pk=wish.pk).update(result=made, finished_at=timezone.now())
    return made


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
