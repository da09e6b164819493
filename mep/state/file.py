"""The state file: JSON with a format, a version and sections; its secrets are sealed under a passphrase.

The seal covers the sections too, so that nobody gives an app's secret to another one by editing the file.
"""

from __future__ import annotations

import base64
import os
import secrets as randomness
import stat
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core.errors import Invalid
from mep.mp1.http import DEEPEST, deeper_than

FORMAT, VERSION = "breakwater-mep-state", 1
#: Bytes of a file that is read: room for some 100,000 services.
LARGEST = 256 << 20
SHORTEST_PASSPHRASE = 12
#: 32 MiB and a tenth of a second per guess. A file that asks for anything else is refused: it could ask for all memory.
_SCRYPT: dict[str, str | int] = {"name": "scrypt", "n": 2**15, "r": 8, "p": 1}
_CIPHER = "AES-256-GCM"
#: Levels around the members that Mp1 itself would take.
_LEVELS = DEEPEST + 4


@dataclass(slots=True)
class State:
    """What a file holds; `secrets` is None when it was written without them."""

    sections: dict[str, Any]
    revisions: dict[str, int]
    secrets: dict[str, str] | None


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    kdf: dict[str, str | int]
    salt: str
    cipher: str
    nonce: str
    sealed: str


class _Document(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    format: str
    version: int
    written_at: float
    sections: dict[str, Any]
    revisions: dict[str, int]
    secrets: _Sealed | None


def encode(state: State, passphrase: str = "", now: float | None = None) -> bytes:
    """Return the file's bytes; `Invalid` when there are secrets and the passphrase is too short to protect them."""
    sealed = None
    if state.secrets is not None:
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise Invalid(f"The passphrase must have {SHORTEST_PASSPHRASE} characters at least")
        salt, nonce = randomness.token_bytes(16), randomness.token_bytes(12)
        plain = msgspec.json.encode(state.secrets, order="sorted")
        cipher = AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, _bound(state))
        sealed = _Sealed(dict(_SCRYPT), _text(salt), _CIPHER, _text(nonce), _text(cipher))
    document = _Document(FORMAT, VERSION, time.time() if now is None else now, state.sections, state.revisions, sealed)
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(content: bytes, passphrase: str = "") -> State:
    """Return what a file holds; `Invalid` says why it cannot be read."""
    try:
        raw = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        raise Invalid("The file is not JSON, or nested too deeply") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise Invalid(f"The file is no state of a MEP: its format is not {FORMAT}")
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise Invalid(f"The file has version {version} and was written by a newer MEP; this one reads up to {VERSION}")
    if version != VERSION or isinstance(version, bool):
        raise Invalid(f"The file has no version that this MEP reads; it reads {VERSION}")
    if deeper_than(_LEVELS, raw):
        raise Invalid(f"The file is nested deeper than {_LEVELS} levels")
    try:
        document = msgspec.convert(raw, _Document)
    except msgspec.ValidationError as problem:
        raise Invalid(f"The file is damaged: {problem}") from None
    state = State(document.sections, document.revisions, None)
    if document.secrets is not None:
        state.secrets = _opened(document.secrets, passphrase, state)
    return state


def has_secrets(content: bytes) -> bool:
    """Return whether a passphrase is needed to read the file."""
    try:
        raw = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        return False  # `decode` says so
    return isinstance(raw, dict) and raw.get("secrets") is not None


def write(path: Path, content: bytes) -> None:
    """Put the file into its place whole, readable by its owner alone; what was there before stays until then."""
    fresh = path.with_name(f".{path.name}.{randomness.token_hex(6)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> bytes:
    """Return the bytes of a file; `Invalid` when it is none or too large."""
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise Invalid(f"{path} is not a file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Invalid(f"{path} is larger than {LARGEST >> 20} MiB")
    return content


def _opened(sealed: _Sealed, passphrase: str, state: State) -> dict[str, str]:
    if sealed.kdf != _SCRYPT or sealed.cipher != _CIPHER:
        raise Invalid("The secrets of the file are sealed in a way that this MEP does not know")
    try:
        salt, nonce, cipher = (
            base64.b64decode(each, validate=True) for each in (sealed.salt, sealed.nonce, sealed.sealed)
        )
        plain = AESGCM(_key(passphrase, salt)).decrypt(nonce, cipher, _bound(state))
        return msgspec.json.decode(plain, type=dict[str, str])
    except (InvalidTag, ValueError):
        raise Invalid("The passphrase is wrong, or the file was changed after it was written") from None


def _bound(state: State) -> bytes:
    facts = msgspec.json.encode([FORMAT, VERSION, state.sections, state.revisions], order="sorted")
    return sha256(facts).digest()


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
