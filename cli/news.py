"""News of what is waited for: the server says when to look again, so that nobody asks every second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.errors import Stop
from cli.wiring import Session

#: A stream says every 15 seconds that it is there. One that is silent for longer is gathered up on its way, or dead.
SILENCE = 20.0
#: Seconds until a stream that broke is tried again; one that was refused is not.
AGAIN = 30.0


class News:
    """The stream of server-sent events of one thing; where none gets through, whoever waits looks now and then."""

    def __init__(self, session: Session, path: str, ids: Mapping[str, Any] | None = None) -> None:
        self._session, self._path, self._ids = session, path, ids or {}
        self._lines: Iterator[str] | None = None
        self._not_before = 0.0
        self._told = False

    def wait(self, seconds: float) -> bool:
        """Return True after the next message; False at once when there is no stream, or too little time to listen.

        A silent stream holds on for `SILENCE` seconds at most, so that it is asked only while there is as much time left.
        """
        clock = self._session.world.clock
        if not self._path or seconds < SILENCE or clock() < self._not_before:
            self.close()
            return False
        ends = clock() + seconds - SILENCE
        try:
            if self._lines is None:
                self._lines, self._told = self._session.centre.lines(self._path, self._ids, silence=SILENCE), False
            for line in self._lines:
                if line.startswith("data:"):
                    self._told = True
                    return True
                if clock() >= ends:
                    return True
        except Stop:
            # Refused, broken or silent: a stream that once told something may do so again.
            self._not_before = clock() + AGAIN if self._told else float("inf")
            self.close()
            return False
        # It came to its end: perhaps there is nothing more to tell, perhaps the centre is being restarted.
        self._not_before = clock() + AGAIN
        self.close()
        return self._told

    def close(self) -> None:
        """Let the connection go."""
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()  # type: ignore[attr-defined]
