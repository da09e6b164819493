"""The node's vault: client secrets and signing keys are sealed in the database."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from core.vault import KeyFile, Vault


def vault() -> Vault:
    """Return the vault whose key file is `MEP_VAR/vault.key` (mode 0600, made at first use); a new key reaches it."""
    return _vault(key_path())


def key_path() -> Path:
    """Return where the node's key file lies."""
    return Path(settings.VAR) / "vault.key"


@lru_cache(maxsize=4)
def _vault(path: Path) -> Vault:
    return Vault(KeyFile(path))
