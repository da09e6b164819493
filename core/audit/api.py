"""The audit trail over HTTP; read only."""

from __future__ import annotations

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.audit.models import Entry
from core.http import ApiView, paginated


class EntryOut(serializers.ModelSerializer[Entry]):
    """One deed."""

    class Meta:
        model = Entry
        fields = ["id", "at", "actor", "action", "object_type", "object_id", "object_name", "facts"]


class AuditView(ApiView):
    """Who did what in one's organisations."""

    permission_required = "audit.read"

    @extend_schema(
        responses=EntryOut(many=True),
        parameters=[OpenApiParameter("q"), OpenApiParameter("action"), OpenApiParameter("object_id")],
    )
    def get(self, request: Request) -> Response:
        """List entries, newest first; `q` searches actor, action and object."""
        rows = access.scoped(Entry.objects.all(), self.actor, self.permission)
        for name in ("action", "object_id"):
            if request.GET.get(name):
                rows = rows.filter(**{name: request.GET[name]})
        if words := request.GET.get("q", "").strip():
            rows = rows.filter(Q(actor__icontains=words) | Q(action__icontains=words) | Q(object_name__icontains=words))
        return paginated(self, rows, lambda page: EntryOut(page, many=True).data)
