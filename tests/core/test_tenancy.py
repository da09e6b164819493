"""Every endpoint with another tenant's ids answers 404. The list of endpoints is read from the URL table itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from core.accounts.models import ApiToken, Membership
from core.operations import services as operations

pytestmark = pytest.mark.django_db

#: Endpoints that are not opened by a person's session, and what guards them instead.
OTHER_GUARDS = {
    "^edge/blobs/(?P<sha256>[0-9a-f]{64})$": "a node's own signature; tests/mecm/edge",
    "<path:unknown>": "always 404",
    "federation/blobs/<str:sha256>": "a partner's signed request; tests/appstore/federation/test_feed_served.py",
    "federation/tuf/<str:name>": "a partner's signed request",
    "federation/targets/<str:audience>/<str:file>": "a partner's signed request",
    "federation/certificates/<uuid:ref>/<str:sha256>": "a partner's signed request",
    "certificates/<uuid:pk>": "public, so that partners can verify; tests/appstore/certification/test_api.py",
    "certificates/<uuid:pk>/envelope": "public",
    "packages/<uuid:pk>/badges/<slug:kind>.svg": "public for what everybody sees; tests/appstore/catalog",
    "catalogue/named/<slug:organisation>/<str:provider>/<path:name>": "no id; tests/appstore/catalog",
}
METHODS = ("get", "post", "put", "patch", "delete")


def endpoints(patterns: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield every path with parameters below api/v1/."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from endpoints(entry.url_patterns, path)
        elif path.startswith("api/v1/") and "<" in path:
            short = path.removeprefix("api/v1/")
            if short not in OTHER_GUARDS:
                yield short, entry


ENDPOINTS = dict(endpoints())


@pytest.fixture
def foreign(organisation: Any, admin: Any, actor: Any) -> dict[str, Any]:
    """One object of each kind that belongs to `acme`, by the first word of its path."""
    from appstore.federation.models import Peer
    from appstore.packages.models import Package, Upload
    from mecm.deployments.models import Deployment
    from mecm.fleet.models import Alarm
    from mecm.nodes.models import Node
    from mecm.rollouts.models import Rollout

    package = Package.objects.create(
        organisation=organisation, uploaded_by=admin, filename="a.csar", sha256="0" * 64, size=1, state="draft"
    )
    node = Node.objects.create(
        organisation=organisation, name="berth-7", latitude=60.1, longitude=24.9, engine="memory"
    )
    deployment = Deployment.objects.create(
        organisation=organisation, node=node, package=package, name="hello", namespace="t-acme"
    )
    return {
        "operations": operations.request("test.note", "thing:1", organisation=organisation).pk,
        "organisations": organisation.pk,
        "tokens": ApiToken.objects.create(user=admin, name="t", hint="bwk_", sha256="1" * 64).pk,
        "packages": package.pk,
        "uploads": Upload.objects.create(
            organisation=organisation, sender=admin, filename="a", length=9, expires_at=timezone.now() + timedelta(1)
        ).pk,
        "nodes": node.pk,
        **_of_the_map(organisation),
        "deployments": deployment.pk,
        "rollouts": Rollout.objects.create(organisation=organisation, package=package, title="hello").pk,
        **_of_the_store(organisation, admin, actor, package),
        "federation": Peer.objects.create(organisation=organisation, store_id="2" * 64, name="Harbour").pk,
        "alarms": Alarm.objects.create(
            organisation=organisation,
            source_kind="node",
            source_id="1",
            cause="x",
            severity="minor",
            worst="minor",
            text="x",
            raised_at=timezone.now(),
            changed_at=timezone.now(),
        ).pk,
        "sessions": _session_of(admin),
        "invitation": uuid4(),
        "membership": Membership.objects.get(user=admin).pk,
    }


def _session_of(user: Any) -> Any:
    """The name of an open session of somebody."""
    from django.test import Client

    from core.sign_in.sessions import ref_of

    browser = Client()
    browser.force_login(user)
    return ref_of(str(browser.session.session_key))


def _test_of(organisation: Any, package: Any) -> Any:
    """A test deployment that is nobody else's business."""
    from developer.sandbox.models import TestDeployment
    from mecm.nodes.models import Node
    from mecm.trials.models import Trial

    where = {"latitude": 60.1, "longitude": 24.9, "engine": "memory"}
    node = Node.objects.create(organisation=organisation, name="lab-7", **where)
    trial = Trial.objects.create(
        organisation=organisation, node=node, package=package, namespace="trial-x", lease_until=timezone.now()
    )
    return TestDeployment.objects.create(organisation=organisation, trial=trial, ends_at=timezone.now()).pk


def _of_the_map(organisation: Any) -> dict[str, Any]:
    """A site and a link that are nobody else's business."""
    from mecm.sites.models import Site, SiteLink

    where = {"organisation": organisation, "latitude": 60.1, "longitude": 24.9}
    quay, mast = Site.objects.create(name="Quay", **where), Site.objects.create(name="Mast", **where)
    link = SiteLink.objects.create(organisation=organisation, source=mast, target=quay)
    return {"sites": quay.pk, "site-links": link.pk}


