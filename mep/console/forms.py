"""What the console's forms share, and the small ones: sign in, termination, the two testers."""

from __future__ import annotations

import ipaddress
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from core.errors import BreakwaterError
from core.spoken import in_language
from mep.mp1.states import Action
from upf_adapter import flows


class ConsoleForm(forms.Form):
    """A form in Tabler's look, with errors tied to their fields. `blame` places what a service refused."""

    #: Names of members as errors have them -> fields; the longest that fits wins.
    PLACES: dict[str, str] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            widget = field.widget
            look = "form-control"
            if isinstance(widget, forms.CheckboxInput):
                look = "form-check-input"
            elif isinstance(widget, forms.Select):
                look = "form-select"
            widget.attrs["class"] = f"{look} {widget.attrs.get('class', '')}".strip()

    def is_valid(self) -> bool:
        """Check, and mark the fields that need attention."""
        valid = super().is_valid()
        self._mark()
        return valid

    def blame(self, error: BreakwaterError) -> None:
        """Show what was refused: beside the fields that it names, else above the form."""
        places = error.context.get("errors")
        if not isinstance(places, list):
            place = str(error.context.get("field", "")) or error.detail.partition(":")[0]
            places = [{"field": place, "detail": error.detail}]
        for each in places:
            field = self._field_of(str(each.get("field", "")))
            self.add_error(field, _sentence(each.get("detail", error.detail)))
        self._mark()

    def _field_of(self, place: str) -> str | None:
        fitting = [name for name in self.PLACES if place.startswith(name)]
        return self.PLACES[max(fitting, key=len)] if fitting else None

    def _mark(self) -> None:
        for name in self.errors:
            if name in self.fields:
                attrs = self.fields[name].widget.attrs
                if "is-invalid" not in attrs.get("class", ""):
                    attrs["class"] = f"{attrs.get('class', '')} is-invalid".strip()


class SignInForm(ConsoleForm):
    """The password of this node."""

    # The name is for password managers, which want one.
    password = forms.CharField(
        label=_("Password of this node"),
        max_length=400,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


class TerminationForm(ConsoleForm):
    """How an app is ended."""

    action = forms.ChoiceField(
        label=_("What for"),
        choices=[
            (Action.TERMINATING.value, _("It is removed: its tokens become void")),
            (Action.STOPPING.value, _("It is stopped: it may come back")),
        ],
    )
    timeout = forms.IntegerField(
        label=_("Seconds it gets to finish"),
        min_value=0,
        max_value=86400,
        help_text=_("Only an app that listens for its termination is waited for."),
    )


class LookupForm(ConsoleForm):
    """A DNS query to try."""

    PLACES = {"name": "name", "source": "source"}
    name = forms.CharField(
        label=_("Name"),
        max_length=253,
        widget=forms.TextInput(attrs={"placeholder": "video.example", "spellcheck": "false", "autocapitalize": "none"}),
    )
    kind = forms.ChoiceField(
        label=_("Type"), choices=[(each, each) for each in ("A", "AAAA", "HTTPS", "CNAME", "TXT")], initial="A"
    )
    source = forms.CharField(
        label=_("Asked by"),
        max_length=45,
        initial="127.0.0.1",
        help_text=_("The client's address; it decides about scopes."),
    )

    def clean_source(self) -> str:
        """Return the client's address."""
        return str(_address(self.cleaned_data["source"]))

    def clean_name(self) -> str:
        """Return the name as rules have it."""
        name = str(self.cleaned_data["name"]).strip().rstrip(".").lower()
        if not name or not name.isascii() or any(not 0 < len(label) < 64 for label in name.split(".")):
            raise forms.ValidationError(_("This is no domain name."))
        return name


class PacketForm(ConsoleForm):
    """A packet to try."""

    src = forms.CharField(label=_("From (UE)"), max_length=45, initial="10.45.0.7")
    dst = forms.CharField(label=_("To"), max_length=45, initial="203.0.113.10")
    protocol = forms.CharField(label=_("Protocol"), max_length=20, initial="UDP", help_text=_("A name or a number."))
    src_port = forms.IntegerField(label=_("Source port"), min_value=0, max_value=65535, initial=40000)
    dst_port = forms.IntegerField(label=_("Target port"), min_value=0, max_value=65535, initial=443)
    dscp = forms.IntegerField(label=_("DSCP"), min_value=0, max_value=63, initial=0)

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
            self.add_error(
                "dst",
                _("An IPv%(one)s address cannot talk to an IPv%(other)s address.")
                % {"one": src.version, "other": dst.version},
            )
        return found

    def packet(self) -> flows.Packet:
        """Return the packet; ports count only where the protocol has some."""
        data = self.cleaned_data
        ported = data["protocol"] in flows.WITH_PORTS
        return flows.Packet(
            data["src"],
            data["dst"],
            data["protocol"],
            data["src_port"] if ported else 0,
            data["dst_port"] if ported else 0,
            data["dscp"],
        )


def _sentence(detail: Any) -> str:
    """Return a detail of a service ("is no port") as it stands beside a field."""
    told = in_language(detail)
    if told != detail:
        return str(told)
    detail = str(detail)
    return f"This {detail}" if detail.startswith(("is ", "must ")) else f"{detail[:1].upper()}{detail[1:]}"


def _address(text: str) -> flows.IpAddress:
    try:
        address = ipaddress.ip_address(str(text).strip())
    except ValueError:
        raise forms.ValidationError(_("This is no IP address.")) from None
    if getattr(address, "scope_id", None):
        raise forms.ValidationError(_("Leave the zone (%…) away."))
    return address
