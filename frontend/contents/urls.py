"""Pages of this topic."""

from django.urls import path

from frontend.contents import views

urlpatterns = [
    path("packages/<uuid:pk>/inside", views.inside, name="package-inside"),
    path("packages/<uuid:pk>/inspect", views.inspect, name="inspect-package"),
]
