"""`manage.py recheck_publishers`: ask for a look at every publisher proof that is due; for a daily timer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from appstore.trust import publishers


class Command(BaseCommand):
    """Asks; the workers look."""

    help = "Ask for a look at every publisher proof that nobody has looked at for a week."

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask."""
        self.stdout.write(f"{publishers.recheck_due()} proofs are to be looked at")
