"""`breakwater api`: any request of the API, signed in, for what has no command of its own."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import BAD_USE, Stop
from cli.show import Answer
from cli.wiring import Session, file_text, structure

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def api(
    session: Session,
    method: Annotated[str, typer.Argument(metavar="METHOD")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Below /api/v1, such as /nodes.")],
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Query parameter.")] = None,
    body: Annotated[str, typer.Option("--body", metavar="FILE", help="Body, JSON or YAML; - is stdin.")] = "",
) -> Answer:
    """Send one request to the API, as the one who is signed in; the reference is at /reference of each server."""
    verb = method.upper()
    if verb not in _METHODS:
        raise Stop(f"{method!r} is none of {', '.join(_METHODS)}.", BAD_USE)
    # Only paths of this API: neither another host nor another folder gets the token.
    segments = path.split("/")
    if not path.startswith("/") or path.startswith("//") or {".", ".."} & set(segments) or set("?#\\{}") & set(path):
        raise Stop(f"{path!r} is no path such as /nodes; parameters go into --param.", BAD_USE)
    options: dict[str, Any] = {"params": _pairs(param or [])}
    if body:
        options["json"] = structure(file_text(session, body, "body"), "body")
    answer = session.centre.send(verb, path, **options)
    if "json" in answer.headers.get("Content-Type", ""):
        return Answer(answer.json())
    return Answer({"content": answer.text} if answer.content else None, say=answer.text)


def _pairs(given: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator:
            raise Stop(f"--param: {each!r} is not NAME=VALUE.", BAD_USE)
        found.setdefault(name, []).append(value)
    return found
