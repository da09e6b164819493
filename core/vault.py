"""Sealing of secrets at rest: AES-256-GCM with a key file that only its owner reads.

A key file holds one key of 32 bytes or several, one after the other: the first seals, every one opens. What is sealed
names its key, so that a key can be replaced while everybody works, and one that is not there is asked for by its name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core import privately
from core.errors import Invalid
from core.words import say

KEY_BYTES = 32
#: A file with more keys than that is no key file.
MOST_KEYS = 64
_OLD, _VERSION = b"\x01", b"\x02"
_ID_BYTES = 4
_NONCE_BYTES = 12


class KeyMissing(Invalid):
    """Something is sealed by keys that are not here; `key_ids` names them."""

    def __init__(self, key_ids: Sequence[str], where: str = "the key file") -> None:
        named = ", ".join(key_ids)
        super().__init__(
            f"Secrets are sealed by a key that is not in {where}: {named}. Was the key file replaced? Bring that key "
            "back: append its 32 bytes to the present key file, or take the key file of a backup.",
            key_ids=list(key_ids),
        )


def key_id(key: bytes) -> str:
    """Return the name of a key; it tells nothing of the key."""
    return hashlib.sha256(b"breakwater vault key " + key).hexdigest()[: 2 * _ID_BYTES]


class Ring:
    """Keys by their ids, the one that seals first; `where` names their place to people."""

    def __init__(self, joined: bytes, where: str = "the key file") -> None:
        keys = [joined[at : at + KEY_BYTES] for at in range(0, len(joined), KEY_BYTES)]
        if not 0 < len(keys) <= MOST_KEYS or len(keys[-1]) != KEY_BYTES:
            raise Invalid(say("{where} must hold keys of {key_bytes} bytes each", where=where, key_bytes=KEY_BYTES))
        self.joined, self.where = joined, where
        self.keys = {key_id(key): key for key in keys}
        self.ciphers = {name: AESGCM(key) for name, key in self.keys.items()}
        self.present = key_id(keys[0])

    def ring(self) -> Ring:
        """Return itself: these keys never change."""
        return self

    def known(self) -> Ring:
        """Return itself."""
        return self

    def __bytes__(self) -> bytes:
        return self.joined


class KeyFile:
    """The keys in a file, read again whenever the file was replaced: a new key reaches processes that run already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        joined = load_or_make_key(path)
        self._known = self._mark(), Ring(joined)

    def known(self) -> Ring:
        """Return the keys as they were when somebody last looked; it costs nothing."""
        return self._known[1]

    def ring(self) -> Ring:
        """Return the keys as they are now; those known so far while the file cannot be read."""
        seen, ring = self._known
        with suppress(OSError, Invalid):
            mark = self._mark()
            if mark != seen:
                ring = Ring(self.path.read_bytes(), ring.where)
                self._known = mark, ring
        return ring

    def __bytes__(self) -> bytes:
        return self.ring().joined

    def _mark(self) -> tuple[int, int, int]:
        told = self.path.stat()
        return told.st_ino, told.st_mtime_ns, told.st_size


class Vault:
    """Seals and opens bytes for a named purpose.

    `purpose` is authenticated: what was sealed as `node:7:kubeconfig` cannot be passed off as anything else.
    """

    def __init__(self, keys: bytes | Ring | KeyFile) -> None:
        self._keys = Ring(keys) if isinstance(keys, bytes) else keys

    @property
    def present(self) -> str:
        """The id of the key that seals now."""
        return self._keys.ring().present

    @property
    def key_ids(self) -> set[str]:
        """The ids of all keys that are here."""
        return set(self._keys.ring().keys)

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return `plain` encrypted; a fresh nonce each time."""
        ring = self._keys.ring()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return b"".join(
            (
                _VERSION,
                bytes.fromhex(ring.present),
                nonce,
                ring.ciphers[ring.present].encrypt(nonce, plain, purpose.encode()),
            )
        )

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Return what was sealed for `purpose`; `Invalid` when it was changed, or sealed with another key or purpose.

        `KeyMissing`, which is one, names the key that is not here.
        """
        sealed = bytes(sealed)
        ring = self._keys.known()
        if sealed[:1] == _VERSION:
            name = key_of(sealed)
            if name not in ring.ciphers:
                ring = self._keys.ring()
            if name not in ring.ciphers:
                raise KeyMissing([name], ring.where)
            ciphers, body = [ring.ciphers[name]], sealed[1 + _ID_BYTES :]
        elif sealed[:1] == _OLD:
            # From before keys had names.
            ciphers, body = list(ring.ciphers.values()), sealed[1:]
        else:
            raise Invalid(say("A sealed secret has an unknown form; was the key file or the database replaced?"))
        nonce, body = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        for cipher in ciphers:
            with suppress(InvalidTag, ValueError):
                return cipher.decrypt(nonce, body, purpose.encode())
        raise Invalid(
            say("A sealed secret cannot be opened with this key: it was changed or moved, or the key file was replaced")
        )


def key_of(sealed: bytes) -> str:
    """Return the id of the key that something is sealed by; empty when it is from before keys had names."""
    return bytes(sealed[1 : 1 + _ID_BYTES]).hex() if sealed[:1] == _VERSION else ""


def load_or_make_key(path: Path) -> bytes:
    """Return the keys in `path`, made on first use with mode 0600; safe when two processes start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        return _checked(path, path.read_bytes())
    # The first of two starters wins, and both read its key.
    privately.put_once(path, secrets.token_bytes(KEY_BYTES))
    return _checked(path, path.read_bytes())


def replace_keys(path: Path, joined: bytes) -> None:
    """Put keys in the place of those in a file, at one stroke: whoever reads finds the old ones or the new ones."""
    _checked(path, joined)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    privately.put(path, joined)


def read_keys(text: str) -> bytes:
    """Return keys that are written as hexadecimal digits, with commas between them; `ValueError` for what is none."""
    keys = [bytes.fromhex(word.strip()) for word in text.split(",") if word.strip()]
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"a key has {2 * KEY_BYTES} hexadecimal digits")
    return b"".join(keys)


def _checked(path: Path, key: bytes) -> bytes:
    if not key or len(key) % KEY_BYTES:
        raise Invalid(say("The key file {name} must hold 32 bytes for each key", name=path.name))
    return key
