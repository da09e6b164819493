"""`manage.py rotate_vault_key`: seal everything on this node with a new key, while the node goes on working."""

from __future__ import annotations

from core.sealing.rotation import RotationCommand
from mep.agent import rotating


class Command(RotationCommand):
    help = "Make a new key for this node's secrets at rest and seal everything with it; the node may go on working"
    rotating = rotating
