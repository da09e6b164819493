"""What the tests put in the place of middleware that costs as much as a test each time it is made."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise that looks through the folders once a process, not once for each client that a test makes."""

    _found: ClassVar[dict[str, dict[str, Any]]] = {}

    def add_files_from_finders(self) -> None:
        wanted = (self.static_prefix, self.max_age, settings.STATICFILES_DIRS, settings.STATICFILES_FINDERS,
                  settings.STORAGES, settings.STATIC_ROOT, settings.DEBUG)  # fmt: skip
        known = self._found.get(repr(wanted))
        if known is None:
            before = set(self.files)
            super().add_files_from_finders()
            known = {url: file for url, file in self.files.items() if url not in before}
            self._found[repr(wanted)] = known
        self.files.update(known)
