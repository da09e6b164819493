"""Licences, changelogs, pictures and schemas: what authors write, and what comes of it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.contents import changelog, licences, media, schema_rows
from appstore.contents.facts import Change
from core.errors import Invalid
from tests.appstore.contents import inside


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Apache-2.0", "Apache-2.0"), ("Apache License 2.0", "Apache-2.0"), ("Apache License, Version 2.0", "Apache-2.0"),
        ("The MIT License", "MIT"), ("MIT OR GPL-2.0+", "MIT OR GPL-2.0-or-later"), ("GPLv3+", "GPL-3.0-or-later"),
        ("GNU GPL v3", "GPL-3.0-only"), ("GNU LGPL 2.1", ""), ("BSD", "BSD-3-Clause"), ("(MIT)", "MIT"),
        ("secret sauce", ""), ("", ""), ("MIT AND (", ""), ("x" * 5000, ""),
    ],
)  # fmt: skip
def test_what_is_written_for_a_licence(said: str, meant: str) -> None:
    assert licences.expression(said) == meant


@given(st.text(max_size=80))
def test_a_licence_is_an_expression_or_nothing(said: str) -> None:
    known = licences.expression(said)
    assert known == "" or licences.expression(known) == known


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Apache License\n   Version 2.0, January 2004\n", "Apache-2.0"),
        (
            "GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007\n ... GNU Affero General Public License",
            "GPL-3.0-only",
        ),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, 19 November 2007", "AGPL-3.0-only"),
        ("Redistribution and use in source and binary forms ... Neither the name", "BSD-3-Clause"),
        ("Redistribution and use in source and binary forms ...", "BSD-2-Clause"),
        ("// SPDX-License-Identifier: EUPL-1.2\n", "EUPL-1.2"),
        ("All rights reserved.", ""),
    ],
)
def test_the_usual_texts_of_licences_are_recognised(text: str, meant: str) -> None:
    assert licences.recognised(text.encode()) == meant


KEPT = """# Changelog
All notable changes are here.

## [Unreleased]
### Added
- a dream

## [1.2.0] - 2026-03-01
### Added
- Speaks French,
  also in the evening
* Second
### Security
- Closes a hole

## [1.1.0]
### Fixed
- old
"""


def test_a_kept_changelog_is_read_for_the_version() -> None:
    assert changelog.of_text(KEPT, "1.2.0") == [
        Change("security", "Closes a hole"),
        Change("added", "Speaks French, also in the evening"),
        Change("added", "Second"),
    ]
    assert changelog.of_text(KEPT, "v1.1.0") == [Change("fixed", "old")]
    assert changelog.of_text(KEPT, "9.9") == []


def test_a_plain_list_is_about_this_release() -> None:
    text = "Fixed: the clock\nNew feature - maps\n\n- Removed: the old API\n"
    assert changelog.of_text(text, "1.0") == [
        Change("changed", "New feature - maps"),
        Change("removed", "the old API"),
        Change("fixed", "the clock"),
    ]


def test_the_annotation_of_artifact_hub_is_read_in_both_forms() -> None:
    told = [{"kind": "fixed", "description": "a"}, "b", {"kind": "odd", "description": "c"}, 7, {"kind": "added"}]
    assert changelog.of_annotation(told) == [Change("changed", "b"), Change("changed", "c"), Change("fixed", "a")]


@given(st.text(max_size=400), st.text(max_size=8))
def test_every_text_is_some_changelog(text: str, version: str) -> None:
    assert all(each.kind in changelog.KINDS and each.text for each in changelog.of_text(text, version))


def jpeg(width: int = 3, height: int = 4) -> bytes:
    frame = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, height, width) + b"\x01\x01\x11\x00"
    return b"\xff\xd8\xff\xe0" + struct.pack(">H", 4) + b"JF" + frame + bytes(20)


def webp(width: int = 5, height: int = 6) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + bytes(4) + b"WEBPVP8X" + struct.pack("<I", 10) + body


@pytest.mark.parametrize(
    ("content", "kind", "size"),
    [(inside.png(2, 3), "png", (2, 3)), (jpeg(), "jpg", (3, 4)), (webp(), "webp", (5, 6))],
)
def test_a_picture_is_known_by_its_bytes(content: bytes, kind: str, size: tuple[int, int]) -> None:
    assert media.sniff(content) == (kind, size)
    assert media.picture("icon", "a", content).content_type == media.TYPES[kind]


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", b"<html>", b"GIF89a" + bytes(20), b"",
        b"\x89PNG\r\n\x1a\n<script>", inside.png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60000, 60000)),
        inside.png() + bytes(media.LARGEST), b"\xff\xd8\xff\xda" + bytes(30), b"RIFF0000WEBPxxxx" + bytes(20),
    ],
)  # fmt: skip
def test_what_is_no_small_raster_picture_is_not_shown(content: bytes) -> None:
    with pytest.raises(Invalid):
        media.picture("icon", "icon.png", content)


@given(st.binary(max_size=60))
def test_no_bytes_are_an_error(content: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8 "):
        kind, size = media.sniff(head + content)
        assert kind == "" or min(size) >= 0


def test_a_schema_is_a_table() -> None:
    rows = {row.name: row for row in schema_rows.rows(inside.SCHEMA)}
    assert list(rows) == ["replicas", "log.level"]
    assert rows["replicas"] == schema_rows.Row("replicas", "integer", "2", "How many pods", True, "at least 1")
    assert rows["log.level"].limits == "one of info, debug"


def test_references_inside_a_schema_are_followed_and_circles_end() -> None:
    schema: dict[str, Any] = {
        "$defs": {"port": {"type": "integer", "maximum": 9}, "loop": {"$ref": "#/$defs/loop"}},
        "properties": {
            "port": {"$ref": "#/$defs/port"},
            "loop": {"$ref": "#/$defs/loop"},
            "away": {"$ref": "http://evil.example/schema"},
            "self": {"properties": {"again": {"$ref": "#/properties/self"}}},
        },
    }
    rows = {row.name: row for row in schema_rows.rows(schema)}
    assert rows["port"].limits == "at most 9"
    assert len(rows) <= schema_rows.MOST


KEYS = st.sampled_from(["properties", "type", "$ref", "enum", "items", "required", "a", "default"])
JSON = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_document_is_some_schema(schema: Any) -> None:
    assert len(schema_rows.rows(schema)) <= schema_rows.MOST
