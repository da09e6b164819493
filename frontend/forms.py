"""What our forms share: Tabler's look, labels that are tied to errors, and our errors beside their fields."""

from __future__ import annotations

from typing import Any

from django import forms

from core.errors import BreakwaterError


class PortalForm(forms.Form):
    """A form in Tabler's look. `blame` puts an error of a service beside the field that it names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            widget = field.widget
            if isinstance(widget, forms.CheckboxInput | forms.CheckboxSelectMultiple | forms.RadioSelect):
                look = "form-check-input"
            elif isinstance(widget, forms.Select):
                look = "form-select"
            else:
                look = "form-control"
            widget.attrs["class"] = f"{look} {widget.attrs.get('class', '')}".strip()

    def is_valid(self) -> bool:
        """Check, and mark the fields that need attention."""
        valid = super().is_valid()
        self._mark()
        return valid

    def blame(self, error: BreakwaterError) -> None:
        """Show what a service refused: beside the fields that it names, else above the form."""
        places = error.context.get("errors")
        if not isinstance(places, list):
            places = [{"field": error.context.get("field", ""), "detail": error.detail}]
        for place in places:
            name = str(place.get("field", ""))
            name = {"coordinates": "latitude"}.get(name, name)
            self.add_error(name if name in self.fields else None, str(place.get("detail", error.detail)))
        self._mark()

    def _mark(self) -> None:
        for name in self.errors:
            if name in self.fields:
                attrs = self.fields[name].widget.attrs
                attrs["class"] = f"{attrs.get('class', '')} is-invalid".strip()
                attrs["aria-invalid"] = "true"


class LabelsField(forms.CharField):
    """Labels as lines of `key=value`."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}))
        super().__init__(required=False, max_length=10_000, **kwargs)

    def clean(self, value: Any) -> dict[str, str]:
        """Return the pairs; a line without `=` is told by its number."""
        pairs: dict[str, str] = {}
        for number, line in enumerate(str(super().clean(value)).splitlines(), start=1):
            key, separator, text = line.partition("=")
            if not line.strip():
                continue
            if not separator or not key.strip():
                raise forms.ValidationError(f"line {number} is not key=value")
            pairs[key.strip()] = text.strip()
        return pairs
