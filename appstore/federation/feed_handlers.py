"""Long work of federation."""

from __future__ import annotations

from appstore.federation import imports, serials, sync
from appstore.federation.models import Peer, RemoteRelease
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say


@operations.handles(serials.BUILD, lease=120)
def build_feeds(operation: Operation) -> None:
    """Bring the feeds up to date. Twice is once."""
    built = serials.build()
    operation.progress(
        100,
        say("{serials_count} feeds changed", serials_count=len(built.serials))
        if built.serials
        else say("nothing changed"),
    )


@operations.handles(sync.SYNC, lease=120, max_attempts=3)
def sync_with(operation: Operation) -> None:
    """Follow one partner."""
    peer = Peer.objects.filter(pk=operation.payload["peer"]).first()
    if peer is None or peer.state != Peer.State.ACTIVE:
        operation.progress(100, say("nothing to do: the partner is not active"))
        return
    done = sync.follow(peer)
    operation.progress(
        100,
        say(
            "serial {serial}: {put} put, {removed} removed, {bytes_in} bytes",
            serial=done.serial,
            put=done.put,
            removed=done.removed,
            bytes_in=done.bytes_in,
        ),
    )


@operations.handles(imports.IMPORT, lease=120)
def import_release(operation: Operation) -> None:
    """Fetch one release of a partner, check it by our rules, and make it a package."""
    offer = RemoteRelease.objects.select_related("peer", "package").filter(pk=operation.payload["offer"]).first()
    if offer is None:
        operation.progress(100, say("nothing to do: it is no longer offered"))
        return

    def tell(percent: int, note: str) -> None:
        if operation.cancelled():
            raise operations.Cancelled
        operation.progress(percent, note)

    package = imports.bring(offer, tell)
    operation.progress(100, str(package.state))
