"""What adapter and helper say to each other over their Unix socket: length-prefixed JSON, one answer to each request.

A request holds rules of MEC 011 and nothing that the kernel would read as a command: what they become is decided by
the helper alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from core.errors import BreakwaterError, Invalid, from_problem
from core.words import as_text
from upf_adapter.contract import Refused, TrafficRule

#: Largest message either way; 20,000 rules of ordinary size need about 6 MiB.
MOST_BYTES = 32 << 20
PREFIX = 4


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the adapter asks for; `rules` belongs to replace, `rule` to put, `id` to delete."""

    op: Literal["replace", "put", "delete", "rules", "counters", "intact", "ping"]
    rules: list[TrafficRule] = []
    rule: TrafficRule | None = None
    id: str = ""


class Answer(msgspec.Struct, omit_defaults=True):
    """What came of it; `problem` (RFC 9457) when nothing did."""

    problem: dict[str, Any] | None = None
    in_force: list[str] = []
    problems: dict[str, dict[str, Any]] = {}
    rules: list[TrafficRule] = []
    counters: dict[str, tuple[int, int]] = {}
    intact: bool = False
    text: str = ""


_requests = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder(enc_hook=as_text)


def pack(what: Request | Answer) -> bytes:
    """Return the message as it travels."""
    data = _encoder.encode(what)
    if len(data) > MOST_BYTES:
        raise Invalid(f"The rules need {len(data)} bytes, more than the {MOST_BYTES} that a user plane takes at once")
    return len(data).to_bytes(PREFIX, "big") + data


def size(prefix: bytes | bytearray) -> int:
    """Return how many bytes follow; `Invalid` when that is more than anybody sends."""
    found = int.from_bytes(prefix[:PREFIX], "big")
    if not 0 < found <= MOST_BYTES:
        raise Invalid(f"A message of {found} bytes is not taken")
    return found


def request(data: bytes) -> Request:
    """Read a request; `Invalid` for anything else."""
    try:
        found = _requests.decode(data)
    except (msgspec.DecodeError, RecursionError) as problem:
        raise Invalid(f"This is no request: {problem}") from None
    sizes = {len(rule.id) for rule in (*found.rules, *([found.rule] if found.rule else []))}
    if sizes and not 0 < min(sizes) <= max(sizes) <= 1024:
        raise Invalid("A rule needs an id of 1 to 1024 characters")
    return found


def answer(data: bytes) -> Answer:
    """Read an answer."""
    try:
        return _answers.decode(data)
    except (msgspec.DecodeError, RecursionError) as problem:
        raise Invalid(f"This is no answer: {problem}") from None


def as_error(problem: Mapping[str, Any]) -> BreakwaterError:
    """Return the error that the helper tells of."""
    if problem.get("code") != Refused.code:
        return from_problem(problem)
    found = Refused(str(problem.get("detail", "")))
    # The sentence has the nearest in it already.
    found.nearest = str(problem.get("nearest", ""))
    found.context = {key: problem[key] for key in ("nearest", "members") if key in problem}
    return found
