"""What is installed in a file system: the databases of Debian, Alpine and RPM, Python and Node packages."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from packageurl import PackageURL

from appstore.contents import licences
from appstore.contents.facts import Component

#: A database or a metadata file larger than this is not read.
LARGEST = 32 << 20
_LARGEST_METADATA = 1 << 20
_DPKG, _DPKG_FOLDER = "var/lib/dpkg/status", "var/lib/dpkg/status.d/"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_RPM = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite")
_RPM_OLD = ("var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "usr/lib/sysimage/rpm/Packages.db")
RELEASES = ("etc/os-release", "usr/lib/os-release")
_NODE = re.compile(r"(?:^|/)node_modules/(?:@[^/]+/)?[^/]+/package\.json\Z")
_PYTHON = re.compile(r"[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)\Z")
_MOST_RPM_FIELDS = 2000


def kind_of(path: str) -> str:
    """Return what a file of an image tells about its software: dpkg, apk, rpm, python, node, release; or nothing."""
    if path == _DPKG or (path.startswith(_DPKG_FOLDER) and not path.endswith(".md5sums")):
        return "dpkg"
    if path in _APK:
        return "apk"
    if path in _RPM:
        return "rpm"
    if path in _RPM_OLD:
        return "rpm-old"
    if path in RELEASES:
        return "release"
    if path.endswith("package.json") and _NODE.search(path):
        return "node"
    if path.endswith(("METADATA", "PKG-INFO")) and _PYTHON.search(path):
        return "python"
    return ""


def largest(kind: str) -> int:
    """Return how many bytes a file of that kind may have."""
    return _LARGEST_METADATA if kind in ("python", "node", "release") else LARGEST


def read(kind: str, content: bytes, place: str, release: dict[str, str]) -> Iterator[Component]:
    """Yield what a file of `kind` says is installed; odd entries are left out."""
    readers: dict[str, Callable[[bytes, str, dict[str, str]], Iterator[Component]]] = {
        "dpkg": _dpkg, "apk": _apk, "rpm": _rpm, "python": _python, "node": _node,
    }  # fmt: skip
    yield from readers[kind](content, place, release)


def release_of(content: bytes) -> dict[str, str]:
    """Return the members of os-release(5)."""
    found: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines()[:200]:
        key, equals, value = line.partition("=")
        if equals and re.fullmatch(r"[A-Z_]+", key):
            found[key] = value.strip().strip("\"'")[:80]
    return found


def _component(
    kind: str, name: str, version: str, licence: str, place: str, namespace: str = "", **qualifiers: str
) -> Iterator[Component]:
    name, version = _clean(name), _clean(version)
    if not name:
        return
    told = {key: _clean(value) for key, value in qualifiers.items() if value}
    try:
        purl = PackageURL(kind, _clean(namespace) or None, name, version or None, told or None).to_string()
    except ValueError:
        purl = ""
    yield Component(kind, name, version, purl, licences.expression(licence) or " ".join(licence.split())[:120], place)


def _clean(text: str) -> str:
    return "".join(c for c in text.strip() if c.isprintable())[:200]


def _distro(release: dict[str, str]) -> str:
    return f"{release['ID']}-{release.get('VERSION_ID', '')}".rstrip("-") if release.get("ID") else ""


def _paragraphs(content: bytes) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a control file (deb822(5)), first lines of fields only."""
    fields: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            key, colon, value = line.partition(":")
            if colon:
                fields[key.lower()] = value.strip()
    if fields:
        yield fields


def _dpkg(content: bytes, place: str, release: dict[str, str]) -> Iterator[Component]:
    for fields in _paragraphs(content):
        # The database also remembers what was removed but left its settings.
        if not fields.get("status", "install ok installed").endswith(" installed"):
            continue
        yield from _component(
            "deb", fields.get("package", ""), fields.get("version", ""), "", place, release.get("ID", "debian"),
            arch=fields.get("architecture", ""), distro=_distro(release),
        )  # fmt: skip


def _apk(content: bytes, place: str, release: dict[str, str]) -> Iterator[Component]:
    for block in content.decode("utf-8", "replace").split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            if line[1:2] == ":" and line[0] in "PVAL":
                fields.setdefault(line[0], line[2:].strip())
        yield from _component(
            "apk", fields.get("P", ""), fields.get("V", ""), fields.get("L", ""), place, release.get("ID", "alpine"),
            arch=fields.get("A", ""), distro=_distro(release),
        )  # fmt: skip


def _python(content: bytes, place: str, release: dict[str, str]) -> Iterator[Component]:
    fields = next(_paragraphs(content), {})
    licence = fields.get("license-expression", "") or fields.get("license", "")
    name = re.sub(r"[-_.]+", "-", fields.get("name", "")).lower()  # PEP 503
    yield from _component("pypi", name, fields.get("version", ""), licence, place)


def _node(content: bytes, place: str, release: dict[str, str]) -> Iterator[Component]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(told, dict) or not isinstance(told.get("name"), str) or not isinstance(told.get("version"), str):
        return  # folders of a package may have a package.json of their own, without a version
    licence = told.get("license")
    licence = licence.get("type") if isinstance(licence, dict) else licence
    scope, _, name = told["name"].rpartition("/")
    yield from _component("npm", name, told["version"], licence if isinstance(licence, str) else "", place, scope)


def _rpm(content: bytes, place: str, release: dict[str, str]) -> Iterator[Component]:
    """Read the sqlite database of RPM 4.16 and later: one header as a blob in each row."""
    with tempfile.TemporaryDirectory(prefix="rpm-") as folder:
        path = Path(folder) / "rpmdb.sqlite"
        path.write_bytes(content)
        try:
            database = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
        except sqlite3.Error:
            return
        try:
            database.execute("PRAGMA trusted_schema=OFF")
            for (blob,) in database.execute("SELECT blob FROM Packages LIMIT 20000"):
                fields = _rpm_header(blob) if isinstance(blob, bytes) else {}
                if fields.get(1000) in (None, "", "gpg-pubkey"):
                    continue
                version = "-".join(fields[tag] for tag in (1001, 1002) if fields.get(tag))
                yield from _component(
                    "rpm", fields[1000], version, fields.get(1014, ""), place, release.get("ID", ""),
                    arch=fields.get(1022, ""), epoch=fields.get(1003, ""), distro=_distro(release),
                )  # fmt: skip
        except sqlite3.Error:
            return
        finally:
            database.close()


def _rpm_header(blob: bytes) -> dict[int, str]:
    """Return the texts and numbers by tag of one header: a count, a length, index entries of 16 bytes, the data."""
    if len(blob) < 8:
        return {}
    count, length = struct.unpack(">II", blob[:8])
    if count > _MOST_RPM_FIELDS or 8 + count * 16 + length > len(blob):
        return {}
    start = 8 + count * 16
    found: dict[int, str] = {}
    for number in range(count):
        tag, kind, offset, _ = struct.unpack(">IIII", blob[8 + number * 16 : 24 + number * 16])
        if tag not in (1000, 1001, 1002, 1003, 1014, 1022) or offset >= length:
            continue
        data = blob[start + offset : start + length]
        if kind == 6:  # a text that ends with NUL
            found[tag] = data.split(b"\0", 1)[0].decode("utf-8", "replace")
        elif kind == 4 and len(data) >= 4:
            found[tag] = str(struct.unpack(">I", data[:4])[0])
    return found
