"""A backup is whole or not there, says when it is damaged, and is proved by restoring it on trial."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from appstore.packages import blobs
from appstore.packages.models import Blob, Package
from core.audit.models import Entry
from core.errors import BreakwaterError, Conflict, Invalid
from core.vault import KeyFile, KeyMissing
from mecm.backup import archive, sealed, services
from mecm.backup.models import Backup

PASSPHRASE = "a long walk on the quay"


def test_what_is_broken_off_leaves_no_file_and_what_is_changed_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    target = folder / "b"
    with archive.Writer(target) as file:
        file.add("one", b"1" * 3000)  # and then the power went: nobody says `finish`
    assert list(folder.iterdir()) == []
    with archive.Writer(target) as file:
        file.add("one", b"1" * 3000)
        file.add("two", b"2" * 3000)
        named = file.finish({"note": "x"})
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert target.stat().st_mode & 0o777 == 0o600
    with archive.Reader(target) as found:
        found.verify()
        assert (found.sha256, found.read("two"), found.manifest["note"]) == (named, b"2" * 3000, "x")
    with pytest.raises(Conflict, match="there already"):
        archive.Writer(target)
    whole = target.read_bytes()
    at = whole.index(b"2" * 100)
    target.write_bytes(whole[:at] + b"3" + whole[at + 1 :])
    with archive.Reader(target) as found, pytest.raises(Invalid, match="damaged: two"):
        found.verify()
    for cut in (0, 700, len(whole) // 2, len(whole) - 10_240):
        target.write_bytes(whole[:cut])
        with pytest.raises(Invalid):
            archive.Reader(target)
    with tarfile.open(target, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"{}"))
    with pytest.raises(Invalid, match="cannot be read"):
        archive.Reader(target)


def test_keys_open_with_their_passphrase_only() -> None:
    shut = sealed.seal({"vault.key": b"k" * 32}, PASSPHRASE)
    assert b"k" * 32 not in shut
    assert sealed.unseal(shut, PASSPHRASE) == {"vault.key": b"k" * 32}
    for wrong, bytes_ in (("another long passphrase", shut), (PASSPHRASE, shut[:-1] + b"x"), (PASSPHRASE, b"")):
        with pytest.raises(Invalid):
            sealed.unseal(bytes_, wrong)
    with pytest.raises(Invalid, match="12 characters"):
        sealed.seal({}, "short")


@pytest.mark.django_db
def test_a_backup_holds_rows_contents_and_keys_and_is_proved(
    organisation: Any, admin: Any, tmp_path: Path, settings: Any
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("pg_dump sees no rows of an open transaction; tests/mecm/backup/test_backup_live.py")
    digest, size = blobs.store([b"a chart"])
    blob = Blob.objects.create(sha256=digest, size=size)
    loose, _ = blobs.store([b"nobody names me"])
    package = Package.objects.create(
        organisation=organisation, uploaded_by=admin, filename="a.csar", sha256="0" * 64, size=1, state="draft"
    )
    package.blobs.set([blob])
    target = tmp_path / "centre.backup"
    made = services.make(target, by="root on the server", passphrase=PASSPHRASE)
    assert (made.blobs, made.keys, made.size, made.proved_at) == (1, True, target.stat().st_size, None)
    with archive.Reader(target) as file:
        assert file.read(f"contents/{digest}") == b"a chart"
        assert f"contents/{loose}" not in file.members
        # The rows of this test are not committed; with real ones in test_backup_live.py.
        assert file.manifest["tables"]["django_migrations"][0] > 30
        assert sealed.unseal(file.read("keys.sealed"), PASSPHRASE)["vault.key"] == bytes(settings.VAULT_KEY)
        assert bytes(settings.VAULT_KEY) not in target.read_bytes()
    proved = services.prove(target, by="root on the server", passphrase=PASSPHRASE)
    assert (proved.pk, proved.proved_by, proved.problem) == (made.pk, "root on the server", "")
    assert [entry.action for entry in Entry.objects.order_by("at")] == ["backup.make", "backup.prove"]
    with pytest.raises(Invalid, match="passphrase"):
        services.prove(target, by="root", passphrase="another one, also long")
    assert "passphrase" in Backup.objects.get().problem
    # The manifest says another sum than what comes out of the copy.
    services._compare(file.manifest["tables"], json.loads(json.dumps(file.manifest["tables"])))
    with pytest.raises(Invalid, match="accounts_user"):
        services._compare({**file.manifest["tables"], "accounts_user": [2, "0"]}, file.manifest["tables"])
    with pytest.raises(Conflict, match="--replace"):
        services.restore(target, by="root", passphrase=PASSPHRASE)
    # Somewhere else, where the key file is another one: it is known before anything is read.
    settings.VAULT_KEY = KeyFile(tmp_path / "another.key")
    with pytest.raises(KeyMissing, match="key file"):
        services.restore(target, by="root", passphrase=None, without_keys=True, replace=True)
    with pytest.raises(KeyMissing, match="keys for this backup"):
        services.prove(target, by="root", passphrase=None)
    services.prove(target, by="root", passphrase=PASSPHRASE)
    assert list(Path(settings.VAR_DIR).glob("backup-*")) == []
    blobs.path_of(digest).chmod(0o600)
    blobs.path_of(digest).write_bytes(b"a chert")
    with pytest.raises(Invalid, match="damaged"):
        services.make(tmp_path / "second", by="root", passphrase=None)
    blobs.path_of(digest).unlink()
    with pytest.raises(Invalid, match="missing"):
        services.make(tmp_path / "second", by="root", passphrase=None)
    assert not (tmp_path / "second").exists()
    services.make(tmp_path / "second", by="root", passphrase=None, allow_missing=True)
    with archive.Reader(tmp_path / "second") as file:
        assert file.manifest["missing"] == [digest]
        assert any("keys" in text for text in file.manifest["not_inside"])
    with pytest.raises(BreakwaterError):
        services.make(tmp_path / "no" / "such" / "folder", by="root", passphrase=None)
