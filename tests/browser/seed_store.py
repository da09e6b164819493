"""Things of the store's topics for the seeded centre: trust, contents, certification, reviews, recalls, partners."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from appstore.certification.models import Certificate, CheckResult, Run, TrustedLab
from appstore.certification.profiles import USUAL
from appstore.contents.models import Contents
from appstore.federation import terms
from appstore.federation.models import Agreement, Peer
from appstore.keys import services as keys
from appstore.packages.models import Package
from appstore.releases import services as releases
from appstore.releases.models import Review
from appstore.trust import authority, publishers
from appstore.trust import services as trust
from appstore.trust.models import Anchor
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation, User
from mecm.deployments import services as deployments
from mecm.nodes.models import Node

NOW = timezone.now()


def fill(organisation: Organisation, owner: User, made: dict[str, Package]) -> dict[str, Any]:
    """Make one thing of each kind, and return their ids by the first step of their address."""
    return {
        **_trust(organisation),
        **_contents(made["Crane View"]),
        **_certification(organisation, owner, made["Crane View"]),
        **_releases(organisation, owner, made),
        **_partners(organisation),
    }


def _trust(organisation: Organisation) -> dict[str, Any]:
    authority.create(actor=SYSTEM)
    distrusted = trust.distrust(
        organisation,
        actor=SYSTEM,
        fingerprint="ab" * 32,
        reason="The key was on a laptop that was lost",
        subject="CN=City Lab signing 2024",
    )
    claim = publishers.claim(organisation, actor=SYSTEM, provider="Harbour Telecom", method="key")
    return {
        "trust-anchors": Anchor.objects.first().pk,  # type: ignore[union-attr]
        "trust-distrusts": distrusted.pk,
        "publishers": claim.pk,
        "signers": authority.issue(organisation, actor=SYSTEM).pk,
    }


def _contents(package: Package) -> dict[str, Any]:
    facts = {
        "permissions": [
            {"code": "host-network", "severity": "high", "place": "Deployment/crane-view",
             "words": "uses the network of its host, so it sees all of the traffic there", "value": "true"},
            {"code": "capability", "severity": "medium", "place": "Deployment/crane-view, container app",
             "words": "may change network interfaces and routes", "value": "NET_ADMIN"},
            {"code": "host-port", "severity": "low", "place": "Deployment/crane-view", "words": "takes port 8554 of its host",
             "value": "8554"},
        ],
        "images": [
            {"reference": "localhost/breakwater/app:2.0.1", "digest": "sha256:" + "5e" * 32, "carried": True,
             "size": 39_800_000, "architecture": "amd64"},
            {"reference": "registry.example/media/a-transcoder-with-a-long-name:7.1", "pinned": False},
        ],
        "components": [
            {"kind": "deb", "name": "libssl3", "version": "3.0.16-1~deb12u1", "licence": "Apache-2.0", "place": "image app"},
            {"kind": "pypi", "name": "aiortc", "version": "1.9.0", "licence": "BSD-3-Clause", "place": "image app"},
            {"kind": "golang", "name": "github.com/pion/webrtc/v4", "version": "v4.0.1", "licence": "MIT", "place": "image app"},
        ],
        "licences": ["Apache-2.0"],
        "changes": [{"kind": "security", "text": "Streams of another tenant can no longer be named in a subscription."},
                    {"kind": "added", "text": "A relay for low light, with its own bit rate."}],
        "objects": [{"kind": "Deployment", "name": "crane-view", "namespace": ""}],
        "ports": [{"port": 8080, "protocol": "TCP", "name": "http"}],
    }  # fmt: skip
    schema = {
        "type": "object",
        "properties": {"replicas": {"type": "integer", "description": "How many run at once", "default": 1}},
    }
    readme = "# Crane View\n\nRelays cameras of cranes.\n\n```\nhelm install crane-view oci://store/harbour/crane-view\n```\n"
    Contents.objects.create(
        package=package, sha256=package.sha256, reader=1, facts=facts, readme=readme, values_schema=schema
    )
    return {}


def _certification(organisation: Organisation, owner: User, package: Package) -> dict[str, Any]:
    run = Run.objects.create(
        organisation=organisation,
        package=package,
        sha256=package.sha256,
        state="waiting",
        wanted=[{"name": "static-full", "version": 1, "digest": "0" * 64}],
        profile=USUAL,
        requested_by=owner,
    )
    told = {
        "version": "1", "digest": "0" * 64, "parts": ["whole"], "needs": [], "options": [], "seconds": 20,
        "memory_mib": 512, "order": 100,
    }  # fmt: skip
    form = [
        {"name": "contact", "label": "Contact", "kind": "text", "required": True, "choices": [], "help": "A mail address."},
        {"name": "record", "label": "Record", "kind": "file", "required": False, "choices": [], "help": ""},
    ]  # fmt: skip

    def check(name: str, title: str, outcome: str, group: str, kind: str = "static", **facts: Any) -> CheckResult:
        about = {**told, "name": name, "title": title, "kind": kind, "group": group, "form": facts.pop("form", []),
                 "reason": facts.pop("reason", "Edge nodes are shared.")}  # fmt: skip
        return CheckResult.objects.create(
            run=run, check_name=name, described=about, suites=["static-full"], outcome=outcome, **facts
        )

    wrong = {"level": "error", "code": "limit-missing", "place": "templates/app.yaml: Deployment/crane-view, container app",
             "message": "The container has no memory limit", "remedy": "Set resources.limits.memory"}  # fmt: skip
    check("chart-renders", "The chart renders with its own values", "passed", "packaging", position=1)
    check("limits-set", "Every container has limits", "failed", "operation", position=2, findings=[wrong])
    check("probes-present", "Every container has probes", "passed", "operation", position=3)
    manual = check(
        "support-contact",
        "Somebody answers when it breaks",
        "waiting",
        "operation",
        "manual",
        form=form,
        reason="An operator must know whom to call at night.",
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
        not_before=NOW,
        not_after=NOW + timedelta(days=30),
    )
    lab = TrustedLab.objects.create(organisation=organisation, name="Pier Seven lab", public_pem="", key_id="2" * 64)
    return {"certifications": run.pk, "manual-checks": manual.pk, "certificates": certificate.pk, "labs": lab.pk}


def _releases(organisation: Organisation, owner: User, made: dict[str, Package]) -> dict[str, Any]:
    waiting = Package.objects.create(
        organisation=organisation, uploaded_by=owner, name="Fender Force", provider="City Lab", version="0.3",
        filename="fender-force-0.3.csar", sha256="7c" * 32, size=8_100_000, state="in-review", format="etsi",
        description="Measures how hard ships berth.", checked_at=NOW,
    )  # fmt: skip
    reasons = [
        {"code": "provider-new", "words": "It is the first release under this name.", "store": False},
        {"code": "permissions", "words": "It asks for the network of its host.", "store": False},
    ]
    review = Review.objects.create(package=waiting, organisation=organisation, reasons=reasons, submitted_by=owner)
    leaky = Package.objects.create(
        organisation=organisation, uploaded_by=owner, name="Buoy Mail", provider="City Lab", version="0.8",
        filename="buoy-mail-0.8.csar", sha256="8d" * 32, size=8_100_000, state="published", format="etsi",
        description="Mail for buoys.", checked_at=NOW, published_at=NOW, chart_sha256=made["Crane View"].chart_sha256,
    )  # fmt: skip
    for name in ("hamburg-port", "rotterdam-maas"):
        node = Node.objects.get(name=name)
        deployments.request(actor=Actor(owner), organisation=organisation, node=node, package=leaky, name="buoy-mail")
    recall = releases.recall(
        [leaky],
        actor=SYSTEM,
        reason="It keeps positions for longer than the law allows",
        advice="Change to 0.9, which forgets them after an hour",
    )
    return {"reviews": review.pk, "recalls": recall.pk, "in-review": waiting.pk}


def _partners(organisation: Organisation) -> dict[str, Any]:
    them, ours = "5f" * 32, keys.current(keys.STORE).pk
    peer = Peer.objects.create(
        organisation=organisation, store_id=them, name="Pier Seven", url="https://store.pier-seven.example",
        state="active", confirmed_at=NOW, they_confirmed_at=NOW, heard_at=NOW - timedelta(minutes=12),
    )  # fmt: skip
    both = terms.Terms(1, ours, them, terms.Offer(), terms.Offer(), None)
    document = terms.document(both)
    Agreement.objects.create(
        peer=peer, version=1, state="accepted", proposed_by_us=True, terms=document, digest=terms.digest(document),
        our_signature={"signatures": [{"keyid": ours}]}, their_signature={"signatures": [{"keyid": them}]},
    )  # fmt: skip
    Peer.objects.create(
        organisation=organisation, store_id="6a" * 32, name="North Quay Cooperative", state="pending",
        url="https://apps.north-quay.example",
    )  # fmt: skip
    return {"partners": peer.pk}
