"""Forms about nodes; what is right and wrong is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from frontend.forms import LabelsField, PortalForm, SecretTextarea
from mecm.nodes.models import Node

ENGINES = [
    ("docker", gettext_lazy("docker: one machine with a container engine")),
    ("kubernetes", gettext_lazy("kubernetes: a cluster, by Helm")),
    ("memory", gettext_lazy("memory: simulated, runs nothing")),
]
LINKS = [
    (Node.Link.AGENT.value, gettext_lazy("agent: the node dials us, from behind any firewall")),
    (Node.Link.DIRECT.value, gettext_lazy("direct: we reach its cluster with a kubeconfig")),
]


class PlaceForm(PortalForm):
    """What an operator says of a node and may change later."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=63,
        help_text=gettext_lazy("Small letters, digits and hyphens, such as harbour-1."),
        widget=forms.TextInput(),
    )
    latitude = forms.FloatField(
        label=gettext_lazy("Latitude"),
        required=False,
        min_value=-90,
        max_value=90,
        help_text=gettext_lazy("Degrees north, such as 60.17."),
    )
    longitude = forms.FloatField(
        label=gettext_lazy("Longitude"),
        required=False,
        min_value=-180,
        max_value=180,
        help_text=gettext_lazy("Degrees east, such as 24.94."),
    )
    labels = LabelsField(
        label=gettext_lazy("Labels"), help_text=gettext_lazy("One key=value a line, such as site=harbour.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("latitude", "longitude"):
            self.fields[name].widget.attrs["step"] = "any"

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of the services."""
        return {name: self.cleaned_data[name] for name in ("name", "latitude", "longitude", "labels")}


class NodeForm(PlaceForm):
    """A new node."""

    engine = forms.ChoiceField(
        label=gettext_lazy("Engine"),
        choices=ENGINES,
        help_text=gettext_lazy("What runs the containers there; it cannot be changed later."),
    )
    link = forms.ChoiceField(
        label=gettext_lazy("Link"),
        choices=LINKS,
        help_text=gettext_lazy("How the wish reaches the node; it cannot be changed later."),
    )
    field_order = ("name", "engine", "link", "latitude", "longitude", "labels")

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of `register`."""
        return {**super().wanted(), "engine": self.cleaned_data["engine"], "link": self.cleaned_data["link"]}


class KubeconfigForm(PortalForm):
    """A kubeconfig as text or as a file; it is never shown again."""

    text = forms.CharField(
        label=gettext_lazy("Kubeconfig"),
        required=False,
        max_length=1024 * 1024,
        strip=False,
        widget=SecretTextarea(
            attrs={
                "rows": 6,
                "class": "code",
                "spellcheck": "false",
                "autocomplete": "off",
                "placeholder": "apiVersion: v1 …",
            }
        ),
    )
    file = forms.FileField(label=gettext_lazy("or a file"), required=False, max_length=200)
    about = "text"

    def clean(self) -> dict[str, Any]:
        """Take the text, else the file; one of them must be there."""
        facts = super().clean() or {}
        upload = facts.get("file")
        text = facts.get("text") or ""
        if not text.strip() and upload is not None:
            if upload.size > 1024 * 1024:
                self.add_error("file", _("This file is too large for a kubeconfig."))
                return facts
            try:
                text = upload.read().decode()
            except UnicodeDecodeError:
                self.add_error("file", _("This file is no text, so it is no kubeconfig."))
                return facts
        if not text.strip() and not self.errors:
            self.add_error("text", _("Paste a kubeconfig or choose its file."))
        facts["text"] = text
        return facts


class MepForm(PortalForm):
    """Where the MEP of a direct node is managed."""

    url = forms.CharField(
        label=gettext_lazy("Address"), max_length=300, widget=forms.URLInput(attrs={"placeholder": "https://…:8443"})
    )
    token = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Of its management API (Mm5)."),
    )
    ca = forms.CharField(
        label=gettext_lazy("Authority (PEM)"),
        required=False,
        max_length=64 * 1024,
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy("The certificate that its own must come from."),
    )


class SandboxForm(PortalForm):
    """Whether certification may try applications on a node."""

    on = forms.BooleanField(required=False)
