"""The node's vault: client secrets and signing keys are sealed in the database."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from core.vault import Vault, load_or_make_key


def vault() -> Vault:
    """Return the vault whose key file is `MEP_VAR/vault.key` (mode 0600, made at first use)."""
    return _vault(settings.VAR / "vault.key")


@lru_cache(maxsize=4)
def _vault(path: Path) -> Vault:
    return Vault(load_or_make_key(path))
