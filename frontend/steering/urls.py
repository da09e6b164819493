"""Addresses of the pages about steering."""

from django.urls import path

from frontend.steering import views

urlpatterns = [path("nodes/<uuid:pk>/packet", views.try_packet, name="try-packet")]
