"""What services say: English text that can be said again in another language."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import translation
from yaml import CSafeDumper

from core import (
    terms,
    yamls,  # noqa: F401  (it teaches the writers of YAML what a sentence is)
)
from core.errors import Conflict, Invalid, from_problem
from core.http import problem_response
from core.operations.models import Operation
from core.spoken import in_language, problem_in
from core.words import Said, Sentences, joined, say
from frontend.templatetags import portal

Speak = Callable[[dict[str, str]], None]


NOT_ENROLLED = {"The node {name} is not enrolled": "节点 {name} 尚未注册"}


def test_what_is_said_is_the_english_text_wherever_it_goes() -> None:
    said = say("The node {name} has {free:} of {{x}}".replace(":", ""), name="edge-1", free=3)
    assert said == "The node edge-1 has 3 of {x}"
    assert json.dumps({"detail": said}) == '{"detail": "The node edge-1 has 3 of {x}"}'
    for twin in (copy.deepcopy(said), pickle.loads(pickle.dumps(said))):
        assert twin == said
        assert twin.facts == {"name": "edge-1", "free": "3"}


@pytest.mark.django_db
def test_what_is_kept_in_the_database_is_the_english_text_and_is_known_again(speak: Speak) -> None:
    speak(NOT_ENROLLED)
    said = say("The node {name} is not enrolled", name="n")
    Operation.objects.create(kind="x", target="y", note=said, problem=Conflict(said, why=said).problem())
    kept = Operation.objects.get(note=said, problem__why=said)
    assert (type(kept.note), kept.note) == (str, "The node n is not enrolled")
    assert in_language(kept.note, "zh-hans") == in_language(kept.problem["detail"], "zh-hans") == "节点 n 尚未注册"
    assert Operation.objects.filter(pk=kept.pk).update(note=say("a {b}", b=1)) == 1


def test_a_sentence_is_written_as_yaml_like_any_text() -> None:
    said = say("has {most} values", most=3)
    assert (
        yaml.safe_dump({"detail": said}) == yaml.dump({"detail": said}, Dumper=CSafeDumper) == "detail: has 3 values\n"
    )


@pytest.mark.parametrize(
    "hostile", ["{name}", "{0.__class__}", "%(name)s 100%", "{{", "}", "{name!r:>99}", "<script>alert(1)</script>"]
)
def test_nothing_in_a_fact_is_a_template(speak: Speak, hostile: str) -> None:
    speak(NOT_ENROLLED)
    said = say("The node {name} is not enrolled", name=hostile)
    assert said == "The node " + hostile + " is not enrolled"
    assert in_language(said, "zh-hans") == "节点 " + hostile + " 尚未注册"
    assert in_language(str(said), "zh-hans") == "节点 " + hostile + " 尚未注册"


def test_markup_in_a_fact_is_escaped_on_a_page(speak: Speak) -> None:
    speak(NOT_ENROLLED)
    page = Template("{% load portal %}{{ said|in_language }}")
    with translation.override("zh-hans"):
        shown = page.render(Context({"said": say("The node {name} is not enrolled", name="<b>x</b>")}))
    assert shown == "节点 &lt;b&gt;x&lt;/b&gt; 尚未注册"


@pytest.mark.parametrize("chinese", ["节点 {nobody} 尚未注册", ""])
def test_a_translation_that_cannot_be_filled_is_english(speak: Speak, chinese: str) -> None:
    speak({"The node {name} is not enrolled": chinese})
    said = say("The node {name} is not enrolled", name="edge-1")
    assert in_language(said, "zh-hans") == "The node edge-1 is not enrolled"
    assert in_language(str(said), "zh-hans") == "The node edge-1 is not enrolled"


def test_attributes_cannot_be_reached_by_a_translation(speak: Speak) -> None:
    speak({"The node {name} is not enrolled": "{name.__class__} {name}"})
    assert in_language(say("The node {name} is not enrolled", name="a"), "zh-hans") == "{name.__class__} a"


def test_a_row_written_yesterday_is_read_in_the_language_of_today(speak: Speak) -> None:
    speak({"Wave {wave} begins, with {size}.": "第 {wave} 批开始，共 {size} 个。", "It is rolled back.": "正在回滚。"})
    assert in_language("Wave 2 begins, with 40.", "zh-hans") == "第 2 批开始，共 40 个。"
    assert in_language("Wave 2 begins, with 40. It is rolled back.", "zh-hans") == "第 2 批开始，共 40 个。 正在回滚。"
    assert in_language("Wave 2 began, with 40.", "zh-hans") == "Wave 2 began, with 40."


def test_a_template_of_one_word_takes_no_sentence_of_somebody_else(speak: Speak) -> None:
    speak(
        {
            "{verb} container {name}": "{verb}容器 {name}",
            "{name} answered {status}: {body}": "{name} 返回 {status}：{body}",
        }
    )
    assert in_language("Pulled container web", "zh-hans") == "Pulled容器 web"
    assert in_language("beta answered 503: no room now", "zh-hans") == "beta 返回 503：no room now"
    for foreign in ("Every container has limits", "it is answered by the rules: see there"):
        assert in_language(foreign, "zh-hans") == foreign


def test_a_sentence_in_a_sentence_is_said_again_too(speak: Speak) -> None:
    speak({**NOT_ENROLLED, "Given up after {attempts} attempts: {note}": "尝试 {attempts} 次后放弃：{note}"})
    inner = say("The node {name} is not enrolled", name="n")
    outer = say("Given up after {attempts} attempts: {note}", attempts=5, note=inner)
    assert in_language(outer, "zh-hans") == "尝试 5 次后放弃：节点 n 尚未注册"
    assert in_language(str(outer), "zh-hans") == "尝试 5 次后放弃：节点 n 尚未注册"
    assert in_language(joined("; ", [inner, "as it came"]), "zh-hans") == "节点 n 尚未注册; as it came"


def test_a_state_in_a_sentence_is_said_again_by_the_name_of_its_fact(speak: Speak) -> None:
    speak({"{name} is {state}; ask again later": "{name} 的状态为 {state}；请稍后再问", "failed": "失败"})
    said = say("{name} is {state}; ask again later", name="failed", state=Operation.State.FAILED)
    assert said == "failed is failed; ask again later"
    for kept in (said, str(said)):
        assert in_language(kept, "zh-hans") == "failed 的状态为 失败；请稍后再问"
    # What no catalogue knows, and what is no state of ours, stays as it was written.
    for state in ("yanked", "ACTIVE", "{name}", "failed now"):
        told = say("{name} is {state}; ask again later", name="n", state=state)
        assert in_language(told, "zh-hans") == f"n 的状态为 {state}；请稍后再问"


def test_sentences_and_pages_have_the_same_words() -> None:
    pages = {**portal.STATES, **{kind: ("", "", words) for kind, words in portal.WORK.items()}}
    ours = {**terms.STATES, **terms.KINDS}
    shared = pages.keys() & ours.keys()
    assert {value: str(pages[value][2]) for value in shared} == {value: ours[value] for value in shared}
    assert portal.WORK.keys() <= terms.KINDS.keys()


def test_a_template_of_facts_alone_recognises_nothing() -> None:
    known = Sentences(["{place}: {problem}", "{a} of {b}", "The node {name} is not enrolled"])
    assert known.read("x: y") is None
    assert known.read("1 of 2") is None
    assert known.read("The node a b is not enrolled") == ("The node {name} is not enrolled", {"name": "a b"})


def test_braces_that_were_doubled_are_known_again() -> None:
    known = Sentences(["Send POST /applications/{{appInstanceId}}/services"])
    told = known.read("Send POST /applications/{appInstanceId}/services")
    assert told == ("Send POST /applications/{{appInstanceId}}/services", {})


def test_a_hostile_text_takes_no_time_to_read() -> None:
    known = Sentences(["".join(f"telling {{a{number}}} " for number in range(30)) + "ends"])
    begun = time.process_time()
    assert known.read("telling x " * 5000) is None
    assert time.process_time() - begun < 1


def test_saying_is_cheap() -> None:
    begun = time.process_time()
    for number in range(10_000):
        say("The node {name} has {free} of {all} places", name="edge", free=number, all=10)
    assert time.process_time() - begun < 2


def test_a_problem_is_english_but_for_those_who_ask(speak: Speak) -> None:
    speak({**NOT_ENROLLED, "The present state does not allow this": "当前状态不允许此操作"})
    error = Conflict(say("The node {name} is not enrolled", name="n"), node="n")
    assert problem_response(error, RequestFactory().get("/")).content == problem_response(error).content
    asked = problem_response(error, RequestFactory().get("/", headers={"Accept-Language": "zh-CN,en;q=0.2"}))
    told = json.loads(asked.content)
    assert (told["title"], told["detail"], told["node"]) == ("当前状态不允许此操作", "节点 n 尚未注册", "n")
    assert asked.headers["Content-Language"] == "zh-hans"
    stored = json.loads(json.dumps(error.problem()))
    assert problem_in(stored, "zh-hans")["detail"] == "节点 n 尚未注册"
    assert from_problem(stored).detail == "The node n is not enrolled"


def test_each_place_of_a_problem_is_translated(speak: Speak) -> None:
    speak({"must be below {most}": "必须小于 {most}"})
    error = Invalid(
        "x", errors=[{"field": "size", "detail": say("must be below {most}", most=5)}, "odd", {"field": "y"}]
    )
    assert problem_in(error.problem(), "zh-hans")["errors"] == [
        {"field": "size", "detail": "必须小于 5"},
        "odd",
        {"field": "y"},
    ]


@pytest.mark.parametrize("value", [None, 3, "", [], Said("")])
def test_what_is_no_sentence_stays_what_it_is(value: Any) -> None:
    assert in_language(value, "zh-hans") == value
