"""Revoked certificates fall at partners within one sync, over a line and by courier, and no partner can forge that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appstore.certification import certificates, issuing, revocations
from appstore.certification.models import Certificate, SignedRevocations
from appstore.certification.revocations import Entry, RevocationList
from appstore.federation import courier, feed, sync
from appstore.federation.feed import Refused
from appstore.federation.models import Peer, PeerSync, RemoteRelease
from core.accounts.access import SYSTEM, Actor
from tests.appstore.certification.test_certificates import KEY, OTHER, fresh, pem
from tests.appstore.federation.forge import Forge, Memory, ref, release
from tests.appstore.federation.test_courier import PACKAGE, SHA, TRUE, bag


@pytest.fixture
def forge() -> Forge:
    made = Forge()
    made.files[f"blobs/{SHA}"] = PACKAGE
    return made


@pytest.fixture
def peer(forge: Forge, organisation: Any) -> Peer:
    return forge.peer(organisation)


def lists(*entries: Entry, key: Any = KEY, serial: int = 1) -> bytes:
    now = datetime.now(UTC)
    ends = certificates.moment(now + timedelta(days=7))
    wanted = RevocationList("Harbour lab", serial, certificates.moment(now), ends, entries)
    return feed.packed_json({"lists": [revocations.sign(wanted, key)]})


def taken_back(envelope: dict[str, Any]) -> Entry:
    held = certificates.verify(envelope, [certificates.Lab("x", KEY.public_key())])
    now = certificates.moment(datetime.now(UTC))
    return Entry(held.id, held.digest, held.lab_key, held.sha256, now, "the lab made a mistake")


def test_a_level_falls_within_one_sync_of_its_revocation(
    peer: Peer, forge: Forge, actor: Actor, tmp_path: Path
) -> None:
    issuing.trust_lab(actor=actor, name="Harbour lab", public_pem=pem(KEY))
    envelope = fresh(SHA)
    data = feed.packed_json(envelope)
    forge.say({ref(1): release(**TRUE, certificates=[feed.digest(data)])})
    forge.files[f"certificates/{ref(1)}/{feed.digest(data)}"] = data
    courier.take(bag(forge, tmp_path / "one.tar"), actor=SYSTEM)
    package = RemoteRelease.objects.get().package
    assert package is not None
    assert issuing.levels_of([package.pk]) == {package.pk: "standard"}
    # Somebody else's word does not take it back, nor does the partner's alone.
    forge.files["revocations"] = lists(taken_back(envelope), key=OTHER)
    forge.say({ref(1): release(**TRUE)})
    sync.sync(peer, Memory(forge.files), now=forge.now)
    assert issuing.levels_of([package.pk]) == {package.pk: "standard"}
    forge.files["revocations"] = lists(taken_back(envelope))
    forge.say({ref(1): release(**TRUE, description="another")})
    courier.take(bag(forge, tmp_path / "two.tar", number=2), actor=SYSTEM)
    assert issuing.levels_of([package.pk]) == {}
    assert Certificate.objects.get().standing == "revoked"


def test_lists_that_are_none_refuse_the_sync_and_leave_it_where_it_was(peer: Peer, forge: Forge) -> None:
    forge.say({ref(1): release("one")})
    forge.files["revocations"] = b'{"lists": [1]}'
    with pytest.raises(Refused, match="lists of revocations"):
        sync.sync(peer, Memory(forge.files), now=forge.now)
    assert not RemoteRelease.objects.exists()
    assert PeerSync.objects.get().serial == 0
    assert not SignedRevocations.objects.exists()
