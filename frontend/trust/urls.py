"""Pages of this topic."""

from django.urls import URLPattern, path

from frontend.trust import publishers, views

urlpatterns: list[URLPattern] = [
    path("trust", views.trust_page, name="trust"),
    path("trust/export.pem", views.export, name="trust-export"),
    path("trust/policy", views.set_policy, name="set-trust-policy"),
    path("trust/anchors", views.add_anchor, name="add-anchor"),
    path("trust/crls", views.add_crl, name="add-crl"),
    path("trust/distrusts", views.add_distrust, name="add-distrust"),
    path("trust-anchors/<uuid:pk>/end", views.end_anchor, name="end-anchor"),
    path("trust-anchors/<uuid:pk>/revoke", views.revoke_anchor, name="revoke-anchor"),
    path("trust-distrusts/<uuid:pk>/remove", views.remove_distrust, name="remove-distrust"),
    path("trust/publishers", publishers.publishers_page, name="trust-publishers"),
    path("trust/publishers/claim", publishers.claim, name="claim-publisher"),
    path("publishers/<uuid:pk>/prove", publishers.prove, name="prove-publisher"),
    path("publishers/<uuid:pk>/confirm", publishers.confirm, name="confirm-publisher"),
    path("publishers/<uuid:pk>/withdraw", publishers.withdraw, name="withdraw-publisher"),
    path("trust/authority", publishers.authority_page, name="trust-authority"),
    path("trust/authority/create", publishers.create_authority, name="create-authority"),
    path("trust/authority/crl", publishers.refresh_crl, name="refresh-crl"),
    path("trust/authority/issue", publishers.issue, name="issue-certificate"),
    path("signers/<uuid:pk>/revoke", publishers.revoke, name="revoke-signer"),
    path("packages/<uuid:pk>/trust", views.package_trust, name="package-trust"),
    path("packages/<uuid:pk>/sign", views.sign_package, name="sign-package"),
]
