"""What a running chronyd says about its sources; `timing` asks here before it reads configuration files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Seconds that chronyc may take; a daemon that is not there is told at once.
PATIENCE = 2.0
#: As chronyc marks a source: the one in use, and those that are combined with it.
SELECTED, COMBINED = "*", "+"


@dataclass(frozen=True, slots=True)
class Source:
    """One NTP server that chronyd asks."""

    name: str
    state: str
    poll: int
    authentication: str = "NONE"
    key: int = 0

    @property
    def priority(self) -> int:
        """The smaller the more it is trusted at the moment."""
        return {SELECTED: 1, COMBINED: 2}.get(self.state, 3)


def sources(command: Sequence[str] = ("chronyc",)) -> list[Source] | None:
    """Return the NTP servers of the chronyd on this host; None when none is running."""
    if shutil.which(command[0]) is None:
        return None
    told = _ask(command, "sources")
    return None if told is None else list(read(told, _ask(command, "authdata") or ""))


def read(told: str, authentication: str) -> Iterator[Source]:
    """Yield the NTP servers in the CSV of `chronyc -c sources` and `authdata`; reference clocks have no address."""
    # authdata: name, mode, key id, ...; SK is a symmetric key, NTS the successor of Autokey.
    modes = {row[0]: (row[1], row[2]) for row in _rows(authentication, 3)}
    seen = set()
    for mode, state, name, _, poll in (row[:5] for row in _rows(told, 5)):
        if mode not in ("^", "=") or not name or name in seen:
            continue
        seen.add(name)
        kind, key = modes.get(name, ("-", "0"))
        yield Source(
            name,
            state,
            int(poll) if poll.lstrip("-").isdigit() else 6,
            {"SK": "SYMMETRIC_KEY", "NTS": "AUTO_KEY"}.get(kind, "NONE"),
            int(key) if key.isdigit() and kind == "SK" else 0,
        )


def _rows(text: str, columns: int) -> list[list[str]]:
    return [row for line in text.splitlines() if len(row := line.split(",")) >= columns]


def _ask(command: Sequence[str], what: str) -> str | None:
    try:
        # -N: names as they are in the configuration, and no look-up of addresses.
        ran = subprocess.run([*command, "-c", "-N", what], capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.decode(errors="replace") if ran.returncode == 0 else None
