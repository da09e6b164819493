"""The session engine: Django's database store, on rows that know whose they are and where they came from.

It costs nothing beyond Django's own: the facts travel in the row that each request reads anyway.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone
from django.utils.crypto import salted_hmac

#: Where the facts of a sign-in lie in the session: how, strong, device, address, at.
FACTS = "sign_in"


class SessionStore(DatabaseStore):
    """Keeps whose session it is, the device, the address and when it was seen."""

    #: The row as it was read; None until the session was needed, or when there is none.
    row: Any = None

    @classmethod
    def get_model_class(cls) -> Any:
        """Return the model of the rows."""
        from core.sign_in.models import Session  # engines are imported before the apps are ready

        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """Return the row for `data`, with the columns that lists are made from."""
        row: Any = super().create_model_instance(data)
        facts = data.get(FACTS, {})
        row.ref = ref_of(row.session_key)
        row.user_id = data.get(SESSION_KEY)
        row.how, row.strong = facts.get("how", ""), facts.get("strong", False)
        row.device, row.address = facts.get("device", ""), facts.get("address", "")
        row.began_at = datetime.fromisoformat(facts["at"]) if facts else timezone.now()
        return row

    def _get_session_from_db(self) -> Any:
        self.row = super()._get_session_from_db()  # type: ignore[misc]
        return self.row


def ref_of(session_key: str) -> uuid.UUID:
    """Return the name of a session for people: it follows from the key, and the key not from it."""
    return uuid.UUID(bytes=salted_hmac("core.sign_in.ref", session_key, algorithm="sha256").digest()[:16])
