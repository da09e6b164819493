"""Which server is meant and how one is signed in there: a file that only its owner may read."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.errors import BAD_USE, Stop

DEFAULT_SERVER = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Profile:
    """One server: its address, the token, and the CA that its certificate is checked by."""

    server: str
    token: str = ""
    ca: str = ""
    organisation: str = ""

    def __repr__(self) -> str:
        return f"Profile({self.server!r})"  # a token is never in a message


class Profiles:
    """The profiles by server, kept in `~/.config/breakwater/profiles.json`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
        self.path = Path(base) / "breakwater" / "profiles.json"
        self.environ = environ

    def chosen(self, server: str = "", ca: str = "") -> Profile:
        """Return the profile of the server that is named, or of the one that was signed in to last."""
        kept = self._read()
        wanted = address(server or self.environ.get("BREAKWATER_SERVER", "") or kept.get("current", DEFAULT_SERVER))
        known = kept.get("servers", {}).get(wanted, {})
        profile = Profile(wanted, **{name: str(known.get(name, "")) for name in ("token", "ca", "organisation")})
        # A token of the environment is for the server that is named beside it, or for the current one.
        if token := self.environ.get("BREAKWATER_TOKEN", ""):
            profile = replace(profile, token=token)
        if chosen := ca or self.environ.get("BREAKWATER_CA", ""):
            profile = replace(profile, ca=chosen)
        if chosen := self.environ.get("BREAKWATER_ORGANISATION", ""):
            profile = replace(profile, organisation=chosen)
        return profile

    def all(self) -> tuple[str, list[Profile]]:
        """Return the current server, and all profiles."""
        kept = self._read()
        rows = [
            Profile(server, *(str(facts.get(name, "")) for name in ("token", "ca", "organisation")))
            for server, facts in sorted(kept.get("servers", {}).items())
        ]
        return str(kept.get("current", "")), rows

    def keep(self, profile: Profile) -> None:
        """Write a profile down and make it the current one."""
        kept = self._read()
        facts = {name: value for name, value in asdict(profile).items() if name != "server" and value}
        servers = {**kept.get("servers", {}), profile.server: facts}
        self._write({"current": profile.server, "servers": servers})

    def use(self, server: str) -> Profile:
        """Make a server that was signed in to the current one."""
        kept, wanted = self._read(), address(server)
        if wanted not in kept.get("servers", {}):
            raise Stop(f"You are not signed in to {wanted}; run `breakwater login --server {wanted}`.", BAD_USE)
        self._write({**kept, "current": wanted})
        return self.chosen(wanted)

    def forget(self, server: str) -> None:
        """Take a profile out of the file."""
        kept = self._read()
        servers = {name: facts for name, facts in kept.get("servers", {}).items() if name != server}
        current = kept.get("current", "")
        left = current if current in servers else next(iter(servers), "")
        self._write({"servers": servers} | ({"current": left} if left else {}))

    def _read(self) -> dict[str, Any]:
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return {}
        except OSError as problem:
            raise Stop(f"{self.path} cannot be read: {problem.strerror}.") from None
        if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
            raise Stop(f"{self.path} holds tokens and others may read it; run `chmod 600 {self.path}`.", BAD_USE)
        try:
            kept = json.loads(text)
            if isinstance(kept, dict) and all(isinstance(each, dict) for each in kept.get("servers", {}).values()):
                return kept
        except (ValueError, AttributeError):
            pass
        raise Stop(f"{self.path} is damaged; move it away and sign in again.", BAD_USE)

    def _write(self, kept: dict[str, Any]) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made with mode 0600 beside it and moved: never readable by others, never half written.
            number, name = tempfile.mkstemp(dir=self.path.parent, prefix=".profiles-")
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    json.dump(kept, file, indent=2)
                    file.write("\n")
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as problem:
            raise Stop(f"{self.path} cannot be written: {problem.strerror}.") from None


def address(server: str) -> str:
    """Return the address of a server in one form; `BAD_USE` for what is none."""
    text = server.strip().rstrip("/")
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not False
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        raise Stop(f"{server!r} is no address of a server; write it like https://store.example.", BAD_USE)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"
