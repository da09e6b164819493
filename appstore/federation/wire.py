"""Signed requests between stores: the client that sends them and the door that takes them.

Every request is signed with the store's key (see `signing`), taken only within five minutes of its date, only by the
store that it names, and only once. What a partner's server may cost us is bounded at the socket (see `reaching`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json as jsons
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from ssl import SSLContext
from typing import Any, ClassVar, Final, Self

import httpx
from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from appstore.federation import reaching, signing
from appstore.federation.models import Agreement, Peer
from appstore.federation.models_peers import SeenRequest
from appstore.keys import services as keys
from core import dsse
from core.errors import (
    PROBLEM_TYPE_PREFIX,
    BreakwaterError,
    Denied,
    Rejected,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from core.http import ApiView
from core.words import say

ROOT: Final = "/api/v1/federation"
#: Bytes of an answer that is read into memory, unless a caller says otherwise.
MOST: Final = 1 << 20
#: Bytes of a message between stores.
LONGEST_MESSAGE: Final = 256 * 1024
#: Seconds for a small request as a whole.
SECONDS: Final = 20.0
#: Requests a minute of a peer with which nothing is agreed yet.
PER_MINUTE: Final = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered: 2xx, or 304 to a conditional request. `headers` knows names without regard to case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the JSON of the body; `Rejected` when it is none."""
        try:
            return jsons.loads(self.content)
        except (ValueError, RecursionError):
            raise Rejected(say("The partner's answer is no JSON.")) from None


@dataclass(slots=True)
class Streamed:
    """An answer whose body is read as it comes. `received` counts its bytes."""

    status: int
    headers: Mapping[str, str]
    received: int = 0
    _chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


