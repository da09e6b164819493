"""What a docker-archive says about itself: `docker save`, `podman save`, or our own tool wrote it."""

from __future__ import annotations

import json
from pathlib import Path

from core.archives import Archive, Damaged, Limits, open_archive
from core.words import say

_MANIFEST_BYTES = 1 << 20
#: An image may hold far more files than a package; only its manifest is read here.
_LIMITS = Limits(members=200_000)


def names_in(archive: Archive) -> list[str]:
    """Return the names (`RepoTags`) that an opened docker-archive holds; `Damaged` when it is none."""
    if "manifest.json" not in archive:
        raise Damaged("image-no-manifest", say("The image archive has no manifest.json; write it with `docker save`"))
    try:
        manifest = json.loads(archive.read("manifest.json", at_most=_MANIFEST_BYTES))
        tags = [tag for image in manifest for tag in image.get("RepoTags") or []]
        files = [name for image in manifest for name in (image["Config"], *image["Layers"])]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise Damaged("image-bad-manifest", say("The manifest.json of the image archive cannot be read")) from problem
    if not all(isinstance(text, str) for text in (*tags, *files)):
        raise Damaged("image-bad-manifest", say("The manifest.json of the image archive cannot be read"))
    # Old archives link equal layers to each other, so a layer that is only a link is not in `members`.
    linked = {finding.place for finding in archive.findings}
    for name in files:
        if name not in archive and name not in linked:
            raise Damaged(
                "image-incomplete", say("The image archive lacks {name}, which its manifest names", name=name[:200])
            )
    return tags


def image_names(path: Path) -> list[str]:
    """Return the names that the docker-archive at `path` holds."""
    with open_archive(path, _LIMITS) as archive:
        return names_in(archive)
