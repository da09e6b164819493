"""What the provider for tests tells of people beyond the usual: their groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from django.conf import settings


class Adapter(DefaultOIDCAdapter):
    """Adds the claim `groups` to ID tokens."""

    def get_claims(self, purpose: Any, user: Any, client: Any, scopes: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the usual claims and the groups that the file names now."""
        groups = json.loads(Path(settings.PEOPLE_FILE).read_text()).get(user.username, [])
        return {**super().get_claims(purpose, user, client, scopes, **kwargs), "groups": groups}
