"""What passes between an AF and a NEF about one rule besides its flows: whom it is about, changed paths, acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from core.errors import Denied, Invalid
from upf_adapter.flows import IpAddress
from upf_adapter.routing import Route
from upf_adapter.sbi import origin, words


@dataclass(frozen=True, slots=True)
class News:
    """One EventNotification, as far as it matters; texts are empty where the NEF said nothing."""

    transaction: str
    event: str
    change: str
    source: str
    target: str
    gpsi: str
    ack_uri: str


def target(ue: IpAddress | None, group: str) -> dict[str, Any]:
    """Return the one member that says which UEs a subscription is about."""
    if ue is not None:
        return {f"ipv{ue.version}Addr": str(ue)}
    return {"externalGroupId": group} if group else {"anyUeInd": True}


def read(body: dict[str, Any]) -> News:
    """Read an EventNotification; `Invalid` when it is none. Peers drop members, so only what names the matter must be there."""

    def text(of: Any, name: str) -> str:
        value = of.get(name) if isinstance(of, dict) else None
        return value if isinstance(value, str) and len(value) <= 2000 else ""

    found = News(
        transaction=text(body, "afTransId"),
        event=text(body, "subscribedEvent") or "UP_PATH_CHANGE",
        change=text(body, "dnaiChgType"),
        source=text(body, "sourceDnai") or text(body.get("sourceTrafficRoute"), "dnai"),
        target=words(text(body, "targetDnai") or text(body.get("targetTrafficRoute"), "dnai")),
        gpsi=text(body, "gpsi"),
        ack_uri=text(body, "afAckUri"),
    )
    if not found.transaction:
        raise Invalid("The notification has no afTransId, so nobody can tell what it is about")
    return found


def left(news: News, wanted: AbstractSet[str], *, single: bool) -> bool:
    """Return whether the news say that a rule's traffic does not go where it should.

    An EARLY notification only announces. For a rule about many UEs the path of one says nothing about the others.
    """
    if news.event.upper().endswith("FAILURE"):
        return True
    if not single or news.change == "EARLY":
        return False
    return news.target not in wanted if news.target else news.source in wanted


def acknowledgement(news: News, routes: Sequence[Route]) -> dict[str, Any]:
    """Return the AfAckInfo (TS 29.522 5.4.3.3.5): the application is there behind our own DNAIs and nowhere else."""
    route = next((route for route in routes if route.dnai == news.target), None)
    result: dict[str, Any] = {"afStatus": "RELOC_NO_ALLOWED"}
    if route is not None:
        result = {"afStatus": "SUCCESS", "trafficRoute": route.location()}
    return {"afTransId": news.transaction, "ackResult": result, **({"gpsi": news.gpsi} if news.gpsi else {})}


def check_ack(uri: str, nef: str) -> None:
    """Raise `Denied` unless the acknowledgement goes to the NEF itself: the body of a notification is anybody's word."""
    if origin(uri) is None or origin(uri) != origin(nef):
        raise Denied("The notification asks for an acknowledgement elsewhere than at the NEF; none was sent")
