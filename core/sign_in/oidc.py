"""OpenID Connect Core 1.0 as a relying party: code flow with PKCE, state and nonce, and an ID token that is checked.

No model and no session here: `begin` returns what must be remembered, `finish` takes it back. allauth's client would
take an ID token without looking at its signature, sends no nonce and follows redirects, so the protocol is ours, on
PyJWT; see docs/sign-in.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jwt
from django.core.cache import cache

from core.errors import Invalid, Rejected, TimedOut, Unavailable
from core.sign_in.fetch import Fetcher, check_url
from core.words import say

#: Public-key signatures only: `none` and shared secrets are refused whatever the token says of itself.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: Seconds that clocks may differ, and for which discovery documents and keys are kept.
LEEWAY = 60
KEPT = 600
#: Seconds between two looks at the keys of a provider because a token names one that we do not know.
LOOK_AGAIN = 30
#: Seconds for which a provider that did not answer is not asked again.
DOWN = 10


@dataclass(frozen=True, slots=True)
class Party:
    """We, as one provider knows us."""

    name: str
    issuer: str
    client_id: str
    secret: str = field(repr=False)
    scopes: str = "openid profile email"
    redirect_uri: str = ""


def begin(party: Party, fetcher: Fetcher) -> tuple[str, dict[str, str]]:
    """Return where to send the browser, and what to remember until it comes back."""
    about = discover(party, fetcher)
    kept = {
        "state": secrets.token_urlsafe(32),
        "nonce": secrets.token_urlsafe(32),
        "verifier": secrets.token_urlsafe(48),
    }
    challenge = base64.urlsafe_b64encode(hashlib.sha256(kept["verifier"].encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": party.client_id,
        "redirect_uri": party.redirect_uri,
        "scope": party.scopes,
        "state": kept["state"],
        "nonce": kept["nonce"],
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    where = about["authorization_endpoint"]
    return f"{where}{'&' if urlsplit(where).query else '?'}{urlencode(asked)}", kept


def finish(
    party: Party, fetcher: Fetcher, *, answer: Mapping[str, str], kept: Mapping[str, str], claim: str
) -> dict[str, Any]:
    """Return the claims about whoever came back; `Rejected` or `Invalid` when anything does not fit.

    When the ID token lacks `claim`, the userinfo endpoint is asked as well.
    """
    if not hmac.compare_digest(kept["state"].encode(), answer.get("state", "").encode("utf-8", "replace")):
        raise Invalid(say("This answer belongs to no sign-in that was begun here. Begin again."))
    about = discover(party, fetcher)
    said = answer.get("iss")
    # RFC 9207: which provider answers, so that one cannot be mixed up with another.
    if (
        said is not None or about.get("authorization_response_iss_parameter_supported") is True
    ) and said != party.issuer:
        raise Rejected(say("The answer comes from another provider than the one that was asked."))
    if "error" in answer or not answer.get("code"):
        code = "".join(c for c in answer.get("error", "no code")[:60] if c.isascii() and c.isprintable())
        raise Rejected(say("{name} did not sign you in ({code}).", name=party.name, code=code))
    tokens = _exchange(party, fetcher, about, answer["code"], kept["verifier"])
    token = tokens.get("id_token")
    if not isinstance(token, str) or len(token) > 64_000:
        raise Rejected(say("{name} sent no ID token.", name=party.name))
    claims = check(party, fetcher, token, nonce=kept["nonce"])
    access = tokens.get("access_token")
    if claim not in claims and isinstance(access, str) and about.get("userinfo_endpoint"):
        more = fetcher.get(about["userinfo_endpoint"], {"Authorization": f"Bearer {access}"})
        # OpenID Connect Core, 5.3.2: or the answer is about somebody else.
        if more.get("sub") != claims["sub"]:
            raise Rejected(say("{name} tells of two different people.", name=party.name))
        claims = {**more, **claims}
    return claims


def check(party: Party, fetcher: Fetcher, token: str, *, nonce: str) -> dict[str, Any]:
    """Return the claims of an ID token whose signature, issuer, audience, time and nonce are right; else `Rejected`."""
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise Rejected(
                say("The ID token is signed by {alg}, which is not taken.", alg=repr(str(header.get("alg"))[:20]))
            )
        claims: dict[str, Any] = jwt.decode(
            token,
            key=_key(party, fetcher, header),
            algorithms=[header["alg"]],
            audience=party.client_id,
            issuer=party.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as problem:
        raise Rejected(say("The ID token is not taken: {problem}", problem=_short(problem))) from None
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != party.client_id:
        raise Rejected(say("The ID token is for somebody else as well, and does not say that it was asked for by us."))
    if "azp" in claims and claims["azp"] != party.client_id:
        raise Rejected(say("The ID token was asked for by somebody else."))
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise Rejected(say("The ID token belongs to another sign-in."))
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise Rejected(say("The ID token names nobody."))
    return claims


def discover(party: Party, fetcher: Fetcher) -> dict[str, Any]:
    """Return what the provider says of itself; it must call itself by the very issuer that we know."""
    where = f"oidc:about:{_digest(party.issuer)}"
    about: dict[str, Any] | None = cache.get(where)
    if about is None:
        about = _asked(party, fetcher)
        if about.get("issuer") != party.issuer:
            raise Rejected(
                say(
                    "{name} calls itself {about_issuer}, not {party_issuer}; the issuer must be written exactly so.",
                    name=party.name,
                    about_issuer=repr(str(about.get("issuer"))[:200]),
                    party_issuer=repr(party.issuer),
                ),
                field="issuer",
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(about.get(name), str):
                raise Rejected(
                    say("{party_name} does not say its {name}.", party_name=party.name, name=name), field="issuer"
                )
        for name in (
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
            "end_session_endpoint",
        ):
            if name in about:
                check_url(str(about[name]))
        cache.set(where, about, KEPT)
    return about


def _asked(party: Party, fetcher: Fetcher) -> dict[str, Any]:
    down = f"oidc:down:{_digest(party.issuer)}"
    # While it is down, each visitor of the sign-in page must not hold one of our threads until the time is over.
    if cache.get(down):
        raise Unavailable(say("{name} does not answer at the moment; try again soon.", name=party.name))
    try:
        return fetcher.get(party.issuer.rstrip("/") + "/.well-known/openid-configuration")
    except (Unavailable, TimedOut):
        cache.set(down, True, DOWN)
        raise


def end_session_url(party: Party, fetcher: Fetcher, *, back: str) -> str:
    """Return where a person signs out at the provider; "" when it has no such place."""
    where = discover(party, fetcher).get("end_session_endpoint")
    if not isinstance(where, str):
        return ""
    asked = urlencode({"client_id": party.client_id, "post_logout_redirect_uri": back})
    return f"{where}{'&' if urlsplit(where).query else '?'}{asked}"


def forget(issuer: str) -> None:
    """Forget what was kept about a provider."""
    cache.delete_many([f"oidc:{kind}:{_digest(issuer)}" for kind in ("about", "keys", "looked", "down")])


def _exchange(party: Party, fetcher: Fetcher, about: dict[str, Any], code: str, verifier: str) -> dict[str, Any]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": party.redirect_uri,
        "code_verifier": verifier,
    }
    headers: dict[str, str] = {}
    methods = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if not party.secret:
        form["client_id"] = party.client_id
    elif "client_secret_post" in methods or "client_secret_basic" not in methods:
        # Preferred: for the header RFC 6749, 2.3.1 wants both parts encoded first, and not every provider decodes them.
        form |= {"client_id": party.client_id, "client_secret": party.secret}
    else:
        pair = f"{quote(party.client_id, safe='')}:{quote(party.secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return fetcher.post(about["token_endpoint"], form, headers)


def _key(party: Party, fetcher: Fetcher, header: dict[str, Any]) -> Any:
    """Return the key that a token names. The algorithm must be of the key's kind, so no key is taken for another."""
    kid = header.get("kid")
    for fresh in (False, True):
        keys = _keys(party, fetcher, fresh=fresh)
        fitting = [each for each in keys if kid is None or each.get("kid") == kid]
        # Without a name, only one key can be meant.
        fitting = [each for each in fitting if each.get("use", "sig") == "sig" and _of_kind(each, header["alg"])]
        if len(fitting) == 1:
            return jwt.PyJWK(fitting[0], algorithm=header["alg"]).key
    raise Rejected(say("The ID token is signed by a key that the provider does not name."))


def _of_kind(key: dict[str, Any], algorithm: str) -> bool:
    kind = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:2]]
    return key.get("kty") == kind and key.get("alg", algorithm) == algorithm


def _keys(party: Party, fetcher: Fetcher, *, fresh: bool) -> list[dict[str, Any]]:
    where, looked = f"oidc:keys:{_digest(party.issuer)}", f"oidc:looked:{_digest(party.issuer)}"
    keys: list[dict[str, Any]] | None = cache.get(where)
    # Tokens that name unknown keys must not make us ask the provider for each.
    if keys is None or (fresh and cache.add(looked, time.time(), LOOK_AGAIN)):
        found = fetcher.get(discover(party, fetcher)["jwks_uri"]).get("keys")
        keys = [each for each in found if isinstance(each, dict)][:50] if isinstance(found, list) else []
        cache.set(where, keys, KEPT)
    return keys


def _digest(issuer: str) -> str:
    return hashlib.sha256(issuer.encode()).hexdigest()[:32]


def _short(problem: Exception) -> str:
    return "".join(c for c in str(problem)[:120] if c.isprintable()) or type(problem).__name__
