"""When two names of publishers are the same to people who read them."""

from __future__ import annotations

import re

from core.archives.base import fold


def key_of(provider: str) -> str:
    """Return the form in which names that look alike are equal: case, width, spaces and punctuation do not matter."""
    return re.sub(r"[\W_]+", "", fold(provider))[:128]
