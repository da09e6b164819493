"""The manifest (`.mf`) of a CSAR, NFV-SOL 004 V3.3.1 clause 4.3: metadata, a digest for each file, a signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from appstore.packages.documents import read_text
from core.archives import Archive, Damaged
from core.archives.base import printable
from core.findings import Finding, Level
from core.words import say

_ALGORITHMS = {"sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}
_BEGIN, _END = re.compile(r"^-----BEGIN (CMS|PKCS7)-----$"), re.compile(r"^-----END (CMS|PKCS7)-----$")
_MOST_ENTRIES = 8192


@dataclass(slots=True)
class Entry:
    """What the manifest says about one file."""

    source: str
    algorithm: str = ""
    digest: str = ""


@dataclass(slots=True)
class Manifest:
    """A manifest as it was read."""

    place: str
    metadata: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    #: The signature without its first and last line; empty when there is none.
    cms: str = ""
    #: What EdgeGallery signs, and what SOL 004 signs: as text, and the very bytes before the signature.
    sources_text: str = ""
    signed_text: str = ""
    signed: bytes = b""
    #: What is not as it should be about the lines around the signature; empty when all is.
    loose: str = ""
    #: Files beside that carry the signature or certificate of one file (SOL 004, 4.3.6).
    beside: set[str] = field(default_factory=set)

    def get(self, *names: str) -> str:
        """Return the first of these metadata that has a value."""
        return next((self.metadata[name] for name in names if self.metadata.get(name)), "")


def read_manifest(content: bytes, place: str, findings: list[Finding]) -> Manifest:
    """Read a manifest; every odd line is a finding, and reading goes on."""
    manifest = Manifest(place)
    text = read_text(content, place)
    body, manifest.cms, manifest.loose = _split(text, place, findings)
    manifest.signed_text = body
    manifest.signed = content[
        : len(content) - len(text.encode()) + len(body.encode())
    ]  # a byte order mark is signed, too
    at = re.search(r"(?mi)^[ \t]*Source\s*:", body)
    manifest.sources_text = body[at.start() :] if at else ""
    section, entry = "", None
    for number, raw in enumerate(body.splitlines(), 1):
        line = raw.strip()
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not line or line.startswith("#"):
            continue
        if not colon:
            findings.append(_odd(place, say("line {number} is not `name: value`", number=number)))
        elif key.lower() == "metadata" and not value:
            section = "metadata"
        elif key.lower() == "source":
            section, entry = "source", Entry(value)
            if len(manifest.entries) < _MOST_ENTRIES:
                manifest.entries.append(entry)
        elif section == "source" and entry and key.lower() in ("algorithm", "hash"):
            if key.lower() == "hash":
                entry.digest = entry.digest or value.lower()
            else:
                entry.algorithm = entry.algorithm or value
        elif section == "source" and key.lower() in ("signature", "certificate"):
            manifest.beside.add(value)  # single files may be signed beside; the manifest's own signature counts here
        elif raw[:1] in " \t" or key.lower() in ("non_mano_artifact_sets", "onap_ansible_playbooks"):
            section = "metadata" if section == "metadata" and raw[:1] in " \t" else "other"
            if section == "metadata":
                _note(manifest, key, value, findings)
        elif section in ("metadata", ""):
            section = "metadata"
            _note(manifest, key, value, findings)
        elif section != "other":
            findings.append(
                _odd(
                    place,
                    say("line {number} names {key}, which belongs to nothing", number=number, key=printable(key)[:60]),
                )
            )
    return manifest


def _note(manifest: Manifest, key: str, value: str, findings: list[Finding]) -> None:
    if key in manifest.metadata:
        message = say("{key} is given twice; the first counts", key=printable(key)[:60])
        findings.append(Finding(Level.ERROR, "manifest-duplicate", manifest.place, message, say("Keep one of them")))
        return
    manifest.metadata[key] = value


def _odd(place: str, message: str) -> Finding:
    return Finding(Level.WARNING, "manifest-odd-line", place, message, say("Remove the line"))


def _split(text: str, place: str, findings: list[Finding]) -> tuple[str, str, str]:
    """Return the text before the CMS block, the block, and what is loose about the lines around it."""
    lines = text.splitlines(keepends=True)
    begin = next((n for n, line in enumerate(lines) if _BEGIN.match(line.strip())), None)
    if begin is None:
        return text, "", ""
    end = next((n for n, line in enumerate(lines) if n > begin and _END.match(line.strip())), None)
    if end is None:
        findings.append(
            Finding(
                Level.ERROR,
                "signature-invalid",
                place,
                say("The signature has no end line"),
                say("Sign the package again"),
            )
        )
        return "".join(lines[:begin]), "".join(lines[begin + 1 :]) or "\n", ""
    if any(line.strip() for line in lines[end + 1 :]):
        findings.append(
            Finding(
                Level.ERROR,
                "manifest-after-signature",
                place,
                say("There is text after the signature, which nobody signed"),
                say("Put it before the signature and sign again"),
            )
        )
    around = [lines[begin], lines[end], *lines[end + 1 :]]
    kind = lines[begin].strip().removeprefix("-----BEGIN ")
    plain = [f"-----BEGIN {kind}", f"-----END {kind}", *("" for _ in lines[end + 1 :])]
    tidy = all(
        line.removesuffix("\n").removesuffix("\r") == wanted and line.endswith(("\n", wanted or "\n"))
        for line, wanted in zip(around, plain, strict=True)
    )
    loose = "" if tidy else say("the lines around the signature are not as they should be")
    # An empty block is a broken signature, not none.
    return "".join(lines[:begin]), "".join(lines[begin + 1 : end]) or "\n", loose


@dataclass(slots=True)
class Coverage:
    """Which members the manifest covers: `listed` have a digest that is right, `uncovered` have none."""

    listed: list[str] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)


def check_digests(
    manifest: Manifest,
    archive: Archive,
    root: str,
    *,
    exempt: set[str],
    unlisted: Callable[[str], Level],
    coverage: Coverage | None = None,
) -> Iterator[Finding]:
    """Compare every digest with the file it is about, both ways.

    `root` is the folder of the package in the archive, `exempt` the members that need no digest (the manifest
    itself), `unlisted` says how bad a file without one is. `coverage` is filled in passing.
    """
    place, listed = manifest.place, set()
    coverage = coverage or Coverage()
    for entry in manifest.entries:
        name = entry.source.removeprefix("./")
        if re.match(r"^[a-z][a-z0-9+.-]*://", name):
            yield Finding(
                Level.INFO,
                "manifest-external",
                place,
                say("{name} lies outside of the package", name=printable(name)[:120]),
            )
            continue
        if name in listed:
            yield Finding(
                Level.ERROR, "manifest-duplicate", name, say("The manifest lists it twice"), say("Keep one of them")
            )
            continue
        listed.add(name)
        member = root + name
        if member not in archive:
            yield Finding(
                Level.ERROR, "manifest-source-missing", printable(name), say("The manifest lists it, but it is not there"),
                say("Add the file or drop its entry"),
            )  # fmt: skip
            continue
        wrong = list(_check_one(entry, archive, member, name))
        yield from wrong
        if not wrong:
            coverage.listed.append(name)
    for member in archive.names():
        name = member.removeprefix(root)
        if name not in listed and member not in exempt:
            coverage.uncovered.append(name)
            yield Finding(
                unlisted(name), "manifest-unlisted", name, say("The manifest has no digest for it"),
                say("List every file with its SHA-256"),
            )  # fmt: skip


def _check_one(entry: Entry, archive: Archive, member: str, name: str) -> Iterator[Finding]:
    algorithm = _ALGORITHMS.get(entry.algorithm.lower().replace("-", "").replace("_", ""))
    if algorithm is None:
        told = printable(entry.algorithm)[:40] or "none"
        message = say("Its digest algorithm is {told}; SHA-256, SHA-384 and SHA-512 are taken", told=told)
        yield Finding(Level.ERROR, "manifest-algorithm", name, message, say("Use SHA-256"))
        return
    if not entry.digest:
        yield Finding(
            Level.ERROR, "manifest-hash-missing", name, say("The manifest gives it no hash"), say("Add its SHA-256")
        )
        return
    try:
        digest = archive.sha256(member, algorithm)
    except Damaged as problem:
        yield Finding(Level.ERROR, problem.finding, name, problem.detail, say("Build the package again"))
        return
    if digest != entry.digest:
        message = say(
            "The manifest says {entry_digest}, but the file has {digest}",
            entry_digest=printable(entry.digest)[:128],
            digest=digest,
        )
        yield Finding(
            Level.ERROR, "manifest-hash-mismatch", name, message, say("Build the package again after the last change")
        )
