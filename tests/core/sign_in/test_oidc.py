"""Signing in by an identity provider: only what the right one says about this very sign-in opens the door."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.test import Client, RequestFactory

from core.accounts import services as accounts
from core.accounts.access import Actor
from core.accounts.models import Membership, Role, User
from core.audit.models import Entry
from core.errors import BreakwaterError, Conflict, Denied, Invalid, Rejected
from core.sign_in import fetch, oidc, providers
from core.sign_in.models import ClaimedRole, Identity, Provider
from core.sign_in.sessions import SessionStore
from tests.core.sign_in.issuer import ISSUER, Issuer, forged

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer() -> Issuer:
    cache.clear()
    return Issuer()


@pytest.fixture
def provider(issuer: Issuer, actor: Any, settings: Any) -> Provider:
    """A provider whose group `edge` operates and whose group `chiefs` administers `acme`."""
    settings.OPERATOR = "acme"
    return providers.connect(
        actor=actor, slug="staff", name="Staff", issuer=ISSUER, client_id="breakwater", secret="s3cret", strong=True,
        rules="edge = acme : operator\nchiefs = acme : admin", transport=issuer.transport,
    )  # fmt: skip


class Browser:
    """One browser session, without pages."""

    def __init__(self, provider: Provider, issuer: Issuer, user: Any = None) -> None:
        self.provider, self.issuer, self.user = provider, issuer, user or AnonymousUser()
        self.session = SessionStore()

    def request(self, query: dict[str, str] | None = None) -> Any:
        made = RequestFactory().get("/sign-in/callback", query or {})
        made.session, made.user = self.session, self.user
        return made

    def leave(self, **options: Any) -> str:
        return providers.begin(self.request(), self.provider, then="/", transport=self.issuer.transport, **options)

    def come_back(self, query: dict[str, str]) -> User:
        return providers.finish(self.request(query), transport=self.issuer.transport)[0]

    def sign_in(self, **options: Any) -> User:
        return self.come_back(self.issuer.authorize(self.leave(**options)))


def roles(user: User) -> set[str]:
    return set(Membership.objects.filter(user=user).values_list("role", flat=True))


def test_roles_come_and_go_with_the_groups_and_those_given_by_hand_stay(
    provider: Provider, issuer: Issuer, organisation: Any, actor: Any
) -> None:
    issuer.claims = {"groups": ["edge", "people"], "email": "admin@acme.example"}
    anna = Browser(provider, issuer).sign_in()
    assert (anna.username, roles(anna), anna.has_usable_password()) == ("anna", {"operator"}, False)
    accounts.grant(anna, organisation, Role.DEVELOPER, actor=actor)
    issuer.claims = {"groups": ["chiefs"]}
    assert Browser(provider, issuer).sign_in() == anna
    assert roles(anna) == {"admin", "developer"}
    # Given by hand before the provider says it: it is not the provider's to take away.
    issuer.claims = {"groups": []}
    accounts.grant(anna, organisation, Role.OPERATOR, actor=actor)
    Browser(provider, issuer).sign_in()
    issuer.claims = {"groups": ["edge"]}
    Browser(provider, issuer).sign_in()
    issuer.claims = {"groups": "none"}
    Browser(provider, issuer).sign_in()
    assert roles(anna) == {"operator", "developer"}
    assert Entry.objects.filter(action="membership.withdraw", actor="provider staff").count() == 2
    assert User.objects.filter(username="anna").count() == 1


def test_the_last_administrator_is_kept_and_it_is_written_down(
    provider: Provider, issuer: Issuer, admin: Any, actor: Any
) -> None:
    issuer.claims = {"groups": ["chiefs"]}
    anna = Browser(provider, issuer).sign_in()
    accounts.withdraw_role(Membership.objects.get(user=admin), actor=actor)
    issuer.claims = {"groups": ["edge"]}
    Browser(provider, issuer).sign_in()
    assert roles(anna) == {"admin", "operator"}
    assert Entry.objects.filter(action="membership.kept").count() == 1


def test_an_address_or_a_name_opens_nobodys_account(provider: Provider, issuer: Issuer, admin: Any) -> None:
    User.objects.filter(pk=admin.pk).update(email="boss@acme.example")
    issuer.claims = {
        "groups": ["edge"],
        "email": "boss@acme.example",
        "email_verified": True,
        "preferred_username": "admin",
    }
    came = Browser(provider, issuer).sign_in()
    assert came != admin
    assert came.username.startswith("admin-")


def test_somebody_without_a_role_gets_no_account_unless_invited(provider: Provider, issuer: Issuer) -> None:
    with pytest.raises(Denied, match="gives you no role"):
        Browser(provider, issuer).sign_in()
    assert not Identity.objects.exists()
    assert Browser(provider, issuer).sign_in(invited=True).username == "anna"


def test_an_account_is_connected_by_who_is_signed_in_only(
    provider: Provider, issuer: Issuer, admin: Any, make_user: Any
) -> None:
    assert Browser(provider, issuer, admin).sign_in(link=True) == admin
    assert Browser(provider, issuer).sign_in() == admin
    mate = make_user("mate")
    with pytest.raises(Conflict, match="another person"):
        Browser(provider, issuer, mate).sign_in(link=True)
    begun = Browser(provider, issuer, mate)
    answer = issuer.authorize(begun.leave(link=True))
    begun.user = admin
    with pytest.raises(Denied):
        begun.come_back(answer)
    providers.unlink(admin, Identity.objects.get().pk, actor=Actor(admin))
    with pytest.raises(Denied):
        Browser(provider, issuer).sign_in()


def hostile(issuer: Issuer) -> dict[str, Any]:
    """What a provider, or somebody in its place, may try; each with the words of our refusal."""
    now = int(time.time())
    stranger = ec.generate_private_key(ec.SECP256R1())
    claims = {"iss": ISSUER, "aud": "breakwater", "sub": "anna-1", "iat": now, "exp": now + 300}
    public = jwt.algorithms.ECAlgorithm.to_jwk(issuer.key.public_key())
    return {
        "for somebody else": ({"claims": {"aud": "another"}}, "Audience"),
        "for several, asked for by another": ({"claims": {"aud": ["breakwater", "x"], "azp": "x"}}, "somebody else"),
        "for several, without who asked": ({"claims": {"aud": ["breakwater", "x"]}}, "somebody else"),
        "asked for by another": ({"claims": {"azp": "x"}}, "somebody else"),
        "too old": ({"claims": {"exp": now - 120, "iat": now - 600}}, "expired"),
        "without an end": ({"claims": {"exp": None}}, "exp"),
        "from the future": ({"claims": {"iat": now + 3600}}, "iat"),
        "of another issuer": ({"claims": {"iss": "https://evil.example"}}, "issuer"),
        "of almost our issuer": ({"claims": {"iss": ISSUER + "/"}}, "issuer"),
        "about nobody": ({"claims": {"sub": None}}, "sub"),
        "about a list": ({"claims": {"sub": ["anna-1"]}}, ""),
        "of another sign-in": ({"claims": {"nonce": "swapped"}}, "another sign-in"),
        "without nonce": ({"claims": {"nonce": None}}, "another sign-in"),
        "signed by a stranger": ({"key": stranger}, "Signature"),
        "signed by a key that is not named": ({"kid": "k2"}, "does not name"),
        "not signed": ({"token": forged(claims)}, "'none'"),
        "signed by the public key as a secret": ({"token": forged(claims, public.encode())}, "'HS256'"),
        "no token": ({"token": "a.b.c"}, "not taken"),
        "a number": ({"token": 7}, "no ID token"),
        "two people": ({"userinfo": {"sub": "berta"}}, "two different people"),
    }  # fmt: skip


def test_a_lie_about_the_person_opens_nothing(provider: Provider, issuer: Issuer) -> None:
    opened = []
    for what, (lie, words) in hostile(issuer).items():
        cache.clear()
        liar = Issuer()
        liar.key = liar.published = issuer.key
        for name, value in lie.items():
            setattr(liar, name, value)
        try:
            Browser(provider, liar).sign_in()
        except Rejected as refused:
            if words not in refused.detail:
                opened.append(f"{what}: refused, but for {refused.detail!r}")
        except Denied:
            opened.append(f"{what}: was believed")
    assert not opened, "\n".join(opened)


def test_an_answer_is_taken_once_and_only_where_it_was_begun(provider: Provider, issuer: Issuer) -> None:
    issuer.claims = {"groups": ["edge"]}
    browser = Browser(provider, issuer)
    answer = issuer.authorize(browser.leave())
    wrong = [
        ({**answer, "state": "guessed"}, Invalid),
        ({"code": "c0de"}, Invalid),
    ]
    for query, kind in wrong:
        with pytest.raises(kind):
            browser.come_back(query)
    with pytest.raises(Invalid, match="begun here"):
        Browser(provider, issuer).come_back(answer)
    browser.come_back(answer)
    with pytest.raises(Invalid, match="begun here"):
        browser.come_back(answer)
    # The verifier of the code went to the token endpoint, and the secret in the header only.
    token = next(each for each in issuer.asked if each.url.path == "/token")
    assert b"code_verifier=" in token.content
    assert b"s3cret" not in token.content
    assert token.headers["Authorization"].startswith("Basic ")
    other = Browser(provider, issuer)
    with pytest.raises(Rejected, match="another provider"):
        other.come_back({**issuer.authorize(other.leave()), "iss": "https://evil.example"})
    refused = Browser(provider, issuer)
    state = issuer.authorize(refused.leave())["state"]
    with pytest.raises(Rejected, match="access_denied"):
        refused.come_back({"state": state, "error": "access_denied\r\n<b>"})


def test_a_provider_that_is_none_is_not_connected(
    issuer: Issuer, actor: Any, make_user: Any, organisation: Any, settings: Any
) -> None:
    settings.OPERATOR = "acme"
    facts: dict[str, Any] = {"slug": "x", "name": "X", "client_id": "b", "secret": "", "issuer": ISSUER}

    def refused(**changes: Any) -> str:
        cache.clear()
        with pytest.raises(BreakwaterError) as told:
            providers.connect(**{"actor": actor, "transport": issuer.transport, **facts, **changes})
        return str(told.value.context.get("field") or told.value.context.get("errors"))

    assert refused(issuer=ISSUER + "/") == "issuer"
    assert refused(issuer="http://id.example.net") == "issuer"
    assert refused(rules="edge = acme") == "rules"
    assert refused(rules="edge = elsewhere : admin") == "rules"
    assert refused(rules="edge = acme : king") == "rules"
    assert "slug" in refused(slug="a b")
    assert "scopes" in refused(scopes="email")
    refused(actor=Actor(make_user("op", organisation, "operator")))
    issuer.about = {"jwks_uri": "file:///etc/passwd"}
    assert refused() == "issuer"
    issuer.about, issuer.status = {}, 302
    refused()
    assert not Provider.objects.exists()


def test_unknown_keys_do_not_make_us_ask_for_each_token(provider: Provider, issuer: Issuer) -> None:
    issuer.kid = "k9"
    for _each in range(5):
        with pytest.raises(Rejected):
            Browser(provider, issuer).sign_in()
    assert sum(each.url.path == "/keys" for each in issuer.asked) <= 2


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        ("http://127.0.0.1:1/", []),
        ("https://127.0.0.1:1/", []),
        ("https://169.254.169.254/latest", []),
        ("https://[::ffff:127.0.0.1]:1/", []),
        ("https://[64:ff9b::a00:1]/", []),
        ("http://192.0.2.1/", ["127.0.0.0/8"]),
    ],
)
def test_addresses_inside_are_not_asked(url: str, networks: list[str], settings: Any) -> None:
    settings.SIGN_IN_NETWORKS = networks
    with pytest.raises((Invalid, Rejected)):
        fetch.Fetcher("X").get(url)


def test_disconnecting_takes_the_roles_and_the_way_in(provider: Provider, issuer: Issuer, actor: Any) -> None:
    issuer.claims = {"groups": ["edge"]}
    anna = Browser(provider, issuer).sign_in()
    providers.disconnect(provider, actor=actor)
    assert roles(anna) == set()
    assert not Identity.objects.exists()
    assert not ClaimedRole.objects.exists()


def test_groups_are_found_inside_objects_too() -> None:
    claims = {"realm_access": {"roles": ["a", 7]}, "https://x.y/groups": ["b"], "one": "c"}
    found = [
        providers.groups_of(claims, name) for name in ("realm_access.roles", "https://x.y/groups", "one", "none.at.all")
    ]
    assert found == [{"a"}, {"b"}, {"c"}, set()]


def test_the_secret_is_sealed_and_in_no_words_of_ours(provider: Provider) -> None:
    assert b"s3cret" not in bytes(provider.sealed_secret)
    assert "s3cret" not in repr(oidc.Party("a", "b", "c", "s3cret"))
    assert "s3cret" not in str(list(Entry.objects.values_list("facts", flat=True)))


def test_the_pages_say_what_is_wrong_beside_the_field_and_are_for_who_runs_the_store(
    provider: Provider, admin: Any, stranger: Any
) -> None:
    boss, other, visitor = Client(), Client(), Client()
    boss.force_login(admin)
    other.force_login(stranger)
    typed = {
        "slug": "x", "name": "X", "client_id": "b", "secret": "hush", "scopes": "openid", "groups_claim": "g",
        "issuer": "http://id.example.net", "rules": "edge = acme : viewer",
    }  # fmt: skip
    answer = boss.post("/identity-providers", typed)
    text = answer.content.decode()
    assert answer.status_code == 400
    assert 'id="id_issuer_error"' in text
    assert "edge = acme : viewer" in text
    assert "hush" not in text
    assert other.get("/identity-providers").status_code == 403
    kept = {name: typed[name] for name in ("name", "client_id", "scopes", "groups_claim")}
    assert boss.post(f"/identity-providers/{provider.pk}", {**kept, "rules": "nonsense"}).status_code == 400
    assert boss.post(f"/identity-providers/{provider.pk}", {**kept, "rules": "edge = acme : viewer"}).status_code == 302
    provider.refresh_from_db()
    # Without the box it is closed: nobody is led there any more, and it is not on the sign-in page.
    assert (provider.name, provider.active, providers.rules_text(provider)) == ("X", False, "edge = acme : viewer")
    assert "Sign in with X" not in visitor.get("/sign-in").content.decode()
    told = visitor.get("/sign-in/with?provider=staff", follow=True)
    assert "There is no such provider" in told.content.decode()
    Provider.objects.update(active=True)
    assert "provider=staff&amp;next=%2Fnodes" in visitor.get("/sign-in?next=/nodes").content.decode()
    told = visitor.get("/sign-in/callback?state=guessed&code=1", follow=True)
    assert "belongs to no sign-in that was begun here" in told.content.decode()
