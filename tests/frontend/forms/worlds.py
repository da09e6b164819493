"""The worlds in which forms are shown: whatever must be so before a page has its form, and who sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.frontend.conftest import Objects
from tests.frontend.forms.reading import Form
from tests.frontend.hello import chart


@dataclass(frozen=True)
class Place:
    """Who looks at which address."""

    browser: Client
    url: str


@dataclass(frozen=True)
class Upload:
    """A file that is chosen."""

    content: bytes | str
    name: str = "file.json"

    def open(self) -> SimpleUploadedFile:
        """Return it as a test client takes it."""
        content = self.content.encode() if isinstance(self.content, str) else self.content
        return SimpleUploadedFile(self.name, content)


@dataclass
class World:
    """Everything that there is, and the administrator in front of it."""

    objects: Objects
    pages: Client
    fixture: Any
    #: The browser in which the present form is.
    browser: Client = field(default_factory=Client)
    #: The forms of pages that were read already.
    pages_read: dict[str, list[Form]] = field(default_factory=dict)

    def __getitem__(self, step: str) -> Any:
        return self.objects[step]

    def at(self, name: str, *args: Any, browser: Client | None = None) -> Place:
        """Return the page of that name, seen by the administrator unless another browser is given."""
        return Place(browser or self.pages, reverse(f"frontend:{name}", args=args))

    def somebody(self, name: str, role: str) -> Client:
        """Return the browser of somebody else of the organisation."""
        user = self.fixture("make_user")(name, self.fixture("organisation"), role)
        return self.fixture("browser_of")(user)  # type: ignore[no-any-return]


def upload(content: str) -> Upload:
    return Upload(content)


def package_file() -> Upload:
    return Upload(chart(), "hello-1.0.0.tgz")


def anchor() -> str:
    from tests.appstore.trust import pki

    return pki.STRANGER.pem


def public_key() -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    made = Ed25519PrivateKey.generate().public_key()
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# Accounts


def visitor(world: World) -> Place:
    return world.at("sign-in", browser=Client())


def visitor_invited(world: World) -> Place:
    return world.at("invitation", world["invitation-links"].link.rpartition("/")[2], browser=Client())


def two_organisations(world: World) -> Place:
    from core.accounts.models import Membership

    other = world.fixture("stranger_organisation")
    Membership.objects.create(user=world.fixture("admin"), organisation=other, role="viewer")
    return world.at("nodes")


def without_application(world: World) -> Place:
    from core.sign_in.models import Totp

    Totp.objects.all().delete()
    return world.at("add-application")


def _code(secret: str) -> str:
    from core.sign_in import totp

    return totp.code_at(secret, int(time.time()) // totp.STEP)


def totp_code(world: World) -> dict[str, Any]:
    from core.sign_in import factors

    return {"code": _code(factors.propose(world.browser.session, world.fixture("admin")))}


def _begun(world: World) -> Client:
    browser = Client()
    browser.post("/sign-in", {"username": "admin", "password": "correct horse battery"})
    return browser


def must_enrol(world: World) -> Place:
    from core.sign_in import policy
    from core.sign_in.models import Passkey

    Passkey.objects.all().delete()
    policy.set_roles(world.fixture("organisation"), ["admin"], actor=world.fixture("actor"))
    return world.at("enrol-at-sign-in", browser=_begun(world))


def half_way(world: World) -> Place:
    return world.at("second-factor", browser=_begun(world))


def recovery_code(world: World) -> dict[str, Any]:
    from core.sign_in import factors

    return {"code": factors.renew_recovery_codes(world.fixture("admin"))[0]}


def secured_member(world: World) -> Place:
    from core.sign_in.models import Passkey

    mate = world["members"]
    Passkey.objects.create(user=mate, name="Phone", credential_id="BB", public_key=b"")
    return world.at("member", mate.pk)


def device(world: World) -> Place:
    from core.device import services

    grant, _secret = services.begin(client_id="cli", client_name="A program", address="192.0.2.1", scopes=[])
    return Place(world.pages, f"{reverse('frontend:device')}?user_code={grant.user_code}")


# Releases


def _release(world: World, *deeds: str) -> Place:
    from appstore.packages import life

    package = world.fixture("make_package")("tide", "3.0.0")
    for deed in deeds:
        getattr(life, deed)(package, actor=world.fixture("actor"), reason="low water")
    return world.at("package-life", package.pk)


def deprecated(world: World) -> Place:
    return _release(world, "deprecate")


def yanked(world: World) -> Place:
    return _release(world, "yank")


def quarantined(world: World) -> Place:
    return _release(world, "quarantine")


def checked(world: World) -> Place:
    return world.at("package", world.fixture("make_package")("tide", "3.0.0", state="checked").pk)


def reviewer(world: World) -> Place:
    return world.at("review", world["reviews"].pk, browser=world.somebody("carla", "certifier"))


def reviewed(world: World) -> Place:
    from appstore.packages.models import Package

    world["feedback"]
    return world.at("package-reviews", Package.objects.get(name="inward").pk)


def customer(world: World) -> Place:
    from core.accounts.access import Actor
    from mecm.deployments import services

    stranger, other = world.fixture("stranger"), world.fixture("stranger_organisation")
    node = world.fixture("make_node")("their-node", organisation=other)
    package = world["packages"]
    made = services.request(actor=Actor(stranger), organisation=other, node=node, package=package, name="hello")
    services.observe(made.pk, 1, {"state": "ready"})
    return world.at("package-reviews", package.pk, browser=world.fixture("browser_of")(stranger))


def signable(world: World) -> Place:
    world["signers"]
    package = world.fixture("make_package")("tide", "3.0.0", state="checked", format="etsi-csar")
    return world.at("package-trust", package.pk)


def decider(world: World) -> Place:
    return world.at("decide-check", world["manual-checks"].pk, browser=world.somebody("carla", "certifier"))


# Nodes and sites


def direct_node(world: World) -> Place:
    node = world.fixture("make_node")("direct-1", engine="kubernetes", link="direct")
    return world.at("node", node.pk)


def second_node(world: World) -> Place:
    from mecm.nodes.models import Node

    Node.objects.filter(name="berth-8").exists() or world.fixture("make_node")("berth-8")
    return world.at("site", world["sites"].pk)


def second_mast(world: World) -> Place:
    from mecm.sites import services

    where = {"actor": world.fixture("actor"), "organisation": world.fixture("organisation"), "longitude": 9.9}
    services.add_site(name="Mast South", kind="radio", latitude=53.4, **where)
    return world.at("site", world["sites"].pk)


def new_dns_rule(world: World) -> Place:
    return world.at("new-rule", world["deployments"].pk, "dns")


def free_sandbox(world: World) -> Place:
    from mecm.nodes.models import Node
    from mecm.trials.models import Trial

    world["develop"]
    Trial.objects.all().delete()
    # However long it took to come here: it answers.
    Node.objects.filter(name="lab-1").update(last_seen_at=timezone.now())
    return world.at("develop")


# Partners


def introduced(world: World) -> Place:
    peer = world["partners"]
    type(peer).objects.filter(pk=peer.pk).update(state="pending", confirmed_at=None)
    return world.at("partner", peer.pk)


def their_fingerprint(world: World) -> dict[str, Any]:
    from appstore.federation import identity

    return {"fingerprint": identity.fingerprint(world["partners"].store_id), "compared": "on"}


def proposed(world: World) -> Place:
    peer = world["partners"]
    peer.agreements.update(state="proposed", proposed_by_us=False)
    return world.at("agreement-version", peer.pk, 1)


def editing(world: World) -> Place:
    place = world.at("partner-agreement", world["partners"].pk)
    return Place(place.browser, f"{place.url}?edit=1")


def recommended(world: World) -> Place:
    from appstore.federation.models_peers import Recommendation

    peer = world["partners"]
    Recommendation.objects.create(
        peer=peer, incoming=True, key=uuid4(), ref="6" * 32, name="tide", provider="Harbour", version="1.0",
        sha256="7" * 64, size=1,
    )  # fmt: skip
    return world.at("partner-recommendations", peer.pk)


def soon() -> str:
    """Return a day that is still to come."""
    return (timezone.now() + timedelta(days=30)).date().isoformat()
