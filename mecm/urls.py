"""Where everything of the centre is found. The portal is mounted by name: this room does not import it."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from core.http import not_found
from mecm.openapi import Kept

api: list[URLPattern | URLResolver] = [
    path("", include("core.accounts.urls")),
    path("", include("core.device.urls")),
    path("", include("core.sign_in.urls")),
    path("", include("core.operations.urls")),
    path("", include("core.audit.urls")),
    path("", include("appstore.packages.urls")),
    path("", include("developer.sandbox.urls")),
    path("", include("appstore.trust.urls")),
    path("", include("appstore.contents.urls")),
    path("", include("appstore.certification.urls")),
    path("", include("appstore.releases.urls")),
    path("", include("appstore.catalog.urls")),
    path("", include("appstore.federation.urls")),
    path("", include("appstore.federation.manage_urls")),
    path("", include("mecm.nodes.urls")),
    path("", include("mecm.deployments.urls")),
    path("", include("mecm.edge.urls")),
    path("", include("mecm.recalls.urls")),
    path("", include("mecm.fleet.urls")),
    path("", include("mecm.sites.urls")),
    path("", include("mecm.rollouts.urls")),
    path("schema", SpectacularAPIView.as_view(generator_class=Kept), name="schema"),
    path("docs", RedirectView.as_view(pattern_name="frontend:reference"), name="api-docs"),
    path("", include("mecm.steering.urls")),
    path("<path:unknown>", not_found),
]

urlpatterns = [
    path("api/v1/", include(api)),
    # OCI Distribution fixes its path at the root of the host.
    path("v2/", include("appstore.oci.urls")),
    path("", include("frontend.urls")),
]
