"""What lies in a chart beside its templates: metadata, subcharts, README, changelog, licences, values schema, pictures."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from appstore.contents import changelog, licences, media
from appstore.contents.facts import Change, Component
from appstore.packages import charts as packed
from appstore.packages.documents import read_json, read_yaml
from core.archives import Archive, Damaged
from core.errors import Invalid
from core.words import say

Value = TypeVar("Value")

_TEXT = 512 << 10
_MOST_SUBCHARTS, _DEEPEST = 64, 4
_LICENCE_FILE = re.compile(r"(?i)^(?:licen[cs]e|copying|unlicense)(?:[.\-_][\w.\-]*)?\Z")
_HOOK = re.compile(rb"helm\.sh/hook[\"']?\s*:")
#: Files of a chart that change nothing of what it runs.
_PAPER = re.compile(
    r"(?i)^(?:readme|changelog|changes|licen[cs]e|copying|notice|authors|contributing)[\w.\-]*\Z|\.(?:md|png|jpe?g|webp|svg|gif)\Z"
)


@dataclass(slots=True)
class ChartInside:
    """Everything that is read from a chart, and what could not be."""

    name: str = ""
    version: str = ""
    category: str = ""
    keywords: list[str] = field(default_factory=list)
    maintainers: list[str] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    readme: str = ""
    changelog: str = ""
    schema: Any = None
    crds: list[str] = field(default_factory=list)
    #: The digest of each template that is a hook, by path.
    hooks: dict[str, str] = field(default_factory=dict)
    pictures: list[media.Picture] = field(default_factory=list)
    #: SHA-256 by path, without the chart's folder.
    files: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def is_paper(path: str) -> bool:
    """Whether a file of a chart is a document or a picture: templates can read it, but it says nothing to a cluster."""
    return "/" not in path and bool(_PAPER.search(path))


def inside(archive: Archive) -> ChartInside:
    """Read a chart; whatever cannot be read is a problem."""
    found = ChartInside()
    root = packed.root_of(archive)
    if not root:
        found.problems.append(say("The chart has no Chart.yaml"))
        return found
    nothing: Mapping[str, Any] = {}
    told = guarded(found.problems, lambda: _mapping(archive, f"{root}/Chart.yaml"), nothing)
    annotations = told.get("annotations")
    notes = {str(k): v for k, v in annotations.items()} if isinstance(annotations, Mapping) else {}
    found.name, found.version = _text(told.get("name")), _text(told.get("version"))
    found.category = _text(notes.get("artifacthub.io/category") or notes.get("category"))[:60]
    found.keywords = _texts(told.get("keywords"))
    people = told.get("maintainers")
    found.maintainers = _texts(
        [each.get("name") for each in people if isinstance(each, Mapping)] if isinstance(people, list) else []
    )
    _licences(archive, root, notes, found)
    found.components = [_chart_component(found.name, found.version, _told_licence(notes), "chart")]
    found.components += guarded(found.problems, lambda: list(_subcharts(archive, root, 1)), [])
    found.readme = _document(archive, root, "README.md", found.problems)
    found.changelog = _document(archive, root, "CHANGELOG.md", found.problems)
    if "artifacthub.io/changes" in notes:
        document = guarded(found.problems, lambda: _annotation(notes, "artifacthub.io/changes"), None)
        found.changes = changelog.of_annotation(document)
    if f"{root}/values.schema.json" in archive:
        place = "values.schema.json"
        found.schema = guarded(
            found.problems, lambda: read_json(archive.read(f"{root}/{place}", at_most=2 << 20), place), None
        )
    _templates(archive, root, found)
    _pictures(archive, root, told, notes, found)
    for name in archive.members:
        found.files[name.removeprefix(f"{root}/")] = guarded(found.problems, lambda name=name: archive.sha256(name), "")  # type: ignore[misc]
    return found


def guarded(problems: list[str], act: Callable[[], Value], otherwise: Value) -> Value:
    """Return what `act` returns; a note among `problems` and `otherwise` when it cannot read."""
    try:
        return act()
    except Invalid as problem:
        problems.append(problem.detail)
        return otherwise


def _mapping(archive: Archive, member: str) -> Mapping[str, Any]:
    document = read_yaml(archive.read(member), posixpath.basename(member))
    return document if isinstance(document, Mapping) else {}


def _annotation(notes: Mapping[str, Any], name: str) -> Any:
    value = notes.get(name)
    return read_yaml(value.encode()[: 64 << 10], f"The annotation {name}") if isinstance(value, str) else value


def _told_licence(notes: Mapping[str, Any]) -> str:
    for name in ("artifacthub.io/license", "org.opencontainers.image.licenses", "licenses", "license"):
        if isinstance(notes.get(name), str) and notes[name].strip():
            return str(notes[name]).strip()
    return ""


def _licences(archive: Archive, root: str, notes: Mapping[str, Any], found: ChartInside) -> None:
    told = _told_licence(notes)
    if told:
        expression = licences.expression(told)
        if expression:
            found.licences.append(expression)
        else:
            found.problems.append(say("The licence {told} of Chart.yaml is no SPDX expression", told=repr(told[:80])))
    found.licences += licences_in(archive, root, found.problems)
    found.licences = list(dict.fromkeys(found.licences))


def licences_in(archive: Archive, folder: str, problems: list[str]) -> list[str]:
    """Return the licences whose texts lie directly in `folder`, and in `LICENSES` below it."""
    known: list[str] = []
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    for name in archive.members:
        rest = name.removeprefix(prefix)
        here = name.startswith(prefix) and (
            ("/" not in rest and _LICENCE_FILE.match(rest)) or re.fullmatch(r"(?i)licen[cs]es/[^/]+", rest)
        )
        if here and len(known) < 20:
            content = guarded(problems, lambda name=name: archive.read(name, at_most=_TEXT), b"")  # type: ignore[misc]
            expression = licences.recognised(content)
            if expression:
                known.append(expression)
            elif content:
                problems.append(say("The licence text {rest} is none of the usual ones", rest=rest[:80]))
    return known


def _chart_component(name: str, version: str, licence: str, place: str) -> Component:
    from packageurl import PackageURL  # only here: the SBOM makes the others

    purl = PackageURL("helm", None, name, version or None).to_string() if name else ""
    return Component("chart", name or "chart", version, purl, licences.expression(licence), place)


def _subcharts(archive: Archive, root: str, level: int) -> Iterator[Component]:
    """Yield the charts below `charts/`, as folders and packed, and theirs."""
    if level > _DEEPEST:
        return
    folders = {
        name[len(root) + 8 :].split("/")[0]
        for name in archive.under(f"{root}/charts")
        if name[len(root) + 8 :].count("/")
    }
    for folder in sorted(folders)[:_MOST_SUBCHARTS]:
        below = f"{root}/charts/{folder}"
        if f"{below}/Chart.yaml" in archive:
            yield _component_of(archive, below, f"charts/{folder}")
            yield from _subcharts(archive, below, level + 1)
    for name in archive.under(f"{root}/charts", ".tgz")[:_MOST_SUBCHARTS]:
        if "/" in name[len(root) + 8 :]:
            continue
        inner = archive.nested(name)
        folder = packed.root_of(inner)
        if folder:
            yield _component_of(inner, folder, name[len(root) + 1 :])
            yield from _subcharts(inner, folder, level + 1)


def _component_of(archive: Archive, folder: str, place: str) -> Component:
    told = _mapping(archive, f"{folder}/Chart.yaml")
    notes = told.get("annotations")
    licence = _told_licence(notes) if isinstance(notes, Mapping) else ""
    return _chart_component(_text(told.get("name")), _text(told.get("version")), licence, place[:200])


def _document(archive: Archive, root: str, wanted: str, problems: list[str]) -> str:
    name = next((n for n in archive.members if n.lower() == f"{root}/{wanted}".lower()), "")
    return text_of(archive, name, problems) if name else ""


def text_of(archive: Archive, name: str, problems: list[str]) -> str:
    """Return a text of the archive, as far as it is one."""
    content = guarded(problems, lambda: archive.read(name, at_most=_TEXT), b"")
    return content.decode("utf-8-sig", "replace").replace("\0", "\ufffd")


def _templates(archive: Archive, root: str, found: ChartInside) -> None:
    for name in archive.members:
        rest = name.removeprefix(f"{root}/")
        if "crds/" in rest and rest.split("/")[-2] == "crds" and rest.endswith((".yaml", ".yml", ".json")):
            found.crds.append(rest[:200])
        if "templates/" in rest and "/tests/" not in rest and rest.endswith((".yaml", ".yml", ".tpl")):
            content = guarded(found.problems, lambda name=name: archive.read(name, at_most=_TEXT), b"")  # type: ignore[misc]
            if _HOOK.search(content) and b"test" not in _hook_value(content):
                found.hooks[rest[:200]] = hashlib.sha256(content).hexdigest()


def _hook_value(content: bytes) -> bytes:
    at = _HOOK.search(content)
    return content[at.end() :].split(b"\n", 1)[0] if at else b""


def _pictures(
    archive: Archive, root: str, told: Mapping[str, Any], notes: Mapping[str, Any], found: ChartInside
) -> None:
    icon = told.get("icon")
    wanted: list[tuple[str, str, str]] = [("icon", icon, "")] if isinstance(icon, str) and icon.strip() else []
    shots = guarded(found.problems, lambda: _annotation(notes, "artifacthub.io/screenshots"), None)
    for shot in shots if isinstance(shots, list) else []:
        if isinstance(shot, Mapping) and isinstance(shot.get("url"), str):
            wanted.append(("screenshot", shot["url"], _text(shot.get("title"))))
    if not icon:
        wanted += [("icon", f"icon.{e}", "") for e in ("png", "jpg", "webp") if f"{root}/icon.{e}" in archive][:1]
    for kind, source, title in wanted[: media.MOST]:
        add_picture(archive, root, kind, source, title, found.pictures, found.problems)


def add_picture(
    archive: Archive,
    folder: str,
    kind: str,
    source: str,
    title: str,
    pictures: list[media.Picture],
    problems: list[str],
) -> None:
    """Take the picture that `source` names, relative to `folder`; one from elsewhere is never fetched."""
    source = source.strip()
    if re.match(r"(?i)^(?:[a-z][a-z0-9+.-]*:|//)", source):
        problems.append(
            say(
                "The {kind} {source} is not in the package; pictures from elsewhere are never fetched",
                kind=kind,
                source=source[:120],
            )
        )
        return
    path = posixpath.normpath(posixpath.join(folder, source.split("#")[0].split("?")[0].lstrip("/")))
    if path not in archive:
        problems.append(say("The {kind} {source} is not in the package", kind=kind, source=source[:120]))
        return
    if len(pictures) >= media.MOST:
        return
    picture = guarded(
        problems, lambda: media.picture(kind, source, archive.read(path, at_most=media.LARGEST), title), None
    )
    if picture is not None:
        pictures.append(picture)


def _text(value: Any) -> str:
    return value.strip()[:200] if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    found = [_text(each)[:60] for each in value] if isinstance(value, list) else []
    return list(dict.fromkeys(each for each in found if each))[:40]


__all__ = ["ChartInside", "Damaged", "add_picture", "guarded", "inside", "is_paper", "licences_in", "text_of"]
