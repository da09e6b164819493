"""The keys of the centre under a passphrase: without them, secrets in the database stay shut."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core.errors import Invalid
from core.words import say

SHORTEST_PASSPHRASE = 12
_PURPOSE = b"breakwater-backup keys 1"


def seal(keys: Mapping[str, bytes], passphrase: str) -> bytes:
    """Return the keys sealed; `Invalid` for a passphrase that protects nothing."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise Invalid(
            say(
                "The passphrase must have {shortest_passphrase} characters at least",
                shortest_passphrase=SHORTEST_PASSPHRASE,
            )
        )
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    plain = json.dumps({name: base64.b64encode(key).decode() for name, key in keys.items()}).encode()
    return salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, _PURPOSE)


def unseal(sealed: bytes, passphrase: str) -> dict[str, bytes]:
    """Return the keys; `Invalid` when the passphrase is another one."""
    salt, nonce, body = sealed[:16], sealed[16:28], sealed[28:]
    try:
        plain = AESGCM(_key(passphrase, salt)).decrypt(nonce, body, _PURPOSE)
    except (InvalidTag, ValueError):
        raise Invalid(say("The keys of this backup cannot be opened: the passphrase is another one")) from None
    return {name: base64.b64decode(text) for name, text in json.loads(plain).items()}


def _key(passphrase: str, salt: bytes) -> bytes:
    # 32 MiB and a tenth of a second for each guess.
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
