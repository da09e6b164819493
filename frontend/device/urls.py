"""Pages of this topic."""

from django.urls import URLPattern, path

from frontend.device import views

urlpatterns: list[URLPattern] = [
    path("device", views.device_page, name="device"),
    path("device/decide", views.decide, name="decide-device"),
]
