"""From Helm's text to objects: YAML that others wrote, so bounded in every direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from core import yamls
from core.errors import Invalid
from core.words import say
from engines.contract import Manifest

LARGEST_TEXT, MOST_OBJECTS, MOST_NODES, DEEPEST = 8 << 20, 1000, 200_000, 60


class _Loader(yamls.Loader):  # type: ignore[misc]
    """Safe YAML as Kubernetes reads it: a date is text there."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yamls.Loader.yaml_implicit_resolvers.items()
}


def load_all(text: str, what: str = "The rendered chart") -> list[Any]:
    """Return the documents of `text`; `Invalid` for anything too large, too deep or that is no YAML."""
    if len(text) > LARGEST_TEXT:
        raise Invalid(say("{what} is larger than {largest_text} MiB", what=what, largest_text=LARGEST_TEXT >> 20))
    try:
        yamls.skim(text, what, deepest=DEEPEST, most_nodes=MOST_NODES)
        documents = list(_bounded(yaml.load_all(text, Loader=_Loader), what))
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise Invalid(say("{what} is no valid YAML: {problem}", what=what, problem=_first_line(problem))) from None
    sizes: dict[int, int] = {}
    if sum(_expanded(document, sizes, frozenset(), what) for document in documents) > MOST_NODES:
        raise Invalid(
            say(
                "{what} has more than {most_nodes} nodes; aliases count each time they are used",
                what=what,
                most_nodes=MOST_NODES,
            )
        )
    return documents


def manifests(text: str) -> tuple[Manifest, ...]:
    """Return the Kubernetes objects in `text`, lists flattened, in order; `Invalid` names what is none."""
    return tuple(objects_of(load_all(text)))


def objects_of(documents: list[Any]) -> Iterator[Manifest]:
    """Yield the Kubernetes objects of YAML documents, lists flattened; `Invalid` names what is none."""
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, Mapping):
            raise Invalid(say("The chart renders something that is no Kubernetes object"))
        kind, version = document.get("kind"), document.get("apiVersion")
        if not isinstance(kind, str) or not isinstance(version, str):
            raise Invalid(say("The chart renders an object without kind or apiVersion"))
        if kind == "List":
            yield from objects_of(list(document.get("items") or []))
            continue
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if not isinstance(name, str) or not name or len(name) > 253:
            raise Invalid(say("The chart renders a {kind} without a usable name", kind=kind))
        yield Manifest(kind=kind, name=name, api_version=version, body=document)


def _bounded(documents: Iterator[Any], what: str) -> Iterator[Any]:
    for number, document in enumerate(documents):
        if number >= MOST_OBJECTS:
            raise Invalid(say("{what} has more than {most_objects} documents", what=what, most_objects=MOST_OBJECTS))
        yield document


def _expanded(node: Any, sizes: dict[int, int], above: frozenset[int], what: str) -> int:
    """Return how many nodes a walk over `node` would meet; each shared node is counted once and remembered."""
    if isinstance(node, bytes):
        # Helm takes it for the text that it stands for (`!!binary` as a key can spell any member), YAML for bytes.
        raise Invalid(say("{what} uses !!binary, which Kubernetes objects have no need of", what=what))
    if not isinstance(node, dict | list):
        return 1
    key = id(node)
    if key in above:
        raise Invalid(say("{what} contains itself", what=what))
    if len(above) > DEEPEST:
        raise Invalid(say("{what} is nested deeper than {deepest} levels", what=what, deepest=DEEPEST))
    if key not in sizes:
        inside = above | {key}
        if isinstance(node, dict) and any(isinstance(name, bytes) for name in node):
            raise Invalid(say("{what} uses !!binary, which Kubernetes objects have no need of", what=what))
        children = node.values() if isinstance(node, dict) else node
        sizes[key] = 1 + sum(_expanded(child, sizes, inside, what) for child in children)
    return sizes[key]


def _first_line(problem: Exception) -> str:
    # Never the text around the mistake: it may be a Secret.
    mark = getattr(problem, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark is not None else ""
    return f"{getattr(problem, 'problem', None) or type(problem).__name__}{where}"
