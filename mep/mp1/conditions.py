"""Versions and conditional requests: entity tags, If-Match, If-None-Match (MEC 009 6.8 and 6.9, RFC 9110 13.1)."""

from __future__ import annotations

from hashlib import blake2b


def tag_of(body: bytes, *, weak: bool = False) -> str:
    """Return the entity tag of a representation that has no version of its own, so its bytes speak."""
    return f'{"W/" if weak else ""}"{blake2b(body, digest_size=12).hexdigest()}"'


def matches(if_match: str | None, *present: str) -> bool:
    """Return whether an If-Match header allows a change of a resource that has one of the tags `present`.

    Without the header the change is done (MEC 009 6.9). The comparison is strong: a weak tag allows nothing.
    """
    if if_match is None or if_match.strip() == "*":
        return True
    return not {tag.strip() for tag in if_match.split(",")}.isdisjoint(present)


def fresh(if_none_match: str | None, etag: str) -> bool:
    """Return whether an If-None-Match header covers the version tagged `etag`; the comparison is weak."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag.removeprefix("W/") in tags or "*" in tags
