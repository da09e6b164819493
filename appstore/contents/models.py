"""What is inside a release: one row for each package, made by a worker after its check."""

from __future__ import annotations

from typing import Any

from django.db import models

from appstore.contents.facts import Facts


class Contents(models.Model):
    """The inside of one package.

    `facts` is a `Facts` document (`facts.Facts.of(row.facts)`), `pictures` a list of `{"kind", "source", "name",
    "content_type", "width", "height", "sha256", "size", "title"}`. The bill of materials and the pictures are files of
    the store; the package names them among its blobs, so that the garbage collection keeps them.
    """

    package = models.OneToOneField("packages.Package", on_delete=models.CASCADE, related_name="contents")
    #: The bytes that were read, and what read them: both the same is the same result.
    sha256 = models.CharField(max_length=64)
    reader = models.PositiveIntegerField()
    facts = models.JSONField(default=dict)
    readme = models.TextField(blank=True)
    #: Whether the README is shown as it is, because it cannot be laid out in reasonable time.
    readme_plain = models.BooleanField(default=False)
    values_schema = models.JSONField(null=True, blank=True)
    pictures = models.JSONField(default=list)
    sbom_sha256 = models.CharField(max_length=64, blank=True)
    sbom_size = models.PositiveBigIntegerField(default=0)
    made_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "contents"

    def __str__(self) -> str:
        return f"contents of {self.package_id}"

    def read(self) -> Facts:
        """Return the facts."""
        return Facts.of(self.facts)

    @property
    def parts(self) -> dict[str, str]:
        """A digest for each part of the release, by the words of `certification.contract.Part`."""
        return dict(self.facts.get("parts") or {})

    def pictures_of(self, kind: str) -> list[dict[str, Any]]:
        """Return the pictures of one kind: `icon`, `screenshot` or `readme`."""
        return [each for each in self.pictures if each.get("kind") == kind]
