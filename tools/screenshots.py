#!/usr/bin/env python3
"""Pictures of every page of the portal, wide and narrow, light and dark, and what is wrong with them at first sight.

    tools/screenshots.py [FOLDER] [--only WORD ...] [--language zh-hans] [--sheets]

It starts a centre of its own with demo content on a temporary folder, asks the table of addresses for all pages, and
leaves the pictures with an `index.html` in FOLDER (default `var/screenshots`). The end is 1 when a page sticks out of
its window, has an error in its console, or asks for anything from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import portal  # noqa: E402
from tests.browser.watch import Watch  # noqa: E402

SCHEMES = ("light", "dark")
#: What those see who are not signed in.
OPEN_PAGES = {
    "visitor-catalogue": "/",
    "visitor-app": "app",
    "visitor-search": "/search?q=crane",
    "sign-in": "/sign-in",
    "invitation": "invitation",
}
#: Maps say when they are drawn; on a busy machine that takes longer than any pause that one would choose.
DRAWN = """
() => [...document.querySelectorAll('.leaflet-container')].every(map => map.dataset.base)
  && [...document.querySelectorAll('#street-app')].every(map => map.dataset.drawn)
"""
PER_SHEET = 12
SHEET_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 1rem; background: #8a93a3 }
main { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); align-items: start }
figure { margin: 0; background: #fff; padding: .4rem; border-radius: .3rem }
img { width: 100%; max-height: 46rem; object-fit: cover; object-position: top; display: block; border: 1px solid #ccc }
figcaption { padding: .25rem 0; overflow-wrap: anywhere } .bad { color: #b00020 }
"""


def addresses(objects: dict[str, str]) -> dict[str, str]:
    """Return each whole page of the portal that an administrator can open, by its name; run inside the centre."""
    import django

    django.setup()
    from django.conf import settings
    from django.test import Client
    from django.urls import reverse

    from core.accounts.models import User
    from frontend.urls import urlpatterns

    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(User.objects.get(username="harbour-admin"))
    found = {}
    for pattern in urlpatterns:
        given: dict[str, Any] = {name: 1 for name in pattern.pattern.converters if name in ("generation", "version")}
        first = str(pattern.pattern).split("/")[0]
        if "kind" in pattern.pattern.converters:
            given["kind"] = "traffic"
        if "rule" in pattern.pattern.converters:
            given["rule"] = objects.get("rule", "")
        wanted = set(pattern.pattern.converters) - set(given)
        if wanted - {"pk", "app"} or (wanted and first not in objects):
            # A page about something that the demo content has none of; told on the way, so that somebody adds it.
            print(f"no picture of {pattern.name}: {pattern.pattern}", file=sys.stderr)
            continue
        given |= dict.fromkeys(wanted, objects.get(first))
        address = reverse(f"frontend:{pattern.name}", kwargs=given)
        answer = client.get(address)
        if answer.status_code == 200 and b"<!doctype html>" in answer.content[:200]:
            found[str(pattern.name)] = address
    return found


