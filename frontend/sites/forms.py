"""Forms about sites; what is right and wrong is decided by the services."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from core.errors import Invalid
from frontend.forms import LabelsField, PlainText, PortalForm
from mecm.sites import geojson
from mecm.sites.models import WIDEST, Site, SiteLink


class AreaField(PlainText):
    """An area as the text of a GeoJSON geometry."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}))
        super().__init__(required=False, max_length=500_000, **kwargs)

    def clean(self, value: Any) -> dict[str, Any] | None:
        """Return the geometry; what is wrong in it is told by its place."""
        text = str(super().clean(value)).strip()
        if not text:
            return None
        try:
            return geojson.area(geojson.parse(text.encode()))
        except Invalid as error:
            raise forms.ValidationError(error.detail) from None


class SiteForm(PortalForm):
    """A site."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("Such as Quay 7 or Mast North."))
    kind = forms.ChoiceField(label=_("Kind"), choices=Site.Kind.choices, initial=Site.Kind.EDGE)
    latitude = forms.FloatField(
        label=_("Latitude"), required=False, min_value=-90, max_value=90, help_text=_("Degrees north, such as 60.17.")
    )
    longitude = forms.FloatField(
        label=_("Longitude"),
        required=False,
        min_value=-180,
        max_value=180,
        help_text=_("Degrees east, such as 24.94. Both may be empty when there is an area."),
    )
    radius_m = forms.IntegerField(
        label=_("Radius in metres"),
        required=False,
        min_value=1,
        max_value=WIDEST,
        help_text=_("How far round its position it serves."),
    )
    area = AreaField(
        label=_("Area"), help_text=_("A GeoJSON Polygon or MultiPolygon, instead of the radius; draw it on the map.")
    )
    labels = LabelsField(label=_("Labels"), help_text=_("One key=value a line."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("latitude", "longitude"):
            self.fields[name].widget.attrs["step"] = "any"

    def clean(self) -> dict[str, Any]:
        """A site is somewhere: at a position, or where its area is."""
        given = super().clean() or {}
        if self.errors.get("area"):
            return given
        pair = (given.get("latitude"), given.get("longitude"))
        missing = "latitude" if pair[0] is None else "longitude"
        if (not given.get("area") or pair != (None, None)) and None in pair and missing not in self.errors:
            self.add_error(missing, _("Give a position or an area."))
        return given

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of the services."""
        return dict(self.cleaned_data)

    @staticmethod
    def of(site: Site) -> dict[str, Any]:
        """Return what the form of a site begins with."""
        return {
            **{name: getattr(site, name) for name in ("name", "kind", "latitude", "longitude", "radius_m")},
            "area": json.dumps(site.area) if site.area else "",
            "labels": "\n".join(f"{key}={value}" for key, value in site.labels.items()),
        }


class ImportForm(PortalForm):
    """A GeoJSON file of sites."""

    file = forms.FileField(label=_("GeoJSON file"), help_text=_("A FeatureCollection of up to 2,000 sites and links."))


class PlaceNodeForm(PortalForm):
    """The name of a node that stands here."""

    node = forms.CharField(label=_("Name of a node"), max_length=63)


class ConnectForm(PortalForm):
    """A link to another site."""

    target = forms.CharField(label=_("Name of the other site"), max_length=80)
    state = forms.ChoiceField(label=_("State"), choices=SiteLink.State.choices)
    note = forms.CharField(label=_("Note"), max_length=200, required=False)


class LinkForm(PortalForm):
    """How a link is."""

    link = forms.UUIDField(widget=forms.HiddenInput)
    state = forms.ChoiceField(label=_("State"), choices=SiteLink.State.choices)