class SignedClient:
    """Speaks to one peer, signed. For one thread at a time; use it in a `with` block or call `close`.

    All calls raise our errors: `Rejected` (it said no, sent nonsense, or more than it may), `Unavailable` (cannot be
    reached, 5xx, 429) and `TimedOut` (silent or stalling). A redirect is never followed.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        audience: str,
        transport: httpx.BaseTransport | None = None,
        guard: reaching.Guard | None = None,
    ) -> None:
        self.name, self.audience = name, audience
        self._guard = guard or reaching.Guard()
        self._base = reaching.normal_url(url)
        way = transport or reaching.Way(reaching.locate(url, policy()), self._guard, _trusted())
        self._http = httpx.Client(
            transport=way, follow_redirects=False, trust_env=False, timeout=httpx.Timeout(10.0),
            headers={"User-Agent": "breakwater", "Accept": "application/json", "Accept-Encoding": "identity"},
        )  # fmt: skip
        self._key = keys.signer(keys.STORE) if audience else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, most: int = MOST, seconds: float = SECONDS
    ) -> Answer:
        """Fetch what `path` (with its query) names, into memory: at most so many bytes in so many seconds."""
        with self._asked("GET", path, headers, b"", most=most, seconds=seconds) as answer:
            return Answer(answer.status, answer.headers, b"".join(answer))

    def post(self, path: str, json: Any, *, most: int = MOST, seconds: float = SECONDS) -> Answer:
        """Send JSON and return the answer."""
        body = jsons.dumps(json, separators=(",", ":"), ensure_ascii=False).encode()
        kind = {"Content-Type": "application/json"}
        with self._asked("POST", path, kind, body, most=most, seconds=seconds) as answer:
            return Answer(answer.status, answer.headers, b"".join(answer))

    def stream(
        self, path: str, headers: Mapping[str, str] | None = None, *, most: int
    ) -> contextlib.AbstractContextManager[Streamed]:
        """Fetch something large: `with client.stream(path, {"Range": ...}, most=size) as answer: for chunk in answer`.

        There is no limit of time as a whole, but one of silence (10 s) and a floor of speed (2 kB/s).
        """
        return self._asked("GET", path, headers, b"", most=most, seconds=None)

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        *,
        most: int,
        seconds: float | None,
    ) -> Iterator[Streamed]:
        url = httpx.URL(self._base + path)
        signed = self._signature(method, url.raw_path.decode("ascii"), body)
        self._guard.begin(seconds)
        with (
            reaching.talking_to(self.name),
            self._http.stream(method, url, headers={**(headers or {}), **signed}, content=body or None) as response,
        ):
            if not (200 <= response.status_code < 300 or response.status_code == 304):
                raise self._refusal(response)
            announced = response.headers.get("Content-Length", "0")
            if not announced.isdecimal() or int(announced) > most:
                raise Rejected(
                    say("{name} answers with more than the {most} bytes that are taken.", name=self.name, most=most),
                    peer=self.name,
                )
            answer = Streamed(response.status_code, response.headers)
            answer._chunks = self._bounded(response, answer, most)
            yield answer

    def _signature(self, method: str, target: str, body: bytes) -> dict[str, str]:
        assert self._key is not None
        return signing.sign(self._key, method, target, body, audience=self.audience, now=time.time())

    def _bounded(self, response: httpx.Response, answer: Streamed, most: int) -> Iterator[bytes]:
        with reaching.talking_to(self.name):
            for chunk in response.iter_bytes():
                answer.received += len(chunk)
                if answer.received > most:
                    raise Rejected(
                        say("{name} sends more than the {most} bytes that are taken.", name=self.name, most=most),
                        peer=self.name,
                    )
                yield chunk

    def _refusal(self, response: httpx.Response) -> BreakwaterError:
        """Return our error for a refusal; what the peer says of it is shown, cut, as the words of a stranger."""
        said, code = "", ""
        with contextlib.suppress(BreakwaterError, ValueError, RecursionError, httpx.HTTPError):
            body = b"".join(self._bounded(response, Streamed(0, {}), 16 * 1024))
            told = jsons.loads(body)
            if isinstance(told, dict):
                said = "".join(each for each in str(told.get("detail", ""))[:300] if each.isprintable())
                code = (
                    str(told.get("code", ""))[:40] if str(told.get("type", "")).startswith(PROBLEM_TYPE_PREFIX) else ""
                )
        facts = {"peer": self.name, "remote_status": response.status_code, "remote_code": code}
        if response.status_code >= 500 or response.status_code == 429:
            return Unavailable(
                say(
                    "{name} cannot answer now ({status_code}). {said}",
                    name=self.name,
                    status_code=response.status_code,
                    said=said,
                ).strip(),
                **facts,
            )
        if 300 <= response.status_code < 400:
            return Rejected(
                say("{name} wants to send us elsewhere; redirects are not followed.", name=self.name), **facts
            )
        return Rejected(
            say(
                "{name} refused ({status_code}). {said}", name=self.name, status_code=response.status_code, said=said
            ).strip(),
            **facts,
        )


def client(peer: Peer, *, transport: httpx.BaseTransport | None = None) -> SignedClient:
    """Return the client for a peer; `Invalid` when its address is not allowed here, `Unavailable` without an address."""
    return SignedClient(name=peer.name, url=peer.url, audience=peer.store_id, transport=transport)


def plain(name: str, url: str, *, transport: httpx.BaseTransport | None = None) -> PlainClient:
    """Return a client with the same bounds that signs nothing, for stores of another kind and for a first look."""
    return PlainClient(name=name, url=url, audience="", transport=transport)


class PlainClient(SignedClient):
    """The same without a signature: the other side learns nothing of our key."""

    def _signature(self, method: str, target: str, body: bytes) -> dict[str, str]:
        return {}


def policy() -> reaching.Policy:
    """Return where this store may go, by its settings."""
    return reaching.Policy.of(settings.FEDERATION_NETWORKS)


@lru_cache(maxsize=4)
def _context(bundle: str, _changed: float) -> SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if bundle:
        context.load_verify_locations(bundle)
    return context


def _trusted() -> SSLContext:
    """Return which certificates partner stores are trusted by; it is made once, reading a bundle takes 20 ms."""
    bundle = settings.FEDERATION_CA
    return _context(bundle, Path(bundle).stat().st_mtime if bundle else 0.0)


# The door


def authenticate(request: HttpRequest, *, states: tuple[str, ...] = (Peer.State.ACTIVE,)) -> Peer:
    """Return the peer that signed a request, and take the request only once.

    `Unauthenticated` when it is not signed, by nobody we know, changed, too old, for another store or sent before;
    `Denied` when the peer is in none of `states`; `Throttled` beyond what is agreed; `TooLarge` for a long body.
    """
    claim = read_claim(request)
    peer = Peer.objects.filter(store_id=claim.key_id, kind="breakwater").first()
    if peer is None:
        raise Unauthenticated(say("This store does not know the key that the request is signed with."))
    check_claim(request, claim, dsse.load_public(peer.public_pem))
    if peer.state not in states:
        raise Denied(
            say("Between this store and yours the state is {state}; that does not allow this.", state=repr(peer.state))
        )
    agreement = peer.agreement()
    _take_once(claim, _per_minute(agreement))
    if peer.heard_at is None or timezone.now() - peer.heard_at > timedelta(minutes=1):
        Peer.objects.filter(pk=peer.pk).update(heard_at=timezone.now())
    return peer


def read_claim(request: HttpRequest) -> signing.Claim:
    """Return what a request says about its sender; nothing is verified yet."""
    has_body = bool(bounded_body(request))
    query = request.META.get("QUERY_STRING", "")
    target = f"{request.path}?{query}" if query else request.path
    return signing.claimed(request.method or "GET", target, request.headers, has_body=has_body)


def bounded_body(request: HttpRequest) -> bytes:
    """Return the body of a message between stores; `TooLarge` before one that is longer is read."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > LONGEST_MESSAGE or len(request.body) > LONGEST_MESSAGE:
        raise TooLarge(
            say("Messages between stores have at most {longest_message} bytes.", longest_message=LONGEST_MESSAGE)
        )
    return request.body


