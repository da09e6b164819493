"""What the registry face serves of each package: a manifest for the chart, and one for its bill of materials."""

from __future__ import annotations

from django.db import models


class Artifact(models.Model):
    """An OCI manifest about one package, made once by a worker: the same bytes, so the same digest, each time.

    Whether anybody gets it is asked of the package at each request. `name` and `provider` are those of the package as
    a step of a path.
    """

    class Kind(models.TextChoices):
        """What the manifest describes."""

        CHART = "chart"
        SBOM = "sbom"

    package = models.ForeignKey("packages.Package", on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=5, choices=Kind.choices)
    name = models.CharField(max_length=128)
    provider = models.CharField(max_length=128)
    #: The tags of a chart: its own version and that of the release; empty when it can be none.
    chart_tag = models.CharField(max_length=128, blank=True)
    release_tag = models.CharField(max_length=128, blank=True)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the manifest")
    body = models.TextField()
    #: The configuration of the manifest, which is no file of the store.
    config = models.TextField()
    config_digest = models.CharField(max_length=64)
    #: The one layer, a file of the store.
    layer_digest = models.CharField(max_length=64)
    layer_size = models.PositiveBigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["name", "kind"], name="artifact_by_name")]
        constraints = [
            models.UniqueConstraint(fields=["package", "kind"], name="one_artifact_of_a_kind_for_each_package"),
            models.CheckConstraint(condition=models.Q(kind__in=["chart", "sbom"]), name="artifact_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} sha256:{self.digest[:16]}"
