"""What our forms share: Tabler's look, labels that are tied to errors, and our errors beside their fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import BreakwaterError
from core.spoken import in_language

_NO_CONTROLS = gettext_lazy("This holds a character that cannot be seen, such as an escape. Type it anew.")
#: Control characters (C0, DEL, C1) but NUL, which Django refuses itself. Tabs and line ends are for long texts.
ONE_LINE = RegexValidator(r"[\x01-\x1f\x7f-\x9f]", _NO_CONTROLS, inverse_match=True)
LINES = RegexValidator(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", _NO_CONTROLS, inverse_match=True)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, for the list above a form: its field's label and the id to go to, if it is about one."""

    text: str
    label: str = ""
    id: str = ""


class PortalForm(forms.Form):
    """A form in Tabler's look. `blame` puts an error of a service beside the field that it names."""

    #: What services call a field that has another name here.
    called: ClassVar[dict[str, str]] = {"coordinates": "latitude"}
    #: The field that an error is about when the service names none that is here; empty: it is about the whole.
    about: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            _dress(field)

    def add_field(self, name: str, field: forms.Field) -> None:
        """Put in a field that only this one form has, in the look and with the checks of the others."""
        _dress(field)
        self.fields[name] = field

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
            name, text = str(place.get("field", "")), in_language(place.get("detail", error.detail))
            name = self.called.get(name, name)
            if name not in self.fields and self.about:
                name, text = self.about, f"{name}: {text}" if name else text
            self.add_error(name if name in self.fields else None, text)
        self._mark()

    @property
    def problems(self) -> list[Problem]:
        """Return all that is wrong, what is about no field first, then in the order of the fields."""
        if not self.is_bound:
            return []
        found = [Problem(str(text)) for text in self.non_field_errors()]
        for field in self:
            for text in field.errors:
                where = "" if field.is_hidden else _first_id(field)
                found.append(Problem(str(text), "" if field.is_hidden else str(field.label), where))
        return found

    def _mark(self) -> None:
        for name in self.errors:
            if name in self.fields:
                attrs = self.fields[name].widget.attrs
                if "is-invalid" not in attrs.get("class", ""):
                    attrs["class"] = f"{attrs.get('class', '')} is-invalid".strip()
                attrs["aria-invalid"] = "true"


def _dress(field: forms.Field) -> None:
    widget = field.widget
    if type(field) is forms.CharField or isinstance(field, PlainText):
        field.validators = [*field.validators, *_no_controls(widget)]
    if isinstance(widget, forms.CheckboxInput | forms.CheckboxSelectMultiple | forms.RadioSelect):
        look = "form-check-input"
    elif isinstance(widget, forms.Select):
        look = "form-select"
    else:
        look = "form-control"
    widget.attrs["class"] = f"{look} {widget.attrs.get('class', '')}".strip()


def _first_id(field: forms.BoundField) -> str:
    """Return the id of the control that a person goes to: of a group, its first one."""
    group = field.use_fieldset and getattr(field.field, "choices", None)
    return f"{field.auto_id}_0" if group else str(field.id_for_label or field.auto_id)


def _no_controls(widget: forms.Widget) -> list[RegexValidator]:
    if isinstance(widget, forms.PasswordInput):
        # A password may be anything; it is shown and stored nowhere.
        return []
    return [LINES if isinstance(widget, forms.Textarea) else ONE_LINE]


class PlainText(forms.CharField):
    """A text whose subclass makes something else of it; control characters are refused as in any text."""


class LabelsField(PlainText):
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
                raise forms.ValidationError(_("line %d is not key=value") % number)
            pairs[key.strip()] = text.strip()
        return pairs


class RowField(forms.ModelChoiceField):
    """One row among those that may be chosen; what is no id at all is as wrong as an id of something else."""

    def to_python(self, value: Any) -> Any:
        """Return the row."""
        try:
            return super().to_python(value)
        except forms.ValidationError:
            message = self.error_messages["invalid_choice"]
            raise forms.ValidationError(message, code="invalid_choice", params={"value": value}) from None


class SecretTextarea(forms.Textarea):
    """A long secret, such as a key: what was typed is never sent back."""

    def format_value(self, value: Any) -> None:
        """Return nothing to show."""
