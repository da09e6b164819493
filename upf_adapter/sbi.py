"""How adapters speak HTTP with functions of the 5G core: NEF, BSF and PCF.

What a peer does wrong becomes one of our errors here: away, slow or speechless is `Unavailable`, a no is `Rejected`
with the peer's own reason. Redirects are not followed, answers are bounded, proxies of the environment not used.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import httpx
import msgspec

from core.errors import BreakwaterError, Invalid, Rejected, Throttled, Unavailable

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
#: Seconds before its end at which an access token is not used any more.
MARGIN = 10.0
#: Seconds that a token without `expires_in` is used.
TOKEN_LIFETIME = 300.0
#: Characters of a peer's words that are repeated in our errors.
REPEATED = 300


class Lost(Unavailable):
    """The request went out and no usable answer came: it may have been carried out."""


class Nonsense(Rejected):
    """The peer answered something that is no answer; that is no judgement of the rule, so it is tried again."""

    retryable = True


class Access(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a peer is reached. Secrets stay in files and are read when they are needed, so they can be exchanged."""

    #: PEM file of the CA that the peer's certificate comes from; empty: those that the system trusts.
    ca_file: str = ""
    #: PEM files of our own certificate and key, where the core wants mutual TLS.
    cert_file: str = ""
    key_file: str = ""
    #: "2" speaks HTTP/2 at once, also without TLS, as most 5G cores want it.
    http: Literal["1.1", "2"] = "1.1"
    #: Seconds for connecting, for each wait, and for the whole answer.
    timeout: float = 5.0
    most_bytes: int = 4 << 20
    #: OAuth2 client credentials (RFC 6749 4.4; TS 29.510 5.4.2); `token_fields` are sent along, for example nfType.
    token_url: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    scope: str = ""
    token_fields: dict[str, str] = {}
    #: Credentials may travel without TLS to a peer that is not on this host.
    insecure: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 120 or not 1024 <= self.most_bytes <= 64 << 20:
            raise ValueError("timeout must be up to 120 seconds and most_bytes 1 KiB to 64 MiB")
        if bool(self.token_url) != bool(self.client_id and self.client_secret_file):
            raise ValueError("token_url, client_id and client_secret_file belong together")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file belong together")
        if self.token_url:
            check_url(self.token_url, "token_url")
        if self.http == "2" and find_spec("h2") is None:
            raise ValueError("HTTP/2 needs the package h2")