def _of_the_store(organisation: Any, admin: Any, actor: Any, package: Any) -> dict[str, Any]:
    """Objects of the store: trust, certification, reviews, recalls and feedback that are nobody else's business."""
    from appstore.catalog import webhooks
    from appstore.catalog.models import App
    from appstore.catalog.models import Review as Feedback
    from appstore.certification.models import Certificate, Run, TrustedLab
    from appstore.packages.models import Package
    from appstore.releases.models import Recall, Review
    from appstore.trust import authority, publishers, services
    from appstore.trust.models import Anchor
    from core.accounts.access import SYSTEM

    authority.create(actor=SYSTEM)
    hidden = Package.objects.create(
        organisation=organisation, uploaded_by=admin, sha256="4" * 64, size=1, state="in-review", name="x", version="1"
    )
    app = App.objects.create(
        key="/acme/Acme/x", slug="acme", organisation_id=organisation.pk, name="x", provider="Acme"
    )
    hook, _ = webhooks.create(
        organisation, actor=actor, name="chat", url="https://hooks.example/in", events=["release"], everything=True
    )
    return {
        "sandbox/tests": _test_of(organisation, package),
        "trust/anchors": Anchor.objects.get().pk,
        "trust/distrusts": services.distrust(organisation, actor=SYSTEM, fingerprint="ab" * 32, reason="lost").pk,
        "trust/publishers": publishers.claim(organisation, actor=actor, provider="Acme", method="key").pk,
        "trust/certificates": authority.issue(organisation, actor=SYSTEM).pk,
        "certification/runs": Run.objects.create(
            organisation=organisation, package=package, sha256="0" * 64, requested_by=admin
        ).pk,
        "certification/labs": TrustedLab.objects.create(
            organisation=organisation, name="Lab", public_pem="", key_id="2" * 64
        ).pk,
        "reviews": Review.objects.create(package=hidden, organisation=organisation, reasons=[]).pk,
        "recalls": Recall.objects.create(organisation=organisation, reason="leaks").pk,
        "catalogue/apps": app.pk,
        "feedback": Feedback.objects.create(app=app, organisation=organisation, rating=4, version="1").pk,
        "webhooks": hook.pk,
        "certificates": Certificate.objects.create(
            organisation=organisation,
            lab_key="0" * 64,
            sha256="0" * 64,
            level="basic",
            envelope={},
            digest="1" * 64,
            not_before=timezone.now(),
            not_after=timezone.now(),
        ).pk,
        "name": "none",
        "evidence": uuid4(),
    }


def address(path: str, pattern: URLPattern, ids: dict[str, Any]) -> str:
    """Fill the parameters of a path with ids of `ids`."""
    first, second = [*path.split("/"), ""][:2]
    kind = f"{first}/{second}" if f"{first}/{second}" in ids else first
    filled = path
    for index, (name, converter) in enumerate(pattern.pattern.converters.items()):
        value = ids[kind] if index == 0 else ids.get(name, 1)
        for spelling in (
            f"<str:{name}>",
            f"<{converter.__class__.__name__.removesuffix('Converter').lower()}:{name}>",
            f"<{name}>",
        ):
            filled = filled.replace(spelling, str(value))
    assert "<" not in filled, f"teach this test about {path}"
    return "/api/v1/" + filled


def implemented(pattern: URLPattern) -> list[str]:
    """Return the methods that a view takes; a plain function is asked with GET."""
    view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
    if view is None:
        return ["get"]
    return [method for method in METHODS if hasattr(view, method)]


def test_the_url_table_was_read() -> None:
    assert len(ENDPOINTS) > 15


def each(look: Callable[[str], Iterator[str]]) -> None:
    """Try every endpoint in one world, which is made once, and tell of all that are wrong."""
    wrong = [f"{told} {path}" for path in sorted(ENDPOINTS) for told in look(path)]
    assert not wrong, "\n".join(wrong)


def test_an_object_of_another_tenant_does_not_exist(foreign: dict[str, Any], stranger_api: Any) -> None:
    def look(path: str) -> Iterator[str]:
        url = address(path, ENDPOINTS[path], foreign)
        for method in implemented(ENDPOINTS[path]):
            answer = getattr(stranger_api, method)(url, {}, **({} if method == "get" else {"format": "json"}))
            if answer.status_code != 404 or answer["Content-Type"] != "application/problem+json":
                yield f"{answer.status_code} to {method.upper()}"

    each(look)


def test_nobody_signed_in_is_told_to_sign_in(foreign: dict[str, Any], client: Any) -> None:
    def look(path: str) -> Iterator[str]:
        url = address(path, ENDPOINTS[path], foreign)
        for method in implemented(ENDPOINTS[path]):
            status = getattr(client, method)(url).status_code
            if status not in (401, 403):
                yield f"{status} to {method.upper()}"

    each(look)


def test_an_invented_id_is_missing_for_its_owner_too(foreign: dict[str, Any], api: Any) -> None:
    invented = {key: uuid4() if isinstance(value, UUID) else 10**9 for key, value in foreign.items()}

    def look(path: str) -> Iterator[str]:
        url = address(path, ENDPOINTS[path], invented)
        for method in implemented(ENDPOINTS[path]):
            answer = getattr(api, method)(url, {}, **({} if method == "get" else {"format": "json"}))
            if answer.status_code != 404:
                yield f"{answer.status_code} to {method.upper()}"

    each(look)