def check_claim(request: HttpRequest, claim: signing.Claim, key: dsse.PublicKey) -> None:
    """Pass when the request is signed with `key`, now, for us, and with this body."""
    claim.verify(key)
    if claim.audience != keys.current(keys.STORE).pk:
        raise Unauthenticated(say("The request is meant for another store."))
    if abs(time.time() - claim.created) > signing.WINDOW:
        raise Unauthenticated(
            say(
                "The date of the request is more than {window} minutes off; compare the clocks of both stores.",
                window=signing.WINDOW // 60,
            )
        )
    if hashlib.sha256(request.body).hexdigest() != (claim.body_sha256 or hashlib.sha256(b"").hexdigest()):
        raise Unauthenticated(say("The body of the request is not the one that was signed."))


def take_once(claim: signing.Claim, per_minute: int = PER_MINUTE) -> None:
    """Note that this request was taken; `Conflict` when it was before, `Throttled` when there are too many.

    The table is bounded: only verified keys get here, each with so many requests a minute, for ten minutes.
    """
    _take_once(claim, per_minute)


def _take_once(claim: signing.Claim, per_minute: int) -> None:
    now = timezone.now()
    mine = SeenRequest.objects.filter(key_id=claim.key_id)
    lately = mine.filter(at__gt=now - timedelta(minutes=1)).count()
    if lately >= per_minute:
        raise Throttled(say("More than {per_minute} requests in a minute.", per_minute=per_minute), retry_after=30)
    try:
        with transaction.atomic():
            SeenRequest.objects.create(key_id=claim.key_id, nonce=claim.nonce, at=now)
    except IntegrityError:
        raise Unauthenticated(say("This very request was sent before; it is taken once.")) from None
    if lately == 0:  # once a minute at most
        SeenRequest.objects.filter(at__lt=now - timedelta(seconds=2 * signing.WINDOW + 60)).delete()


def _per_minute(agreement: Agreement | None) -> int:
    if agreement is None:
        return PER_MINUTE
    offer = agreement.read().out
    # A word about the agreement itself must always get through.
    return max(10, offer.limits.requests_per_minute) if offer else PER_MINUTE


class PeerView(ApiView):
    """Base of views that other stores call: `self.peer` is who asks, `self.agreement` what is in force.

    `states` are the states of a peer in which it may ask; a view with `agreed = True` (the usual) answers only under
    an agreement in force, else 403. Answers are problem+json for every refusal.
    """

    public = True
    authentication_classes = []  # the signature is the authentication
    states: ClassVar[tuple[str, ...]] = (Peer.State.ACTIVE,)
    agreed: ClassVar[bool] = True
    peer: Peer
    agreement: Agreement | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find out which store asks, before the view runs."""
        super().initial(request, *args, **kwargs)
        self.peer = authenticate(request._request, states=self.states)
        if self.agreed:
            self.agreement = self.peer.agreement()
            if self.agreement is None:
                raise Denied(say("There is no agreement in force between this store and yours."))
