"""Listens to a page: errors, breaches of the security policy, requests to outside."""

from __future__ import annotations

from typing import Any


class Watch:
    """Collects what no page may do. `expected` holds parts of complaints that a test provokes on purpose.

    Pages may talk to the given addresses and to nobody else.
    """

    def __init__(self, *urls: str) -> None:
        self.urls = urls
        self.expected: list[str] = []
        self._heard: list[str] = []

    @property
    def complaints(self) -> list[str]:
        """Return what was heard and not expected."""
        return [told for told in self._heard if not any(part in told for part in self.expected)]

    def forget(self) -> None:
        """Forget what was heard so far."""
        self._heard.clear()

    def follow(self, page: Any) -> None:
        """Listen to `page` from now on."""
        page.on("pageerror", lambda error: self._heard.append(f"error on {page.url}: {error}"))
        page.on("console", lambda message: self._console(page, message))
        page.on("request", lambda request: self._request(page, request))
        page.on("response", lambda answer: self._answer(page, answer))
        page.on("requestfailed", lambda request: self._failed(page, request))

    def _console(self, page: Any, message: Any) -> None:
        # Answers of 400 and above are heard with their address below.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._heard.append(f"console on {page.url}: {message.text}")

    def _request(self, page: Any, request: Any) -> None:
        if not request.url.startswith((*(url + "/" for url in self.urls), "data:", "blob:")):
            self._heard.append(f"outside from {page.url}: {request.url}")

    def _answer(self, page: Any, answer: Any) -> None:
        if answer.status >= 400:
            self._heard.append(f"{answer.status} on {page.url}: {answer.request.method} {answer.url}")

    def _failed(self, page: Any, request: Any) -> None:
        # What is under way when a person goes on is aborted; so are streams of a page that is left, and downloads.
        if request.failure != "net::ERR_ABORTED":
            self._heard.append(f"{request.failure} on {page.url}: {request.method} {request.url}")
