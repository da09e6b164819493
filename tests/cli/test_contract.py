"""Every operation of the API has a command, or is in the list of those that need none, with the reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import cli
import cli.main  # makes every command
from cli.wiring import VERBS
from mecm import openapi

_METHODS = {"get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE", "pages": "GET"}
_NODES = "edge nodes and partner stores call it, with signatures of their own"
_BROWSER = "pictures and streams of pages; `breakwater api` or --wait do it in a terminal"

#: Operations without a command, and why.
NONE_NEEDED = {
    "POST /session": "passwords are typed into the sign-in page only; the command line uses the device flow",
    "DELETE /session": "ends a browser's session; `breakwater logout` revokes the token",
    "GET /edge/blobs/{}": _NODES,
    "GET /edge/ca": "read by `manage.py enrol` on the machine that joins",
    "POST /enrol": _NODES,
    "POST /nodes/self/renew": _NODES,
    "GET /federation/blobs/{}": _NODES,
    "GET /federation/certificates/{}/{}": _NODES,
    "GET /federation/feed": _NODES,
    "POST /federation/introductions": _NODES,
    "POST /federation/messages": _NODES,
    "GET /federation/recalls": _NODES,
    "GET /federation/revocations": _NODES,
    "POST /federation/rotations": _NODES,
    "GET /federation/targets/{}/{}": _NODES,
    "GET /federation/tuf/{}": _NODES,
    "GET /recalls": "the signed list that stores and nodes read; people use `releases recalls list`",
    "POST /packages/{}/withdraw": "what `releases yank` was called before",
    "GET /packages/{}/badges/{}.svg": _BROWSER,
    "GET /packages/{}/icon": _BROWSER,
    "GET /packages/{}/media/{}": _BROWSER,
    "GET /deployments/{}/stream": "pages follow it; `deployments watch` does in a terminal",
    "GET /recalls/{}/stream": _BROWSER,
    "GET /alarms/stream": _BROWSER,
    "GET /fleet/stream": _BROWSER,
    "GET /nodes/{}/stream": "pages follow it; `nodes wait` does in a terminal",
    "GET /rollouts/{}/stream": "pages follow it; `rollouts watch` does in a terminal",
    "GET /rollouts/{}/places.json": "`rollouts nodes --all --output json` has the same rows",
    "GET /map/nodes": "every node in columns, for the picture of the map; `nodes list` and `nodes geo` are for people",
    "GET /map/nodes/stream": _BROWSER,
}


def called() -> set[str]:
    """Return every request that the command line makes, as it stands in its source."""
    found = {f"{method} {path}" for method, path in VERBS}
    for file in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            words = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
            words = [each for each in words if isinstance(each, str)]
            if node.func.attr in ("ask", "send") and len(words) == 2:
                found.add(f"{words[0]} {words[1]}")
            elif node.func.attr in _METHODS and words and words[0].startswith("/"):
                found.add(f"{_METHODS[node.func.attr]} {words[0]}")
            elif node.func.attr == "chunks" and words:
                found.add(f"GET {words[0]}")
    return {re.sub(r"\{\w+\}", "{}", each) for each in found}


def offered() -> set[str]:
    """Return every operation of the OpenAPI document."""
    paths = openapi.document()["paths"]
    every = {f"{method.upper()} {path.removeprefix('/api/v1')}" for path, ops in paths.items() for method in ops}
    return {re.sub(r"\{\w+\}", "{}", each) for each in every}


def test_every_operation_has_a_command_or_a_reason() -> None:
    api, ours = offered(), called()
    assert sorted(api - ours - set(NONE_NEEDED)) == [], "give these a command, or a reason in NONE_NEEDED"
    assert sorted(ours - api) == [], "the command line calls what the API does not have"
    assert sorted(set(NONE_NEEDED) - api) == [], "these are no operations any more"
    assert sorted(set(NONE_NEEDED) & ours) == [], "these have a command now"


def test_the_client_knows_nothing_of_our_other_rooms() -> None:
    rooms = {"core", "engines", "upf_adapter", "appstore", "developer", "mecm", "mep", "frontend", "django"}
    for file in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & rooms, file.name
