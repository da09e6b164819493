"""Forms about the life of a release; what is right and wrong is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from appstore.packages.models import Package
from appstore.releases.models import ReleasePolicy
from core.recalls import ACTIONS, SEVERITIES
from frontend.deeds import WordForm
from frontend.forms import PortalForm, RowField
from frontend.releases import visibility

RECALL = _(
    "Every tenant and partner who runs it is told, and with “stop” their nodes end it as soon as they hear of it; nodes that "
    "are cut off do so when they are back. It can be lifted, and then they start it again."
)


def successors_of(package: Package) -> QuerySet[Package]:
    """Return the releases that may be named as what to take instead, newest first."""
    rows = Package.objects.listed().filter(organisation=package.organisation_id, name=package.name)
    return rows.exclude(pk=package.pk).order_by("-published_at").only("id", "name", "version", "state")


class DeedForm(WordForm):
    """Why, and what to take instead."""

    successor = RowField(
        label=_("What to take instead"),
        queryset=Package.objects.none(),
        required=False,
        empty_label=_("nothing in particular"),
        error_messages={"invalid_choice": _("There is no such successor, or you may not see it.")},
    )

    def __init__(self, *args: Any, package: Package, must: bool = True, advice: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = must
        self.fields["reason"].label = _("Reason, shown to those who run it")
        if advice:
            self.fields["successor"].queryset = successors_of(package)  # type: ignore[attr-defined]
        else:
            del self.fields["successor"]


class RecallForm(DeedForm):
    """Everything that those are told who run what is recalled."""

    advice = forms.CharField(label=_("Advice: what they should do"), max_length=500, required=False)
    severity = forms.ChoiceField(label=_("Severity"), choices=[(each, each) for each in SEVERITIES], required=False)
    action = forms.ChoiceField(
        label=_("What the nodes do"),
        choices=[
            (each, {"stop": _("stop it at once"), "warn": _("warn, and let it run")}.get(each, each))
            for each in ACTIONS
        ],
        required=False,
    )
    field_order = ("reason", "advice", "severity", "action", "successor")

    def clean_severity(self) -> str:
        """Return it; high where nothing is said."""
        return self.cleaned_data["severity"] or "high"

    def clean_action(self) -> str:
        """Return it; where nothing is said, the application is stopped."""
        return self.cleaned_data["action"] or "stop"


class VisibilityForm(WordForm):
    """Who sees a release."""

    visibility = forms.ChoiceField(
        label=_("Who sees it"), choices=list(visibility.NAMES.items()), widget=forms.RadioSelect
    )
    field_order = ("visibility", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].label = _("Reason, if there is one")


class PublishForm(PortalForm):
    """Who sees a package that becomes a release; the usual ones where nothing is said."""

    visibility = forms.ChoiceField(
        label=_("Who sees it"), choices=list(visibility.NAMES.items()), widget=forms.RadioSelect, required=False
    )


class NotesForm(PortalForm):
    """Notes of the publisher."""

    notes = forms.CharField(label=_("Notes"), max_length=8000, required=False, widget=forms.Textarea(attrs={"rows": 5}))


class PolicyForm(PortalForm):
    """The rules of the store about releases."""

    review = forms.ChoiceField(
        label=_("Somebody else looks at a package before it is published"), choices=ReleasePolicy.Review.choices
    )
    freeze_days = forms.IntegerField(
        label=_("Days after publication in which notes and pictures may be changed"), min_value=0, max_value=3650
    )
