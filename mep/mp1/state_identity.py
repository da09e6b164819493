"""Who the apps are, in the state file: app instances with their credentials, and the keys that sign their tokens."""

from __future__ import annotations

import secrets as randomness
from typing import Annotated, Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from msgspec import Meta

from core.errors import Invalid
from mep.mp1 import keys, wire
from mep.mp1.models import App, Counter, SigningKey
from mep.mp1.secrets import vault
from mep.mp1.states import Action, AppState
from mep.mp1.tokens import secret_purpose
from mep.state.sections import Import, Moment, Row, Section, Text, attempt, once, register

APPS, KEYS = "mp1.apps", "mp1.signing_keys"
Short = Annotated[str, Meta(max_length=64)]
#: Rows of one statement, times the columns of the widest table, stay below what SQLite takes.
BATCH = 500


class AppRow(Row):
    id: Annotated[str, Meta(pattern=r"^(?!\.+\Z)[A-Za-z0-9._:-]{1,64}\Z")]
    name: wire.Name
    provider: Text
    app_d_id: Text
    soft_version: Short
    d_version: Short
    namespace: Text
    declared: dict[str, list[Any]]
    registration: dict[str, Any] | None
    client_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{1,128}\Z")]
    state: AppState
    action: Action | None
    deadline: Moment | None
    provisioned_at: Moment
    ready_at: Moment | None
    certificate: Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{43})?\Z")]
    #: Left out of files of platforms that did not keep it yet.
    described: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


@register
class Apps(Section):
    """App instances with their state, a termination under way, and their credentials."""

    name, row = APPS, AppRow

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        rows = []
        for each in App.objects.order_by("id"):
            if secrets is not None:
                secrets[f"{APPS}:{each.pk}"] = vault().open(bytes(each.secret), secret_purpose(each.pk)).decode()
            rows.append(
                AppRow(
                    id=each.pk, name=each.name, provider=each.provider, app_d_id=each.app_d_id,
                    soft_version=each.soft_version, d_version=each.d_version, namespace=each.namespace,
                    declared=each.declared, registration=each.registration, client_id=each.client_id,
                    state=AppState(each.state), action=Action(each.action) if each.action else None,
                    deadline=each.deadline, provisioned_at=each.provisioned_at, ready_at=each.ready_at,
                    certificate=each.certificate, described=msgspec.UNSET if each.described is None else each.described,
                )
            )  # fmt: skip
        return rows

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, (row.id for row in rows), job.problems)
        once(self, (row.client_id for row in rows), job.problems)
        others = {} if job.replace else dict(App.objects.values_list("client_id", "pk"))
        for at, row in enumerate(rows):
            place = f"{self.name}[{at}]"
            ending = row.state is AppState.TERMINATING
            job.problems.unless(
                ending == (row.deadline is not None) == (row.action is not None),
                place, "action and deadline belong to state TERMINATING, and only to it",
            )  # fmt: skip
            owner = others.get(row.client_id, row.id)
            job.problems.unless(owner == row.id, f"{place}.clientId", f"is that of app {owner} on this MEP")
            job.problems.unless(
                job.secrets is None or len(job.secret(APPS, row.id) or "") >= 16, place, "its secret is missing"
            )
            if row.registration is not None:
                attempt(job.problems, f"{place}.registration", wire.read, wire.AppInfo, row.registration)

    def wipe(self, job: Import) -> None:
        job.kept[APPS] = {each.pk: bytes(each.secret) for each in App.objects.only("secret")}
        App.objects.all().delete()

    def load(self, rows: list[Any], job: Import) -> None:
        had = job.kept.get(APPS) or {each.pk: bytes(each.secret) for each in App.objects.only("secret")}
        made, fresh = [], []
        for row in rows:
            kept = None if row.described is msgspec.UNSET else row.described
            columns = {**msgspec.structs.asdict(row), "action": row.action or "", "described": kept}
            secret = job.secret(APPS, row.id)
            if secret is None and row.id in had:
                columns["secret"] = had[row.id]
            else:
                fresh += [row.id] if secret is None else []
                plain = secret or randomness.token_urlsafe(32)
                columns["secret"] = vault().seal(plain.encode(), secret_purpose(row.id))
            made.append(App(**columns))
        upsert(App, made, ["id"])
        Counter.bump("apps")
        if fresh:
            job.remarks.append(f"New client secrets were made, hand them out by provisioning again: {', '.join(fresh)}")


