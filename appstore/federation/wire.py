"""Signed requests between stores: the client that sends them and the door that takes them.

Every request is signed with the store's key (see `signing`), taken only within five minutes of its date, only by the
store that it names, and only once. What a partner's server may cost us is bounded at the socket (see `reaching`).
Each answer is signed, too (see `answering`): before that is verified, neither its status nor its words are believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json as jsons
import time
from collections.abc import Callable, Iterator, Mapping
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

from appstore.federation import answering, reaching, signing
from appstore.federation.answering import AnsweringView
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
from core.words import say

ROOT: Final = "/api/v1/federation"
#: Bytes of an answer that is read into memory, unless a caller says otherwise.
MOST: Final = 1 << 20
#: Bytes of a message between stores.
LONGEST_MESSAGE: Final = 256 * 1024
#: Bytes of a refusal, of which the words are shown.
_LONGEST_REFUSAL: Final = 64 * 1024
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
    reached, 5xx, 429) and `TimedOut` (silent or stalling). A redirect is never followed. `key` is the partner's; of a
    partner whose answers are signed (`signs`) an answer that is not its own is `Unavailable`: the line is in trouble,
    and nothing is known about the partner. `proven` is called when a first answer is signed.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        audience: str,
        transport: httpx.BaseTransport | None = None,
        guard: reaching.Guard | None = None,
        key: dsse.PublicKey | None = None,
        signs: bool = False,
        proven: Callable[[], object] = lambda: None,
    ) -> None:
        self.name, self.audience = name, audience
        self._partner, self._signs, self._proven = key, signs, proven
        self._guard = guard or reaching.Guard()
        self._base = reaching.normal_url(url)
        way = transport or reaching.Way(reaching.locate(url, policy()), self._guard, _trusted())
        self._http = httpx.Client(
            transport=way, follow_redirects=False, trust_env=False, timeout=httpx.Timeout(10.0),
            headers={"User-Agent": "breakwater", "Accept": "application/json", "Accept-Encoding": "identity"},
        )  # fmt: skip
        if audience:
            # What HTTP/1.1 does anyway (RFC 9112, 9.3), and a wish that no store looks at: bytes of every sync.
            del self._http.headers["Connection"], self._http.headers["Accept"]
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
        if len(body) > LONGEST_MESSAGE:
            # Said here, since the other side refuses it before it knows who asks.
            raise Rejected(
                say("Messages between stores have at most {longest_message} bytes.", longest_message=LONGEST_MESSAGE),
                remote_status=413,
            )
        kind = {"Content-Type": "application/json"}
        with self._asked("POST", path, kind, body, most=most, seconds=seconds) as answer:
            return Answer(answer.status, answer.headers, b"".join(answer))

    def stream(
        self, path: str, headers: Mapping[str, str] | None = None, *, most: int, known: bool = False
    ) -> contextlib.AbstractContextManager[Streamed]:
        """Fetch something large: `with client.stream(path, {"Range": ...}, most=size) as answer: for chunk in answer`.

        There is no limit of time as a whole, but one of silence (10 s) and a floor of speed (2 kB/s). Believe nothing
        of the body before its end: then it is compared with what the partner signed. With `known` it is not, for
        those who know the digest of what they fetch.
        """
        return self._asked("GET", path, headers, b"", most=most, seconds=None, known=known)

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
        known: bool = False,
    ) -> Iterator[Streamed]:
        url = httpx.URL(self._base + path)
        signed = self._signature(method, url.raw_path.decode("ascii"), body)
        self._guard.begin(seconds)
        with (
            reaching.talking_to(self.name),
            self._http.stream(method, url, headers={**(headers or {}), **signed}, content=body or None) as response,
        ):
            digest = self._believed(response)
            if not (200 <= response.status_code < 300 or response.status_code == 304):
                raise self._refusal(response, digest)
            announced = response.headers.get("Content-Length", "0")
            if not announced.isdecimal() or len(announced) > 19 or int(announced) > most:
                raise self._nonsense(f"{self.name} answers with more than the {most} bytes that are taken.")
            answer = Streamed(response.status_code, response.headers)
            answer._chunks = self._bounded(response, answer, most, None if known else digest)
            yield answer

    def _signature(self, method: str, target: str, body: bytes) -> dict[str, str]:
        assert self._key is not None
        return signing.sign(self._key, method, target, body, audience=self.audience, now=time.time())

    def _believed(self, response: httpx.Response) -> bytes | None:
        """Pass an answer of the partner; return the SHA-256 that its body must have, None where nobody signed one.

        `Unavailable` when somebody else gave it, or may have given it.
        """
        headers = response.headers
        if self._partner is None or not (self._signs or "Signature" in headers or "Signature-Input" in headers):
            return None
        path = response.request.url.raw_path.decode("ascii").partition("?")[0]
        told = headers.get("Content-Digest")
        digest = signing.read_digest(told) if told else hashlib.sha256(b"").digest()
        good = signing.answers(self._partner, response.status_code, path, headers, response.request.headers)
        # We asked for bodies as they are; what packs them on the way is no partner.
        if not good or digest is None or headers.get("Content-Encoding", "identity") != "identity":
            raise self._stranger(response.status_code)
        if not self._signs:
            self._signs = True
            self._proven()
        return digest

    def _stranger(self, status: int) -> Unavailable:
        if status == 401:
            # A store that does not know who asks signs nothing: anybody could have it say so about a request of ours.
            return Unavailable(
                say("At the address of {name} our request was not recognised (401), and the answer is "
"not signed. If this lasts, compare the clocks and the keys of both stores.", name=self.name),
                peer=self.name, unsigned=True,
            )  # fmt: skip
        return Unavailable(
            say("Somebody between us and {name} answered ({status}): the answer does not have its "
"signature. It was not believed.", name=self.name, status=status),
            peer=self.name, unsigned=True,
        )  # fmt: skip

    def _nonsense(self, detail: str) -> BreakwaterError:
        """Return the error for an answer beyond its bounds: of the line, where the partner proves what it says."""
        return (Unavailable if self._signs else Rejected)(detail, peer=self.name)

    def _bounded(
        self, response: httpx.Response, answer: Streamed, most: int, digest: bytes | None = None
    ) -> Iterator[bytes]:
        hashed = hashlib.sha256()
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            # We asked for none. Unpacked, a few hundred bytes may be gigabytes before anybody can count them.
            raise self._nonsense(say("{name} packed its answer although it was asked not to.", name=self.name))
        with reaching.talking_to(self.name):
            for chunk in response.iter_bytes():
                answer.received += len(chunk)
                if answer.received > most:
                    raise self._nonsense(f"{self.name} sends more than the {most} bytes that are taken.")
                if digest is not None:
                    hashed.update(chunk)
                yield chunk
        if digest is not None and hashed.digest() != digest:
            raise Unavailable(
                say("Somebody between us and {name} changed its answer: it has another body than was "
"signed.", name=self.name),
                peer=self.name, unsigned=True,
            )  # fmt: skip

    def _refusal(self, response: httpx.Response, digest: bytes | None) -> BreakwaterError:
        """Return our error for a refusal; what the peer says of it is shown, cut, as the words of a stranger."""
        said, code, body = "", "", b""
        try:
            body = b"".join(self._bounded(response, Streamed(0, {}), _LONGEST_REFUSAL, digest))
        except (BreakwaterError, httpx.HTTPError):
            if digest is not None:
                raise
        with contextlib.suppress(ValueError, RecursionError):
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


def client(
    peer: Peer, *, transport: httpx.BaseTransport | None = None, guard: reaching.Guard | None = None
) -> SignedClient:
    """Return the client for a peer; `Invalid` when its address is not allowed here, `Unavailable` without an address."""

    def proven() -> None:
        # From now on for good: a partner that signs does not stop, somebody takes the signature away.
        Peer.objects.filter(pk=peer.pk, answers_signed_at=None).update(answers_signed_at=timezone.now())

    return SignedClient(
        name=peer.name, url=peer.url, audience=peer.store_id, transport=transport, guard=guard,
        key=dsse.load_public(peer.public_pem), signs=peer.answers_signed_at is not None, proven=proven,
    )  # fmt: skip


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
    # Before it is looked at any further, so that no request has two answers.
    _take_once(claim, _per_minute(peer.agreement()))
    if peer.state not in states:
        raise Denied(
            say("Between this store and yours the state is {state}; that does not allow this.", state=repr(peer.state))
        )
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
    if (
        not length.isdecimal()
        or len(length) > 9
        or int(length) > LONGEST_MESSAGE
        or len(request.body) > LONGEST_MESSAGE
    ):
        raise TooLarge(
            say("Messages between stores have at most {longest_message} bytes.", longest_message=LONGEST_MESSAGE)
        )
    return request.body


def check_claim(request: HttpRequest, claim: signing.Claim, key: dsse.PublicKey) -> None:
    """Pass when the request is signed with `key`, now, for us, and with this body."""
    claim.verify(key)
    if claim.audience != answering.begin(request).pk:
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


class PeerView(AnsweringView):
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
