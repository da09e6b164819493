"""A quick look into a chart: what values it knows and what its schema forbids, without rendering it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import yamls
from core.errors import Invalid
from core.words import say

#: A chart's values.yaml and schema are read into memory up to here; a chart is unpacked in passing up to `UNPACKED`.
LARGEST_FILE, UNPACKED = 1 << 20, 64 << 20


@dataclass(frozen=True, slots=True)
class Peek:
    """The default values of a chart and its values schema (empty when it has none)."""

    values: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)

    def allows(self, key: str) -> bool:
        """Return whether the schema lets a value be set at the top-level `key`."""
        if self.schema.get("additionalProperties", True) is not False:
            return True
        properties = self.schema.get("properties")
        return isinstance(properties, Mapping) and key in properties


def peek(chart: Path) -> Peek:
    """Return what the chart (a `.tgz` or a folder) says about its values; `Invalid` when it cannot be read."""
    files = _from_folder(chart) if chart.is_dir() else _from_archive(chart)
    try:
        values = (
            yamls.load(files.get("values.yaml", b"").decode(), "values.yaml", most_nodes=200_000, aliases=True) or {}
        )
        schema = json.loads(files.get("values.schema.json", b"{}"))
    except (ValueError, RecursionError) as problem:
        raise Invalid(say("The chart's values or their schema cannot be read")) from problem
    return Peek(
        values if isinstance(values, Mapping) else {},
        schema if isinstance(schema, Mapping) else {},
    )


WANTED = ("values.yaml", "values.schema.json")


def _from_folder(chart: Path) -> dict[str, bytes]:
    return {name: (chart / name).read_bytes() for name in WANTED if (chart / name).is_file()}


def _from_archive(chart: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with gzip.open(chart) as unpacked, tarfile.open(fileobj=_Bounded(unpacked, UNPACKED), mode="r|") as archive:
            for member in archive:
                parts = member.name.removeprefix("./").split("/")
                if len(parts) == 2 and parts[1] in WANTED and member.isreg():
                    if member.size > LARGEST_FILE:
                        raise Invalid(
                            say(
                                "{parts} of the chart is larger than {largest_file} bytes",
                                parts=parts[1],
                                largest_file=LARGEST_FILE,
                            )
                        )
                    body = archive.extractfile(member)
                    found[parts[1]] = body.read() if body else b""
    except FileNotFoundError as problem:
        raise Invalid(say("The chart is not there")) from problem
    except (tarfile.TarError, EOFError, OSError, zlib.error) as problem:
        raise Invalid(say("The chart is no readable .tgz")) from problem
    return found


class _Bounded(io.RawIOBase):
    """A stream that refuses to be read beyond a limit, so that a bomb stays small."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self.stream, self.left = stream, limit

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(chunk)
        if self.left < 0:
            raise Invalid(say("The chart unpacks to more than {unpacked} bytes", unpacked=UNPACKED))
        return chunk
