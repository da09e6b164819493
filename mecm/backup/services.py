"""Verbs of backups: make one, prove that it can be restored, restore it, and say when that was last done."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Q
from django.utils import timezone

from appstore.packages import blobs
from appstore.packages.models import Blob
from core.accounts.access import SYSTEM
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid
from core.sealing import columns as sealing
from core.sealing.fields import vault
from core.sealing.models import VaultKey
from core.sealing.services import missing as require
from core.vault import KEY_BYTES, Ring, Vault
from core.words import say
from mecm.backup import databases, sealed
from mecm.backup.archive import Reader, Writer, told_of_disks
from mecm.backup.columns import everything
from mecm.backup.models import Backup
from mecm.edge import services as edge

KEYS, CONTENTS = "keys.sealed", "contents/"
VAULT, EDGE_CA = "vault.key", "edge-ca.pem"
#: What no backup holds, in words for people.
NOT_INSIDE = (
    "the settings of this installation (environment variables): keep them where the service is defined",
    "the key of sessions: everybody signs in again after a restore",
    "what edge nodes hold themselves: they go on, and are told everything anew after a restore",
    "root keys of the federation feed that were made offline: they lie where you put them",
    "logs, half-finished uploads and messages of the broker: what was under way is asked for again from its rows",
)

Tell = Callable[[str], None]


def make(
    target: Path, *, by: str, passphrase: str | None, contents: bool = True, allow_missing: bool = False,
    replace: bool = False, tell: Tell = lambda text: None,
) -> Backup:  # fmt: skip
    """Write everything of this centre into one file while it goes on working; returns the record of it.

    Without a passphrase the keys stay out. `Invalid` when a stored file is damaged or missing, unless that is allowed:
    missing ones are named in the manifest then.
    """
    target = target.absolute()
    with told_of_disks(), _scratch() as folder, Writer(target, replace=replace) as file:
        at = timezone.now()
        database = databases.ours()
        # What was named before or is named after the copy was named in it, or is new.
        named = _named() if contents else set()
        tell(say("copying the database"))
        sums = database.copy(folder / database.member)
        file.add_file(database.member, folder / database.member)
        missing = []
        if contents:
            for number, digest in enumerate(sorted(named | _named())):
                path = blobs.path_of(digest)
                if not path.exists():
                    missing.append(digest)
                    continue
                if number % 100 == 0:
                    tell(say("contents: {number} files", number=number))
                file.add_file(CONTENTS + digest, path, expected=digest)
            if missing and not allow_missing:
                raise Invalid(
                    say(
                        "{missing_count} stored files are missing, the first is {missing}; say "
                        "--allow-missing to back up all the rest",
                        missing_count=len(missing),
                        missing=missing[0],
                    )
                )
        if passphrase is not None:
            file.add(KEYS, sealed.seal(_keys(), passphrase))
        facts = {
            "made_at": at.isoformat(),
            "made_by": by,
            "database": connection.vendor,
            "migrations": sorted(map(".".join, _applied())),
            "tables": sums,
            # By these it is known at once whether what is sealed in the database can be opened elsewhere.
            "key_ids": sorted({*VaultKey.objects.values_list("pk", flat=True), vault().present}),
            "contents": contents,
            "missing": missing,
            "not_inside": [*NOT_INSIDE, *_left_out(contents=contents, keys=passphrase is not None)],
        }
        digest = file.finish(facts)
        count = sum(name.startswith(CONTENTS) for name in file.members)
    with transaction.atomic():
        made = _record(
            digest, at, by, target, rows=sum(rows for rows, _ in sums.values()), count=count if contents else None,
            keys=passphrase is not None,
        )  # fmt: skip
        audit.record(SYSTEM, "backup.make", made, file=str(target)[:300], by=by)
    return made


def prove(path: Path, *, by: str, passphrase: str | None, tell: Tell = lambda text: None) -> Backup:
    """Restore a backup into a temporary place and compare everything; writes down what came of it.

    The database is really restored and each of its tables summed anew, every file of the contents is read and hashed,
    the keys are opened when there is a passphrase, and with them (else with ours) everything that stands sealed in the
    database. `Invalid` or `Conflict` says what is wrong.
    """
    path = path.absolute()
    with told_of_disks(), Reader(path) as file, _scratch() as folder:
        record = _record_of(file)
        try:
            _same_vendor(file)
            tell(say("reading every file"))
            file.verify()
            database = databases.ours()
            keys = vault()
            if KEYS in file.members and passphrase is not None:
                keys = Vault(Ring(sealed.unseal(file.read(KEYS), passphrase)[VAULT], "the keys of this backup"))
            require(_key_ids(file), keys, "the keys for this backup")
            tell(say("restoring the database into a temporary place"))
            file.extract(database.member, folder / database.member)
            look = _opening(file, keys, tell)
            _compare(file.manifest["tables"], database.sums_of(folder / database.member, look))
        except BreakwaterError as problem:
            Backup.objects.filter(pk=record.pk).update(problem=problem.detail[:1000])
            raise
    record.proved_at, record.proved_by, record.problem = timezone.now(), by, ""
    record.save(update_fields=["proved_at", "proved_by", "problem"])
    audit.record(SYSTEM, "backup.prove", record, file=str(path)[:300], by=by)
    return record


def restore(
    path: Path, *, by: str, passphrase: str | None, without_keys: bool = False, replace: bool = False,
    tell: Tell = lambda text: None,
) -> Backup:  # fmt: skip
    """Make this centre what the file says. Everything is checked before anything is written.

    Stored files come first and harm nobody, then the keys, then the database at one stroke. Afterwards the schema is
    brought up to date and every edge node is told everything anew.
    """
    path = path.absolute()
    database = databases.ours()
    with told_of_disks(), Reader(path) as file, _scratch() as folder:
        _same_vendor(file)
        unknown = sorted(set(file.manifest["migrations"]) - _known_migrations())
        if unknown:
            raise Conflict(
                say(
                    "{path} was written by a newer Breakwater (it knows {unknown}); install that one first",
                    path=path,
                    unknown=unknown[-1],
                )
            )
        if not replace and not database.empty():
            raise Conflict(say("There is something in this centre already; say --replace to throw it away"))
        keys = _keys_of(file, passphrase, without_keys=without_keys)
        # Keys of the environment stay what they are, whatever the backup brings.
        fixed = VAULT not in keys or isinstance(settings.VAULT_KEY, Ring)
        ring = vault() if fixed else Vault(Ring(keys[VAULT]))
        require(_key_ids(file), ring, "BREAKWATER_KEYS" if fixed and VAULT in keys else "the key file")
        tell(say("reading every file"))
        file.verify()
        file.extract(database.member, folder / database.member)
        _compare(file.manifest["tables"], database.sums_of(folder / database.member))
        for name in file.members:
            if name.startswith(CONTENTS):
                digest = name.removeprefix(CONTENTS)
                if not blobs.path_of(digest).exists():
                    blobs.store(file.chunks(name), expected=digest)
        tell(say("putting the database into its place"))
        database.bring_back(folder / database.member)
        for name, key in keys.items():
            _put_key(name, key)
    call_command("migrate", interactive=False, verbosity=0)
    with transaction.atomic():
        nodes = edge.new_epoch()
        record = _record_of(file)
        audit.record(SYSTEM, "centre.restore", record, file=str(path)[:300], by=by, nodes=nodes)
    return record


def last() -> tuple[Backup | None, Backup | None]:
    """Return the backup that was made last, and the one that was proved last."""
    return Backup.objects.first(), Backup.objects.exclude(proved_at=None).order_by("-proved_at").first()


# --- parts ------------------------------------------------------------------------------------------------------------
def _named() -> set[str]:
    """Return the digests of all stored files that any row needs."""
    needed = Q()
    for relation in Blob._meta.related_objects:
        needed |= Q(**{f"{relation.field.related_query_name()}__isnull": False})
    return set(Blob.objects.filter(needed).values_list("sha256", flat=True))


def _keys() -> dict[str, bytes]:
    found = {VAULT: bytes(settings.VAULT_KEY)}
    authority = Path(settings.CA_DIR) / EDGE_CA
    if authority.exists():
        found[EDGE_CA] = authority.read_bytes()
    return found


def _keys_of(file: Reader, passphrase: str | None, *, without_keys: bool) -> dict[str, bytes]:
    if KEYS not in file.members:
        if not without_keys:
            raise Conflict(
                say(
                    "This backup holds no keys. Bring the key file (KEY_FILE) and the edge authority "
                    "(ca/edge-ca.pem) here yourself, and say --without-keys"
                )
            )
        return {}
    if without_keys:
        return {}
    if passphrase is None:
        raise Invalid(say("The keys of this backup are sealed: give its passphrase, or say --without-keys"))
    keys = sealed.unseal(file.read(KEYS), passphrase)
    if set(keys) - {VAULT, EDGE_CA} or not keys.get(VAULT) or len(keys[VAULT]) % KEY_BYTES:
        raise Invalid(say("The keys of this backup are none that a centre has"))
    return keys


def _put_key(name: str, key: bytes) -> None:
    target = Path(settings.KEY_FILE) if name == VAULT else Path(settings.CA_DIR) / EDGE_CA
    if target.exists() and target.read_bytes() == key:
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_bytes(key)
    fresh.replace(target)


def _key_ids(file: Reader) -> set[str]:
    """Return the ids of the keys that the database of a backup is sealed by; older backups do not tell."""
    told = file.manifest.get("key_ids")
    return {str(each) for each in told} if isinstance(told, list) else set()


def _opening(file: Reader, keys: Vault, tell: Tell) -> databases.Look:
    """Return what opens every sealed row of a restored copy."""

    def look(ask: Callable[[str], Iterator[Any]]) -> None:
        # A backup of an older Breakwater does not have every table of ours.
        there = [column for column in everything() if column.table in file.manifest["tables"]]
        count = sum(sealing.prove(ask(column.query()), column, keys) for column in there)
        tell(say("opened what is sealed in the database: {count} rows", count=count))

    return look


def _compare(wanted: dict[str, Any], found: databases.Sums) -> None:
    differs = sorted(
        name for name in wanted.keys() | found.keys() if list(wanted.get(name) or ()) != list(found.get(name) or ())
    )
    if differs:
        raise Invalid(
            say(
                "Restored, {differs_count} tables are not what they were, the first is {differs}",
                differs_count=len(differs),
                differs=differs[0],
            )
        )


def _same_vendor(file: Reader) -> None:
    if file.manifest.get("database") != connection.vendor:
        raise Conflict(
            say(
                "The backup is of {database} and this centre runs on {vendor}; restore it where the "
                "database is of the same kind",
                database=file.manifest.get("database"),
                vendor=connection.vendor,
            )
        )


def _applied() -> set[tuple[str, str]]:
    return set(MigrationLoader(connection).applied_migrations)


def _known_migrations() -> set[str]:
    loader = MigrationLoader(None)
    known = set(loader.disk_migrations)
    replaced = {name for migration in loader.disk_migrations.values() for name in migration.replaces}
    return {".".join(name) for name in known | replaced}


def _left_out(*, contents: bool, keys: bool) -> list[str]:
    found = []
    if not contents:
        found.append(say("packages, charts and images: they were left out on request"))
    if not keys:
        found.append(say("the keys: they were left out on request, and without them no sealed secret can be opened"))
    return found


def _record_of(file: Reader) -> Backup:
    """Return the record of a file; the one of another centre, or of before a restore, is written now."""
    manifest = file.manifest
    made = Backup.objects.filter(sha256=file.sha256).first()
    if made is not None:
        return made
    contents = sum(name.startswith(CONTENTS) for name in file.members)
    return _record(
        file.sha256, datetime.fromisoformat(manifest["made_at"]), str(manifest["made_by"])[:150], file.path,
        rows=sum(int(rows) for rows, _ in manifest["tables"].values()), count=contents if manifest["contents"] else None,
        keys=KEYS in file.members,
    )  # fmt: skip


def _record(
    digest: str, at: datetime, by: str, path: Path, *, rows: int, count: int | None, keys: bool
) -> Backup:  # fmt: skip
    return Backup.objects.create(
        made_at=at, made_by=by[:150], file=str(path)[:500], sha256=digest, size=path.stat().st_size, rows=rows,
        blobs=count, keys=keys,
    )  # fmt: skip


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder of our own on the disk of the centre, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="backup-", dir=settings.VAR_DIR) as folder:
        yield Path(folder)