def check_url(url: str, name: str) -> str:
    """Return the base URL without a slash at its end; ValueError when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{name} must be http(s)://host[:port][/path], not {url!r}")
    _ = parts.port  # a ValueError when it is no port
    return url.rstrip("/")


def origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL; None when it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        return (parts.scheme, parts.hostname, port) if parts.hostname and parts.username is None else None
    except (ValueError, KeyError):
        return None


def last_segment(url: Any) -> str:
    """Return the id at the end of a resource's URL, empty when there is none.

    Only the id is taken from what a peer says: where it is asked for is always built from our own settings.
    """
    if not isinstance(url, str) or len(url) > 2000:
        return ""
    try:
        found = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2]) if "/" in url else ""
    except ValueError:
        return ""
    return found if found not in (".", "..") and found.isprintable() else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered."""

    peer: str
    status: int
    location: str
    content: bytes

    def json(self) -> Any:
        """Return the body, whatever its content type says: peers label JSON `text/plain`."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Nonsense(f"The {self.peer} answered something that is not JSON") from None

    def object(self) -> dict[str, Any]:
        """Return the body, or nothing where there is no JSON object."""
        try:
            body = self.json()
        except Nonsense:
            return {}
        return body if isinstance(body, dict) else {}


class Client:
    """Speaks with one kind of peer; `name` is how errors call it. Used by one thread at a time."""

    def __init__(self, name: str, access: Access) -> None:
        self.name, self.access = name, access
        self._token, self._token_until = "", 0.0
        two = access.http == "2"
        self._http = httpx.Client(
            http1=not two,
            http2=two,
            verify=_tls(access),
            timeout=access.timeout,
            trust_env=False,
            follow_redirects=False,
            # What is not compressed cannot be a bomb.
            headers={"Accept-Encoding": "identity", "Accept": f"{JSON}, application/problem+json"},
        )

    def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        params: Mapping[str, str] | None = None,
        fine: Iterable[int] = (),
    ) -> Answer:
        """Return the answer when it is 2xx or one of `fine`; raise our errors for all else."""
        answer = self._once(method, url, body, content_type, params)
        if answer.status == 401 and self.access.token_url:
            self._token = ""
            answer = self._once(method, url, body, content_type, params)
        if 200 <= answer.status < 300 or answer.status in fine:
            return answer
        raise _no(answer)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def check_secrets(self, url: str) -> None:
        """Raise `Invalid` when our credentials would travel to this URL without TLS and nobody allowed it."""
        if not self.access.token_url:
            return
        parts = urlsplit(url)
        if parts.scheme != "https" and not self.access.insecure and not _local(parts.hostname or ""):
            raise Invalid(f"Credentials for the {self.name} are not sent without TLS; `insecure` allows it")

    def _once(
        self, method: str, url: str, body: Any, content_type: str, params: Mapping[str, str] | None = None
    ) -> Answer:
        headers = {"Content-Type": content_type} if body is not None else {}
        if self.access.token_url:
            self.check_secrets(url)
            headers["Authorization"] = f"Bearer {self._bearer()}"
        content = msgspec.json.encode(body) if body is not None else None
        return self._exchange(self._http.build_request(method, url, content=content, headers=headers, params=params))

    def _exchange(self, request: httpx.Request) -> Answer:
        until = time.monotonic() + self.access.timeout
        try:
            response = self._http.send(request, stream=True)
            try:
                content = self._bounded(response, until)
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise Unavailable(f"The {self.name} cannot be reached") from None
        except httpx.TimeoutException:
            raise Lost(f"The {self.name} did not answer within {self.access.timeout:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as problem:
            # RuntimeError: h11 and h2 let some of their own through when a peer speaks no HTTP.
            raise Lost(f"The {self.name} broke off ({type(problem).__name__})") from None
        return Answer(self.name, response.status_code, response.headers.get("Location", ""), content)

    def _bounded(self, response: httpx.Response, until: float) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Nonsense(f"The {self.name} answered compressed, which was not asked for")
        content = bytearray()
        for part in response.iter_raw():
            content += part
            if len(content) > self.access.most_bytes:
                raise Nonsense(f"The answer of the {self.name} is larger than {self.access.most_bytes} bytes")
            if time.monotonic() > until:
                raise Lost(f"The {self.name} did not finish its answer within {self.access.timeout:g} seconds")
        return bytes(content)

    def _bearer(self) -> str:
        if self._token and time.monotonic() < self._token_until:
            return self._token
        self.check_secrets(self.access.token_url)
        try:
            secret = Path(self.access.client_secret_file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise Unavailable(f"The client secret for the {self.name} cannot be read") from None
        form = {
            **self.access.token_fields,
            "grant_type": "client_credentials",
            "client_id": self.access.client_id,
            "client_secret": secret,
            **({"scope": self.access.scope} if self.access.scope else {}),
        }
        answer = self._exchange(self._http.build_request("POST", self.access.token_url, data=form))
        said = answer.object()
        token, lifetime = said.get("access_token"), said.get("expires_in", TOKEN_LIFETIME)
        if answer.status != 200 or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            # Not repeated: what a token endpoint answers may hold a secret.
            raise Unavailable(f"No access token for the {self.name} was given (status {answer.status})")
        seconds = lifetime if isinstance(lifetime, int | float) and 0 < lifetime < 1e7 else TOKEN_LIFETIME
        self._token, self._token_until = token, time.monotonic() + max(seconds - MARGIN, seconds / 2)
        return token


def words(text: Any) -> str:
    """Return what a peer said in a form that can be shown: one line, printable, short."""
    said = "".join(each if each.isprintable() else " " for each in str(text)[: 4 * REPEATED])
    return " ".join(said.split())[:REPEATED]


def _no(answer: Answer) -> BreakwaterError:
    """Translate an answer that is not a success (TS 29.500 5.2.7, problem+json of RFC 9457) into our errors."""
    body = answer.object()
    told = [words(body[name]) for name in ("title", "detail", "cause") if isinstance(body.get(name), str)]
    wrong = body.get("invalidParams")
    for each in wrong[:5] if isinstance(wrong, list) else ():
        if isinstance(each, dict):
            told.append(words(f"{each.get('param', '?')}: {each.get('reason', 'not valid')}"))
    reason = "; ".join(dict.fromkeys(text for text in told if text))
    detail = f"The {answer.peer} answered {answer.status}" + (f": {reason}" if reason else "")
    if answer.status == 429:
        return Throttled(detail)
    if answer.status in (502, 504):
        return Lost(detail)  # something between us gave up waiting
    if answer.status in (401, 408) or answer.status >= 500:
        return Unavailable(detail)
    if answer.status < 400:
        return Nonsense(f"{detail}, and redirects are not followed")
    return Rejected(detail, peer_status=answer.status)


def _tls(access: Access) -> ssl.SSLContext:
    if not access.ca_file and not access.cert_file:
        return _system_trust()
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.cert_file:
            context.load_cert_chain(access.cert_file, access.key_file)
    except (OSError, ssl.SSLError) as problem:
        raise Invalid(f"ca_file, cert_file or key_file cannot be used: {problem}") from None
    return context


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    # Reading all the CAs of the system takes longer than anything else here.
    return ssl.create_default_context()


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
