"""The whole way with the real commands, on SQLite and on PostgreSQL: back up, prove, lose everything, restore."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import until
from tools import servers

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[3]
SEED = (
    "from core.accounts.models import Organisation; from mecm.nodes.models import Node;"
    "o = Organisation.objects.create(slug='acme', name='Acme');"
    "from mecm.edge.ca import authority; authority();"
    "from mecm.nodes.sealed import seal;"
    "n = Node.objects.create(organisation=o, name='berth-7', engine='memory');"
    "n.mep_token = seal(n, 'mep_token', 'a secret'); n.save();"
    "from mecm.edge.services import put;"
    "put(n, 'app', 'a', generation=1, spec={'values': {'password': 'planted-0b7c'}})"
)
LOOK = (
    "from mecm.nodes.models import Node; from mecm.nodes.sealed import reveal; from mecm.backup.models import Backup;"
    "from mecm.edge.models import DesiredObject; spec = DesiredObject.objects.get().spec;"
    "n = Node.objects.get(); print('FOUND', n.name, reveal(n, 'mep_token'), Backup.objects.count(), spec['values'])"
)
PLANTED = b"planted-0b7c"


class Centre:
    """A centre in a folder of its own."""

    def __init__(self, folder: Path, database: str = "") -> None:
        folder.mkdir()
        (folder / "word").write_text("a long walk on the quay\n")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("BREAKWATER_")}
        self.folder = folder
        self.environment = {**inherited, "BREAKWATER_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "mecm.settings"}
        if database:
            self.environment["BREAKWATER_DATABASE_URL"] = database

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Run a command and return what it said."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, done.stdout + done.stderr[-2000:]
        return done.stdout + done.stderr

    def word(self) -> str:
        """Return the option that names the passphrase."""
        return f"--passphrase-file={self.folder / 'word'}"


def there_and_back(lost: Centre, found: Centre, file: Path) -> None:
    lost.run("migrate", "-v", "0")
    lost.run("shell", "-v", "0", "-c", SEED)
    # A key that is replaced, and a backup whose keys are those of that moment.
    assert "Sealed anew: 2 rows" in lost.run("rotate_key", "--forget")
    told = lost.run("backup", str(file), "--prove", lost.word())
    assert "Proved" in told
    assert "sealed in the database: 2 rows" in told
    for written in (file, *(path for path in lost.folder.rglob("*") if path.is_file())):
        assert PLANTED not in written.read_bytes(), written
    assert "there already" in lost.run("backup", str(file), lost.word(), fails=True)
    assert "throw it away" in lost.run("restore", str(file), lost.word(), fails=True)
    if found is not lost:
        assert "key that is not in" in found.run("restore", str(file), "--without-keys", fails=True)
    assert "Restored" in found.run("restore", str(file), found.word(), *(["--replace"] if found is lost else []))
    assert "FOUND berth-7 a secret 1 {'password': 'planted-0b7c'}" in found.run("shell", "-v", "0", "-c", LOOK)
    assert (found.folder / "ca" / "edge-ca.pem").read_bytes() == (lost.folder / "ca" / "edge-ca.pem").read_bytes()


def test_a_centre_on_sqlite_comes_back_in_another_place_and_a_killed_backup_is_none(tmp_path: Path) -> None:
    lost, found = Centre(tmp_path / "lost"), Centre(tmp_path / "found")
    file = tmp_path / "centre.backup"
    there_and_back(lost, found, file)
    # Killed in the middle: nothing has the name of a backup, and what is left is taken for none.
    other = tmp_path / "killed.backup"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "backup", str(other), lost.word()], cwd=ROOT, env=lost.environment
    )
    until(lambda: list(tmp_path.glob(".killed.backup*")) or process.poll() is not None, timeout=120, every=0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for left in tmp_path.glob(".killed.backup*"):
        if not other.exists():
            assert "no" in found.run("restore", str(left), "--replace", found.word(), fails=True)


@pytest.mark.skipif(
    servers.find_postgres() is None or not shutil.which("pg_dump"), reason="PostgreSQL is not installed"
)
def test_a_centre_on_postgresql_comes_back(tmp_path: Path) -> None:
    with servers.postgres() as url:
        centre = Centre(tmp_path / "centre", url)
        there_and_back(centre, centre, tmp_path / "centre.backup")
        dump = subprocess.run(["pg_dump", "--dbname", url], capture_output=True, check=True).stdout
        assert b"berth-7" in dump
        assert PLANTED not in dump
