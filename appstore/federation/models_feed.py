"""What the feed needs: the metadata and files that we publish, who belongs to which audience, and how we follow others."""

from __future__ import annotations

import uuid

from django.db import models

from appstore.federation.models import Peer


class FeedRoot(models.Model):
    """A root of our metadata, as it was signed. Each version stays: partners follow the chain from the one they know."""

    version = models.PositiveIntegerField(primary_key=True)
    content = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"root {self.version}"


class FeedMetadata(models.Model):
    """The present metadata of a role (`timestamp`, `snapshot`, `targets`, `audience-...`), and a few that went before.

    Partners that are in the midst of a sync still ask for those.
    """

    role = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    content = models.TextField()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["role", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["role", "version"], name="feed_metadata_have_one_text_a_version")
        ]

    def __str__(self) -> str:
        return f"{self.version}.{self.role}"


class FeedAudience(models.Model):
    """Partners to whom exactly the same is offered: they share one feed. Its id is the digest of the effective filter."""

    id = models.CharField(max_length=32, primary_key=True)
    #: The offer of the agreement as JSON, and ids of what is granted beside it; `terms.allows` decides by it.
    effective = models.JSONField()
    serial = models.BigIntegerField(default=0)
    built_at = models.DateTimeField(null=True, blank=True)
    releases = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.id


class FeedFile(models.Model):
    """A file of a feed as it is served. `step` says from which serial a diff leads, -1 for other files."""

    audience = models.ForeignKey(FeedAudience, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=80)
    serial = models.BigIntegerField()
    step = models.BigIntegerField(default=-1)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    content = models.BinaryField()
    #: Since when it is no longer named; it goes a while later.
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["audience", "name", "sha256"], name="a_feed_file_is_kept_once")]
        indexes = [models.Index(fields=["audience", "retired_at"], name="feed_file_in_use")]

    def __str__(self) -> str:
        return f"{self.audience_id}/{self.name}"


class FeedOffer(models.Model):
    """What the present feed of an audience says of a package, as far as requests ask: no request reads an index."""

    audience = models.ForeignKey(FeedAudience, on_delete=models.CASCADE, related_name="offers")
    package = models.UUIDField()
    sha256 = models.CharField(max_length=64)
    listed = models.BooleanField(help_text="may be fetched; else the feed only says that it was taken back")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["audience", "package"], name="a_feed_speaks_once_of_a_package")]
        indexes = [models.Index(fields=["sha256"], name="feed_offer_by_digest")]

    def __str__(self) -> str:
        return f"{self.package} in {self.audience_id}"


class FeedPartner(models.Model):
    """To which audience a peer belongs. `number` grows when that changes, so that an old ticket is known for one."""

    peer = models.OneToOneField(Peer, on_delete=models.CASCADE, primary_key=True, related_name="feed")
    audience = models.ForeignKey(FeedAudience, on_delete=models.PROTECT, related_name="partners")
    number = models.BigIntegerField(default=1)

    def __str__(self) -> str:
        return f"{self.peer} in {self.audience_id}"


class FeedChange(models.Model):
    """A package of which the feeds do not know the latest yet."""

    package = models.UUIDField(primary_key=True)
    #: Grows with each change, so that a build forgets only what it has read.
    count = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return str(self.package)


class PeerPolicy(models.Model):
    """What we do with the releases of a peer. Without a row: nothing by itself, and nothing is passed on."""

    peer = models.OneToOneField(Peer, on_delete=models.CASCADE, primary_key=True, related_name="policy")
    publish_imports = models.BooleanField(default=False, help_text="publish what passes our checks, without a review")
    republish = models.BooleanField(default=False, help_text="offer its releases to other partners, with their origin")

    def __str__(self) -> str:
        return f"policy for {self.peer}"


class TransferDay(models.Model):
    """Bytes of packages that were taken of a peer (`incoming`) or given to it, on one day (UTC)."""

    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="transfers")
    day = models.DateField()
    incoming = models.BooleanField()
    size = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["peer", "day", "incoming"], name="a_day_is_counted_once")]

    def __str__(self) -> str:
        return f"{self.peer} {self.day}: {self.size}"


class CourierBag(models.Model):
    """A file on a stick: one that we wrote for a peer, or one of a peer that we took in. Numbers only grow."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="bags")
    incoming = models.BooleanField()
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="of the signed index")
    created_at = models.DateTimeField(auto_now_add=True)
    #: What the partner confirmed: serial, audience, root, and the digests that it has.
    receipt = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["peer", "incoming", "number"], name="a_bag_has_its_own_number")]

    def __str__(self) -> str:
        return f"bag {self.number} {'of' if self.incoming else 'for'} {self.peer}"
