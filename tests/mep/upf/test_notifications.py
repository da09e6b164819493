"""What a user plane tells the MEP is taken in carefully, kept, handed to the adapter and shown."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.test import Client

from core.errors import Invalid, Missing, Unavailable
from mep.mp1.models import Counter
from mep.upf import services
from mep.upf.models import Event
from upf_adapter.memory import MemoryUpf

pytestmark = pytest.mark.django_db
NEWS = {"afTransId": "t", "subscribedEvent": "UP_PATH_CHANGE", "dnaiChgType": "LATE"}


class Listening(MemoryUpf):
    """A user plane whose notifications are listened to."""

    name: ClassVar[str] = "listening"

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.answer: Mapping[str, Any] | None = None
        self.problem: Exception | None = None
        self.whole = True

    def notified(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.heard.append(event)
        if self.problem is not None:
            raise self.problem
        return self.answer

    def intact(self) -> bool:
        return self.whole


def post(body: Any, what: str = "nef", *, secret: str = "", content_type: str = "application/json") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/upf/v1/{secret or services.token()}/{what}"
    return Client(raise_request_exception=False).generic("POST", path, raw, content_type=content_type)


def test_a_notification_is_kept_and_answered_at_once() -> None:
    answer = post(NEWS)
    assert (answer.status_code, answer.content) == (204, b"")
    (event,) = services.events()
    assert (event["from"], event["body"], event["state"], event["count"]) == ("nef", NEWS, "waiting", 1)


def test_json_labelled_as_text_is_json_all_the_same() -> None:
    assert post(NEWS, content_type="text/plain").status_code == 204


def test_the_secret_is_made_once_and_for_its_owner_alone(own_folder: Path) -> None:
    secret = services.token()
    assert len(secret) >= 40
    assert services.token() == secret
    assert stat.S_IMODE((own_folder / "upf-token").stat().st_mode) == 0o600
    assert [each.name for each in own_folder.iterdir()] == ["upf-token"]


@pytest.mark.parametrize("what", ["", "nef/more", "amf", "pcf", "pcf/xyz/notify", "pcf/0123456789ab/other", "../nef"])
def test_addresses_that_nobody_was_given_are_not_there(what: str) -> None:
    assert post(NEWS, what).status_code == 404
    assert not Event.objects.exists()


def test_without_the_secret_nothing_is_heard_and_nothing_told() -> None:
    secret = services.token()
    for guess in ("guess", secret[:-1], secret + "x", secret.upper(), "%C3%BC"):
        answer = post(NEWS, secret=guess)
        assert answer.status_code == 404
        assert secret not in answer.content.decode()
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b"[" * 50_000, 400),
        (json.dumps({"a": json.loads("[" * 30 + "]" * 30)}).encode(), 400),
        (json.dumps({"a": "x" * 70_000}).encode(), 413),
    ],
)
def test_what_is_no_notification_is_refused(body: bytes, status: int) -> None:
    answer = post(body)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert not Event.objects.exists()


def test_only_post_is_possible() -> None:
    answer = Client().get(f"/upf/v1/{services.token()}/nef")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_a_repetition_is_counted_and_handed_over_once() -> None:
    upf = Listening()
    for _ in range(3):
        post(NEWS)
    services.hand_over(upf)
    post(NEWS)
    services.hand_over(upf)
    assert len(upf.heard) == 1
    assert services.events()[0]["count"] == 4


def test_the_same_words_after_others_are_news_again() -> None:
    for change in ("LATE", "EARLY", "LATE"):
        post({**NEWS, "dnaiChgType": change})
    assert [event["body"]["dnaiChgType"] for event in services.events()] == ["LATE", "EARLY", "LATE"]


def test_only_the_newest_events_are_kept(settings: Any) -> None:
    settings.UPF_EVENTS_KEPT = 5
    for number in range(12):
        post({**NEWS, "n": number})
    assert [event["body"]["n"] for event in services.events()] == [11, 10, 9, 8, 7]
    assert [event["body"]["n"] for event in services.events(limit=2)] == [11, 10]
    with pytest.raises(Invalid):
        services.events(limit=0)


def test_what_the_adapter_answered_and_refused_is_shown() -> None:
    upf = Listening()
    upf.answer = {"ackResult": {"afStatus": "SUCCESS"}}
    post(NEWS)
    services.hand_over(upf)
    upf.problem = Missing("The notification is about no rule of this MEP")
    post({**NEWS, "afTransId": "other"})
    services.hand_over(upf)
    services.hand_over(upf)
    assert len(upf.heard) == 2
    refused, taken = services.events()
    assert (taken["state"], taken["answer"]) == ("taken", {"ackResult": {"afStatus": "SUCCESS"}})
    assert (refused["state"], refused["reason"]) == ("refused", "The notification is about no rule of this MEP")


def test_while_the_user_plane_is_away_events_wait_in_order_and_not_for_ever() -> None:
    upf = Listening()
    upf.problem = Unavailable("away")
    post({**NEWS, "n": 1})
    post({**NEWS, "n": 2})
    services.hand_over(upf)
    assert [event["body"]["n"] for event in upf.heard] == [1]
    upf.problem = None
    services.hand_over(upf)
    assert [event["body"]["n"] for event in upf.heard] == [1, 1, 2]
    post({**NEWS, "n": 3})
    upf.problem = Unavailable("away")
    for _ in range(services.TRIES + 3):
        services.hand_over(upf)
    assert services.events()[0]["state"] == "refused"


def test_an_adapter_that_chokes_holds_up_nobody() -> None:
    upf = Listening()
    upf.problem = KeyError("bug")
    post({**NEWS, "n": 1})
    post({**NEWS, "n": 2})
    services.hand_over(upf)
    assert [event["state"] for event in services.events()] == ["refused", "refused"]


def test_a_rule_that_was_lost_makes_steering_look_again() -> None:
    def version() -> int:
        return Counter.objects.filter(name="traffic").values_list("value", flat=True).first() or 0

    upf = Listening()
    post(NEWS)
    services.hand_over(upf)
    before = version()
    upf.whole = False
    post({**NEWS, "dnaiChgType": "EARLY"})
    services.hand_over(upf)
    assert version() == before + 1


def test_an_adapter_without_notifications_refuses_them() -> None:
    post(NEWS)
    services.hand_over(MemoryUpf())
    assert "sends no notifications" in services.events()[0]["reason"]


def test_only_adapters_that_ask_are_given_an_address_and_a_state_file(settings: Any) -> None:
    settings.UPF_NOTIFY_ROOT = "https://edge7.example:8443"
    assert services.equipped("memory", {}) == {}
    made = services.equipped("pcf", {"bsf": "http://bsf"})
    assert made["notification_url"] == f"https://edge7.example:8443/upf/v1/{services.token()}"
    assert made["state_file"] == str(settings.VAR / "upf-pcf.state")
    assert services.equipped("nef", {"state_file": ""})["state_file"] == "", "what the operator set stays"
