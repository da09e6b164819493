"""Pages of this topic."""

from django.urls import path

from frontend.certification import bench, report

urlpatterns = [
    path("packages/<uuid:pk>/certification", report.package_certification, name="package-certification"),
    path("packages/<uuid:pk>/certification/live", report.package_certification_live, name="package-certification-live"),
    path("packages/<uuid:pk>/certification/start", report.start, name="start-certification"),
    path("certifications", bench.certifications, name="certifications"),
    path("certifications/suites", bench.suites_page, name="certification-suites"),
    path("certifications/profile", bench.profile, name="certification-profile"),
    path("certifications/labs", bench.labs, name="certification-labs"),
    path("certifications/<uuid:pk>/cancel", report.cancel, name="cancel-certification"),
    path("manual-checks/<uuid:pk>", report.decide, name="decide-check"),
    path("certificates/<uuid:pk>/revoke", report.revoke, name="revoke-certificate"),
    path("labs/<uuid:pk>/distrust", bench.distrust_lab, name="distrust-lab"),
]
