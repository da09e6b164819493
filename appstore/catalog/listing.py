"""Decides what the catalogue lists: the newest release for each audience, its facets, its words. Touches nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from appstore.catalog import versions, words
from appstore.catalog.fulltext import Document

NONE = "none"
SIGNATURES = {
    "unsigned": "Not signed",
    "unknown": "Signer not known",
    "trusted": "Trusted publisher",
    "broken": "Broken signature",
}
_ARCHITECTURES = {
    "x86": "x86-64", "x86_64": "x86-64", "x86-64": "x86-64", "amd64": "x86-64", "x64": "x86-64",
    "arm64": "ARM64", "aarch64": "ARM64", "armv8": "ARM64", "arm": "ARM", "arm32": "ARM", "armv7": "ARM",
}  # fmt: skip


class Candidate(Protocol):
    """A release that could be the one that is listed."""

    key: str
    version: str
    listed: bool
    visibility: str
    package_id: Any
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """Which release the two rows of an application show, by key, and for whom each row is."""

    public: str = ""
    public_for_members: bool = False
    own: str = ""


def choose(releases: Iterable[Candidate]) -> Choice:
    """Return the newest listed release for everybody, and the one for its organisation when that is another.

    Finished versions win over prereleases, then SemVer decides; of equal versions the one whose package is here, then
    the one published last.
    """
    rows = sorted(
        (row for row in releases if row.listed),
        key=lambda row: versions.rank(row.version, row.package_id is not None, row.published_at, row.key),
        reverse=True,
    )
    if not rows:
        return Choice()
    public = next((row for row in rows if row.visibility == "public"), None)
    if public is not None and public is rows[0]:
        return Choice(public.key, True)
    return Choice(public.key if public else "", False, rows[0].key)


def architecture(name: str) -> str:
    """Return one spelling for an architecture, whatever it is called."""
    return _ARCHITECTURES.get(name.strip().lower().replace(" ", ""), name.strip())


def facets(data: Mapping[str, Any], provider: str, store: str) -> list[tuple[str, str, str]]:
    """Return the `(facet, value, label)` of a release; what is not stated is a value, too. `store` is our own name."""
    found: list[tuple[str, str, str]] = [
        _one("category", data.get("category"), "Uncategorised"),
        _one("certification", data.get("certification"), "Not certified"),
        _one("provider", provider, "Not stated"),
    ]
    signature = str(data.get("signature") or "unsigned")
    found.append(("signature", signature[:128], SIGNATURES.get(signature, signature)[:128]))
    origin = str(data.get("origin") or "")
    found.append(
        ("store", origin[:128], str(data.get("origin_name") or origin[:12])[:128])
        if origin
        else ("store", "here", store)
    )
    kinds = [architecture(str(name)) for name in data.get("architectures") or ()]
    found += [("architecture", name[:128], name[:128]) for name in kinds if name] or [("architecture", "any", "Any")]
    found += [("service", str(name)[:128], str(name)[:128]) for name in data.get("services") or () if name]
    found += [("licence", str(name)[:128], str(name)[:128]) for name in data.get("licences") or () if name] or [
        ("licence", NONE, "Not stated")
    ]
    return list({(facet, value): (facet, value, label) for facet, value, label in found}.values())


def _one(facet: str, value: Any, without: str) -> tuple[str, str, str]:
    text = str(value or "").strip()[:128]
    return (facet, text, text) if text else (facet, NONE, without)


def document(listing_id: int, name: str, provider: str, data: Mapping[str, Any], text: str) -> Document:
    """Return the words of a release by where they stand."""
    beside = [provider, str(data.get("category") or ""), *map(str, data.get("keywords") or ())]
    beside += map(str, data.get("services") or ())
    return Document(
        listing_id,
        words.split(name),
        words.split(" ".join(beside)),
        words.split(str(data.get("description") or "")),
        words.split(text),
    )


def lexicon(documents: Sequence[Document]) -> Counter[str]:
    """Return the words worth suggesting, with how many listings have them: those of READMEs are not among them."""
    found: Counter[str] = Counter()
    for each in documents:
        found.update({w for w in (*each.name, *each.keywords, *each.description) if len(w) > 2 and not w.isdigit()})
    return found