def pictures(site: portal.Site, pages: dict[str, str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Take the pictures, and yield what each shows and what is wrong there."""
    from playwright.sync_api import sync_playwright

    headers = {"Accept-Language": options.language} if options.language else {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=portal.CHROMIUM, args=portal.FLAGS)
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{site.url}/sign-in")
        page.locator("[name=username]").fill("harbour-admin")
        page.locator("[name=password]").fill(portal.PASSWORD)
        page.locator("form [type=submit]").last.click()
        page.wait_for_url(f"{site.url}/")
        signed_in = context.storage_state()
        for width, (wide, high) in portal.WIDTHS.items():
            for scheme in SCHEMES:
                contexts = {
                    who: browser.new_context(
                        viewport={"width": wide, "height": high}, color_scheme=scheme, extra_http_headers=headers,
                        locale=options.language or "en", storage_state=state, reduced_motion="reduce",
                    )
                    for who, state in (("member", signed_in), ("visitor", None))
                }  # fmt: skip
                tabs = {who: context.new_page() for who, context in contexts.items()}
                for name, address in pages.items():
                    page = tabs["visitor" if name in OPEN_PAGES else "member"]
                    watch = Watch(site.url)
                    watch.expected = ["404 on"] if name == "no-such-page" else []
                    watch.follow(page)
                    page.goto(site.url + address, wait_until="load", timeout=60_000)
                    page.wait_for_timeout(options.settle)
                    page.wait_for_function(DRAWN, timeout=60_000)
                    wrong = list(watch.complaints)
                    over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                    if over > 0:
                        wrong.append(f"sticks out by {over} px")
                    file = f"{name}-{width}-{scheme}.png"
                    page.screenshot(path=options.folder / file, full_page="map" not in name)
                    for event in ("pageerror", "console", "request", "response"):
                        for listener in list(page._impl_obj.listeners(event)):
                            page._impl_obj.remove_listener(event, listener)
                    yield {"name": name, "address": address, "width": width, "scheme": scheme, "file": file,
                           "wrong": wrong}  # fmt: skip
                for context in contexts.values():
                    context.close()
        if options.sheets:
            _sheets(browser, options.folder)
        browser.close()


def index(folder: Path, taken: list[dict[str, Any]], title: str = "Every page of the portal") -> str:
    """Return the HTML that shows the pictures beside each other."""
    figures = "".join(
        f'<figure><a href="{escape(one["file"])}"><img src="{escape(one["file"])}" alt=""></a>'
        f"<figcaption>{escape(one['name'])} · {one['width']} · {one['scheme']}"
        + "".join(f'<br><span class="bad">{escape(text)}</span>' for text in one["wrong"])
        + "</figcaption></figure>"
        for one in taken
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{SHEET_STYLE}</style>'
        f"<h1>{escape(title)}</h1><main>{figures}</main></html>"
    )


def _sheets(browser: Any, folder: Path) -> None:
    """Make contact sheets of a dozen pictures each: fewer files to look through."""
    page = browser.new_page(viewport={"width": 1900, "height": 1200})
    for kind in sorted({"-".join(path.stem.split("-")[-2:]) for path in folder.glob("*-*-*.png")}):
        files = sorted(folder.glob(f"*-{kind}.png"))
        size = PER_SHEET if "desktop" in kind else PER_SHEET + 4
        for number, start in enumerate(range(0, len(files), size)):
            shown = [
                {"file": path.name, "name": path.stem, "width": "", "scheme": "", "wrong": []}
                for path in files[start : start + size]
            ]
            sheet = folder / f"sheet_{kind}_{number}"
            html = sheet.with_suffix(".html")
            html.write_text(index(folder, shown, kind), "utf-8")
            page.goto(html.as_uri())
            page.screenshot(path=sheet.with_suffix(".png"), full_page=True)
            html.unlink()


def main() -> int:
    """Take all pictures; return 1 when something is wrong with a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "var" / "screenshots")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="only pages whose name has one of these")
    parser.add_argument("--language", default="", help="ask for the pages in this language, such as zh-hans")
    parser.add_argument("--sheets", action="store_true", help="also make contact sheets")
    parser.add_argument("--settle", type=int, default=150, help="milliseconds that a page gets to settle")
    parser.add_argument("--addresses", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.addresses:
        print(json.dumps(addresses(json.load(sys.stdin))))
        return 0
    if portal.CHROMIUM is None:
        print("There is no Chromium on this machine; install the package chromium.", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    with tempfile.TemporaryDirectory(prefix="screenshots-") as work, portal.running(Path(work), worker=False) as site:
        more = json.loads(site.run("-m", "tests.browser.seed_fleet").splitlines()[-1])
        site.objects.update(more["objects"])
        site.pages["invitation"] = more["invitation"]
        found = json.loads(
            site.run("tools/screenshots.py", "--addresses", text=json.dumps(site.objects)).splitlines()[-1]
        )
        # Pages in further states, then those of visitors, then the one that is not there.
        pages = {
            **{
                f"as-{name}": where
                for name, where in site.pages.items()
                if where not in found.values() and name not in OPEN_PAGES
            },
            **found,
        }
        pages |= {name: site.pages.get(where, where) for name, where in OPEN_PAGES.items()}
        pages["no-such-page"] = "/no/such/page"
        if options.only:
            pages = {name: where for name, where in pages.items() if any(word in name for word in options.only)}
        taken = []
        for one in pictures(site, pages, options):
            taken.append(one)
            if one["wrong"]:
                print(f"{one['name']} ({one['width']}, {one['scheme']}): {'; '.join(one['wrong'])}")
    (options.folder / "index.html").write_text(index(options.folder, taken), "utf-8")
    print(f"{len(taken)} pictures of {len(pages)} pages: {options.folder / 'index.html'}")
    return 1 if any(one["wrong"] for one in taken) else 0


if __name__ == "__main__":
    raise SystemExit(main())
