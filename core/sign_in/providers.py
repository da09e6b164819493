"""Verbs of identity providers: connect one, let people in by it, and keep their roles as it says."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import httpx
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor, System
from core.accounts.models import Membership, Organisation, Role, User
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing
from core.sign_in import fetch, oidc
from core.sign_in.models import ClaimedRole, Identity, Provider, RoleRule, Session
from core.vault import Vault

_BEGUN = "sign_in_begun"
#: Sign-ins at providers that one browser may have under way, in several tabs, and seconds that each may take.
MOST_BEGUN = 5
PATIENCE = 900


def may_connect(actor: Actor) -> bool:
    """Return whether somebody connects providers: they open doors to the whole store, so who runs it does."""
    try:
        return actor is SYSTEM or actor.may("accounts.manage", accounts.operator().pk)
    except Missing:
        return False


@transaction.atomic
def connect(
    *, actor: Actor, slug: str, name: str, issuer: str, client_id: str, secret: str, rules: str = "",
    scopes: str = "openid profile email", groups_claim: str = "groups", strong: bool = False, admits_all: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> Provider:  # fmt: skip
    """Connect a provider; it is asked what it says of itself first. `Invalid` or `Rejected` name what is wrong.

    `rules` are lines `group = organisation : role`.
    """
    _require(actor)
    _check(slug=slug, name=name, issuer=issuer, client_id=client_id, scopes=scopes, groups_claim=groups_claim)
    wanted = read_rules(rules, actor=actor)
    row = Provider(
        slug=slug, name=name.strip(), issuer=issuer, client_id=client_id, scopes=" ".join(scopes.split()),
        groups_claim=groups_claim, strong=strong, admits_all=admits_all,
    )  # fmt: skip
    row.sealed_secret = _vault().seal(secret.encode(), _purpose(row))
    oidc.forget(issuer)
    oidc.discover(_party(row), fetch.Fetcher(row.name, transport))
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise Conflict(
            _("A provider of this short name or with this issuer is connected already."), field="slug"
        ) from None
    RoleRule.objects.bulk_create(RoleRule(provider=row, **rule) for rule in wanted)
    shown = [line.strip()[:300] for line in rules.splitlines()[:50]]
    audit.record(actor, "provider.connect", row, organisation=_operator_id(), issuer=issuer, rules=shown)
    return row


@transaction.atomic
def change(provider: Provider, *, actor: Actor, rules: str, secret: str = "", **facts: Any) -> Provider:
    """Change a provider; the issuer stays, since identities hang on it. An empty secret keeps the present one."""
    _require(actor)
    _check(**{"slug": provider.slug, "issuer": provider.issuer, **facts})
    wanted = read_rules(rules, actor=actor)
    for name, value in facts.items():
        setattr(provider, name, value)
    if secret:
        provider.sealed_secret = _vault().seal(secret.encode(), _purpose(provider))
    provider.save()
    RoleRule.objects.filter(provider=provider).delete()
    RoleRule.objects.bulk_create(RoleRule(provider=provider, **rule) for rule in wanted)
    oidc.forget(provider.issuer)
    shown: dict[str, Any] = {key: value for key, value in facts.items() if isinstance(value, str | bool)}
    shown |= {"new_secret": bool(secret), "rules": [line.strip()[:300] for line in rules.splitlines()[:50]]}
    audit.record(actor, "provider.change", provider, organisation=_operator_id(), **shown)
    return provider


@transaction.atomic
def disconnect(provider: Provider, *, actor: Actor) -> None:
    """Disconnect a provider: its identities open nothing any more, and roles that it gave are taken away."""
    _require(actor)
    people = list(Identity.objects.filter(provider=provider).values_list("user_id", flat=True))
    for claimed in ClaimedRole.objects.filter(identity__provider=provider).select_related(
        "membership__organisation", "membership__user"
    ):
        _withdraw(claimed.membership, provider)
    by = Q(how=how(provider)) | Q(how__startswith=how(provider) + " +")
    Session.objects.filter(by, user_id__in=people).delete()
    audit.record(
        actor, "provider.disconnect", provider, organisation=_operator_id(), issuer=provider.issuer, people=len(people)
    )
    provider.delete()


def read_rules(text: str, *, actor: Actor) -> list[dict[str, Any]]:
    """Read lines `group = organisation : role`; `Invalid` names the line that is wrong."""
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        group, _equals, rest = line.rpartition("=")
        slug, _colon, role = (part.strip() for part in rest.rpartition(":"))
        problem = ""
        organisation = Organisation.objects.filter(slug=slug).first()
        if not group.strip() or len(group.strip()) > 200 or not slug:
            problem = _("write group = organisation : role")
        elif organisation is None or not (actor is SYSTEM or actor.may("accounts.manage", organisation.pk)):
            problem = _("there is no organisation %s whose accounts you manage") % slug[:40]
        elif role not in Role.values:
            problem = _("%(role)s is none of %(roles)s") % {"role": role[:20], "roles": ", ".join(Role.values)}
        if problem:
            raise Invalid(_("Line %(number)d: %(problem)s.") % {"number": number, "problem": problem}, field="rules")
        rule = {"group": group.strip(), "organisation": organisation, "role": role}
        if rule not in found:
            found.append(rule)
    return found


def rules_text(provider: Provider) -> str:
    """Return the rules as they are typed."""
    rows = RoleRule.objects.filter(provider=provider).select_related("organisation")
    return "\n".join(f"{row.group} = {row.organisation.slug} : {row.role}" for row in rows)


def how(provider: Provider) -> str:
    """Return how a session says that it was opened by this provider."""
    return f"at {provider.slug}"


def begin(
    request: HttpRequest, provider: Provider, *, then: str, link: bool = False, invited: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> str:  # fmt: skip
    """Return where to send the browser; what must be remembered waits in the session.

    `link` connects to whoever is signed in, and signs nobody in. `invited` admits people without a role from there.
    """
    where, kept = oidc.begin(_party(provider), fetch.Fetcher(provider.name, transport))
    now = time.time()
    begun = {state: one for state, one in request.session.get(_BEGUN, {}).items() if now - one["at"] < PATIENCE}
    newest = sorted(begun.items(), key=lambda item: item[1]["at"])[-(MOST_BEGUN - 1) :]
    user = str(request.user.pk) if link else ""
    one = {**kept, "provider": str(provider.pk), "then": then, "at": now, "link": user, "invited": invited}
    request.session[_BEGUN] = {**dict(newest), kept["state"]: one}
    if not request.session.get("_auth_user_id"):
        request.session.set_expiry(PATIENCE)
    return where


def finish(request: HttpRequest, *, transport: httpx.BaseTransport | None = None) -> tuple[User, Provider, str]:
    """Take the answer of a provider; returns who it is, at which provider, and where they wanted to go.

    Every answer is taken once: what was remembered is gone before it is looked at.
    """
    answer = {name: str(value)[:4000] for name, value in request.GET.items()}
    begun = dict(request.session.get(_BEGUN, {}))
    kept = begun.pop(answer.get("state", ""), None)
    request.session[_BEGUN] = begun
    if kept is None or time.time() - kept["at"] > PATIENCE:
        raise Invalid(_("This answer belongs to no sign-in that was begun here, or came too late. Begin again."))
    provider = Provider.objects.filter(pk=kept["provider"], active=True).first()
    if provider is None:
        raise Missing(_("This provider is not connected any more."))
    claims = oidc.finish(
        _party(provider), fetch.Fetcher(provider.name, transport), answer=answer, kept=kept, claim=provider.groups_claim
    )
    if kept["link"]:
        if str(request.user.pk) != kept["link"]:
            raise Denied(_("Somebody else is signed in here meanwhile."))
        user = _link(request.user, provider, claims)  # type: ignore[arg-type]
    else:
        user = _person(provider, claims, invited=kept["invited"])
    return user, provider, kept["then"]


@transaction.atomic
def _person(provider: Provider, claims: dict[str, Any], *, invited: bool) -> User:
    """Return who has that identity; a new person when the provider gives them a role, or admits everybody.

    Never by e-mail address or name: both can be chosen at many providers, and would open somebody else's account.
    """
    identity = (
        Identity.objects.select_related("user", "provider").filter(provider=provider, subject=claims["sub"]).first()
    )
    if identity is None:
        if not (provider.admits_all or invited or wanted_roles(provider, claims)):
            raise Denied(
                _("%s knows you, but gives you no role here. Ask an administrator for an invitation, or sign in as usual "
                  "and connect the account on your profile.") % provider.name
            )  # fmt: skip
        user = _new_user(claims)
        identity = Identity.objects.create(provider=provider, subject=claims["sub"], user=user, label=_label(claims))
        audit.record(Actor(user), "user.create", user, by=provider.slug)
    elif not identity.user.is_active:
        raise Denied(_("This account is closed."))
    Identity.objects.filter(pk=identity.pk).update(last_used_at=timezone.now(), label=_label(claims))
    _apply_roles(identity, claims)
    return identity.user


@transaction.atomic
def _link(user: User, provider: Provider, claims: dict[str, Any]) -> User:
    taken = Identity.objects.filter(provider=provider, subject=claims["sub"]).first()
    if taken is not None and taken.user_id != user.pk:
        raise Conflict(_("That account is connected to another person here."))
    if taken is None:
        if Identity.objects.filter(provider=provider, user=user).exists():
            raise Conflict(_("You have connected another account of this provider; disconnect it first."))
        taken = Identity.objects.create(provider=provider, subject=claims["sub"], user=user, label=_label(claims))
        audit.record(Actor(user), "identity.connect", user, provider=provider.slug)
    _apply_roles(taken, claims)
    return user


@transaction.atomic
def unlink(user: User, pk: Any, *, actor: Actor) -> None:
    """Disconnect an identity of one's own; roles that came by it go with it. `Conflict` when it is the only way in."""
    row = Identity.objects.filter(user=user, pk=pk).select_related("provider").first()
    if row is None:
        raise Missing(_("There is no such account, or it is not yours."))
    others = user.has_usable_password() or user.passkeys.exists() or user.identities.exclude(pk=row.pk).exists()  # type: ignore[attr-defined]
    if not others:
        raise Conflict(_("It is your only way in; set a password or add a passkey first."))
    for claimed in ClaimedRole.objects.filter(identity=row).select_related(
        "membership__organisation", "membership__user"
    ):
        _withdraw(claimed.membership, row.provider)
    audit.record(actor, "identity.disconnect", user, provider=row.provider.slug)
    row.delete()


