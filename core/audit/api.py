"""The audit trail over HTTP; read only."""

from __future__ import annotations

from typing import Any

from django.utils.http import urlencode
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.audit import search
from core.audit.models import Entry
from core.errors import Invalid
from core.http import ApiView
from core.words import say

PAGE_SIZE, LARGEST_PAGE = 50, 500


class EntryOut(serializers.ModelSerializer[Entry]):
    """One deed."""

    class Meta:
        model = Entry
        fields = ["id", "at", "actor", "action", "object_type", "object_id", "object_name", "facts"]


class EntriesOut(serializers.Serializer[Any]):
    """A page of entries; `next` is where the older ones are, null on the last page."""

    next = serializers.CharField(allow_null=True)
    results = EntryOut(many=True)


class AuditView(ApiView):
    """Who did what in one's organisations."""

    permission_required = "audit.read"

    @extend_schema(
        responses=EntriesOut,
        parameters=[
            OpenApiParameter("q", description="words in any part; the last 90 days unless `since` is given"),
            OpenApiParameter("actor", description="user name; deeds by their tokens are found as well"),
            OpenApiParameter("action", description="a verb such as `node.register`, or a topic such as `node.`"),
            OpenApiParameter("target", description="id of the object, or a part of its name"),
            OpenApiParameter("object_id", description="id of the object"),
            OpenApiParameter("since", OpenApiTypes.DATETIME),
            OpenApiParameter("until", OpenApiTypes.DATETIME),
            OpenApiParameter("after", description="key of the last entry of the page before; `next` has it"),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        """List entries, newest first."""
        rows = search.read(request.GET).within(access.scoped(Entry.objects.all(), self.actor, self.permission))
        found, key = search.page(rows, request.GET.get("after", ""), _size(request.GET.get("page_size", "")))
        after = f"{request.path}?{urlencode({**request.GET.dict(), 'after': key})}" if key else None
        return Response(
            {
                "next": request.build_absolute_uri(after) if after else None,
                "results": EntryOut(found, many=True).data,
            }
        )


def _size(text: str) -> int:
    if not text:
        return PAGE_SIZE
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        told = {
            "field": "page_size",
            "detail": say("must be a number from 1 to {largest_page}", largest_page=LARGEST_PAGE),
        }
        raise Invalid(say("page_size: {detail}", detail=told["detail"]), errors=[told])
    return min(int(text[:9]), LARGEST_PAGE)
