"""What a trust list says of a signature: a pure decision, without a database and without a network."""

from __future__ import annotations

import datetime as dt
import socket
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from appstore.packages import signatures, signing
from appstore.trust import judging, paths
from appstore.trust.judging import Anchor, TrustList
from core.spoken import in_language
from tests.appstore.trust import pki

TEXT = b"metadata:\nSource: a.txt\n"


def signature_of(signer: pki.Party = pki.SIGNER, *chain: pki.Party) -> dict[str, Any]:
    """What is known of a signature by that party."""
    block = signing.sign_text(TEXT, signer.key, signer.certificate, [each.certificate for each in chain])
    found, _ = signatures.verify(block.decode(), {"manifest": TEXT}, "a.mf")
    assert found.state == "valid"
    return found.as_dict()


SIGNED = signature_of(pki.SIGNER, pki.MIDDLE)


def state(signature: dict[str, Any], trust: TrustList, now: dt.datetime | None = None) -> tuple[str, str]:
    """The state and the reason."""
    found = judging.assess(signature, trust, now or pki.NOW)
    return str(found.standing.state), found.standing.reason


def test_a_path_over_an_authority_in_between_is_found_and_told() -> None:
    found = judging.assess(SIGNED, pki.trusting(pki.ROOT), pki.NOW)
    assert [step.subject.rpartition(": ")[2].split(",")[0] for step in found.path][-2:] == [
        "Harbour Issuing",
        "Harbour Root",
    ]
    assert (str(found.standing.state), found.standing.anchor, found.moment) == ("trusted", "Harbour Root", "now")
    assert found.claimed_at  # the signer's own claim, on which nothing rests


def test_without_an_anchor_the_signer_is_unknown() -> None:
    assert state(SIGNED, pki.trusting())[0] == "unknown"
    assert state(SIGNED, pki.trusting(pki.STRANGER))[0] == "unknown"


def test_an_anchor_of_the_same_name_with_another_key_helps_nothing() -> None:
    assert state(SIGNED, pki.trusting(pki.party("Harbour Root", ca=True)))[0] == "unknown"


def test_the_path_must_be_carried() -> None:
    assert state(signature_of(pki.SIGNER), pki.trusting(pki.ROOT))[0] == "unknown"


def test_a_single_signer_can_be_trusted_alone_and_vouches_for_nobody_else() -> None:
    assert state(SIGNED, pki.trusting(pki.SIGNER))[0] == "trusted"
    child = pki.party("Child", pki.SIGNER, ca=False)
    assert state(signature_of(child), pki.trusting(pki.SIGNER))[0] == "unknown"


def test_an_authority_for_timestamps_vouches_for_no_publisher() -> None:
    assert state(SIGNED, pki.trusting(tsa=(pki.ROOT,)))[0] == "unknown"


@pytest.mark.parametrize("days", [-30, 400])
def test_out_of_force_is_not_trusted(days: int) -> None:
    assert state(SIGNED, pki.trusting(pki.ROOT), pki.NOW + dt.timedelta(days=days))[0] == "unknown"


def test_an_anchor_ends_when_its_owner_said() -> None:
    ended = TrustList("1", (Anchor("1", "Root", pki.ROOT.der, expires_at=pki.NOW - dt.timedelta(seconds=1)),))
    assert state(SIGNED, ended)[0] == "unknown"


def test_a_judgement_ends_when_time_alone_may_change_it() -> None:
    soon = pki.NOW + dt.timedelta(seconds=30)
    trust = TrustList("1", (Anchor("1", "Root", pki.ROOT.der, expires_at=soon),))
    assert judging.assess(SIGNED, trust, pki.NOW).until == soon


@pytest.mark.parametrize("who", ["signer", "middle"])
def test_who_is_revoked_is_not_trusted_also_by_a_list_that_is_out_of_date(who: str) -> None:
    revoked, by = (pki.SIGNER, pki.MIDDLE) if who == "signer" else (pki.MIDDLE, pki.ROOT)
    old = pki.crl(by, revoked, next=pki.NOW - dt.timedelta(minutes=5))
    told, reason = state(SIGNED, pki.trusting(pki.ROOT, lists=(old,)))
    assert (told, "was revoked at" in reason) == ("unknown", True)


def test_a_revocation_list_of_another_revokes_nobody() -> None:
    forged = pki.crl(pki.party("Harbour Issuing", ca=True), pki.SIGNER)
    assert state(SIGNED, pki.trusting(pki.ROOT, lists=(forged,)))[0] == "trusted"


def test_a_late_list_is_told_and_where_lists_are_demanded_not_enough() -> None:
    late = (pki.crl(pki.MIDDLE, next=pki.NOW - dt.timedelta(minutes=5)), pki.crl(pki.ROOT))
    found = judging.assess(SIGNED, pki.trusting(pki.ROOT, lists=late), pki.NOW)
    assert "out of date" in found.notes[0]
    assert state(SIGNED, pki.trusting(pki.ROOT, lists=late, strict=True))[0] == "unknown"
    assert state(SIGNED, pki.trusting(pki.ROOT, strict=True))[0] == "unknown"
    fresh = (pki.crl(pki.MIDDLE), pki.crl(pki.ROOT))
    assert state(SIGNED, pki.trusting(pki.ROOT, lists=fresh, strict=True))[0] == "trusted"


