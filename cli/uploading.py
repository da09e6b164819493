"""Files that go up in parts (tus 1.0.0): after a broken line, or a killed process, only what is missing is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cli.errors import Refused, Stop
from cli.show import size
from cli.wiring import Session

TUS = {"Tus-Resumable": "1.0.0"}
_READ = 1 << 18
#: Seconds without a byte that arrives until we give up; and the longest pause between two tries.
_PATIENCE, _PAUSE = 120.0, 10.0
#: Statuses after which the same request may succeed later.
_LATER = {423, 429, 500, 502, 503, 504}
#: Unfinished uploads that are remembered.
_MOST = 200

Tell = Callable[[int], None]


class Memory:
    """Which upload a file belongs to, in `uploads.json` beside the profiles. Losing it only costs sending again."""

    def __init__(self, session: Session, organisation: str, file: Path, digest: str) -> None:
        self.path = session.profiles.path.with_name("uploads.json")
        facts = [session.profile.server, organisation, file.name, digest]
        self.key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def recall(self) -> str:
        """Return the id of the upload; empty when there is none."""
        return str(self._read().get(self.key, ""))

    def keep(self, upload: str) -> None:
        """Remember it."""
        self._write({**self._read(), self.key: upload})

    def forget(self) -> None:
        """Forget it."""
        kept = self._read()
        if kept.pop(self.key, None):
            self._write(kept)

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, Any]) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self.path.parent, prefix=".uploads-")
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump(dict(list(kept.items())[-_MOST:]), file)
            Path(name).replace(self.path)
        except OSError:
            return


def send(session: Session, file: Path, digest: str, *, organisation: str, part: int, tell: Tell) -> str:
    """Send what is missing of a file and return the id of the package; `tell` hears how many bytes have arrived.

    `Refused` when the centre takes it not, as for the same bytes a second time.
    """
    length, memory = file.stat().st_size, Memory(session, organisation, file, digest)
    upload = _known(session, memory)
    if upload is None:
        said = {"filename": file.name, "organisation": organisation, "sha256": digest}
        metadata = ",".join(f"{key} {_base64(value)}" for key, value in said.items() if value)
        upload = session.post("/uploads", headers={**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata})
        memory.keep(upload["id"])
    elif upload["package"]:
        memory.forget()
        return str(upload["package"])
    elif upload["offset"]:
        session.printer.tell(f"Going on after {size(upload['offset'])} of {size(length)}.", "dim")
    try:
        package = _Line(session, upload["id"], file, length, part, tell).run(upload["offset"])
    except Refused as problem:
        if problem.status not in _LATER:
            memory.forget()  # this one leads nowhere: the next try begins anew
        raise
    memory.forget()
    return package


def _known(session: Session, memory: Memory) -> Any:
    """Return the upload that was begun before, if it can be gone on with."""
    pk = memory.recall()
    if not pk:
        return None
    try:
        found = session.get("/uploads/{id}", {"id": pk})
    except Refused as problem:
        if problem.status != 404:
            raise
        found = None
    if found is None or found["problem"]:
        memory.forget()
        return None
    return found


class _Line:
    """The way of one file: part after part, and after a break from where the centre says."""

    def __init__(self, session: Session, upload: str, file: Path, length: int, part: int, tell: Tell) -> None:
        self.session, self.ids, self.file, self.length = session, {"id": upload}, file, length
        self.part, self.tell = part, tell

    def run(self, offset: int) -> str:
        """Send all from `offset` on; return the id of the package."""
        clock = self.session.world.clock
        since, tries, furthest = clock(), 0, offset
        with self.file.open("rb") as content:
            while True:
                self.tell(offset)
                try:
                    offset, package = self._one(content, offset)
                    if package:
                        self.tell(self.length)
                        return package
                except Stop as problem:
                    if not _passing(problem) or clock() - since > _PATIENCE:
                        raise
                    tries += 1
                    self.session.printer.tell(f"{problem.message} Trying again.", "dim")
                    self.session.world.sleep(min(_PAUSE, 0.5 * 2 ** min(tries - 1, 6)))
                    offset, package = self._asked(offset)
                    if package:
                        return package
                if offset > furthest:
                    since, tries, furthest = clock(), 0, offset

    def _one(self, content: BinaryIO, offset: int) -> tuple[int, str]:
        """Send one part; return the new offset, and the package with the last one."""
        wanted = min(self.part, self.length - offset)
        content.seek(offset)
        answer = self.session.centre.send(
            "PATCH",
            "/uploads/{id}",
            self.ids,
            content=self._pieces(content, offset, wanted),
            headers={
                **TUS,
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(wanted),
            },
        )
        return int(answer.headers["Upload-Offset"]), answer.headers.get("Breakwater-Package", "")

    def _pieces(self, content: BinaryIO, offset: int, left: int) -> Iterator[bytes]:
        # Exactly as long as was said: a file that grows meanwhile would break the request.
        while left and (piece := content.read(min(_READ, left))):
            left, offset = left - len(piece), offset + len(piece)
            yield piece
            self.tell(offset)

    def _asked(self, offset: int) -> tuple[int, str]:
        """Ask how far it is; as far as before when nobody answers."""
        try:
            seen = self.session.get("/uploads/{id}", self.ids)
        except Stop as problem:
            if not _passing(problem):
                raise
            return offset, ""
        if seen["problem"]:
            raise Refused(int(seen["problem"].get("status", 409)), seen["problem"])
        return int(seen["offset"]), seen["package"] or ""


def _passing(problem: Stop) -> bool:
    """Whether it may work a little later: the line broke, or the centre has another offset or is busy."""
    if not isinstance(problem, Refused):
        return True
    return problem.status in _LATER or (problem.status == 409 and "offset" in problem.problem
                                        and "package" not in problem.problem)  # fmt: skip


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
