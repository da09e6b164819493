"""Alarms are written down in English and read in the reader's language."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import trans_real

from mecm.fleet import services
from mecm.fleet.models import Alarm
from mecm.fleet.words import said, say


def test_a_sentence_is_itself_in_english_and_keeps_its_parts() -> None:
    made = say("%(name)s is 100%% silent", name="berth-7")
    assert (made, made.parts()) == ("berth-7 is 100% silent", ["%(name)s is 100%% silent", {"name": "berth-7"}])
    assert said(made.parts(), "kept") == made
    for broken in (None, [], ["%(other)s", {}], ["%d", {"a": "b"}], "text"):
        assert said(broken, "kept") == "kept"


@pytest.mark.django_db
def test_an_alarm_is_read_in_the_language_of_the_reader(world: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    services.sweep()
    alarm = Alarm.objects.get(cause="node-offline")
    msgid, given = alarm.said["text"]
    assert msgid % given == alarm.text == alarm.text_said
    with translation.override("zh-hans"):
        words = trans_real.catalog()
        monkeypatch.setitem(words._catalog._catalogs[0], msgid, "%(name)s 自 %(seen)s 起没有消息")
        assert alarm.text_said.startswith(f"{given['name']} 自 ")
        assert "自" in api.get(f"/alarms/{alarm.pk}", HTTP_ACCEPT_LANGUAGE="zh-hans").content.decode()
    assert api.get(f"/api/v1/alarms/{alarm.pk}").json()["text"] == alarm.text


@pytest.mark.django_db
def test_what_says_the_same_is_not_written_again(world: Any) -> None:
    services.sweep()
    assert not services.sweep()
