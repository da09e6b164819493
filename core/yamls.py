"""One guard in front of every YAML that others wrote: depth, number of nodes and aliases are bounded before anything is built."""

from __future__ import annotations

from typing import Any

import yaml

from core.errors import Invalid
from core.words import Said, say

#: libyaml where it is built in: its scanner is a hundred times quicker than the one in Python.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def skim(
    text: str, what: str, *, deepest: int = 60, most_nodes: int = 200_000, aliases: bool = True, **context: Any
) -> None:
    """Pass a text that is safe to compose; `Invalid` for one that is too deep, too large, or that has unwanted aliases.

    Reads events only. Needed before any loader: libyaml's composer overruns its stack on deep nesting, and a few
    aliases may unfold to gigabytes. A text that is no YAML raises yaml.YAMLError, for the caller to put into words.
    """
    depth = nodes = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > deepest:
                raise Invalid(
                    say("{what} is nested deeper than {deepest} levels", what=what, deepest=deepest), **context
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent) and not aliases:
            mark = getattr(event, "start_mark", None)
            where = f"Line {mark.line + 1}: " if mark is not None else ""
            raise Invalid(say("{where}{what} may not use YAML aliases (*name)", where=where, what=what), **context)
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > most_nodes:
            raise Invalid(say("{what} has more than {most_nodes} values", what=what, most_nodes=most_nodes), **context)


def load(text: str, what: str, *, deepest: int = 60, most_nodes: int = 50_000, aliases: bool = False) -> Any:
    """Return one YAML document; `Invalid` never quotes the text, which may hold secrets.

    With `aliases` parts of the document may be shared; whoever writes it out again bounds that himself.
    """
    try:
        skim(text, what, deepest=deepest, most_nodes=most_nodes, aliases=aliases)
        return yaml.load(text, Loader=Loader)  # noqa: S506  (Loader is one of the two safe ones)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise Invalid(say("{what} is no readable YAML{where}", what=what, where=where)) from None


def _said(dumper: Any, sentence: Said) -> Any:
    return dumper.represent_str(str(sentence))


# The writers of YAML know exact types only, and a sentence is a kind of text.
yaml.representer.SafeRepresenter.add_representer(Said, _said)
