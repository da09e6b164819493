"""The one verb of the audit trail."""

from __future__ import annotations

import logging
from typing import Any

from core.audit.models import Entry

logger = logging.getLogger("breakwater.audit")


def record(actor: Any, action: str, obj: Any, *, organisation: Any = None, **facts: Any) -> Entry:
    """Write down that `actor` did `action` to `obj`, in the caller's transaction.

    `facts` are short JSON values and never secrets. The organisation is the object's own unless named.
    """
    user = getattr(actor, "user", None)
    organisation_id = getattr(organisation, "id", organisation) or getattr(obj, "organisation_id", None)
    entry = Entry.objects.create(
        actor=str(actor)[:250],
        actor_id=getattr(user, "pk", None),
        organisation_id=organisation_id,
        action=action,
        object_type="" if obj is None else obj._meta.label_lower,
        object_id="" if obj is None else str(obj.pk),
        object_name="" if obj is None else str(obj)[:250],
        facts=facts,
    )
    logger.info("%s %s %s", entry.actor, action, entry.object_name)
    return entry