def wanted_roles(provider: Provider, claims: dict[str, Any]) -> set[tuple[Any, str]]:
    """Return the roles by organisation that the provider's claims mean."""
    groups = groups_of(claims, provider.groups_claim)
    rules = RoleRule.objects.filter(provider=provider)
    return {(rule.organisation_id, rule.role) for rule in rules if rule.group in groups}


def groups_of(claims: dict[str, Any], name: str) -> set[str]:
    """Return the groups of a claim. `realm_access.roles` looks into an object, where no claim has that very name."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        found = [found]
    return {each for each in found if isinstance(each, str)} if isinstance(found, list) else set()


def _apply_roles(identity: Identity, claims: dict[str, Any]) -> None:
    """Give and take roles as the claims say. A role that was given here by hand is not touched."""
    wanted = wanted_roles(identity.provider, claims)
    claimed = {
        (row.membership.organisation_id, row.membership.role): row
        for row in ClaimedRole.objects.filter(identity=identity).select_related(
            "membership__organisation", "membership__user"
        )
    }
    for key, row in claimed.items():
        if key not in wanted:
            _withdraw(row.membership, identity.provider)
    organisations = {row.pk: row for row in Organisation.objects.filter(pk__in={key[0] for key in wanted})}
    for organisation_id, role in sorted(wanted - set(claimed), key=str):
        organisation = organisations[organisation_id]
        if Membership.objects.filter(user=identity.user, organisation=organisation, role=role).exists():
            continue
        made = accounts.grant(identity.user, organisation, role, actor=_voice(identity.provider))
        ClaimedRole.objects.create(identity=identity, membership=made)


def _withdraw(membership: Membership, provider: Provider) -> None:
    try:
        accounts.withdraw_role(membership, actor=_voice(provider))
    except Conflict:
        # The last administrator stays, or nobody could mend the organisation; somebody has to look at it.
        facts = {"user": membership.user.username, "role": membership.role, "by": provider.slug}
        audit.record(SYSTEM, "membership.kept", membership, organisation=membership.organisation, **facts)


def _voice(provider: Provider) -> Actor:
    """Return the provider as the one who gives and takes roles: it may, because an administrator wrote the rules."""
    return System(f"provider {provider.slug}")


def _new_user(claims: dict[str, Any]) -> User:
    wished = str(claims.get("preferred_username") or claims.get("name") or "person")
    name = re.sub(r"[^\w.+-]+", "-", wished.partition("@")[0]).strip("-.")[:60] or "person"
    for candidate in (name, *(f"{name}-{secrets.token_hex(3)}" for _try in range(5))):
        user = User(username=candidate)
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            continue
        return user
    raise Conflict(_("No free user name was found; try again."))


def sign_out_url(provider: Provider, *, transport: httpx.BaseTransport | None = None) -> str:
    """Return where to sign out at the provider; "" when it has no such place."""
    back = settings.PUBLIC_URL + settings.LOGIN_URL
    return oidc.end_session_url(_party(provider), fetch.Fetcher(provider.name, transport), back=back)


def redirect_uri() -> str:
    """Return the address that is registered at providers."""
    return f"{settings.PUBLIC_URL}{settings.LOGIN_URL}/callback"


def _party(provider: Provider) -> oidc.Party:
    secret = _vault().open(bytes(provider.sealed_secret), _purpose(provider)).decode()
    return oidc.Party(provider.name, provider.issuer, provider.client_id, secret, provider.scopes, redirect_uri())


def _label(claims: dict[str, Any]) -> str:
    said = claims.get("email") or claims.get("preferred_username") or claims.get("name") or ""
    return "".join(c for c in str(said)[:250] if c.isprintable())


def _check(**facts: Any) -> None:
    errors = []
    try:
        validate_slug(facts["slug"])
    except ValidationError:
        errors.append({"field": "slug", "detail": _("Use letters, digits, dashes and underscores.")})
    for name, most in (
        ("slug", 40),
        ("name", 80),
        ("client_id", 250),
        ("scopes", 250),
        ("groups_claim", 120),
        ("issuer", 300),
    ):
        if name in facts and not 0 < len(str(facts[name]).strip()) <= most:
            errors.append({"field": name, "detail": _("Give 1 to %d letters.") % most})
    if "scopes" in facts and "openid" not in facts["scopes"].split():
        errors.append({"field": "scopes", "detail": _("The scope openid must be among them.")})
    if errors:
        raise Invalid(" ".join(each["detail"] for each in errors), errors=errors)
    fetch.check_url(facts["issuer"])


def _require(actor: Actor) -> None:
    if not may_connect(actor):
        raise Denied(_("Identity providers are connected by administrators of the organisation that runs this store."))


def _operator_id() -> Any:
    try:
        return accounts.operator().pk
    except Missing:
        return None


def _purpose(provider: Provider) -> str:
    return f"provider:{provider.pk}:secret"


def _vault() -> Vault:
    return Vault(settings.VAULT_KEY)
