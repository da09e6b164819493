"""The software bill of materials of a release as CycloneDX 1.6 JSON; the same package gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.exception import CycloneDxException
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component as Part
from cyclonedx.model.component import ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from appstore.contents import licences
from appstore.contents.facts import Component, Facts, ImageFact
from core.errors import BreakwaterError
from core.words import say

MEDIA_TYPE = "application/vnd.cyclonedx+json"
SPECIFICATION = "1.6"
#: Files are listed by hash up to this many; the package's own digest covers them all.
MOST_FILES = 4096
_LISTS, _PIECE = ("components", "dependencies"), 50
_KINDS = {"chart": ComponentType.APPLICATION, "image": ComponentType.CONTAINER}


@dataclass(frozen=True, slots=True)
class About:
    """The release that the bill is of."""

    name: str
    provider: str
    version: str
    sha256: str
    made_at: datetime


class BadBill(BreakwaterError):
    """The bill that was made does not fit the schema of CycloneDX: a mistake of ours."""

    code, title = "bad-sbom", say("The bill of materials came out wrong")


def bill(about: About, facts: Facts, files: Mapping[str, str]) -> bytes:
    """Return the bill as JSON, checked against the schema; `BadBill` when it does not fit."""
    root = Part(
        name=about.name or "application",
        version=about.version or None,
        publisher=about.provider or None,
        type=ComponentType.APPLICATION,
        bom_ref="release",
        hashes=[_sha256(about.sha256)],
        licenses=_licences(" AND ".join(f"({each})" for each in facts.licences)) if facts.licences else None,
    )
    images = {fact.reference: fact for fact in facts.images}
    parts, inside = _parts(facts.components, images)
    listed = list(_files(files))
    made = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"urn:breakwater:sbom:{about.sha256}"),
        metadata=BomMetaData(component=root, timestamp=about.made_at.astimezone(UTC).replace(microsecond=0)),
        components=[*parts, *listed],
    )
    by_ref = {part.bom_ref.value: part for part in parts}
    top = [part for ref, part in by_ref.items() if not (ref or "").startswith("software-")]
    links = {
        root.bom_ref: [*top, *listed],
        **{by_ref[ref].bom_ref: [by_ref[n] for n in names] for ref, names in inside.items()},
    }
    # Not by `register_dependency`: it looks through all links for each one.
    made.dependencies = [
        Dependency(ref, [Dependency(each.bom_ref) for each in members]) for ref, members in links.items()
    ]
    try:
        written = json.loads(JsonV1Dot6(made).output_as_string())
    except (CycloneDxException, ValueError, TypeError) as problem:
        raise BadBill(say("The bill of materials cannot be written: {name}", name=type(problem).__name__)) from problem
    _check(written)
    return json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _check(written: dict[str, Any]) -> None:
    """Check the document against the schema, its long lists in pieces.

    The schema wants the members of a list to differ, and the validator compares each with each: minutes for an image of
    a few thousand packages. Every member has a reference of its own, so they do differ.
    """
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    frame = {name: value for name, value in written.items() if name not in _LISTS}
    documents = [frame]
    for name in _LISTS:
        rows = written.get(name, [])
        documents += [{**frame, name: rows[at : at + _PIECE]} for at in range(0, len(rows), _PIECE)]
    for document in documents:
        if validator.validate_str(json.dumps(document)) is not None:
            raise BadBill(say("The bill of materials does not fit its schema"))


def _parts(components: Iterable[Component], images: Mapping[str, ImageFact]) -> tuple[list[Part], dict[str, list[str]]]:
    """Return the components, and which of them lie in which image, both by reference."""
    parts: list[Part] = []
    inside: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    by_digest = {(fact.reference.partition("@")[0]): fact for fact in images.values()}
    for number, each in enumerate(components):
        ref = f"{each.kind if each.kind in _KINDS else 'software'}-{number}"
        fact = by_digest.get(f"{each.name}:{each.version}") or by_digest.get(each.name)
        parts.append(_part(each, ref, fact if each.kind == "image" else None))
        if each.kind == "image" and fact is not None:
            by_name[fact.reference.partition("@")[0]] = ref
        elif each.kind not in _KINDS and each.place in by_name:
            inside.setdefault(by_name[each.place], []).append(ref)
    return parts, inside


def _part(each: Component, ref: str, image: ImageFact | None) -> Part:
    properties = [
        Property(name="breakwater:kind", value=each.kind),
        Property(name="breakwater:place", value=each.place),
    ]
    hashes: list[HashType] = []
    if image is not None:
        properties += [
            Property(name="breakwater:pinned", value=str(image.pinned).lower()),
            Property(name="breakwater:carried", value=str(image.carried).lower()),
        ]
        if image.architecture:
            properties.append(Property(name="breakwater:architecture", value=image.architecture))
        if image.digest.startswith("sha256:") and len(image.digest) == 71:
            hashes.append(_sha256(image.digest.removeprefix("sha256:")))
    return Part(
        name=each.name,
        version=each.version or None,
        type=_KINDS.get(each.kind, ComponentType.LIBRARY),
        bom_ref=ref,
        purl=PackageURL.from_string(each.purl) if each.purl else None,
        licenses=_licences(each.licence),
        properties=properties,
        hashes=hashes or None,
    )


def _files(files: Mapping[str, str]) -> Iterable[Part]:
    for number, (name, digest) in enumerate(sorted(files.items())[:MOST_FILES]):
        if digest:
            yield Part(name=name, type=ComponentType.FILE, bom_ref=f"file-{number}", hashes=[_sha256(digest)])


def _licences(text: str) -> list[LicenseExpression | DisjunctiveLicense] | None:
    if not text:
        return None
    known = licences.expression(text)
    return [LicenseExpression(known)] if known else [DisjunctiveLicense(name=text[:200])]


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
