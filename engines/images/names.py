"""Names of images: read by the grammar of the distribution specification, completed as container engines do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import Invalid
from core.words import say

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_NAME = re.compile(
    rf"(?P<path>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?",
    re.ASCII,
)
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Name:
    """An image's name in full; `tag` is empty only where a digest stands in its place."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def read(cls, text: str) -> Name:
        """Return the name that `text` is short for; `Invalid` when it is none (a bare image ID is none)."""
        found = _NAME.fullmatch(text) if len(text) <= _LONGEST + 200 else None
        if found is None or len(found["path"]) > _LONGEST:
            raise Invalid(say("{text} is no name of an image; write it like registry/name:tag", text=repr(text[:120])))
        path, digest = found["path"], found["digest"] or ""
        first, slash, _ = path.partition("/")
        if not slash:
            path = f"docker.io/library/{path}"
        elif "." not in first and ":" not in first and first != "localhost" and first == first.lower():
            path = f"docker.io/{path}"
        return cls(path, found["tag"] or ("" if digest else "latest"), digest)

    @property
    def tagged(self) -> str:
        """The name by its tag; empty when it has none."""
        return f"{self.repository}:{self.tag}" if self.tag else ""

    @property
    def pinned(self) -> str:
        """The name by its digest; empty when it has none."""
        return f"{self.repository}@{self.digest}" if self.digest else ""


def carried(images: Mapping[str, str], text: str) -> str:
    """Return the ID of the image that a package carries under this name; empty when it carries none.

    `images` maps full names to IDs. A name with a digest means that content alone: `Invalid` when the package carries
    another under the same name.
    """
    try:
        name = Name.read(text)
    except Invalid:
        return ""  # whoever creates the container says so
    if not name.digest:
        return images.get(name.tagged, "")
    if name.pinned in images:
        return images[name.pinned]
    other = images.get(name.tagged) or next(
        (image for known, image in images.items() if not name.tag and known.startswith(f"{name.repository}:")), ""
    )
    if other:
        raise Invalid(
            say(
                "the package's {tagged} is {other}, not {digest}",
                tagged=name.tagged or name.repository,
                other=other,
                digest=name.digest,
            )
        )
    return ""
