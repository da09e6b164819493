"""What the pages of other topics show of the inside of a package."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from appstore.contents import markdown, schema_rows, services
from appstore.contents.models import Contents
from appstore.contents.showing import picture_url, readme_html
from frontend.contents import words

register = template.Library()

#: A README that is longer than this is folded at first.
_SHORT = 2500
_SHOWN = ("high", "medium", "low")


@register.inclusion_tag("frontend/contents/overview.html")
def package_overview(package: Any) -> dict[str, Any]:
    """Show README, pictures, changes and a summary of the permissions; nothing while they are not known. One query."""
    contents = services.of(package)
    if contents is None:
        return {"contents": None}
    facts = contents.facts
    counted = Counter(each.get("severity") for each in facts.get("permissions", []))
    return {
        "contents": contents,
        "package": package,
        "facts": facts,
        "counts": [(severity, counted[severity]) for severity in _SHOWN if counted[severity]],
        "short": len(contents.readme) <= _SHORT,
    }


@register.inclusion_tag("frontend/contents/visitor.html")
def package_for_visitors(package_id: Any) -> dict[str, Any]:
    """Show permissions and README of a release that everybody may see. One query."""
    contents = Contents.objects.filter(package=package_id).first()
    if contents is None:
        return {"contents": None}
    return {"contents": contents, "facts": contents.facts, "short": len(contents.readme) <= _SHORT}


@register.simple_tag
def readme_without_pictures(contents: Contents) -> SafeString:
    """Write the README as `readme` does; its pictures, which are served to those who signed in, are left out."""
    return mark_safe(markdown.rendered(contents.readme, {}))  # noqa: S308  (cleaned there)


@register.filter
def spoken(sentence: str) -> str:
    """Return a sentence about a permission in the reader's language."""
    return words.spoken(sentence)


@register.filter
def kind_of_change(kind: str) -> str:
    """Return the word for a kind of change in the reader's language."""
    return words.kind_of_change(kind)


@register.simple_tag
def readme(contents: Contents) -> SafeString:
    """Write the README as HTML that went through the allow list."""
    return mark_safe(readme_html(contents))  # noqa: S308  (cleaned by appstore.contents.markdown)


@register.simple_tag
def picture(contents: Contents, name: str) -> str:
    """Return where a picture of the package is served."""
    return picture_url(contents.package_id, name)


@register.filter
def of_kind(contents: Contents, kind: str) -> list[dict[str, Any]]:
    """Return the pictures of one kind."""
    return contents.pictures_of(kind)


@register.inclusion_tag("frontend/contents/values_help.html")
def values_help(package: Any) -> dict[str, Any]:
    """Show which values the chart knows, beside a form that asks for them; nothing without a schema. One query."""
    schema = Contents.objects.filter(package=package).values_list("values_schema", flat=True).first()
    return {"rows": schema_rows.rows(schema)}
