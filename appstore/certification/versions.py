"""Comparing versions as each ecosystem does: which is newer decides whether a weakness is still there. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cmp_to_key
from itertools import zip_longest
from typing import Any

from packaging.version import InvalidVersion, Version

#: More characters than this are no version.
LONGEST = 200
Compare = Callable[[str, str], int]


def compare(ecosystem: str, left: str, right: str) -> int:
    """Return -1, 0 or 1 for older, equal or newer; the ecosystem is one of OSV's, a suffix such as `:12` is dropped.

    Text that is no version of its ecosystem is compared as Debian's is, which orders any text.
    """
    rule = _RULES.get(ecosystem.split(":")[0].lower(), debian)
    return rule(left[:LONGEST], right[:LONGEST])


def key(ecosystem: str) -> Callable[[str], Any]:
    """Return a sort key for versions of that ecosystem."""
    return cmp_to_key(lambda left, right: compare(ecosystem, left, right))


# --- Debian -----------------------------------------------------------------------------------------------------------
def debian(left: str, right: str) -> int:
    """Compare as dpkg does (Debian policy, 5.6.12): epoch, then upstream version, then revision; `~` sorts before all."""
    for one, other in zip(_debian_parts(left), _debian_parts(right), strict=True):
        difference = (
            one - other if isinstance(one, int) and isinstance(other, int) else _verrevcmp(str(one), str(other))
        )
        if difference:
            return 1 if difference > 0 else -1
    return 0


def _debian_parts(version: str) -> tuple[int, str, str]:
    head, colon, rest = version.strip().partition(":")
    epoch, rest = (int(head), rest) if colon and head.isascii() and head.isdigit() else (0, version.strip())
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "")


def _verrevcmp(left: str, right: str) -> int:
    """Compare runs of non-digits and digits in turn; an end sorts after `~` and before everything else."""
    ones, others = re.findall(r"[^0-9]+|[0-9]+", left), re.findall(r"[^0-9]+|[0-9]+", right)
    ones, others = _alternating(ones), _alternating(others)
    for number, (one, other) in enumerate(zip_longest(ones, others, fillvalue="")):
        if number % 2:
            difference = int(one or 0) - int(other or 0)
        else:
            difference = _lexical(one, other)
        if difference:
            return difference
    return 0


def _alternating(runs: list[str]) -> list[str]:
    """Return the runs so that text stands at even and digits at odd places."""
    return ["", *runs] if runs and runs[0][0].isdigit() else runs


def _lexical(left: str, right: str) -> int:
    for one, other in zip_longest(left, right, fillvalue=""):
        difference = _weight(one) - _weight(other)
        if difference:
            return difference
    return 0


def _weight(character: str) -> int:
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 0x110000


# --- Python -----------------------------------------------------------------------------------------------------------
def python(left: str, right: str) -> int:
    """Compare by PEP 440; text that is no such version as Debian does."""
    try:
        one, other = Version(left), Version(right)
    except InvalidVersion:
        return debian(left, right)
    return (one > other) - (one < other)


# --- Semantic Versioning (npm, Go, crates, Helm) ----------------------------------------------------------------------
_SEMVER = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z")


def semantic(left: str, right: str) -> int:
    """Compare by Semantic Versioning 2.0.0, clause 11; build metadata do not count."""
    one, other = _SEMVER.match(left.strip()), _SEMVER.match(right.strip())
    if one is None or other is None:
        return debian(left, right)
    for number in (1, 2, 3):
        difference = int(one[number] or 0) - int(other[number] or 0)
        if difference:
            return 1 if difference > 0 else -1
    return _prerelease(one[4] or "", other[4] or "")


def _prerelease(left: str, right: str) -> int:
    if left == right:
        return 0
    if not left or not right:
        return 1 if not left else -1
    for one, other in zip_longest(left.split("."), right.split("."), fillvalue=None):
        if one == other:
            continue
        if one is None or other is None:
            return -1 if one is None else 1
        if one.isdigit() and other.isdigit():
            difference = int(one) - int(other)
            if difference:
                return 1 if difference > 0 else -1
            continue
        if one.isdigit() != other.isdigit():
            return -1 if one.isdigit() else 1
        return 1 if one > other else -1
    return 0


# --- Alpine -----------------------------------------------------------------------------------------------------------
_ALPINE = re.compile(r"(\d+(?:\.\d+)*)([a-z]?)((?:_[a-z]+\d*)*)(?:-r(\d+))?\Z")
_SUFFIXES = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "": 0, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}


def alpine(left: str, right: str) -> int:
    """Compare as apk does: numbers, a letter, suffixes (`_rc1` before, `_p1` after), revision `-r1`."""
    one, other = _alpine_key(left), _alpine_key(right)
    if one is None or other is None:
        return debian(left, right)
    return (one > other) - (one < other)


def _alpine_key(version: str) -> Any:
    found = _ALPINE.match(version.strip())
    if found is None:
        return None
    suffixes = []
    for name, number in re.findall(r"_([a-z]+)(\d*)", found[3]):
        if name not in _SUFFIXES:
            return None
        suffixes.append((_SUFFIXES[name], int(number or 0)))
    # The end of the suffixes is worth as much as an empty one, so that `_rc1` sorts before nothing and `_p1` after.
    return [int(part) for part in found[1].split(".")], found[2], [*suffixes, (0, 0)], int(found[4] or 0)


# --- RPM --------------------------------------------------------------------------------------------------------------
def rpm(left: str, right: str) -> int:
    """Compare `epoch:version-release` as rpm does: segments of digits and letters, digits win, `~` before, `^` after."""
    for one, other in zip(_debian_parts(left), _debian_parts(right), strict=True):
        difference = (
            one - other if isinstance(one, int) and isinstance(other, int) else _rpmvercmp(str(one), str(other))
        )
        if difference:
            return 1 if difference > 0 else -1
    return 0


def _rpmvercmp(left: str, right: str) -> int:
    ones, others = re.findall(r"\d+|[A-Za-z]+|~|\^", left), re.findall(r"\d+|[A-Za-z]+|~|\^", right)
    for one, other in zip_longest(ones, others, fillvalue=""):
        if one == other:
            continue
        for mark, worth in (("~", -1), ("^", 1)):
            # `1^a` is newer than `1` and older than `1.1`: a caret only beats the end.
            if one == mark:
                return worth if mark == "~" or not other else -1
            if other == mark:
                return -worth if mark == "~" or not one else 1
        if not one or not other:
            return 1 if one else -1
        if one.isdigit() != other.isdigit():
            return 1 if one.isdigit() else -1
        difference = int(one) - int(other) if one.isdigit() else (one > other) - (one < other)
        if difference:
            return 1 if difference > 0 else -1
    return 0


_RULES: dict[str, Compare] = {
    "debian": debian,
    "ubuntu": debian,
    "pypi": python,
    "npm": semantic,
    "go": semantic,
    "crates.io": semantic,
    "helm": semantic,
    "alpine": alpine,
    "red hat": rpm,
    "rocky linux": rpm,
    "almalinux": rpm,
    "suse": rpm,
    "opensuse": rpm,
}
