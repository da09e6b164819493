"""Licences as SPDX expressions: what authors wrote put right, and the usual texts recognised."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

#: Longer than this no expression is that a person wrote.
_LONGEST = 400
_LONGEST_TEXT = 64 << 10

#: What is written instead of the identifier, in small letters without "the", "license", "version", commas.
_ALIASES = {
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache software": "Apache-2.0", "apache software 2.0": "Apache-2.0", "asl 2.0": "Apache-2.0",
    "apache v2": "Apache-2.0", "apache v2.0": "Apache-2.0", "apachev2": "Apache-2.0",
    "mit": "MIT", "expat": "MIT", "mit/x11": "MIT", "isc": "ISC", "iscl": "ISC", "zlib/libpng": "Zlib",
    "bsd": "BSD-3-Clause", "new bsd": "BSD-3-Clause", "modified bsd": "BSD-3-Clause", "bsd-3": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause", "bsd 2-clause": "BSD-2-Clause",
    "simplified bsd": "BSD-2-Clause", "bsd-2": "BSD-2-Clause", "2-clause bsd": "BSD-2-Clause",
    "gplv2": "GPL-2.0-only", "gpl-2": "GPL-2.0-only", "gpl 2": "GPL-2.0-only", "gpl2": "GPL-2.0-only",
    "gplv2+": "GPL-2.0-or-later", "gpl-2+": "GPL-2.0-or-later", "gpl2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only", "gpl-3": "GPL-3.0-only", "gpl 3": "GPL-3.0-only", "gpl3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later", "gpl-3+": "GPL-3.0-or-later", "gpl3+": "GPL-3.0-or-later",
    "lgplv2": "LGPL-2.0-only", "lgplv2+": "LGPL-2.0-or-later", "lgpl-2.1": "LGPL-2.1-only",
    "lgplv2.1": "LGPL-2.1-only", "lgplv2.1+": "LGPL-2.1-or-later", "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgplv3": "LGPL-3.0-only", "lgplv3+": "LGPL-3.0-or-later", "lgpl-3": "LGPL-3.0-only",
    "agplv3": "AGPL-3.0-only", "agplv3+": "AGPL-3.0-or-later", "agpl-3": "AGPL-3.0-only",
    "mpl 2.0": "MPL-2.0", "mplv2.0": "MPL-2.0", "mozilla public 2.0": "MPL-2.0", "mozilla public 2.0 (mpl 2.0)": "MPL-2.0",
    "psf": "PSF-2.0", "psfl": "PSF-2.0", "python software foundation": "PSF-2.0", "psf-2": "PSF-2.0",
    "unlicense": "Unlicense", "the unlicense": "Unlicense", "cc0": "CC0-1.0", "boost": "BSL-1.0",
    "eclipse public 2.0": "EPL-2.0", "artistic": "Artistic-1.0-Perl", "zlib": "Zlib",
}  # fmt: skip

#: Identifier -> phrases that its text has. Most texts begin with their name, so those are looked for at the start.
_HEADS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("AGPL-3.0-only", ("gnu affero general public license", "version 3, 19 november 2007")),
    ("LGPL-3.0-only", ("gnu lesser general public license", "version 3, 29 june 2007")),
    ("LGPL-2.1-only", ("gnu lesser general public license", "version 2.1, february 1999")),
    ("GPL-3.0-only", ("gnu general public license", "version 3, 29 june 2007")),
    ("GPL-2.0-only", ("gnu general public license", "version 2, june 1991")),
    ("MPL-2.0", ("mozilla public license version 2.0",)),
    ("EPL-2.0", ("eclipse public license - v 2.0",)),
    ("BUSL-1.1", ("business source license 1.1",)),
    ("CC0-1.0", ("creative commons", "cc0 1.0 universal")),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("BSL-1.0", ("boost software license - version 1.0",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
)
_GIVEN = "permission is hereby granted, free of charge, to any person obtaining a copy"
_ANY_PURPOSE = "permission to use, copy, modify, and/or distribute this software for any purpose"
_SOURCE_AND_BINARY = "redistribution and use in source and binary forms"
#: Identifier, phrases that its text has, phrases that it has not.
_BODIES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("MIT", (_GIVEN, "the above copyright notice and this permission notice"), ()),
    ("MIT-0", (_GIVEN,), ("the above copyright notice and this",)),
    ("ISC", (_ANY_PURPOSE, "provided that the above copyright notice"), ()),
    ("0BSD", (_ANY_PURPOSE,), ("provided that the above",)),
    ("BSD-3-Clause", (_SOURCE_AND_BINARY, "neither the name"), ("all advertising materials",)),
    ("BSD-2-Clause", (_SOURCE_AND_BINARY,), ("neither the name", "all advertising materials")),
    ("Zlib", ("altered source versions must be plainly marked as such", "must not be misrepresented"), ()),
)
_IDENTIFIER = re.compile(r"SPDX-License-Identifier:\s*([^\r\n*]{1,400})", re.IGNORECASE)


@lru_cache(maxsize=1)
def _licensing() -> Any:
    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def expression(text: str) -> str:
    """Return the SPDX expression for what somebody wrote; empty when it is none and no usual name for one."""
    text = " ".join(text.split())
    if not text or len(text) > _LONGEST:
        return ""
    known = _parsed(text)
    if known:
        return known
    plain = re.sub(r"\b(the|license|licence|licensed|version)\b|[,\"]", " ", text.lower())
    plain = " ".join(plain.replace("gnu ", "").split())
    plain = re.sub(r"^(l|a)?gpl (v?[0-9.]+\+?)$", r"\1gpl\2", plain)
    return _ALIASES.get(plain, "")


def _parsed(text: str) -> str:
    try:
        parsed = _licensing().parse(text, validate=True, strict=True)
    except (ExpressionError, ValueError, TypeError, AttributeError, RecursionError):
        return ""
    return str(parsed) if parsed is not None else ""


def recognised(content: bytes) -> str:
    """Return the SPDX expression of a licence text; empty when it is none of the usual ones."""
    text = content[:_LONGEST_TEXT].decode("utf-8", "replace")
    named = _IDENTIFIER.search(text)
    if named:
        known = expression(named.group(1).strip().rstrip("-/> "))
        if known:
            return known
    flat = " ".join(text.lower().split())
    head = flat[:1000]
    for name, phrases in _HEADS:
        if all(phrase in head for phrase in phrases):
            return name
    for name, phrases, absent in _BODIES:
        if all(phrase in flat for phrase in phrases) and not any(phrase in flat for phrase in absent):
            return name
    return ""
