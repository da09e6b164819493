"""Paths of this topic below /api/v1/."""

from django.urls import URLPattern, path

from appstore.trust import api

urlpatterns: list[URLPattern] = [
    path("trust/policy", api.PolicyView.as_view(), name="trust-policy"),
    path("trust/anchors", api.AnchorsView.as_view(), name="trust-anchors"),
    path("trust/anchors/<uuid:pk>", api.AnchorView.as_view(), name="trust-anchor"),
    path("trust/anchors/<uuid:pk>/revoke", api.AnchorRevokeView.as_view(), name="trust-anchor-revoke"),
    path("trust/export", api.ExportView.as_view(), name="trust-export"),
    path("trust/crls", api.CrlsView.as_view(), name="trust-crls"),
    path("trust/distrusts", api.DistrustsView.as_view(), name="trust-distrusts"),
    path("trust/distrusts/<uuid:pk>", api.DistrustView.as_view(), name="trust-distrust"),
    path("trust/publishers", api.PublishersView.as_view(), name="publishers"),
    path("trust/publishers/<uuid:pk>/prove", api.ProveView.as_view(), name="publisher-prove"),
    path("trust/publishers/<uuid:pk>/confirm", api.ConfirmView.as_view(), name="publisher-confirm"),
    path("trust/publishers/<uuid:pk>/withdraw", api.WithdrawClaimView.as_view(), name="publisher-withdraw"),
    path("trust/authority", api.AuthorityView.as_view(), name="authority"),
    path("trust/authority/crl", api.AuthorityCrlView.as_view(), name="authority-crl"),
    path("trust/certificates", api.SignersView.as_view(), name="signer-certificates"),
    path("trust/certificates/<uuid:pk>/revoke", api.SignerRevokeView.as_view(), name="signer-certificate-revoke"),
    path("packages/<uuid:pk>/trust", api.PackageTrustView.as_view(), name="package-trust"),
    path("packages/<uuid:pk>/sign", api.PackageSignView.as_view(), name="package-sign"),
]
