"""What the catalogue is told of the inside of a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appstore.contents.facts import Facts
from appstore.contents.models import Contents
from appstore.packages.models import Package


def enrich(packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
    """Return category, keywords, licences, architectures and the words of the README by package id; one query."""
    rows = Contents.objects.filter(package__in=packages)
    return {row.package_id: _members(row) for row in rows}


def _members(row: Contents) -> dict[str, Any]:
    facts = Facts.of(row.facts)
    said: dict[str, Any] = {"text": row.readme[:20_000]}
    if facts.category:
        said["category"] = facts.category
    if facts.keywords:
        said["keywords"] = tuple(facts.keywords)
    if facts.licences:
        said["licences"] = tuple(facts.licences)
    architectures = tuple(dict.fromkeys(each.architecture for each in facts.images if each.architecture))
    if architectures:
        said["architectures"] = architectures
    return said
