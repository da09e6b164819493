"""What the catalogue shows of signatures follows the trust list of the store."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from appstore.catalog.models import Release
from appstore.packages import followers
from appstore.trust import services
from core.accounts.access import Actor
from core.operations import services as operations
from core.operations.models import Operation
from tests.appstore.trust import pki

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def run_by_acme(settings: Any, organisation: Any) -> None:
    """Say who runs the store."""
    settings.OPERATOR = organisation.slug


@pytest.fixture
def release(make_package: Any, known_signature: Any) -> Any:
    """A signed release in the catalogue."""
    found = make_package(signature=known_signature, state="published", published_at=timezone.now())
    followers.tell("changed", found)
    return found


def shown(release: Any) -> str:
    while operations.run_due():
        pass
    return str(Release.objects.get(package_id=release.pk).data["signature"])


def test_a_signer_who_is_trusted_or_revoked_is_shown_so_without_a_new_check(
    release: Any, organisation: Any, actor: Any
) -> None:
    assert shown(release) == "unknown"
    (anchor,) = services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    assert shown(release) == "trusted"
    services.revoke(anchor, actor=actor, reason="lost its key")
    assert shown(release) == "unknown"


def test_an_anchor_that_ends_later_has_the_catalogue_look_again_then(
    release: Any, organisation: Any, actor: Any
) -> None:
    (anchor,) = services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    end = timezone.now() + dt.timedelta(days=3)
    services.expire(anchor, actor=actor, at=end)
    assert shown(release) == "trusted"
    assert Operation.objects.get(kind="catalog.rebuild", state="pending").run_after == end


def test_the_list_of_another_organisation_changes_nothing_there(
    release: Any, stranger_organisation: Any, stranger: Any
) -> None:
    services.add_anchors(stranger_organisation, actor=Actor(stranger), text=pki.ROOT.pem)
    assert not Operation.objects.filter(kind="catalog.rebuild").exists()
