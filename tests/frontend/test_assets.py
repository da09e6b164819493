"""What the browser loads: committed, unchanged, complete, and from nowhere else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
VENDOR = FRONTEND / "static" / "vendor"
OURS = sorted(
    path for path in (FRONTEND / "static" / "frontend").rglob("*") if path.suffix in (".js", ".css", ".svg", ".html")
)
TEMPLATES = sorted((FRONTEND / "templates").rglob("*.html"))
CODE = sorted(FRONTEND.rglob("*.py"))


def test_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    present = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert present == manifest["files"]


def test_the_manifest_names_the_versions_that_are_locked() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert manifest["versions"] == wanted
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_the_lock_names_no_registry_and_every_hash() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")


@pytest.mark.parametrize(
    "path", [*sorted(VENDOR.rglob("*.*js")), *sorted(VENDOR.rglob("*.css")), *OURS], ids=lambda path: path.name
)
def test_no_file_asks_for_one_that_is_not_there(path: Path) -> None:
    text = path.read_text()
    assert "sourceMappingURL" not in text
    for url in re.findall(r"url\(\s*['\"]?([^'\")]+)", text) if path.suffix == ".css" else []:
        if not url.startswith(("data:", "#")):
            assert (path.parent / url).resolve().is_file(), url
    if path.suffix == ".css":
        assert "@import" not in text


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_own_scripts_and_styles_name_no_other_host(path: Path) -> None:
    assert [url for url in re.findall(r"https?://[\w.-]+", path.read_text()) if url != "http://www.w3.org"] == []


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix == ".js"], ids=lambda path: path.name)
def test_our_own_scripts_do_nothing_that_the_policy_forbids(path: Path) -> None:
    text = path.read_text()
    for word in ("eval(", "new Function", 'setAttribute("style"', "document.write", "insertAdjacentHTML"):
        assert word not in text


def test_every_icon_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([\w-]+)"', (VENDOR / "icons" / "icons.svg").read_text()))
    used: set[str] = set()
    for path in TEMPLATES:
        used |= set(re.findall(r"{% icon \"([\w-]+)\"", path.read_text()))
        used |= set(re.findall(r"mark=\"([\w-]+)\"", path.read_text()))
    from frontend.templatetags.portal import STATES

    used |= {mark for _, mark, _ in STATES.values()}
    assert used <= sprite


def test_every_static_file_that_a_page_names_is_there() -> None:
    named: set[str] = set()
    for path in [*TEMPLATES, *CODE]:
        named |= set(re.findall(r"static[ (]f?['\"]([\w./@-]+)['\"]", path.read_text()))
    assert len(named) > 8
    assert [name for name in named if finders.find(name) is None] == []


def test_every_style_sheet_of_ours_closes_what_it_opens() -> None:
    # A merge once lost a brace, and a third of the styles stood in a query for phones.
    for path in (path for path in OURS if path.suffix == ".css"):
        depth = 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            depth += line.count("{") - line.count("}")
            assert not (line.startswith("/*") and depth), f"{path.name}:{number} begins a part inside another"
        assert depth == 0, path.name
