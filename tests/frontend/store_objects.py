"""One object of each kind in the store that a page or a form is about."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone


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
def begun_upload(organisation: Any, actor: Any) -> Any:
    """A file of which half a part has arrived."""
    from appstore.packages import resumable

    return resumable.begin(actor=actor, organisation=organisation, filename="half.csar", length=4000)
