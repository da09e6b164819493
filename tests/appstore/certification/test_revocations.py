"""Lists of revocations: read offline, taken from partners, and never turned back."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from appstore.certification import certificates, federating, issuing, revocations, revoking
from appstore.certification.models import Certificate, SignedRevocations, TrustedLab
from appstore.certification.revocations import Entry, RevocationList
from appstore.federation.models_feed import FeedChange
from appstore.keys import services as keys
from core import dsse
from core.accounts.access import SYSTEM, Actor
from core.audit.models import Entry as Audited
from core.errors import Conflict, Invalid
from tests.appstore.certification.test_certificates import KEY, LABS, NOW, OTHER, SHA, certificate, fresh, offline, pem
from tests.appstore.federation.test_feed_served import Partner

LAB_KEY = dsse.key_id(KEY.public_key())


def entry(envelope: dict[str, Any], **changes: Any) -> Entry:
    digest = certificates.digest_of(envelope)
    made = Entry("c-1", digest, LAB_KEY, SHA, "2026-04-30T08:00:00Z", "the lab made a mistake")
    return replace(made, **changes)


def said(serial: int, *entries: Entry, **changes: Any) -> RevocationList:
    made = RevocationList("Harbour lab", serial, "2026-04-30T09:00:00Z", "2026-05-14T09:00:00Z", entries)
    return replace(made, **changes)


def signed(wanted: RevocationList, *by: Any) -> dict[str, Any]:
    return revocations.sign(wanted, *(by or (KEY,)))


def opened(wanted: RevocationList, *by: Any) -> revocations.Opened:
    return revocations.open_list(signed(wanted, *by), [KEY.public_key(), OTHER.public_key()])


# Pure


def test_a_list_takes_back_what_it_names_and_nothing_else() -> None:
    held = certificates.verify(certificate(), LABS, at=NOW)
    revocations.check(held, opened(said(1)))
    with pytest.raises(Invalid, match="revoked on 2026-04-30T08:00:00Z: the lab made a mistake"):
        revocations.check(held, opened(said(1, entry(certificate()))))
    revocations.check(held, opened(said(1, entry(certificate(sha256="cd" * 32)))))


def test_only_the_key_of_a_certificate_can_take_it_back() -> None:
    held = certificates.verify(certificate(), LABS, at=NOW)
    with pytest.raises(Invalid, match="says nothing about it"):
        revocations.check(held, opened(said(1, entry(certificate())), OTHER))
    # Signed by both, but about a certificate of the other key.
    other = entry(certificate(), lab_key=dsse.key_id(OTHER.public_key()))
    revocations.check(held, opened(said(1, other), KEY, OTHER))


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (said(4, entry(certificate())), "older"),
        (said(5, entry(certificate()), issued="2026-05-01T00:00:00Z"), "two-of-one"),
        (said(6), "shrunk"),
    ],
)
def test_a_list_is_not_turned_back(offered: RevocationList, reason: str) -> None:
    held = said(5, entry(certificate()))
    revocations.insist_on_newer(held, held)
    revocations.insist_on_newer(held, replace(held, serial=6))
    with pytest.raises(Conflict) as refused:
        revocations.insist_on_newer(held, offered)
    assert refused.value.context["reason"] == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"serial": 0},
        {"serial": True},
        {"expires": "soon"},
        {"issued": "2026-04-30T09:00:00"},
        {"entries": {}},
        {"entries": [{"certificate": "c"}]},
        {"entries": [{**json.loads(said(1, entry(certificate())).payload())["entries"][0], "digest": "x"}]},
    ],
)
def test_a_list_that_is_none_is_refused_though_it_is_signed(changes: dict[str, Any]) -> None:
    body = json.loads(said(1).payload()) | changes
    envelope = dsse.sign(revocations.PAYLOAD_TYPE, json.dumps(body).encode(), KEY)
    with pytest.raises(Invalid):
        revocations.open_list(envelope, [KEY.public_key()])


def test_a_changed_byte_and_a_certificate_in_place_of_a_list_are_refused() -> None:
    envelope = signed(said(1))
    raw = bytearray(base64.b64decode(envelope["payload"]))
    raw[20] ^= 1
    for wrong in ({**envelope, "payload": base64.b64encode(raw).decode()}, certificate()):
        with pytest.raises(Invalid):
            revocations.open_list(wrong, [KEY.public_key()])


def test_the_command_asks_the_list_without_database_and_network(tmp_path: Path) -> None:
    def file(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    good, key = file("good.json", certificate()), file("lab.pem", pem(KEY))
    clean, later = file("clean.json", signed(said(3))), file("later.json", signed(said(4, entry(certificate()))))
    shrunk = file("shrunk.json", signed(said(5)))
    stranger = file("stranger.json", signed(said(9), OTHER))
    begin = [good, "--key", key, "--at", "2026-05-01T12:00:00Z"]
    passed, *refused = offline(
        tmp_path,
        [*begin, "--revocations", clean, "--least-serial", 3],
        [*begin, "--revocations", clean, "--revocations", later],
        [*begin, "--revocations", clean, "--least-serial", 4],
        [*begin, "--revocations", later, "--revocations", shrunk],
        [*begin, "--revocations", stranger],
        [*begin, "--revocations", good],
        [*begin, "--least-serial", 4],
    )
    assert "revocations  not among the 0 of list 3" in passed
    reasons = ["revoked on", "older than 4", "has lost 1", "not trusted here", "holds", "give one with"]
    for words, reason in zip(refused, reasons, strict=True):
        assert words.startswith("REFUSED: ")
        assert reason in words


def test_a_stale_list_is_told_and_stays_in_force(tmp_path: Path) -> None:
    for name, content in (
        ("c.json", certificate()),
        ("clean.json", signed(said(3))),
        ("later.json", signed(said(4, entry(certificate())))),
    ):
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "lab.pem").write_text(pem(KEY))
    begin = [tmp_path / "c.json", "--key", tmp_path / "lab.pem", "--at", "2026-05-20T00:00:00Z", "--revocations"]
    stale, revoked = offline(tmp_path, [*begin, tmp_path / "clean.json"], [*begin, tmp_path / "later.json"])
    assert stale.startswith("VALID")
    assert "STALE: a newer list of revocations should have come by 2026-05-14" in stale
    assert revoked.startswith("REFUSED")


# Our own list


def ours() -> RevocationList:
    return revocations.open_list(revoking.ours(), keys.known(keys.LAB)).list


def test_what_is_revoked_here_is_in_the_list_that_everybody_may_fetch(
    package: Any, certify: Any, actor: Actor, client: Client
) -> None:
    certify(package, "static-full")
    row = Certificate.objects.get()
    before = ours()
    assert before.entries == ()
    issuing.revoke(row, actor=actor, reason="a mistake")
    answer = client.get("/api/v1/certificates/revocations")
    assert answer.status_code == 200
    now = revocations.open_list(answer.json(), keys.known(keys.LAB)).list
    assert now.serial > before.serial
    assert [(each.digest, each.sha256, each.reason) for each in now.entries] == [(row.digest, row.sha256, "a mistake")]
    again = client.get("/api/v1/certificates/revocations", headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304


@pytest.mark.django_db
def test_the_list_is_signed_anew_when_it_has_grown_old_and_not_before() -> None:
    first = ours()
    assert ours() == first
    SignedRevocations.objects.update(issued_at=datetime.now(UTC) - timedelta(days=8))
    assert ours().serial == first.serial + 1


@pytest.mark.django_db
def test_whoever_knows_only_the_retired_key_of_the_lab_learns_of_revocations() -> None:
    old = dsse.load_public(keys.current(keys.LAB).public_pem)
    first = ours()
    keys.rotate(keys.LAB, actor=SYSTEM)
    assert revocations.open_list(revoking.ours(), [old]).list.serial == first.serial + 1


# Lists of others


@pytest.fixture
def lab(actor: Actor) -> TrustedLab:
    return issuing.trust_lab(actor=actor, name="Harbour lab", public_pem=pem(KEY))


def test_a_certificate_that_its_lab_takes_back_counts_no_more_here(package: Any, lab: TrustedLab) -> None:
    envelope = fresh(package.sha256)
    federating.accept(package, envelope, "some store")
    assert issuing.levels_of([package.pk]) == {package.pk: "standard"}
    assert federating.take_revocations([signed(said(1, entry(envelope)))], "some store") == 1
    assert issuing.levels_of([package.pk]) == {}
    row = Certificate.objects.get()
    assert (row.standing, row.revoked_reason) == ("revoked", "Harbour lab: the lab made a mistake")
    with pytest.raises(Invalid, match="revoked"):
        issuing.verify(envelope)


def test_a_certificate_that_comes_after_its_revocation_is_not_kept(package: Any, lab: TrustedLab) -> None:
    envelope = fresh(package.sha256)
    federating.take_revocations([signed(said(1, entry(envelope)))], "some store")
    with pytest.raises(Invalid, match="revoked by its lab: the lab made a mistake"):
        federating.accept(package, envelope, "some store")
    assert not Certificate.objects.exists()


def test_lists_that_are_refused_are_written_down_and_keep_what_is_held(package: Any, lab: TrustedLab) -> None:
    envelope = fresh(package.sha256)
    federating.take_revocations([signed(said(5, entry(envelope)))], "x")
    forged = {**signed(said(8)), "signatures": [{"keyid": LAB_KEY, "sig": "AAAA"}]}
    future = said(9, entry(envelope), issued="2999-01-01T00:00:00Z", expires="2999-02-01T00:00:00Z")
    wrong = [signed(said(4, entry(envelope))), signed(said(6)), forged, signed(said(7), OTHER), signed(future), {}]
    assert federating.take_revocations(wrong, "Mallory") == 0
    assert SignedRevocations.objects.get(lab_key=LAB_KEY).serial == 5
    # An older list is no offence, and a stranger's of no concern.
    assert Audited.objects.filter(action="revocations.refuse").count() == 3


def test_a_stranger_takes_nothing_back(package: Any, lab: TrustedLab) -> None:
    envelope = fresh(package.sha256)
    federating.accept(package, envelope, "some store")
    federating.take_revocations([signed(said(1, entry(envelope)), OTHER)], "Mallory")
    assert issuing.levels_of([package.pk]) == {package.pk: "standard"}


def test_the_lists_of_trusted_labs_are_handed_on_as_they_were_signed(lab: TrustedLab, actor: Actor) -> None:
    envelope = signed(said(2))
    federating.take_revocations([envelope], "x")
    assert federating.revocation_lists()[1:] == [envelope]
    issuing.distrust_lab(lab, actor=actor, reason="sold")
    assert len(federating.revocation_lists()) == 1


def test_the_labs_tell_how_old_their_lists_are(api: Any, lab: TrustedLab) -> None:
    first = api.get("/api/v1/certification/labs").json()["results"][0]
    assert first["revocations"] is None
    federating.take_revocations([signed(said(2))], "x")
    told = api.get("/api/v1/certification/labs").json()["results"][0]["revocations"]
    assert (told["serial"], told["stale"]) == (2, True)


def test_partners_are_served_the_list_and_hear_of_a_revocation_by_the_feed(
    organisation: Any, package: Any, certify: Any, actor: Actor
) -> None:
    certify(package, "static-full")
    partner = Partner(organisation)
    type(package).objects.filter(pk=package.pk).update(published_at=datetime.now(UTC))
    FeedChange.objects.all().delete()
    row = Certificate.objects.get()
    issuing.revoke(row, actor=actor, reason="a mistake")
    assert FeedChange.objects.filter(package=package.pk).exists()
    (envelope,) = partner.ask("revocations").json()["lists"]
    assert row.digest in {each.digest for each in revocations.parse(dsse.payload_of(envelope)).entries}
