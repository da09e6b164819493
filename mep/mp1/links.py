"""Under which address the asker knows us: links in answers lead back the way the question came."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from django.conf import settings

#: In the server certificate whatever the settings say.
ALWAYS = ("mep", "localhost", "127.0.0.1")


@lru_cache(maxsize=256)
def root(host: str, prefix: str = "") -> str:
    """Return the API root for a request to `host`.

    A name that is not ours (anybody can write a Host header) is not repeated; the configured root is used.
    """
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if _known(name.strip("[]").lower()) and (not port or port.isdigit()):
        return f"https://{host.lower()}{prefix}"
    return f"{settings.API_ROOT}{prefix}"


def _known(name: str) -> bool:
    if name in ALWAYS or name in settings.SERVER_NAMES:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
