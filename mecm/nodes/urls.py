"""Paths of this topic."""

urlpatterns: list = []
