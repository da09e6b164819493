"""Sealing of secrets at rest: AES-256-GCM with a key file that only its owner reads."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Invalid
from core.words import say

_VERSION = b"\x01"
_NONCE_BYTES = 12


class Vault:
    """Seals and opens bytes for a named purpose.

    `purpose` is authenticated: what was sealed as `node:7:kubeconfig` cannot be passed off as anything else.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return `plain` encrypted; a fresh nonce each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Return what was sealed for `purpose`; `Invalid` when it was changed, or sealed with another key or purpose."""
        sealed = bytes(sealed)
        if sealed[:1] != _VERSION:
            raise Invalid(say("A sealed secret has an unknown form; was the key file or the database replaced?"))
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, purpose.encode())
        except (InvalidTag, ValueError):
            raise Invalid(say("A sealed secret cannot be opened with this key; was the key file replaced?")) from None


def load_or_make_key(path: Path) -> bytes:
    """Return the 32 byte key in `path`, made on first use with mode 0600; safe when two processes start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        return _checked(path, path.read_bytes())
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secrets.token_bytes(32))
        os.fsync(handle)
    finally:
        os.close(handle)
    # link() refuses an existing name, so the first of two starters wins and both read its key.
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()
    return _checked(path, path.read_bytes())


def _checked(path: Path, key: bytes) -> bytes:
    if len(key) != 32:
        raise Invalid(say("The key file {name} must hold 32 bytes", name=path.name))
    return key
