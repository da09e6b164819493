"""Names where ids are wanted: `berth-7` for a node, `video@1.2.0` for a package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from cli.errors import BAD_USE, Stop

if TYPE_CHECKING:
    from cli.wiring import Session

KINDS = {
    "node": "/nodes",
    "deployment": "/deployments",
    "package": "/packages",
    "organisation": "/organisations",
    "rollout": "/rollouts",
    "site": "/sites",
}


def resolve(session: Session, kind: str, given: str) -> str:
    """Return the id of what is named; an id is taken as it is. Several of one name are told with their ids."""
    if kind not in KINDS or _is_id(given):
        return given
    from cli.wiring import missing  # made before this module in every run

    if kind == "organisation":
        found = [row for row in session.pages("/organisations", True)["results"] if given == row["slug"]]
    elif kind == "package":
        name, _, version = given.partition("@")
        rows = session.pages("/packages", True, q=name)["results"]
        found = [row for row in rows if row["name"] == name and version in ("", row["version"])]
    elif kind == "rollout":
        found = [row for row in session.pages("/rollouts", True)["results"] if given == row["title"]]
    elif kind == "site":
        found = [row for row in session.pages("/sites", True, q=given)["results"] if given == row["name"]]
    else:
        rows = session.pages("/nodes" if kind == "node" else "/deployments", True, q=given)["results"]
        found = [row for row in rows if row["name"] == given]
    if not found:
        raise missing(kind, given)
    if len(found) > 1:
        listed = "\n".join(f"  {row['id']}  {_about(row)}" for row in found[:10])
        raise Stop(f"Several {kind}s are called {given!r}; name one by its id:\n{listed}", BAD_USE)
    return str(found[0]["id"])


def _about(row: dict[str, Any]) -> str:
    node = row.get("node")
    facts = [
        row.get("title") or row.get("name"),
        row.get("version"),
        row.get("state"),
        node.get("name") if isinstance(node, dict) else "",
    ]
    return " ".join(str(each) for each in facts if each)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
