"""The walker notices what it is there for: each fault is put on a page of its own, and a whole page has none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.browser.walks.reading import foreign
from tests.browser.walks.walker import Walker

pytestmark = pytest.mark.live

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Quay</title>
<link rel="icon" href="data:,"><script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => { document.documentElement.dataset.bsTheme = dark.matches ? "dark" : "light"; };
dark.addEventListener("change", theme); theme();
</script></head><body><main><h1>Quay</h1>%s</main></body></html>"""
#: What stands on a page, and a part of what is told about it; nothing is told about a whole page.
FAULTS = {
    "whole": ("<p>Ships</p>", ""),
    "console": ("<script>console.error('rope')</script>", "rope"),
    "script": ("<script>throw new Error('anchor')</script>", "anchor"),
    "outside": ("<script>fetch('http://127.0.0.2:9/buoy').catch(() => 0)</script>", "outside from"),
    "absent": ("<script>fetch('/nowhere')</script>", "404 on"),
    "broken": ("<script>fetch('/cut').catch(() => 0)</script>", "ERR_EMPTY_RESPONSE"),
    "policy": ("<script src='data:text/javascript,1'></script>", "policy: script-src"),
    "nameless": ("<button></button>", "button-name (critical)"),
    "dark": (
        "<style>[data-bs-theme=dark] p {color: #222; background: #333}</style><p>Night</p>",
        "dark: color-contrast",
    ),
    "wide": ("<p style='width: 5000px'>Long</p>", "it sticks out"),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name == "cut":
            self.close_connection = True
            return
        self.send_response(200 if name in FAULTS else 404)
        self.send_header("Content-Type", "text/html")
        if name == "policy":
            self.send_header("Content-Security-Policy", "script-src 'unsafe-inline'")
        self.end_headers()
        self.wfile.write((PAGE % FAULTS.get(name, ("", ""))[0]).encode())

    def log_message(self, *told: Any) -> None:
        pass


@pytest.fixture(scope="module")
def faulty() -> Iterator[str]:
    """A portal with a fault on each page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_the_step_and_the_page(name: str, faulty: str, browser: Any) -> None:
    walker = Walker(browser, "watchman", faulty)
    with walker.step(f"passes {name}"):
        walker.go(f"/{name}")
        for _ in range(200 if FAULTS[name][1] else 1):  # what a page does is heard a moment later
            walker.page.wait_for_timeout(100)
            if walker.faults or walker.watch.complaints:
                break
    walker.context.close()
    told, wanted = "\n".join(walker.faults), FAULTS[name][1]
    assert wanted in told
    assert bool(told) == bool(wanted), told
    if wanted:
        assert f"watchman passes {name}, at {faulty}/{name}" in told


def test_an_answer_that_was_not_provoked_is_told(faulty: str, browser: Any) -> None:
    walker = Walker(browser, "watchman", faulty)
    with walker.step("goes astray on purpose", refused=404):
        walker.go("/nowhere")
    assert walker.faults == []
    with walker.step("goes astray"):
        walker.go("/nowhere")
    walker.context.close()
    assert "404 on" in walker.faults[0]


def test_what_is_not_there_ends_the_walk(faulty: str, browser: Any) -> None:
    walker = Walker(browser, "watchman", faulty)

    def look() -> None:
        with walker.step("looks for a lighthouse"):
            walker.go("/whole")
            walker.sees("Lighthouse", timeout=500)

    with pytest.raises(AssertionError, match="watchman looks for a lighthouse, at"):
        look()
    walker.context.close()


def test_words_of_another_language_are_told_unless_a_publisher_wrote_them(faulty: str, browser: Any) -> None:
    walker = Walker(browser, "watchman", faulty)
    walker.go("/whole")
    assert foreign(walker.page, []) == ["'Quay': Quay", "'Ships': Ships"]
    assert foreign(walker.page, ["Quay"]) == ["'Ships': Ships"]
    walker.context.close()
