"""Forms about partner stores."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy

from appstore.federation import terms
from appstore.federation.terms import Limits, Offer, Terms
from frontend.deeds import ReasonForm
from frontend.forms import PlainText, PortalForm

_MIB, _GIB = 1 << 20, 1 << 30
_PLAIN = {"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}


class MeetForm(PortalForm):
    """Where a store is."""

    about = "url"

    url = forms.CharField(
        label=gettext_lazy("Address or invitation"),
        max_length=2000,
        widget=forms.TextInput(attrs={"placeholder": "https://store.example.net", **_PLAIN}),
        help_text=gettext_lazy("The address of the other store, or the invitation that its administrator sent you."),
    )


class FingerprintForm(PortalForm):
    """The comparison: what the other administrator said, not what the screen shows."""

    fingerprint = forms.CharField(
        label=gettext_lazy("Fingerprint, as the other administrator told you"),
        max_length=200,
        widget=forms.Textarea(attrs={"rows": 2, "class": "code", "spellcheck": "false", "autocomplete": "off"}),
        help_text=gettext_lazy("All sixteen groups. Have them told by phone or in person, not through either store."),
    )
    compared = forms.BooleanField(
        label=gettext_lazy("I had this fingerprint from a person whom I know to run that store."),
        error_messages={"required": gettext_lazy("Confirm only after you have compared.")},
    )


class FollowForm(PortalForm):
    """A store of EdgeGallery."""

    about = "url"

    url = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=300,
        widget=forms.TextInput(attrs={"placeholder": "https://appstore.example.net:30091", **_PLAIN}),
        help_text=gettext_lazy("The part before /mec/appstore."),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=120, help_text=gettext_lazy("What you call it here."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # It stands beside another form with an address.
        super().__init__(*args, auto_id="follow-%s", **kwargs)


class WordsField(PlainText):
    """Words between commas; its clean value is a tuple."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=4000, **kwargs)

    def clean(self, value: Any) -> tuple[str, ...]:
        """Return the words, each once."""
        return tuple(dict.fromkeys(word.strip() for word in str(super().clean(value)).split(",") if word.strip()))


class NoteForm(PortalForm):
    """A word to the partner about a release that is recommended."""

    package = forms.UUIDField(widget=forms.HiddenInput)
    note = forms.CharField(label=gettext_lazy("A word to them"), max_length=500, required=False)


class DeclineForm(ReasonForm):
    """Why a recommendation is not taken up."""

    recommendation = forms.UUIDField(widget=forms.HiddenInput)
    answer = forms.CharField(widget=forms.HiddenInput, required=False, max_length=20)


class OfferForm(PortalForm):
    """What goes in one direction."""

    agreed = forms.BooleanField(required=False, label=gettext_lazy("Releases go this way"))
    categories = WordsField(label=gettext_lazy("Categories"), help_text=gettext_lazy("Between commas; empty: all."))
    licences = WordsField(
        label=gettext_lazy("Licences"), help_text=gettext_lazy("SPDX names between commas; empty: all.")
    )
    providers = WordsField(label=gettext_lazy("Providers"), help_text=gettext_lazy("Between commas; empty: all."))
    certification = forms.ChoiceField(
        label=gettext_lazy("Least certification"),
        required=False,
        choices=[(each, each or gettext_lazy("none")) for each in terms.CERTIFICATION],
    )
    signature = forms.ChoiceField(
        label=gettext_lazy("Least signature"), choices=[(each, each) for each in terms.SIGNATURE]
    )
    apps = forms.IntegerField(label=gettext_lazy("Releases at most"), min_value=0, max_value=10_000_000)
    package_mib = forms.IntegerField(label=gettext_lazy("Largest package, MiB"), min_value=1, max_value=1 << 30)
    gib_per_day = forms.IntegerField(label=gettext_lazy("GiB a day"), min_value=0, max_value=1 << 20)
    requests_per_minute = forms.IntegerField(label=gettext_lazy("Requests a minute"), min_value=10, max_value=1_000_000)
    recommendations_per_day = forms.IntegerField(
        label=gettext_lazy("Recommendations a day"), min_value=0, max_value=10_000
    )

    def offer(self) -> Offer | None:
        """Return what was filled in, None when nothing goes this way."""
        given = self.cleaned_data
        if not given["agreed"]:
            return None
        return Offer(
            categories=given["categories"],
            licences=given["licences"],
            providers=given["providers"],
            certification=given["certification"],
            signature=given["signature"],
            limits=Limits(
                apps=given["apps"],
                package_bytes=given["package_mib"] * _MIB,
                bytes_per_day=given["gib_per_day"] * _GIB,
                requests_per_minute=given["requests_per_minute"],
                recommendations_per_day=given["recommendations_per_day"],
            ),
        )

    @staticmethod
    def shown(offer: Offer | None, *, agreed: bool) -> dict[str, Any]:
        """Return the form's values for what was agreed before, or the usual ones."""
        given = offer or Offer()
        limits = given.limits
        return {
            "agreed": agreed,
            **{name: ", ".join(getattr(given, name)) for name in ("categories", "licences", "providers")},
            "certification": given.certification,
            "signature": given.signature,
            "apps": limits.apps,
            "package_mib": max(1, limits.package_bytes // _MIB),
            "gib_per_day": limits.bytes_per_day // _GIB,
            "requests_per_minute": max(10, limits.requests_per_minute),
            "recommendations_per_day": limits.recommendations_per_day,
        }


class TermForm(PortalForm):
    """What holds for both directions."""

    expires = forms.DateField(
        label=gettext_lazy("Valid until"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=gettext_lazy("The end of that day, UTC. Empty: until one side ends it."),
    )
    contact = forms.CharField(
        label=gettext_lazy("Our contact"),
        required=False,
        max_length=terms.LONGEST_TEXT,
        help_text=gettext_lazy("Whom their operators reach here."),
    )

    def end(self) -> datetime | None:
        """Return the last moment of the day."""
        day = self.cleaned_data["expires"]
        return datetime.combine(day, time(23, 59, 59), UTC) if day else None

    @staticmethod
    def shown(before: Terms | None) -> dict[str, Any]:
        """Return the form's values: a year from now, since who proposes again renews."""
        day = (timezone.now() + timedelta(days=365)).date()
        return {"expires": day.isoformat(), "contact": before.our_contact if before else ""}
