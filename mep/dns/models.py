"""What the MEP knows about DNS beside the rules, which are rows of `mep.mp1`."""

from __future__ import annotations

from django.db import models

from mep.dns.scopes import KINDS


class DnsScope(models.Model):
    """A set of source prefixes whose clients get answers of their own."""

    name = models.CharField(primary_key=True, max_length=64)
    kind = models.CharField(max_length=11, choices=[(kind, kind) for kind in KINDS])
    networks = models.JSONField(help_text="source prefixes, in their canonical form")

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=models.Q(kind__in=KINDS), name="a_dns_scope_has_a_known_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Published(models.Model):
    """A set of records that is ours on a name server: written down before it is sent, deleted after it is gone.

    Whatever stops us, the next start knows what it may change there and what belongs to others.
    """

    server = models.CharField(max_length=300)
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=4)
    ttl = models.PositiveIntegerField()
    addresses = models.JSONField()
    confirmed = models.BooleanField(default=False, help_text="the server said that it has it")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["server", "name", "kind"], name="one_published_set_per_name_and_kind")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.kind} on {self.server}"
