"""The API of one centre: paths are written as in its OpenAPI document, answers are its documents, a no is `Refused`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from cli.errors import BAD_USE, TIMED_OUT, Refused, Stop
from cli.profiles import Profile

#: Addresses at which a token may go over plain http: this machine itself.
_HERE = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT = httpx.Timeout(60, connect=15)


class Centre:
    """A centre, asked as the owner of a token. Redirects are not followed: a token goes where it was meant to."""

    def __init__(self, profile: Profile, transport: httpx.BaseTransport | None = None) -> None:
        parts = urlsplit(profile.server)
        if profile.token and parts.scheme == "http" and parts.hostname not in _HERE:
            raise Stop(f"A token is not sent to {profile.server} in the clear; use https.", BAD_USE)
        self.server = profile.server
        headers = {"User-Agent": "breakwater-cli/1", "Accept": "application/json, */*;q=0.1"}
        if profile.token:
            if not re.fullmatch(r"[\x21-\x7e]+", profile.token):
                raise Stop("The token holds characters that no token has.", BAD_USE)
            headers["Authorization"] = f"Bearer {profile.token}"
        trust = _trust(profile.ca) if parts.scheme == "https" and transport is None else True
        self.http = httpx.Client(
            base_url=f"{profile.server}/api/v1",
            headers=headers,
            timeout=_TIMEOUT,
            transport=transport,
            verify=trust,
            trust_env=parts.hostname not in _HERE,
        )

    def close(self) -> None:
        """Let the connection go."""
        self.http.close()

    def ask(self, method: str, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Send one request; `{names}` of the path come from `ids`. Returns the document, None when there is none."""
        answer = self.send(method, path, ids, **options)
        return answer.json() if answer.content else None

    def send(self, method: str, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> httpx.Response:
        """Send one request and return the whole answer; `Refused` when it is a no."""
        with self._translated():
            answer = self.http.request(method, fill(path, ids or {}), **_cleaned(options))
            return _accepted(answer)

    def chunks(self, path: str, ids: Mapping[str, Any] | None = None, **options: Any) -> Iterator[bytes]:
        """Download piece by piece."""
        with self._translated(), self.http.stream("GET", fill(path, ids or {}), **_cleaned(options)) as answer:
            if not answer.is_success:
                answer.read()
            _accepted(answer)
            yield from answer.iter_bytes(1 << 18)

    def lines(self, path: str, ids: Mapping[str, Any], *, silence: float) -> Iterator[str]:
        """Follow a stream line by line; it has broken when nothing comes for `silence` seconds."""
        patience = httpx.Timeout(silence, connect=15)
        headers = {"Accept": "text/event-stream"}
        with (
            self._translated(),
            self.http.stream("GET", fill(path, ids), headers=headers, timeout=patience) as answer,
        ):
            if not answer.is_success:
                answer.read()
            _accepted(answer)
            yield from answer.iter_lines()

    def _translated(self) -> _Translated:
        return _Translated(self.server)


class _Translated:
    """Says in words of ours what went wrong on the way."""

    def __init__(self, server: str) -> None:
        self.server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, problem: BaseException | None, trace: Any) -> None:
        if isinstance(problem, (httpx.ConnectTimeout | httpx.PoolTimeout, httpx.ConnectError)):
            why = str(problem)
            if "CERTIFICATE" in why.upper():
                reason = "its certificate is not trusted here; name the CA with --ca FILE"
                raise Stop(f"{self.server} cannot be trusted: {reason}. ({why})") from None
            raise Stop(f"{self.server} cannot be reached: {why or 'no answer'}.") from None
        if isinstance(problem, httpx.TimeoutException):
            raise Stop(f"{self.server} did not answer in time.", TIMED_OUT) from None
        if isinstance(problem, httpx.HTTPError):
            raise Stop(f"The connection to {self.server} broke: {problem or type(problem).__name__}.") from None
        if isinstance(problem, httpx.InvalidURL):
            raise Stop(f"{self.server} is no address that can be asked.", BAD_USE) from None
        if isinstance(problem, ValueError) and not isinstance(problem, UnicodeEncodeError):
            raise Stop(f"{self.server} answered something that is no JSON; is it a Breakwater centre?") from None


def fill(path: str, ids: Mapping[str, Any]) -> str:
    """Return the path with its `{names}` filled in, each as one segment whatever it holds."""

    def segment(found: re.Match[str]) -> str:
        given = str(ids[found[1]])
        if given in ("", ".", ".."):
            raise Stop(f"{given!r} is no {found[1]}.", BAD_USE)
        return quote(given, safe="")

    return re.sub(r"\{(\w+)\}", segment, path)


def _cleaned(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out query parameters that were not given."""
    if "params" in options:
        given = options["params"]
        options["params"] = {
            name: value for name, value in given.items() if value not in (None, "", []) and value is not False
        }
    return options


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    if answer.is_redirect:
        where = answer.headers.get("Location", "")
        raise Stop(f"The server leads elsewhere ({where}); name that address with --server.", BAD_USE)
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": f"The server answered {answer.status_code} {answer.reason_phrase}."}
    raise Refused(answer.status_code, problem)


def _trust(ca: str) -> ssl.SSLContext | bool:
    if not ca:
        return True
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as problem:
        raise Stop(f"--ca: {ca} holds no CA certificate in PEM ({problem}).", BAD_USE) from None
