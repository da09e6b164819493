"""Forms about trust; what is right and wrong is decided by the services."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appstore.trust.authority import REASONS
from appstore.trust.models import Anchor, PublisherClaim, SignerCertificate, TrustPolicy
from core.accounts.models import Organisation
from core.errors import Invalid
from frontend.forms import PortalForm, RowField

_LARGEST = 1 << 20
LEAST = [
    ("unsigned", gettext_lazy("anything that is not broken")),
    ("unknown", gettext_lazy("what is signed, by whomever")),
    ("trusted", gettext_lazy("what a trusted publisher signed")),
]


def _pem(rows: int, label: Any, **more: Any) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": rows, "class": "code", "spellcheck": "false", "autocomplete": "off"})
    return forms.CharField(label=label, max_length=_LARGEST, widget=widget, strip=False, **more)


class AnchorForm(PortalForm):
    """Certificates to trust, as text or as a file."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=120,
        help_text=gettext_lazy("As people call it; else the certificate's own name."),
    )
    purpose = forms.ChoiceField(
        label=gettext_lazy("Purpose"),
        choices=[
            ("publisher", gettext_lazy("publishers: signs packages, or vouches for who does")),
            ("timestamp", gettext_lazy("timestamps")),
        ],
        initial=Anchor.Purpose.PUBLISHER,
        widget=forms.RadioSelect,  # whole sentences, which a closed list would cut
    )
    certificate = _pem(4, gettext_lazy("Certificates (PEM)"), required=False)
    file = forms.FileField(label=gettext_lazy("or a file"), required=False, max_length=200)
    expires = forms.DateField(
        required=False,
        label=gettext_lazy("Trusted until"),
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=gettext_lazy("Empty: as long as the certificate is in force."),
    )
    note = forms.CharField(
        label=gettext_lazy("Note"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("Where it is from, who checked its fingerprint."),
    )
    called = {**PortalForm.called, "expires_at": "expires", "text": "certificate"}

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of `add_anchors`."""
        facts = self.cleaned_data
        text = facts["certificate"]
        if not text.strip() and facts["file"] is not None:
            text = _read(facts["file"]).decode("latin-1")
        return {
            "text": text,
            "name": facts["name"],
            "purpose": facts["purpose"],
            "expires_at": _end_of(facts["expires"]),
            "note": facts["note"],
        }


class EndForm(PortalForm):
    """When an anchor ends."""

    expires = forms.DateField(
        required=False, label=gettext_lazy("Trusted until the end of"), widget=forms.DateInput(attrs={"type": "date"})
    )
    called = {**PortalForm.called, "expires_at": "expires"}

    def wanted(self) -> datetime | None:
        """Return the moment; None for as long as the certificate is in force."""
        return _end_of(self.cleaned_data["expires"])


class CrlForm(PortalForm):
    """A revocation list, as text or as a file."""

    crl = _pem(3, gettext_lazy("Revocation list (PEM)"), required=False)
    file = forms.FileField(label=gettext_lazy("or a file (PEM or DER)"), required=False, max_length=200)

    def wanted(self) -> bytes:
        """Return the bytes of the list."""
        facts = self.cleaned_data
        if facts["crl"].strip():
            return str(facts["crl"]).encode()
        if facts["file"] is None:
            raise Invalid(_("Paste a revocation list or choose its file"), field="crl")
        return _read(facts["file"])


class DistrustForm(PortalForm):
    """A certificate that shall not count."""

    fingerprint = forms.CharField(
        label=gettext_lazy("Fingerprint"), max_length=128, help_text=gettext_lazy("SHA-256 of the certificate.")
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500)


class PolicyForm(PortalForm):
    """What is demanded of signatures."""

    publish_least = forms.ChoiceField(label=gettext_lazy("To publish"), choices=LEAST)
    deploy_least = forms.ChoiceField(label=gettext_lazy("To deploy"), choices=LEAST)
    import_least = forms.ChoiceField(label=gettext_lazy("To import from partner stores"), choices=LEAST)
    inherits = forms.BooleanField(required=False, label=gettext_lazy("Also trust whom the store trusts"))
    strict_revocation = forms.BooleanField(
        required=False, label=gettext_lazy("Demand revocation lists that are up to date")
    )
    domain_proofs = forms.BooleanField(
        required=False, label=gettext_lazy("Let publishers prove themselves by their domain")
    )

    def __init__(self, *args: Any, is_store: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whether anybody may make this machine look outside is for who runs it; and the store inherits from nobody.
        del self.fields["inherits" if is_store else "domain_proofs"]

    @classmethod
    def of(cls, policy: TrustPolicy, *, is_store: bool) -> PolicyForm:
        """Return the form with the present policy."""
        names = ("publish_least", "deploy_least", "import_least", "inherits", "strict_revocation", "domain_proofs")
        return cls(initial={name: getattr(policy, name) for name in names}, is_store=is_store)


class ClaimForm(PortalForm):
    """A publisher that one is."""

    provider = forms.CharField(
        label=gettext_lazy("Provider"), max_length=128, help_text=gettext_lazy("As your packages write it.")
    )
    method = forms.ChoiceField(
        label=gettext_lazy("Prove it by"),
        choices=[
            (PublisherClaim.Method.KEY.value, gettext_lazy("the key of a certificate that this store trusts")),
            (PublisherClaim.Method.WEB.value, gettext_lazy("a page on your domain")),
            (PublisherClaim.Method.DNS.value, gettext_lazy("a DNS entry of your domain")),
        ],
    )
    domain = forms.CharField(
        label=gettext_lazy("Domain"),
        required=False,
        max_length=253,
        help_text=gettext_lazy("Such as apps.example.org; not for a key."),
    )


class IssueForm(PortalForm):
    """A certificate for an organisation."""

    organisation = forms.CharField(
        label=gettext_lazy("Organisation"), max_length=64, help_text=gettext_lazy("Its short name.")
    )
    name = forms.CharField(required=False, max_length=64, label=gettext_lazy("Common name"))
    csr = _pem(
        3, gettext_lazy("Certificate request (PEM)"), required=False,
        help_text=gettext_lazy("Empty: a key is made and kept here, sealed, to sign on pages."),
    )  # fmt: skip


class RevokeForm(PortalForm):
    """Why a certificate is revoked."""

    reason = forms.ChoiceField(
        label=gettext_lazy("Reason"), choices=[(name, name.replace("-", " ")) for name in REASONS]
    )


class ProofForm(PortalForm):
    """A signature, or a certificate that lies here and signs."""

    signature = _pem(3, "Signature (PEM)", required=False)
    certificate = RowField(
        label=gettext_lazy("or sign here with"),
        queryset=SignerCertificate.objects.none(),
        required=False,
        empty_label="the signature above",
    )

    def __init__(self, *args: Any, organisation: Organisation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kept = SignerCertificate.objects.filter(organisation=organisation, revoked_at=None)
        self.fields["certificate"].queryset = kept  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """One of the two must be there."""
        facts = super().clean() or {}
        if not self.errors and not facts["certificate"] and not facts["signature"].strip():
            self.add_error("signature", "Paste the signature.")
        return facts


class SigningForm(PortalForm):
    """With which certificate a package is signed."""

    certificate = RowField(label=gettext_lazy("Certificate"), queryset=SignerCertificate.objects.none())

    def __init__(self, *args: Any, organisation: Organisation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kept = SignerCertificate.objects.filter(organisation=organisation, revoked_at=None)
        self.fields["certificate"].queryset = kept  # type: ignore[attr-defined]


def _end_of(day: Any) -> datetime | None:
    return datetime.combine(day, time.max, UTC).replace(microsecond=0) if day else None


def _read(file: Any) -> bytes:
    if file.size > _LARGEST:
        raise Invalid(_("This file is too large"), field="file")
    return bytes(file.read())
