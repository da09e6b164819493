"""`manage.py rotate_key`: seal everything with a new key, while the centre goes on working."""

from __future__ import annotations

from core.sealing.rotation import RotationCommand
from mecm.backup import rotating


class Command(RotationCommand):
    help = "Make a new key for secrets at rest and seal everything with it; the centre may go on working"
    rotating = rotating
