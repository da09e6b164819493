"""Where the APIs of the MEP live: at the root, under `/mep` as EdgeGallery's clients expect, and under MEP_PREFIX."""

from django.conf import settings
from django.urls import include, path

from mep.mp1.oauth import JWKS, TOKEN

apis = [
    path("mec_service_mgmt/v1/", include("mep.mp1.api_services")),
    path("mec_app_support/v1/", include("mep.mp1.api_support")),
]
urlpatterns = [
    path("mep/token", TOKEN),
    path("mep/jwks.json", JWKS),
    path("mm5/v1/", include("mep.mp1.mm5")),
    path("mm5/v1/", include("mep.dns.mm5")),
    path("upf/v1/", include("mep.upf.api")),
    *(path(prefix, include(apis)) for prefix in dict.fromkeys(["", "mep/", f"{settings.PREFIX}/".lstrip("/")])),
]
handler400 = "mep.mp1.http.bad_request"
handler404 = "mep.mp1.http.not_found"
handler500 = "mep.mp1.http.failed"
