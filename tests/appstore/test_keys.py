"""The signing keys of the store: one for each purpose, sealed at rest, changed without losing what they signed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from appstore.keys import services
from appstore.keys.models import SigningKey
from core import dsse
from core.accounts.access import SYSTEM, Actor
from core.audit.models import Entry
from core.errors import Denied, Invalid, Missing
from core.vault import Vault


def test_a_key_is_made_when_it_is_first_needed_and_stays(db: None) -> None:
    first = services.current(services.LAB)
    assert services.current(services.LAB) == first
    assert services.current(services.STORE) != first
    public = services.signer(services.LAB).public_key()
    assert dsse.key_id(public) == first.pk
    assert dsse.key_id(dsse.load_public(first.public_pem)) == first.pk


def test_the_private_half_is_sealed_for_its_purpose(db: None, settings: Any) -> None:
    key = services.current(services.LAB)
    assert b"PRIVATE" not in bytes(key.sealed)
    assert b"PRIVATE" not in key.public_pem.encode()
    key.purpose = services.RECALL  # moved to another row it opens nothing
    with pytest.raises(Invalid):
        services.private(key)
    key.purpose = services.LAB
    settings.VAULT_KEY = b"x" * 32
    with pytest.raises(Invalid, match="key file"):
        services.private(key)
    with pytest.raises(Invalid):
        Vault(b"y" * 32).open(bytes(key.sealed), "signing-key:lab")


def test_a_retired_key_signs_no_more_and_what_it_signed_stays_verifiable(db: None) -> None:
    old = services.current(services.LAB)
    envelope = dsse.sign("t", b"x", services.signer(services.LAB))
    new = services.rotate(services.LAB, actor=SYSTEM)
    assert services.current(services.LAB) == new
    assert new != old
    assert dsse.verify(envelope, "t", services.known(services.LAB))[1] == old.pk
    assert SigningKey.objects.filter(purpose=services.LAB, retired_at=None).count() == 1
    assert Entry.objects.filter(action="key.rotate", object_id=new.pk).exists()


def test_only_those_who_manage_trust_of_the_store_change_a_key(
    organisation: Any, admin: Any, stranger: Any, make_user: Any, settings: Any
) -> None:
    settings.OPERATOR = organisation.slug
    services.rotate(services.LAB, actor=Actor(admin))
    with pytest.raises(Missing):
        services.rotate(services.LAB, actor=Actor(stranger))
    with pytest.raises(Denied):
        services.rotate(services.LAB, actor=Actor(make_user("dev", organisation, "developer")))


def test_a_slip_makes_no_key(db: None) -> None:
    for wrong in ("labs", ""):
        with pytest.raises(ValueError, match="no signing key"):
            services.current(wrong)
        with pytest.raises(ValueError, match="no signing key"):
            services.rotate(wrong, actor=SYSTEM)
    assert not SigningKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_who_need_the_first_key_at_once_get_the_same() -> None:
    def need(_: int) -> str:
        try:
            return services.current(services.STORE).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(need, range(4)))) == 1
