"""What pages and the API show of a package's own texts and pictures."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from appstore.contents import markdown
from appstore.contents.models import Contents


def picture_url(package_id: Any, name: str) -> str:
    """Return where a picture of a package is served."""
    return reverse("api-package-media", args=[package_id, name])


def readme_html(contents: Contents) -> str:
    """Return the README as harmless HTML, with the pictures that the package brings; empty when it is plain text."""
    if contents.readme_plain:
        return ""
    pictures = {p["source"]: picture_url(contents.package_id, p["name"]) for p in contents.pictures_of("readme")}
    return markdown.rendered(contents.readme, pictures)
