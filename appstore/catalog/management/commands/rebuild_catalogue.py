"""`manage.py rebuild_catalogue`: make the index of the catalogue anew."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from appstore.catalog import services


class Command(BaseCommand):
    """Reads every release of the store into the index; may run while the store is used, and twice."""

    help = "make the index of the catalogue anew from the releases of this store and those known of partners"

    def handle(self, *args: Any, **options: Any) -> None:
        """Rebuild, and tell how far it is."""

        def tell(done: int, of: int) -> None:
            self.stdout.write(f"{done} of {of} releases")

        self.stdout.write(f"The catalogue holds {services.rebuild(tell)} releases.")
