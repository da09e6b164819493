"""The way to a partner over signed HTTP, as `transfer.Link`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from appstore.federation import wire
from appstore.federation.feed import Refused
from appstore.federation.transfer import Answer
from core.errors import BreakwaterError, Missing, Rejected
from core.words import say

#: Bounds are set by who asks, by document; this is only a number beyond all of them.
_NO_MORE: Final = 2**62


class WireLink:
    """Asks one partner by a signed client, whose bounds of silence and speed hold for every answer."""

    def __init__(self, client: wire.SignedClient) -> None:
        self._client = client

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Ask for a path below `/api/v1/federation/`."""
        # Who fetches a package knows its digest, and would hash it twice.
        asked = self._client.stream(f"{wire.ROOT}/{path}", headers, most=_NO_MORE, known=path.startswith("blobs/"))
        try:
            streamed = asked.__enter__()
        except Rejected as problem:
            raise _refusal(problem, path) from None
        try:
            yield _Answer(streamed)
        except BaseException as problem:
            # What is left of the body is not read: the connection goes.
            if not asked.__exit__(type(problem), problem, problem.__traceback__):
                raise
        else:
            asked.__exit__(None, None, None)


class _Answer:
    def __init__(self, streamed: wire.Streamed) -> None:
        self._streamed = streamed
        self.status, self.headers = streamed.status, streamed.headers

    def chunks(self) -> Iterator[bytes]:
        return iter(self._streamed)


def _refusal(problem: Rejected, path: str) -> BreakwaterError:
    status = problem.context.get("remote_status")
    if status in (404, 410):
        return Missing(say("The partner has no such thing, or none for us."), path=path)
    if isinstance(status, int) and 300 <= status < 400:
        return Refused(say("The partner sends us elsewhere; we do not follow"), reason="redirect", path=path)
    if status in (401, 403):
        return problem
    return Refused(problem.detail, reason="refused", path=path)
