"""What the nodes' side does when a recall is issued or lifted: notes whom it concerns, and asks for the rest."""

from __future__ import annotations

from appstore.releases.models import Recall
from core.operations import services as operations
from mecm.recalls import services


def follow(recall: Recall | None) -> None:
    """Write down where a recalled package runs, and have nodes and direct appliers told; all in the caller's deed."""
    if recall is not None:
        if recall.lifted_at is None:
            services.note_targets(recall)
        services.ask_appliers(recall)
    operations.request(services.SPREAD, "recalls:nodes")
