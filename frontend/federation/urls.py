"""Pages of this topic."""

from django.urls import URLPattern, path

from frontend.federation import agreements, partners, releases

urlpatterns: list[URLPattern] = [
    path("partners", partners.partners_page, name="partners"),
    path("partners/meet", partners.meet, name="meet-partner"),
    path("partners/follow", partners.follow, name="follow-store"),
    path("partners/key", partners.change_key, name="change-store-key"),
    path("partners/<uuid:pk>", partners.partner_page, name="partner"),
    path("partners/<uuid:pk>/confirm", partners.confirm, name="confirm-partner"),
    path("partners/<uuid:pk>/refuse", partners.refuse, name="refuse-partner"),
    path("partners/<uuid:pk>/suspend", partners.suspend, name="suspend-partner"),
    path("partners/<uuid:pk>/resume", partners.resume, name="resume-partner"),
    path("partners/<uuid:pk>/end", partners.end, name="end-partner"),
    path("partners/<uuid:pk>/deliver", partners.deliver, name="deliver-to-partner"),
    path("partners/<uuid:pk>/sync", partners.sync, name="sync-partner"),
    path("partners/<uuid:pk>/agreement", agreements.agreement_page, name="partner-agreement"),
    path("partners/<uuid:pk>/agreement/<int:version>", agreements.version_page, name="agreement-version"),
    path("partners/<uuid:pk>/agreement/<int:version>/accept", agreements.accept, name="accept-agreement"),
    path("partners/<uuid:pk>/agreement/<int:version>/decline", agreements.decline, name="decline-agreement"),
    path("partners/<uuid:pk>/agreement/<int:version>/end", agreements.end, name="end-agreement"),
    path("partners/<uuid:pk>/offers", releases.offers_page, name="partner-offers"),
    path("partners/<uuid:pk>/import", releases.import_offer, name="import-offer"),
    path("partners/<uuid:pk>/ours", releases.ours_page, name="partner-ours"),
    path("partners/<uuid:pk>/grant", releases.grant, name="grant-release"),
    path("partners/<uuid:pk>/recommend", releases.recommend, name="recommend"),
    path("partners/<uuid:pk>/recommendations", releases.recommendations_page, name="partner-recommendations"),
    path("partners/<uuid:pk>/answer", releases.answer, name="answer-recommendation"),
]
