"""Partners are dealt with by the API as on the pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from appstore.federation.models import Acquaintance, Agreement, Peer
from core.operations.models import Operation

pytestmark = pytest.mark.django_db


def test_a_partner_is_set_aside_taken_up_asked_and_left(api: Any, organisation: Any, settings: Any) -> None:
    settings.OPERATOR = "acme"
    now = timezone.now()
    peer = Peer.objects.create(
        organisation=organisation, store_id="2" * 64, name="Harbour", url="http://127.0.0.1:9", state="active",
        confirmed_at=now, they_confirmed_at=now,
    )  # fmt: skip
    Acquaintance.objects.create(peer=peer)
    where = f"/api/v1/federation/peers/{peer.pk}"

    asked = api.post(f"{where}/sync")
    assert (asked.status_code, Operation.objects.get(pk=asked.json()["id"]).state) == (202, "pending")
    terms = {"out": {"categories": ["video"], "limits": {"apps": 10}}, "contact": "desk"}
    made = api.post(f"{where}/propose", terms, format="json")
    assert made.status_code == 201, made.content
    assert Agreement.objects.get().terms["version"] == 1
    assert api.post(f"{where}/agreements/1/accept").status_code == 409, "what we proposed, they accept"
    assert api.post(f"{where}/agreements/7/accept").status_code == 404
    wrong = api.post(f"{where}/propose", {"out": {"limits": {"apps": 0}}}, format="json")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "out.limits.apps")

    for deed, body, state in (("suspend", {"reason": "leaks"}, "suspended"), ("resume", {}, "active"),
                              ("end", {"reason": "moved"}, "ended")):  # fmt: skip
        answer = api.post(f"{where}/{deed}", body, format="json")
        assert (answer.status_code, answer.json().get("state")) == (200, state), answer.content
    assert api.post(f"{where}/suspend", {}, format="json").json()["errors"][0]["field"] == "reason"
    assert api.post("/api/v1/federation/look", {"url": "ftp://x"}, format="json").status_code == 400
    assert api.post(f"{where}/confirm", {"fingerprint": "3" * 64}, format="json").status_code == 400
