"""Pages of this topic."""

from django.urls import URLPattern, path

from frontend.reference import views

urlpatterns: list[URLPattern] = [
    path("reference", views.reference_page, name="reference"),
    path("reference/<slug:group>", views.group_page, name="reference-group"),
]
