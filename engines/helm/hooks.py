"""Which objects of a rendered chart are hooks, and when Helm runs them.

Helm takes the hooks out of what it renders, so they are found again in the templates, cut as Helm cuts them: what is
no hook for us and one for Helm would run unseen.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.helm.manifests import load_all, objects_of
from engines.planning import mapping

#: Marks an object that Helm runs at a moment of the release's life (Helm documentation, "Chart Hooks").
HOOK = "helm.sh/hook"
#: Tells Helm to leave an object behind when the release is removed.
KEEP = "helm.sh/resource-policy"
#: Helm's moments in words for people.
MOMENTS = {
    "pre-install": "before installation",
    "post-install": "after installation",
    "pre-upgrade": "before an update",
    "post-upgrade": "after an update",
    "pre-rollback": "before going back",
    "post-rollback": "after going back",
    "pre-delete": "before removal",
    "post-delete": "after removal",
    "test": "only when somebody runs its tests",
}
#: Helm's own rule (`releaseutil.SplitManifests`); YAML would not end a document at `---x`, and Helm does.
_SEPARATOR = re.compile(r"(?:^|\s*\n)---\s*")
_SOURCE = re.compile(r"\A---\n# Source: (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Hook:
    """One object that Helm makes at moments of the release's life instead of keeping it as a part of it."""

    manifest: Manifest
    #: Helm's words: `pre-install`, `post-delete`, `test` ...
    events: tuple[str, ...]
    #: The template that it came from, without the chart's name; empty when that is not known.
    source: str = ""

    @property
    def place(self) -> str:
        """Kind and name."""
        return f"{self.manifest.kind}/{self.manifest.name}"

    @property
    def only_test(self) -> bool:
        """Whether it never runs by itself: Helm runs tests when somebody asks for them, and no engine here does."""
        return all(event == "test" for event in self.events)

    @property
    def moments(self) -> str:
        """When it runs, in words."""
        return " and ".join(dict.fromkeys(MOMENTS[event] for event in self.events))


def may_hold(text: str) -> bool:
    """Return whether a rendered template could be a hook; False is certain.

    The annotation's name may be spelled with escapes or behind a tag (`!!binary`), so their signs count, too.
    """
    return "hook" in text or "\\" in text or "!" in text


def documents_of(texts: Sequence[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Return each document of the rendered templates, given as path and text, with the path that it came from."""
    # One text, so that the bounds of `load_all` count once for all. Nobody can guess the mark and speak for another path.
    mark = secrets.token_hex(16)
    parts: list[str] = []
    for path, text in texts:
        parts += [json.dumps({mark: path}), *(part for part in _SEPARATOR.split(text) if part.strip())]
    found: list[tuple[str, Any]] = []
    path = ""
    for document in load_all("\n---\n".join(parts)):
        if isinstance(document, Mapping) and mark in document:
            path = str(document[mark])
        else:
            found.append((path, document))
    return found


def hooks_in(documents: Sequence[tuple[str, Any]]) -> tuple[tuple[Hook, ...], tuple[str, ...]]:
    """Return the hooks, each once, and the places of objects that name a moment that Helm does not know.

    Helm drops the latter without a word: they are never made.
    """
    found: list[Hook] = []
    unknown: dict[str, None] = {}
    for path, document in documents:
        annotations = mapping(mapping(mapping(document).get("metadata")).get("annotations"))
        if HOOK not in annotations:
            continue
        events = tuple(
            "test" if each == "test-success" else each
            for each in (part.strip().lower() for part in str(annotations[HOOK]).split(","))
        )
        for manifest in objects_of([_named(document)]):
            hook = Hook(manifest, events, path)
            if not all(event in MOMENTS for event in events):
                unknown[hook.place] = None
            elif not any((hook.manifest, hook.events) == (each.manifest, each.events) for each in found):
                found.append(hook)
    return tuple(found), tuple(unknown)


def without_hooks(documents: Sequence[tuple[str, Any]]) -> tuple[Manifest, ...]:
    """Return the objects that are no hooks."""
    rest = [
        each for _, each in documents
        if HOOK not in mapping(mapping(mapping(each).get("metadata")).get("annotations"))
    ]  # fmt: skip
    return tuple(objects_of(rest))


def by_source(text: str) -> list[tuple[str, str]]:
    """Return path and text of each object in what `helm template` prints."""
    found = []
    for part in re.split(r"(?m)^(?=---\n# Source: )", text):
        told = _SOURCE.match(part)
        found.append((inside(told[1]) if told else "", part))
    return found


def inside(path: str) -> str:
    """Return the path of a template without the name of the chart that it begins with."""
    return path.partition("/")[2]


def not_run(hooks: Sequence[Hook], crds: Sequence[Manifest]) -> Iterator[Finding]:
    """Tell what an engine without Helm in it leaves out of a chart."""
    for hook in hooks:
        if not hook.only_test:
            message = say("it is a Helm hook ({moments}); hooks are not run here", moments=hook.moments)
            yield Finding(Level.WARNING, "hook-not-run", hook.place, message, say("do that work in an init container"))
    for each in crds:
        message = say("it lies in crds/, which is not installed here")
        yield Finding(Level.WARNING, "crd-not-installed", f"{each.kind}/{each.name}", message)


def update_problems(told: str) -> tuple[str, ...]:
    """Return in a sentence that hooks of an update could not be rendered; nothing when `told` is empty."""
    if not told:
        return ()
    return (f"The chart cannot be rendered as for an update, so hooks that run only then are not known: {told[:200]}",)


def kept(manifest: Manifest) -> bool:
    """Return whether the object asks to be left behind when its release is removed."""
    annotations = mapping(mapping(manifest.body.get("metadata")).get("annotations"))
    return str(annotations.get(KEEP, "")).strip().lower() == "keep"


def _named(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a hook that lets Kubernetes make up its name the beginning of that name."""
    metadata = mapping(document.get("metadata"))
    beginning = metadata.get("generateName")
    if document.get("kind") == "List" or metadata.get("name") or not isinstance(beginning, str) or not beginning:
        return document
    return {**document, "metadata": {**metadata, "name": f"{beginning}*"}}
