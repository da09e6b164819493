"""The secrets of a node, sealed at rest with the installation's key. Nothing here is ever put into a message."""

from __future__ import annotations

from django.conf import settings

from core.errors import Missing
from core.vault import Vault
from core.words import say
from mecm.nodes.models import Node


def seal(node: Node, field: str, plain: str) -> bytes:
    """Return `plain` sealed for this field of this node: bytes that were moved to another row cannot be opened."""
    return Vault(settings.VAULT_KEY).seal(plain.encode(), _purpose(node, field))


def reveal(node: Node, field: str) -> str:
    """Return the secret in `field`; `Missing` when there is none."""
    stored = getattr(node, field)
    if not stored:
        raise Missing(say("{node} has no {what}", node=node, what=field.replace("_", " ")))
    return Vault(settings.VAULT_KEY).open(bytes(stored), _purpose(node, field)).decode()


def _purpose(node: Node, field: str) -> str:
    return f"node:{node.pk}:{field}"
