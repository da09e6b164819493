"""Paths of this topic below /api/v1/."""

from django.urls import path

from appstore.certification import api, api_certificates

urlpatterns = [
    path("certification/suites", api.SuitesView.as_view(), name="api-suites"),
    path("certification/nodes", api.NodesView.as_view(), name="api-sandbox-nodes"),
    path("certification/profile", api.ProfileView.as_view(), name="api-profile"),
    path("certification/labs", api_certificates.LabsView.as_view(), name="api-labs"),
    path("certification/labs/<uuid:pk>/distrust", api_certificates.DistrustView.as_view(), name="api-lab-distrust"),
    path("certification/lab-key", api_certificates.LabKeyView.as_view(), name="api-lab-key"),
    path("certification/runs", api.RunsView.as_view(), name="api-runs"),
    path("certification/runs/<uuid:pk>", api.RunView.as_view(), name="api-run"),
    path("certification/runs/<uuid:pk>/cancel", api.CancelView.as_view(), name="api-run-cancel"),
    path("certification/runs/<uuid:pk>/junit", api.JUnitView.as_view(), name="api-run-junit"),
    path("certification/runs/<uuid:pk>/stream", api.stream, name="api-run-stream"),
    path("certification/runs/<uuid:pk>/checks/<slug:name>/decide", api.DecideView.as_view(), name="api-check-decide"),
    path("certification/runs/<uuid:pk>/evidence/<uuid:evidence>", api.EvidenceView.as_view(), name="api-evidence"),
    path("certificates/revocations", api_certificates.RevocationsView.as_view(), name="api-certificate-revocations"),
    path("certificates/verify", api_certificates.VerifyView.as_view(), name="api-certificate-verify"),
    path("certificates/<uuid:pk>", api_certificates.CertificateView.as_view(), name="api-certificate"),
    path("certificates/<uuid:pk>/envelope", api_certificates.EnvelopeView.as_view(), name="api-certificate-envelope"),
    path("certificates/<uuid:pk>/revoke", api_certificates.RevokeView.as_view(), name="api-certificate-revoke"),
]
