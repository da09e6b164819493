"""Sentences about permissions in the reader's language."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.utils import translation

from appstore.contents import permissions
from engines.contract import Manifest
from engines.helm import hooks
from frontend.contents import words


def written() -> list[str]:
    """Return every sentence that the store writes about a permission, with an example where something is filled in."""
    tree = ast.parse(Path(permissions.__file__).read_text())
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if getattr(call.func, "id", "") == "Permission" and len(call.args) > 3:
            found.append(call.args[3])
    found += [
        n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "words"
    ]
    sentences = []
    for node in found:
        if isinstance(node, ast.Constant):
            sentences.append(str(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values]
            sentences.append("".join(parts))
    heads = [head % {"sentence": ""} for head in words.HEADS]
    for at, each in enumerate(sentences):
        # In a hook the place comes first, and a sentence that stands by itself after it.
        for head in ("\0", *heads):
            sentences[at] = each.removeprefix(head) if each.startswith(head) and len(each) > 8 else sentences[at]
    return [each for each in sentences if re.sub(r"\0|may |\s", "", each)]


def test_each_sentence_of_the_store_is_known() -> None:
    sentences = written()
    assert len(sentences) > 20
    known = [pattern for pattern, _ in words._patterns()]
    odd = [each for each in sentences if not any(pattern.fullmatch(each.replace("\0", "x")) for pattern in known)]
    # "reads" or "reads and writes", the folder or all: put together of two parts, so here as they come out.
    assert [each for each in odd if each != "\0 \0"] == []
    for deed in ("reads", "reads and writes"):
        for what in ("the whole file system of the host", "the folder /x of the host"):
            assert any(pattern.fullmatch(f"{deed} {what}") for pattern in known)
    for what in permissions._CAPABILITIES.values():
        assert f"may {what}" in words.SENTENCES
    for _, told in permissions._HOST.values():
        assert told in words.SENTENCES


def test_where_it_was_found_is_told_in_the_readers_language_too() -> None:
    assert set(words.MOMENTS) == set(hooks.MOMENTS.values())
    hook = hooks.Hook(
        Manifest("Job", "x", "batch/v1", {"kind": "Job", "metadata": {"name": "x"}}), ("pre-install", "post-delete")
    )
    test = hooks.Hook(Manifest("Pod", "y", "v1", {"kind": "Pod", "metadata": {"name": "y"}}), ("test",))
    asked = [each.words for each in permissions.of_hooks([hook, test], "default")]
    asked += [
        each.words
        for each in permissions.of_crds(
            [Manifest("Role", "z", "rbac.authorization.k8s.io/v1", {"kind": "Role"})], "default"
        )
    ]
    assert any("before installation and after removal" in each for each in asked)
    for told in asked:
        with translation.override("en"):
            assert words.spoken(told) == told
        with translation.override("zh-hans"):
            assert not re.search("installation|hook that|in a test|made before|beside", words.spoken(told)), told


def test_a_sentence_keeps_what_was_filled_in() -> None:
    with translation.override("en"):
        for told in (
            "takes the port 8554/TCP of the host",
            "uses 100% of the devices vendor.example/gpu",
            "uses a (b) %s",
        ):
            assert words.spoken(told) == told


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_what_is_not_known_stays_as_it_is(language: str) -> None:
    with translation.override(language):
        assert words.spoken("may read pods in the whole cluster") == "may read pods in the whole cluster"
        assert words.kind_of_change("invented") == "invented"
