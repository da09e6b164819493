"""Files of the pages as browsers get them: packed ahead, under names that change with their content.

`manage.py collectstatic` writes them to `STATIC_ROOT`, each with a gzip copy, and browsers keep them for ever. Where that
was never done, or where the files have changed since, pages use the files as they are: never an old style sheet under a new page.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage

_STAMP = "sources.sha256"


class Assets(CompressedManifestStaticFilesStorage):
    """Gives a file the name under which it was packed, or its own name."""

    manifest_strict = False
    keep_only_hashed_files = True

    def create_compressor(self, **kwargs: Any) -> Compressor:
        """Return one that makes gzip files only: Brotli's best takes half a minute to make the style sheet 20 kB smaller."""
        return Compressor(**{**kwargs, "use_brotli": False})

    def read_manifest(self) -> str | None:
        """Return what was packed, or nothing when that was of other files."""
        return super().read_manifest() if packed() else None

    def stored_name(self, name: str) -> str:
        """Return the packed name of a file, or its own name when it was not packed."""
        return str(self.hashed_files.get(self.hash_key(self.clean_name(name)), name))


def pack() -> bool:
    """Pack all files of the pages unless that is done; return whether there was something to do."""
    if packed():
        return False
    _stamp().unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["rest_framework"])
    _stamp().write_text(_sources())
    return True


def packed() -> bool:
    """Return whether what lies packed is made of the files as they are now."""
    try:
        return _stamp().read_text() == _sources()
    except OSError:
        return False


def _stamp() -> Path:
    return Path(settings.STATIC_ROOT) / _STAMP


def _sources() -> str:
    """Return a digest over names, sizes and times of all files; reading them all would take longer than it is worth."""
    seen = []
    for finder in get_finders():
        for name, storage in finder.list([]):
            facts = Path(storage.path(name)).stat()
            seen.append(f"{name} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(seen)).encode()).hexdigest()
