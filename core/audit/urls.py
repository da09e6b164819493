"""Path of the audit trail below /api/v1/."""

from django.urls import path

from core.audit import api

urlpatterns = [path("audit", api.AuditView.as_view(), name="api-audit")]
