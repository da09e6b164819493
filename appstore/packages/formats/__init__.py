"""Package formats as plugins: each recognises its packages by content and reads them into one typed shape."""

from __future__ import annotations

from appstore.packages.formats.contract import Format, ImageMember, Reading
from core.archives import Archive, Damaged
from core.registry import Registry
from core.words import say

#: Ask for a format by its short name; packages in the database store that name.
registry: Registry[type[Format]] = Registry(
    "package_formats",
    {
        "edgegallery-csar": "appstore.packages.formats.edgegallery:EdgeGalleryCsar",
        "etsi-csar": "appstore.packages.formats.etsi:EtsiCsar",
        "helm-chart": "appstore.packages.formats.helm:HelmChart",
    },
)

__all__ = ["Format", "ImageMember", "Reading", "detect", "registry"]


def detect(archive: Archive) -> Format:
    """Return the format that knows this archive best; `Damaged` when none does."""
    claims = sorted(((kind.claim(archive), name) for name, kind in registry), reverse=True)
    if not claims or not claims[0][0]:
        raise Damaged(
            "format-unknown",
            say(
                "The archive is no application package that we know: an EdgeGallery or ETSI CSAR, or "
                "a packed Helm chart"
            ),
        )
    return registry.get(claims[0][1])()
