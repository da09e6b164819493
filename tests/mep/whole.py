"""The whole ASGI application in this process, asked twice: with its fast path, and with the ordinary view alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from mep.asgi import Mep
from mep.mp1 import mtls
from mep.mp1.fastpath import FastPath

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Said:
    """One answer; headers sorted, because their order says nothing."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return dict(self.headers)[name]


class Whole:
    """Two applications over the test's database; `get` has the fast path, `view` has not."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._with = Mep(FastPath(settings.DATABASES["default"]["NAME"]))
        self._without = Mep(FastPath(settings.DATABASES["default"]["NAME"]))
        self._without.fast.paths = {}

    def __enter__(self) -> Whole:
        return self

    def __exit__(self, *_: Any) -> None:
        for mep in (self._with, self._without):
            mep.fast.close()
            mep.ordinary.executor.shutdown()
        self._runner.close()

    def get(self, path: str, token: str = "", **headers: str) -> Said:
        return self.ask(self._with, scope(path, named(token, headers)))

    def view(self, path: str, token: str = "", **headers: str) -> Said:
        return self.ask(self._without, scope(path, named(token, headers)))

    def quick(self, path: str, token: str = "", **headers: str) -> bool:
        """Return whether the fast path answers this itself."""
        return self._with.fast.answer(scope(path, named(token, headers))) is not None

    def both(self, asked: dict[str, Any]) -> tuple[Said, Said]:
        """Return the answers with and without the fast path."""
        return self.ask(self._with, asked), self.ask(self._without, asked)

    def ask(self, mep: Mep, asked: dict[str, Any]) -> Said:
        return self._runner.run(_ask(mep, asked))


def named(token: str, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    found = {"host": "mep:8443", **({"authorization": f"Bearer {token}"} if token else {}), **headers}
    return [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in found.items()]


def scope(
    path: str, headers: Headers, method: str = "GET", certificate: str = "", client: str = "127.0.0.1"
) -> dict[str, Any]:
    """Return the scope that uvicorn makes of such a request."""
    where, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "server": ("127.0.0.1", 8443),
        "client": (client, 50000),
        "headers": list(headers),
        **({"extensions": {mtls.EXTENSION: {mtls.METHOD: certificate}}} if certificate else {}),
    }


async def _ask(mep: Mep, asked: dict[str, Any]) -> Said:
    told: list[Any] = []
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not told:
            return {"type": "http.request", "body": b"", "more_body": False}
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)

    await mep(asked, receive, send)
    ended.set()
    begin, body = told[0], b"".join(message.get("body", b"") for message in told[1:])
    headers = sorted((name.decode().lower(), value.decode("latin-1")) for name, value in begin["headers"])
    return Said(begin["status"], tuple(headers), body)
