"""The form of a packet to try."""

from __future__ import annotations

import ipaddress
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import BreakwaterError
from frontend.forms import PortalForm
from upf_adapter import flows

_CODE = {"spellcheck": "false", "autocapitalize": "none"}


class PacketForm(PortalForm):
    """A packet of a UE, after its tunnel header was taken off."""

    src = forms.CharField(
        label=gettext_lazy("From (UE)"), max_length=45, initial="10.45.0.7", widget=forms.TextInput(attrs=_CODE)
    )
    dst = forms.CharField(
        label=gettext_lazy("To"), max_length=45, initial="203.0.113.10", widget=forms.TextInput(attrs=_CODE)
    )
    protocol = forms.CharField(
        label=gettext_lazy("Protocol"),
        max_length=20,
        initial="UDP",
        help_text=gettext_lazy("A name or a number."),
        widget=forms.TextInput(attrs=_CODE),
    )
    src_port = forms.IntegerField(
        label=gettext_lazy("Source port"), min_value=0, max_value=65535, initial=40000, required=False
    )
    dst_port = forms.IntegerField(
        label=gettext_lazy("Target port"), min_value=0, max_value=65535, initial=443, required=False
    )
    dscp = forms.IntegerField(label=gettext_lazy("DSCP"), min_value=0, max_value=63, initial=0, required=False)

    def clean_src(self) -> flows.IpAddress:
        """Return the source address."""
        return _address(self.cleaned_data["src"])

    def clean_dst(self) -> flows.IpAddress:
        """Return the target address."""
        return _address(self.cleaned_data["dst"])

    def clean_protocol(self) -> int:
        """Return the protocol's number."""
        try:
            return flows.protocol(str(self.cleaned_data["protocol"]).strip())
        except BreakwaterError as error:
            raise forms.ValidationError(_("This is no protocol.")) from error

    def clean(self) -> dict[str, Any]:
        """Both ends are of one family."""
        found = super().clean() or self.cleaned_data
        src, dst = found.get("src"), found.get("dst")
        if src and dst and src.version != dst.version:
            words = _("An IPv%(one)s address cannot talk to an IPv%(other)s address.")
            self.add_error("dst", words % {"one": src.version, "other": dst.version})
        return found

    def packet(self) -> flows.Packet:
        """Return the packet; ports count only where the protocol has some."""
        data = self.cleaned_data
        ported = data["protocol"] in flows.WITH_PORTS
        return flows.Packet(
            data["src"],
            data["dst"],
            data["protocol"],
            (data["src_port"] or 0) if ported else 0,
            (data["dst_port"] or 0) if ported else 0,
            data["dscp"] or 0,
        )


class GivingBackForm(PortalForm):
    """What the question about a rule that is given back knows: of which generation it spoke, and where it was asked."""

    generation = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput)
    back = forms.CharField(required=False, max_length=10, widget=forms.HiddenInput)


def _address(text: str) -> flows.IpAddress:
    try:
        address = ipaddress.ip_address(str(text).strip())
    except ValueError:
        raise forms.ValidationError(_("This is no IP address.")) from None
    if getattr(address, "scope_id", None):
        raise forms.ValidationError(_("Leave the zone (%…) away."))
    return address
