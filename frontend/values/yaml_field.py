"""Values as YAML in one box, for forms that do not know yet which chart they are for."""

from __future__ import annotations

from typing import Any

from django import forms

from core.errors import BreakwaterError
from frontend.operator.values_text import parse


class ValuesField(forms.CharField):
    """Values for a chart as YAML or JSON; its clean value is the mapping."""

    def __init__(self, **kwargs: Any) -> None:
        attributes = {"rows": 10, "class": "code", "spellcheck": "false", "placeholder": "replicas: 2"}
        super().__init__(required=False, strip=False, widget=forms.Textarea(attrs=attributes), **kwargs)

    def clean(self, value: Any) -> dict[str, Any]:
        """Return the mapping, or say what cannot be read."""
        try:
            return parse(str(super().clean(value)))
        except BreakwaterError as error:
            raise forms.ValidationError(error.detail) from None
