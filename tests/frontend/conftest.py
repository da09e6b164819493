"""A tenant with a package in the catalogue, a node, a deployment with a history; people who may see it, and one who may not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from django.template import Template, engines
from django.test import Client
from django.utils import timezone

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: hello\nversion: 1.0.0\n",
    "values.yaml": "replicas: 1\ncpu: 500m\n",
    "values.schema.json": '{"type": "object", "properties": {"replicas": {"type": "integer"}}}',
    "templates/deployment.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n"
        "  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: hello}}\n  template:\n"
        "    metadata: {labels: {app: hello}}\n    spec:\n      containers:\n        - name: web\n"
        "          image: localhost/breakwater/hello:1\n"
        "          resources: {requests: {cpu: {{ .Values.cpu }}, memory: 64Mi}}\n"
    ),
}
DESCRIPTOR = {
    "appName": "hello",
    "appProvider": "Acme",
    "appSoftVersion": "1.0.0",
    "appServiceProduced": [{"serName": "greeting", "version": "1.0"}],
    "appServiceRequired": [{"serName": "location"}],
    "appServiceOptional": [{"serName": "radio"}],
    "appTrafficRule": [
        {
            "trafficRuleId": "tr-1",
            "filterType": "FLOW",
            "priority": 3,
            "trafficFilter": [{"dstAddress": ["192.0.2.0/24"]}],
            "action": "FORWARD_DECAPSULATED",
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "192.0.2.9"}],
        }
    ],
    "appDNSRule": [
        {
            "dnsRuleId": "dns-1",
            "domainName": "hello.example",
            "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.9",
            "ttl": 60,
        }
    ],
}


def chart() -> bytes:
    """Return a packed chart."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in CHART.items():
            member = tarfile.TarInfo(f"hello/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture(autouse=True)
def run_by_acme(settings: Any) -> None:
    """Say who runs the store, whichever tenant a test makes first."""
    settings.OPERATOR = "acme"


@pytest.fixture(autouse=True)
def plain_templates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Render as in production: to note each part and a copy of its context takes time, and `noted_templates` asks for it."""
    if "noted_templates" not in request.fixturenames:
        monkeypatch.setattr(Template, "_render", lambda self, context: self.nodelist.render(context))


@pytest.fixture
def noted_templates() -> None:
    """Let answers have the `context` that they were rendered with."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave menus away, which are half of each page, where a test looks at what is beside them; menus have tests of their own."""
    engine = engines["django"].engine  # type: ignore[attr-defined]
    for name in ("menu", "user_menu", "palette", "palette_opener"):
        path = f"frontend/parts/{name}.html"
        engine.get_template(path)
        monkeypatch.setitem(engine.template_loaders[0].get_template_cache, path, Template(""))


@pytest.fixture
def browser_of() -> Callable[[Any], Client]:
    """Return a client in which that person is signed in."""

    def sign_in(user: Any) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def pages(browser_of: Any, admin: Any) -> Client:
    """The administrator of `acme`, signed in."""
    return browser_of(admin)


@pytest.fixture
def make_package(organisation: Any, admin: Any) -> Callable[..., Any]:
    """Make a package row: `make_package("hello", "2.0", state="checked")`."""
    from appstore.packages import blobs, followers, states
    from appstore.packages.models import Package

    def make(name: str = "hello", version: str = "1.0.0", **facts: Any) -> Package:
        digest, _ = blobs.store([chart()])
        now = timezone.now()
        state = facts.pop("state", "published")
        defaults: dict[str, Any] = {
            "organisation": organisation,
            "uploaded_by": admin,
            "filename": f"{name}-{version}.csar",
            "sha256": f"{name}{version}".encode().hex().rjust(64, "0")[-64:],
            "size": 1536,
            "format": "etsi",
            "provider": "Acme",
            "descriptor": {**DESCRIPTOR, "appName": name, "appSoftVersion": version},
            "chart_sha256": digest,
            "compute": {"cpu_millis": 500, "memory_bytes": 64 * 2**20},
            "checked_at": now,
            "published_at": now if state in states.FINAL else None,
        }
        package = Package.objects.create(name=name, version=version, state=state, **{**defaults, **facts})
        # As every service that changes a release does: the catalogue is one of those who listen.
        followers.tell("changed", package)
        return package

    return make


@pytest.fixture
def package(make_package: Any) -> Any:
    """A release in the catalogue."""
    return make_package()


@pytest.fixture
def make_node(organisation: Any) -> Callable[..., Any]:
    """Make a node that was seen just now: `make_node("berth-7", engine="memory")`."""
    from mecm.nodes.models import Node

    def make(name: str = "berth-7", **facts: Any) -> Node:
        now = timezone.now()
        defaults: dict[str, Any] = {
            "organisation": organisation,
            "engine": "memory",
            "link": "agent",
            "last_seen_at": now,
            "enrolled_at": now,
            "latitude": 53.5,
            "longitude": 9.9,
            "cpu_millis": 4000,
            "memory_bytes": 8 * 2**30,
        }
        return Node.objects.create(name=name, **{**defaults, **facts})

    return make


@pytest.fixture
def node(make_node: Any) -> Any:
    """A node that is there."""
    return make_node()


@pytest.fixture
def deployment(organisation: Any, actor: Any, node: Any, package: Any) -> Any:
    """A deployment in its second generation."""
    from mecm.deployments import services

    made = services.request(
        actor=actor, organisation=organisation, node=node, package=package, name="hello", values={"replicas": 1}
    )
    services.observe(made.pk, 1, {"state": "ready"})
    return services.upgrade(made, actor=actor, values={"replicas": 2})


@pytest.fixture
def rollout(organisation: Any, actor: Any, deployment: Any, make_package: Any, make_node: Any) -> Any:
    """A rollout whose first node has failed."""
    from mecm.rollouts import services
    from mecm.rollouts.models import places_of

    make_node("berth-8")
    made = services.create(
        actor=actor, organisation=organisation, package=make_package(version="2.0.0"), name="hello", waves=["1", "rest"]
    )
    places_of(made).filter(wave=1).update(state="failed", reason="ImagePullBackOff", message="no such <image>")
    type(made).objects.filter(pk=made.pk).update(state="failed", wave=1, why="1 of 1 failed in wave 1; none may.")
    made.refresh_from_db()
    return made


@pytest.fixture
def operation(organisation: Any, package: Any) -> Any:
    """Work that failed."""
    from core.operations.models import Operation

    return Operation.objects.create(
        kind="package.check",
        target=f"package:{package.pk}",
        organisation_id=organisation.pk,
        state="failed",
        problem={"title": "Not available", "detail": "The store has no room"},
    )


@pytest.fixture
def token(admin: Any, actor: Any) -> Any:
    """An API token of the administrator."""
    from core.accounts import services

    made, _ = services.issue_token(admin, name="ci", actor=actor)
    return made


@pytest.fixture
def review(make_package: Any, organisation: Any) -> Any:
    """A package that waits for a look."""
    from appstore.releases.models import Review

    waiting = make_package("waiting", "0.9", state="in-review")
    reasons = [{"code": "provider-new", "words": "It is the first release under this name.", "store": False}]
    return Review.objects.create(package=waiting, organisation=organisation, reasons=reasons)


@pytest.fixture
def recall(make_package: Any, actor: Any, organisation: Any, node: Any) -> Any:
    """A recall of something that runs on the node."""
    from appstore.releases import services
    from mecm.deployments import services as deployments

    leaky = make_package("leaky", "0.8")
    deployments.request(actor=actor, organisation=organisation, node=node, package=leaky, name="leaky")
    return services.recall([leaky], actor=actor, reason="It leaks memory", advice="Take another")


@pytest.fixture
def certification(organisation: Any, admin: Any, package: Any) -> dict[str, Any]:
    """A run that waits for people, with a certificate of an earlier one, and the lab of a partner."""
    from datetime import timedelta

    from appstore.certification.models import Certificate, CheckResult, Run, TrustedLab
    from appstore.certification.profiles import USUAL

    now = timezone.now()
    run = Run.objects.create(
        organisation=organisation,
        package=package,
        sha256=package.sha256,
        state="waiting",
        wanted=[{"name": "static-full", "version": 1, "digest": "0" * 64}],
        profile=USUAL,
        requested_by=admin,
    )
    form = [
        {"name": "contact", "label": "Contact", "kind": "text", "required": True, "choices": [], "help": ""},
        {"name": "record", "label": "Record", "kind": "file", "required": False, "choices": [], "help": ""},
    ]
    told = {
        "version": "1", "digest": "0" * 64, "parts": ["whole"], "group": "operation", "reason": "Somebody must answer.",
        "needs": [], "options": [], "seconds": 20, "memory_mib": 512, "order": 100, "form": form,
    }  # fmt: skip
    manual = CheckResult.objects.create(
        run=run,
        check_name="support-contact",
        described={**told, "name": "support-contact", "title": "It answers", "kind": "manual"},
        suites=["static-full"],
        outcome="waiting",
    )
    CheckResult.objects.create(
        run=run,
        check_name="chart-renders",
        position=1,
        described={**told, "name": "chart-renders", "title": "It renders", "kind": "static", "group": "packaging"},
        suites=["static-full"],
        outcome="failed",
        findings=[{"level": "error", "code": "x", "place": "a<b", "message": "It does not", "remedy": "Mend it"}],
    )
    certificate = Certificate.objects.create(
        organisation=organisation,
        package=package,
        lab="Breakwater",
        lab_key="0" * 64,
        sha256=package.sha256,
        level="basic",
        levels=["basic"],
        envelope={},
        digest="1" * 64,
        not_before=now,
        not_after=now + timedelta(days=30),
    )
    lab = TrustedLab.objects.create(organisation=organisation, name="Harbour lab", public_pem="", key_id="2" * 64)
    return {"certifications": run, "manual-checks": manual, "certificates": certificate, "labs": lab}


@pytest.fixture
def partner(organisation: Any) -> Any:
    """A partner store with an agreement in force."""
    from appstore.federation import terms
    from appstore.federation.models import Agreement, Peer
    from appstore.keys import services as keys

    now, them = timezone.now(), "5" * 64
    made = Peer.objects.create(
        organisation=organisation, store_id=them, name="Harbour Store", url="http://127.0.0.1:1", state="active",
        confirmed_at=now, they_confirmed_at=now,
    )  # fmt: skip
    both = terms.Terms(1, keys.current(keys.STORE).pk, them, terms.Offer(), terms.Offer(), None)
    document = terms.document(both)
    Agreement.objects.create(
        peer=made, version=1, state="accepted", proposed_by_us=True, terms=document, digest=terms.digest(document),
        our_signature={}, their_signature={},
    )  # fmt: skip
    return made


@pytest.fixture
def trust_objects(organisation: Any, settings: Any) -> dict[str, Any]:
    """An anchor, a distrusted certificate, a publisher and a certificate of the store's authority."""
    from appstore.trust import authority, publishers, services
    from appstore.trust.models import Anchor
    from core.accounts.access import SYSTEM

    settings.OPERATOR = organisation.slug
    authority.create(actor=SYSTEM)
    return {
        "trust-anchors": Anchor.objects.get(),
        "trust-distrusts": services.distrust(organisation, actor=SYSTEM, fingerprint="ab" * 32, reason="lost"),
        "publishers": publishers.claim(organisation, actor=SYSTEM, provider="Acme Apps", method="key"),
        "signers": authority.issue(organisation, actor=SYSTEM),
    }


@pytest.fixture
def webhook(organisation: Any, actor: Any) -> Any:
    """A webhook of `acme`."""
    from appstore.catalog import webhooks

    made, _ = webhooks.create(
        organisation, actor=actor, name="chat", url="https://hooks.example/in", events=["release"], everything=True
    )
    return made


@pytest.fixture
def feedback(organisation: Any, make_package: Any) -> Any:
    """A review of an application that only `acme` sees."""
    from appstore.catalog.models import App, Review

    make_package("inward", visibility="organisation")
    return Review.objects.create(
        app=App.objects.get(name="inward"), organisation=organisation, rating=4, version="1.0.0"
    )


@pytest.fixture
def listed(package: Any) -> Any:
    """The application of the release, as the catalogue has it."""
    from appstore.catalog.models import App

    return App.objects.get(name=package.name)


@pytest.fixture
def alarm(organisation: Any, node: Any) -> Any:
    """An alarm that stands."""
    from mecm.fleet.models import Alarm

    now = timezone.now()
    return Alarm.objects.create(
        organisation=organisation, source_kind="node", source_id=str(node.pk), cause="node-offline", node=node,
        severity="major", worst="major", text="It is silent", advice="Look", raised_at=now, changed_at=now,
    )  # fmt: skip


@pytest.fixture
def ways_in(organisation: Any, admin: Any, actor: Any, make_user: Any) -> dict[str, Any]:
    """A session, a passkey, an identity with its provider, a member and an invitation."""
    from types import SimpleNamespace

    from core.sign_in import invitations
    from core.sign_in.models import Identity, Passkey, Provider
    from core.sign_in.sessions import FACTS, SessionStore

    session = SessionStore()
    session["_auth_user_id"] = str(admin.pk)
    session[FACTS] = {
        "how": "password",
        "device": "Firefox on Linux",
        "address": "192.0.2.7",
        "at": "2026-01-01T00:00:00+00:00",
    }
    session.create()
    session.save()
    provider = Provider.objects.create(
        slug="staff", name="Staff", issuer="https://id.example.net", client_id="b", sealed_secret=b""
    )
    made = invitations.invite(organisation, role="viewer", email="new@example.net", actor=actor)
    return {
        "sessions": SimpleNamespace(pk=session.create_model_instance(dict(session.items())).ref),
        "passkeys": Passkey.objects.create(user=admin, name="Phone", credential_id="AA", public_key=b""),
        "identities": Identity.objects.create(provider=provider, subject="1", user=admin, label="admin@example.net"),
        "members": make_user("mate", organisation, "developer"),
        "invitations": made.invitation,
        "invitation-links": made,
        "identity-providers": provider,
    }


@pytest.fixture
def place(organisation: Any, actor: Any, node: Any) -> Any:
    """A site at which the node stands, with a link to another one."""
    from mecm.sites import services

    where = {"actor": actor, "organisation": organisation, "longitude": 9.9}
    made = services.add_site(name="Quay 7", latitude=53.5, radius_m=900, **where)
    services.place_node(node, made, actor=actor)
    mast = services.add_site(name="Mast North", kind="radio", latitude=53.6, **where)
    services.connect(mast, made, actor=actor, state="degraded")
    return made


@pytest.fixture
def begun_upload(organisation: Any, actor: Any) -> Any:
    """A file of which half a part has arrived."""
    from appstore.packages import resumable

    return resumable.begin(actor=actor, organisation=organisation, filename="half.csar", length=4000)


@pytest.fixture
def sandbox_test(organisation: Any, admin: Any, package: Any, make_node: Any) -> Any:
    """A test deployment that runs, with everything that a node may tell of it."""
    from datetime import timedelta

    from developer.sandbox.models import TestDeployment
    from mecm.trials.models import Sandbox, Trial

    node, now = make_node("lab-1"), timezone.now()
    Sandbox.objects.create(node=node, marked_by=admin)
    trial = Trial.objects.create(
        organisation=organisation, node=node, package=package, namespace="trial-1", lease_until=now, requested_by=admin
    )
    instance = {"appInstanceId": "i", "state": "ACTIVE"}
    workload = {"kind": "Deployment", "name": "web", "state": "ready", "wanted": 1, "ready": 1, "restarts": 0}
    seen = {
        "state": {"state": "ready", "workloads": [{**workload, "pods": ["web-5d8"]}], "endpoints": []},
        "logs": ["web: the tide is high"],
        "mep": {
            "app": {"state": "READY"},
            "services": [{**instance, "serName": "greeting", "version": "1.0"}],
            "dns_rules": [{**DESCRIPTOR["appDNSRule"][0], **instance}],
            "traffic_rules": [{**DESCRIPTOR["appTrafficRule"][0], **instance}],
            "subscriptions": [],
            "user_plane": {"simulated": True},
        },
    }
    return TestDeployment.objects.create(
        organisation=organisation, trial=trial, ends_at=now + timedelta(minutes=9), seen=seen, seen_at=now
    )


#: The fixture that makes an object for each first step of an address; those that end with `_objects` make several.
OBJECTS = {
    "packages": "package",
    "nodes": "node",
    "deployments": "deployment",
    "rollouts": "rollout",
    "operations": "operation",
    "profile": "token",
    "reviews": "review",
    "recalls": "recall",
    "partners": "partner",
    "catalogue": "listed",
    "feedback": "feedback",
    "webhooks": "webhook",
    "alarms": "alarm",
    "sites": "place",
    "uploads": "begun_upload",
    "develop": "sandbox_test",
}
#: Fixtures that make several, and the steps that each is for.
SEVERAL = {
    "certification": ("certifications", "manual-checks", "certificates", "labs"),
    "ways_in": (
        "sessions",
        "passkeys",
        "identities",
        "members",
        "invitations",
        "invitation-links",
        "identity-providers",
    ),
    "trust_objects": ("trust-anchors", "trust-distrusts", "publishers", "signers"),
}


class Objects:
    """One object for each kind that an address may name, by the first step of the address; made when it is asked for."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.request = request
        self.instead: dict[str, Any] = {}
        self.complete = False

    def __setitem__(self, step: str, made: Any) -> None:
        self.instead[step] = made

    def __getitem__(self, step: str) -> Any:
        if step in self.instead:
            return self.instead[step]
        for name, steps in SEVERAL.items():
            if step in steps:
                return self.request.getfixturevalue(name)[step]
        return self.request.getfixturevalue(OBJECTS[step])

    def everything(self) -> None:
        """Make one of each, so that lists have something to show."""
        if self.complete:
            return
        for name in (*OBJECTS.values(), *SEVERAL):
            self.request.getfixturevalue(name)
        self.complete = True


@pytest.fixture
def objects(request: pytest.FixtureRequest, package: Any, settings: Any, organisation: Any) -> Objects:
    """One object for each kind that an address may name."""
    settings.OPERATOR = organisation.slug
    return Objects(request)