def test_when_a_key_was_in_wrong_hands_the_time_of_signing_does_not_help() -> None:
    path, at = [pki.SIGNER.der, pki.MIDDLE.der], pki.NOW - dt.timedelta(hours=2)
    early = at - dt.timedelta(days=1)
    for reason, expected in ((x509.ReasonFlags.superseded, False), (x509.ReasonFlags.key_compromise, True)):
        lists = pki.trusting(lists=(pki.crl(pki.MIDDLE, pki.SIGNER, at=at, reason=reason),)).lists
        assert bool(paths.revoked(path, lists, early)[0]) is expected
        assert paths.revoked(path, lists, None)[0]


@pytest.mark.parametrize("which", [pki.SIGNER, pki.MIDDLE, pki.ROOT])
def test_whom_one_distrusts_no_path_may_use(which: pki.Party) -> None:
    trust = pki.trusting(pki.ROOT, distrusted=frozenset({paths.fingerprint(which.der)}))
    assert state(SIGNED, trust)[0] == "unknown"


def test_a_short_rsa_key_is_never_trusted_wherever_it_is_on_the_way() -> None:
    short = rsa.generate_private_key(65537, 1024)
    signer = pki.party("Short", key=short)
    signature = {**SIGNED, "signers": [{**SIGNED["signers"][0], "weak": "an RSA key of 1024 bits is too short"}]}
    assert state(signature, pki.trusting(pki.ROOT))[0] == "unknown"
    weak_root = pki.party("Weak Root", key=short, ca=True)
    child = pki.party("Child", weak_root, ca=False)
    assert state(signature_of(child), pki.trusting(weak_root))[0] == "unknown"
    assert signer


@pytest.mark.parametrize(
    "facts",
    [
        {"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)},
        {"key_usage": "key_encipherment"},
        {"usages": (ExtendedKeyUsageOID.TIME_STAMPING,)},
    ],
)
def test_a_certificate_for_other_uses_is_not_trusted(facts: Any) -> None:
    signer = pki.party("Other", pki.ROOT, ca=False, **facts)
    told, reason = state(signature_of(signer), pki.trusting(pki.ROOT))
    assert (told, "certificate" in reason) == ("unknown", True)


def test_one_who_may_not_certify_certifies_nobody() -> None:
    leaf = pki.party("Leaf", pki.ROOT, ca=False)
    child = pki.party("Child", leaf, ca=False)
    assert state(signature_of(child, leaf), pki.trusting(pki.ROOT))[0] == "unknown"


def test_what_is_not_signed_whole_is_never_trusted() -> None:
    for change in ({"covers": "sources"}, {"uncovered_count": 1, "uncovered": ["a"]}, {"loose": "it is BER"}):
        assert state({**SIGNED, **change}, pki.trusting(pki.ROOT))[0] == "unknown"


def test_the_four_states_have_reasons() -> None:
    assert state({"state": "absent"}, pki.trusting())[0] == "unsigned"
    assert state({}, pki.trusting())[0] == "unsigned"
    assert state({"state": "invalid", "problem": "x"}, pki.trusting(pki.ROOT)) == (
        "broken",
        "The signature does not hold: x.",
    )


def test_facts_of_before_trust_lists_are_unknown_and_no_error() -> None:
    old = {"state": "valid", "signer": "Acme", "fingerprint": "ab", "covers": "manifest"}
    assert state(old, pki.trusting(pki.ROOT))[0] == "unknown"


@pytest.mark.parametrize("value", ["!", "MAA=", 7])
def test_damaged_facts_are_no_error(value: Any) -> None:
    assert state({**SIGNED, "certificates": [value]}, pki.trusting(pki.ROOT))[0] == "unknown"
    assert state({**SIGNED, "crls": [value]}, pki.trusting(pki.ROOT))[0] == "unknown"


def test_a_certificate_that_has_to_do_with_nobody_is_not_carried_unseen() -> None:
    assert state(signature_of(pki.SIGNER, pki.MIDDLE, pki.STRANGER), pki.trusting(pki.ROOT))[0] == "trusted"
    loose = pki.party("Loose end", pki.party("Nowhere", ca=True))
    assert state(signature_of(pki.SIGNER, pki.MIDDLE, loose), pki.trusting(pki.ROOT))[0] == "unknown"


def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trust is decided without a network")

    monkeypatch.setattr(socket, "socket", refuse)
    assert state(SIGNED, pki.trusting(pki.ROOT))[0] == "trusted"


def test_why_nobody_is_trusted_is_said_in_the_readers_language(speak: Any) -> None:
    speak(
        {
            "{why}.": "{why}。",
            "nobody on the trust list vouches for the signer": "信任列表中无人为签名者担保",
            "It could be changed unnoticed: {loose}.": "可能被更改：{loose}。",
        }
    )
    stranger = judging.assess(SIGNED, pki.trusting(), pki.NOW).standing.reason
    assert stranger == "Nobody on the trust list vouches for the signer."
    assert in_language(stranger, "zh-hans") == "信任列表中无人为签名者担保。"
    loose = judging.assess({**SIGNED, "loose": "it is BER"}, pki.trusting(pki.ROOT), pki.NOW).standing.reason
    assert in_language(loose, "zh-hans") == "可能被更改：it is BER。"