class KeyRow(Row):
    kid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    created_at: Moment
    signing: bool
    verify_until: Moment | None


@register
class Keys(Section):
    """The keys of access tokens: with them the tokens that apps hold stay good. They are in no file without secrets."""

    name, row = KEYS, KeyRow

    def dump(self, secrets: dict[str, str] | None) -> list[Any]:
        if secrets is None:
            return []
        rows = []
        for each in SigningKey.objects.order_by("created_at", "kid"):
            secrets[f"{KEYS}:{each.pk}"] = vault().open(bytes(each.private), keys.purpose(each.pk)).decode()
            rows.append(
                KeyRow(kid=each.pk, created_at=each.created_at, signing=each.signing, verify_until=each.verify_until)
            )
        return rows

    def check(self, rows: list[Any], job: Import) -> None:
        once(self, (row.kid for row in rows), job.problems)
        job.problems.unless(sum(row.signing for row in rows) <= 1, self.name, "only one key may sign")
        for at, row in enumerate(rows):
            place = f"{self.name}[{at}]"
            job.problems.unless(
                row.signing == (row.verify_until is None), place, "a retired key verifies until some day"
            )
            attempt(job.problems, place, _private, job.secret(KEYS, row.kid))

    def wipe(self, job: Import) -> None:
        if job.secrets is not None:
            SigningKey.objects.all().delete()

    def load(self, rows: list[Any], job: Import) -> None:
        if not rows and (job.secrets is None or not job.replace):
            return
        own = set(SigningKey.objects.values_list("pk", flat=True))
        signs = SigningKey.objects.filter(signing=True).exists()
        for row in rows:
            if row.kid in own:
                continue  # the same key: nobody makes another of that name
            until = row.verify_until
            if row.signing and signs:  # this MEP goes on signing with its own, and takes the tokens of the other
                until = job.now + settings.TOKEN_LIFETIME + keys.LEEWAY
            pem = job.secret(KEYS, row.kid) or ""
            SigningKey.objects.create(
                kid=row.kid,
                private=vault().seal(pem.encode(), keys.purpose(row.kid)),
                public=keys.public_jwk(_private(pem), row.kid),
                created_at=row.created_at,
                signing=until is None,
                verify_until=until,
            )
        Counter.bump("keys")


def known_apps(job: Import) -> set[str]:
    """Return the app instances that rows of this import may belong to."""
    found = {row.id for row in job.rows.get(APPS, [])}
    return found if job.replace else found | set(App.objects.values_list("pk", flat=True))


def check_owner(section: Section, rows: list[Any], job: Import) -> None:
    """Note rows of apps that are not there."""
    apps = known_apps(job)
    for at, row in enumerate(rows):
        job.problems.unless(row.app in apps, f"{section.name}[{at}].app", "there is no such app instance")


def check_same_owner(section: Section, model: Any, rows: list[Any], job: Import) -> None:
    """Note rows whose identifier is that of another app's row on this MEP."""
    if job.replace:
        return
    theirs = dict(model.objects.values_list("pk", "app"))
    for at, row in enumerate(rows):
        owner = theirs.get(row.id, row.app)
        job.problems.unless(
            owner == row.app, f"{section.name}[{at}].id", f"{row.id} belongs to app {owner} on this MEP"
        )


def upsert(model: Any, objects: list[Any], key: list[str]) -> None:
    """Write objects; those that are there already by `key` get the new values."""
    columns = [each.name for each in model._meta.concrete_fields if each.name not in key and not each.primary_key]
    model.objects.bulk_create(objects, BATCH, update_conflicts=True, unique_fields=key, update_fields=columns)


def _private(pem: str | None) -> ec.EllipticCurvePrivateKey:
    if pem is None:
        raise Invalid("its private key is missing")
    try:
        found = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise Invalid("its private key cannot be read") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        raise Invalid("its private key is not one of P-256")
    return found
