"""Sites: the places of a network, the area each serves, the nodes that stand there, and the links between them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core.accounts import access

if TYPE_CHECKING:
    from core.accounts.access import Actor

#: Half of the equator: no area is wider.
WIDEST = 20_037_508


class SiteQuerySet(models.QuerySet["Site"]):
    """Questions about sites; they chain."""

    def visible_to(self, actor: Actor) -> SiteQuerySet:
        """Sites of the organisations in which the actor may read nodes."""
        return cast("SiteQuerySet", access.scoped(self, actor, "nodes.read"))


class Site(models.Model):
    """One place of the network. Its area is a polygon, or a circle of `radius_m` round its position, or not known."""

    class Kind(models.TextChoices):
        """What stands there."""

        RADIO = "radio", _("radio site")
        UE_POOL = "ue-pool", _("UE pool")
        EDGE = "edge", _("edge site")
        DATA_CENTRE = "data-centre", _("data centre")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="sites")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.EDGE)
    labels = models.JSONField(default=dict, blank=True)
    latitude = models.FloatField()
    longitude = models.FloatField()
    radius_m = models.PositiveIntegerField(null=True, blank=True, help_text="metres round the position that it serves")
    area = models.JSONField(null=True, blank=True, help_text="GeoJSON Polygon or MultiPolygon that it serves")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SiteQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="one_site_name_per_organisation"),
            models.CheckConstraint(condition=~Q(name=""), name="site_has_a_name"),
            models.CheckConstraint(
                condition=Q(latitude__gte=-90, latitude__lte=90, longitude__gte=-180, longitude__lte=180),
                name="site_is_on_earth",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["radio", "ue-pool", "edge", "data-centre"]), name="site_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(radius_m__isnull=True) | Q(radius_m__gte=1, radius_m__lte=WIDEST),
                name="site_radius_is_on_earth",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Placement(models.Model):
    """A node stands at a site; at one only."""

    node = models.OneToOneField("nodes.Node", on_delete=models.CASCADE, primary_key=True, related_name="placement")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="placements")

    def __str__(self) -> str:
        return f"{self.node_id} at {self.site_id}"


class SiteLink(models.Model):
    """A connection from one site to another, as an operator or a monitoring system last described it."""

    class State(models.TextChoices):
        """How the connection is."""

        UNKNOWN = "unknown", _("not told")
        UP = "up", _("up")
        DEGRADED = "degraded", _("degraded")
        DOWN = "down", _("down")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="site_links")
    source = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="links_out")
    target = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="links_in")
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    note = models.CharField(max_length=200, blank=True)
    told_at = models.DateTimeField(null=True, blank=True, help_text="when the state was last told")

    class Meta:
        ordering = ["source__name", "target__name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["source", "target"], name="one_link_from_site_to_site"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="link_joins_two_sites"),
            models.CheckConstraint(
                condition=Q(state__in=["unknown", "up", "degraded", "down"]), name="link_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_id} to {self.target_id}"
