"""Which image a container is made from: always an ID, never a name that somebody else could move.

What packages bring is held under a name of this node's own, `localhost/breakwater-held/<node>:<digest>`, and under no other. A
name in a chart means the image of its own package; else one that the node's owner gave the runtime under that very name.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.errors import BreakwaterError, Invalid, Missing
from core.words import say
from engines.docker import pause
from engines.docker.daemon import Daemon, ImageMissing
from engines.images.archive import Image, opened
from engines.images.names import Name
from engines.pods.wanted import Container
from engines.store import Store

#: No chart can name what is in here.
HELD = "localhost/breakwater-held"


class Images:
    """The images that one node holds in its runtime."""

    def __init__(self, node: str, daemon: Daemon, store: Store) -> None:
        self.daemon, self.store = daemon, store
        # The runtime may serve several nodes; each has names of its own, so that the runtime counts who needs an image.
        self.repository = f"{HELD}/{hashlib.sha256(node.encode()).hexdigest()[:16]}"
        self._tidying = threading.Lock()

    # Coming

    def load(self, archive: Path) -> dict[str, str]:
        """Hold the images of a docker-archive, and return their IDs by every name that means them."""
        with opened(archive) as carried:
            with self._tidying:  # what is there now, and noted, is not swept away before a release has it
                for image in carried.images:
                    self.store.note_load(_id(image.digest))
                lacking = [image for image in carried.images if not self._is_held(image)]
            if lacking:
                carried.check_layers()
                self.daemon.load(carried.stream(lambda image: self._tag(image.digest)))
                for image in lacking:
                    self._check_made(image)
            return {name: _id(image.digest) for image in carried.images for name in image.known_as()}

    def _is_held(self, image: Image) -> bool:
        try:
            return self._matches(image, self.daemon.image(self._tag(image.digest)))
        except Missing:
            return False

    def _check_made(self, image: Image) -> None:
        if not self._is_held(image):
            self.daemon.untag(self._tag(image.digest))
            raise Invalid(say("The runtime made another image of the archive than {digest}", digest=_id(image.digest)))

    @staticmethod
    def _matches(image: Image, told: Mapping[str, Any]) -> bool:
        if list((told.get("RootFS") or {}).get("Layers") or []) != image.diff_ids:
            return False
        # With containerd's image store the ID is the digest of a manifest, which the answer then describes.
        return _id(_hex(told)) == _id(image.digest) or bool(told.get("Descriptor"))

    def pause(self) -> str:
        """Return the ID of the image that holds pods; it is made and loaded when it is not there."""
        architecture = self.daemon.machine()
        tag = self._tag(pause.digest(architecture))
        try:
            return str(self.daemon.image(tag)["Id"])
        except Missing:
            self.daemon.load([pause.archive(architecture, tag)])
            return str(self.daemon.image(tag)["Id"])

    # Being used

    def find(self, namespace: str, release: str, container: Container) -> str:
        """Return the ID of the image that a container of a release is made from; `ImageMissing` when it is not here."""
        known = container.image_id or self.store.pinned_image(namespace, release, container.image)
        if known:
            return self._held(known, container.image)
        found = self._own(container.image)
        # Written down first: whoever dies in between uses the same image again.
        self.store.pin_image(namespace, release, container.image, found)
        self.daemon.tag(found, self.repository, found.removeprefix("sha256:"))
        return found

    def _held(self, identity: str, name: str) -> str:
        digest = identity.removeprefix("sha256:")
        try:
            return str(self.daemon.image(self._tag(digest))["Id"])
        except Missing:
            pass
        try:
            found = str(self.daemon.image(identity)["Id"])
        except Missing:
            detail = say(
                "The image {name} is not on the node any more as {identity}, which this release uses",
                name=name,
                identity=identity[:19],
            )
            raise ImageMissing(detail, image=name) from None
        self.daemon.tag(found, self.repository, digest)
        return found

    def _own(self, text: str) -> str:
        """Return the ID of an image that the node's owner gave this name; an ID or a name of ours is no such name."""
        missing = ImageMissing(say("The image {text} is not on the node", text=text), image=text)
        try:
            name = Name.read(text)
        except Invalid:
            raise missing from None
        if f"{name.repository}/".startswith(f"{HELD}/"):
            raise missing
        for asked in filter(None, (name.pinned, name.tagged)):
            try:
                told = self.daemon.image(asked)
            except (Missing, Invalid):
                continue
            tags = _names(told.get("RepoTags"), lambda each: each.tagged)
            digests = _names(told.get("RepoDigests"), lambda each: each.pinned)
            if name.digest:
                fits = name.pinned in digests or (name.tagged in tags and _id(_hex(told)) == name.digest)
            else:
                fits = name.tagged in tags
            if fits:
                return str(told["Id"])
        raise missing

    def user(self, identity: str) -> str:
        """Return the user that an image runs as."""
        return str((self.daemon.image(identity).get("Config") or {}).get("User") or "")

    # Going

    def sweep(self) -> None:
        """Let go of images that nothing of this node needs; the runtime deletes those that nobody else needs either."""
        with self._tidying:
            held = self.daemon.tags(self.repository)
            used = self.store.images_in_use() | {_id(pause.digest(self.daemon.machine()))}
            for tag in held:
                if _id(tag.rpartition(":")[2]) not in used:
                    try:
                        self.daemon.untag(tag)
                    except BreakwaterError:
                        continue  # a container of an older revision still runs it; the next sweep takes it

    def _tag(self, digest: str) -> str:
        return f"{self.repository}:{digest}"


def _id(digest: str) -> str:
    return f"sha256:{digest}"


def _hex(told: Mapping[str, Any]) -> str:
    return str(told.get("Id", "")).removeprefix("sha256:")


def _names(texts: Any, form: Callable[[Name], str]) -> set[str]:
    found = set()
    for text in texts or []:
        try:
            found.add(form(Name.read(str(text))))
        except Invalid:
            continue  # "<none>:<none>"
    return found
