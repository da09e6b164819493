"""Pages of this topic."""

from django.urls import path

from frontend.developer import views

urlpatterns = [
    path("develop", views.workbench, name="develop"),
    path("develop/<uuid:pk>", views.test, name="sandbox-test"),
    path("develop/<uuid:pk>/live", views.test_live, name="sandbox-test-live"),
    path("develop/<uuid:pk>/prolong", views.prolong, name="prolong-sandbox-test"),
    path("develop/<uuid:pk>/end", views.end, name="end-sandbox-test"),
]
