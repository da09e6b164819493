"""Listens to a page: errors, breaches of the security policy, requests to outside."""

from __future__ import annotations

from typing import Any


class Watch:
    """Collects what no page may do. `expected` holds parts of complaints that a test provokes on purpose."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.expected: list[str] = []
        self._heard: list[str] = []

    @property
    def complaints(self) -> list[str]:
        """Return what was heard and not expected."""
        return [told for told in self._heard if not any(part in told for part in self.expected)]

    def follow(self, page: Any) -> None:
        """Listen to `page` from now on."""
        page.on("pageerror", lambda error: self._heard.append(f"error on {page.url}: {error}"))
        page.on("console", lambda message: self._console(page, message))
        page.on("request", lambda request: self._request(page, request))
        page.on("response", lambda answer: self._answer(page, answer))

    def _console(self, page: Any, message: Any) -> None:
        # Answers of 400 and above are heard with their address below.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._heard.append(f"console on {page.url}: {message.text}")

    def _request(self, page: Any, request: Any) -> None:
        if not request.url.startswith((self.url + "/", "data:", "blob:")):
            self._heard.append(f"outside from {page.url}: {request.url}")

    def _answer(self, page: Any, answer: Any) -> None:
        if answer.status >= 400:
            self._heard.append(f"{answer.status} on {page.url}: {answer.request.method} {answer.url}")
