"""Forms of certification; what is right and wrong is decided by the services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appstore.certification.models import LEVELS, Suite
from appstore.certification.sandboxes import SandboxNode
from core.spoken import in_language
from frontend.forms import PortalForm

GATES = [("error", gettext_lazy("errors")), ("warning", gettext_lazy("warnings and errors"))]
_NEEDS = [("", gettext_lazy("nothing")), *((level, level) for level in LEVELS)]


class StartForm(PortalForm):
    """What is to be checked, and where."""

    suites = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, label=gettext_lazy("Suites"))
    node = forms.ChoiceField(required=False, label=gettext_lazy("Sandbox node for live checks"))
    fresh = forms.BooleanField(required=False, label=gettext_lazy("Repeat every check, also where nothing has changed"))

    def __init__(self, *args: Any, suites: Iterable[Suite], nodes: Iterable[SandboxNode], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["suites"]
        chosen.choices = [(suite.name, _suite(suite)) for suite in suites]
        place: Any = self.fields["node"]
        offered = [(node["id"], f"{node['name']} ({_engine(node)})") for node in nodes]
        none = (
            _("none: live checks are skipped") if offered else _("no node is lent for trials: live checks are skipped")
        )
        place.choices = [("", none), *offered]


def _suite(suite: Suite) -> str:
    count = len(suite.checks)
    checks = ngettext("%(count)d check", "%(count)d checks", count) % {"count": count}
    return f"{suite.name} {suite.version}: {in_language(suite.title)} ({checks})"


def _engine(node: SandboxNode) -> str:
    return _("{engine}, simulated").format(engine=node["engine"]) if node["simulated"] else node["engine"]


class ProfileForm(PortalForm):
    """What an organisation demands."""

    suites = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple, label=gettext_lazy("Suites that run when nothing else is chosen")
    )
    publish_level = forms.ChoiceField(
        choices=_NEEDS, required=False, label=gettext_lazy("To publish a package it needs")
    )
    deploy_level = forms.ChoiceField(choices=_NEEDS, required=False, label=gettext_lazy("To deploy a package it needs"))
    import_level = forms.ChoiceField(
        choices=_NEEDS, required=False, label=gettext_lazy("To take one over from a partner it needs")
    )
    valid_days = forms.IntegerField(
        min_value=1, max_value=3660, label=gettext_lazy("Days for which a certificate is valid")
    )
    options = forms.JSONField(
        required=False,
        label=gettext_lazy("Options of checks"),
        widget=forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy('By check, as JSON, such as {"kubernetes-valid": {"versions": ["1.35"]}}.'),
    )
    values = forms.JSONField(
        required=False,
        label=gettext_lazy("Values with which charts are rendered"),
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy("As JSON, beside the chart's own values."),
    )

    def __init__(self, *args: Any, names: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = [(name, name) for name in names]
        suites: Any = self.fields["suites"]
        suites.choices = known
        for level in LEVELS:
            needed = forms.MultipleChoiceField(
                choices=known, widget=forms.CheckboxSelectMultiple, label=_("Suites that must hold"), required=False
            )
            self.add_field(f"{level}_suites", needed)
            self.add_field(f"{level}_gates", forms.ChoiceField(choices=GATES, label=_("What stands in the way")))

    def clean_options(self) -> dict[str, Any]:
        """Return the options; JSON that is something else is no set of options."""
        return _mapping(self.cleaned_data["options"])

    def clean_values(self) -> dict[str, Any]:
        """Return the values; JSON that is something else is none."""
        return _mapping(self.cleaned_data["values"])

    @property
    def levels(self) -> list[tuple[str, Any, Any]]:
        """Each level with its two fields."""
        return [(level, self[f"{level}_suites"], self[f"{level}_gates"]) for level in LEVELS]

    @staticmethod
    def initial_of(profile: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the form shows for a profile."""
        shown = {name: value for name, value in profile.items() if name != "levels"}
        for level in LEVELS:
            demand = profile["levels"].get(level, {})
            shown[f"{level}_suites"], shown[f"{level}_gates"] = demand.get("suites", []), demand.get("gates", "error")
        return shown

    def wanted(self, profile: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the service; a level without a suite is left out."""
        given = self.cleaned_data
        levels = {
            level: {
                **profile["levels"].get(level, {}),
                "suites": given[f"{level}_suites"],
                "gates": given[f"{level}_gates"],
            }
            for level in LEVELS
            if given[f"{level}_suites"]
        }
        names = ("suites", "publish_level", "deploy_level", "import_level", "valid_days")
        rest = {name: given[name] for name in names}
        return {**rest, "levels": levels, "options": given["options"] or {}, "values": given["values"] or {}}


def _mapping(given: Any) -> dict[str, Any]:
    if given and not isinstance(given, dict):
        raise forms.ValidationError(_("Give a JSON object, such as {}."))
    return given or {}


class SuiteForm(PortalForm):
    """A suite of one's own."""

    name = forms.SlugField(
        label=gettext_lazy("Name"), max_length=60, help_text=gettext_lazy("A name that is there gets its next version.")
    )
    title = forms.CharField(label=gettext_lazy("Title"), max_length=200)
    checks = forms.MultipleChoiceField(label=gettext_lazy("Checks"), widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, checks: Mapping[str, Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["checks"]
        chosen.choices = [(name, f"{in_language(check['title'])} ({name})") for name, check in checks.items()]


class LabForm(PortalForm):
    """A lab to trust."""

    name = forms.CharField(max_length=120, label=gettext_lazy("Name of the lab"))
    owner = forms.CharField(max_length=200, required=False, label=gettext_lazy("Organisation that runs it"))
    public_pem = forms.CharField(
        max_length=10_000,
        label=gettext_lazy("Its public key"),
        widget=forms.Textarea(attrs={"rows": 5, "class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy("In PEM. Compare its SHA-256 with its owner by telephone before you trust it."),
    )
    expires_at = forms.DateTimeField(
        required=False,
        label=gettext_lazy("Trusted until"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text=gettext_lazy("For ever when it is empty."),
    )


class DecisionForm(PortalForm):
    """The questions of one manual check, as the check asks them."""

    verdict = forms.ChoiceField(
        choices=[("passed", gettext_lazy("It passes")), ("failed", gettext_lazy("It does not pass"))],
        widget=forms.RadioSelect,
        label=gettext_lazy("Decision"),
    )
    note = forms.CharField(
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        label=gettext_lazy("Note"),
        help_text=gettext_lazy("Needed when it does not pass."),
    )

    def __init__(
        self, *args: Any, questions: Iterable[Mapping[str, Any]], present: Iterable[str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.asked = [question["name"] for question in questions]
        have = set(present)
        for question in questions:
            self.add_field(f"q-{question['name']}", _field(question, question["name"] in have))
        self.order_fields([*(f"q-{name}" for name in self.asked), "verdict", "note"])

    def blame(self, error: Any) -> None:
        """Show an error of the service beside the question that it names."""
        for place in error.context.get("errors", []):
            if place.get("field") in self.asked:
                place["field"] = f"q-{place['field']}"
        if error.context.get("field") in self.asked:
            error.context["field"] = f"q-{error.context['field']}"
        super().blame(error)


def _field(question: Mapping[str, Any], present: bool) -> forms.Field:
    common: dict[str, Any] = {
        "label": question["label"],
        "help_text": question["help"],
        "required": question["required"] and not present,
    }
    kind = question["kind"]
    if kind == "choice":
        return forms.ChoiceField(choices=[("", _("choose")), *((each, each) for each in question["choices"])], **common)
    if kind == "yes-no":
        return forms.ChoiceField(choices=[("", _("choose")), ("yes", _("yes")), ("no", _("no"))], **common)
    if kind == "number":
        return forms.FloatField(**common)
    if kind == "file":
        return forms.FileField(max_length=200, **common)
    return forms.CharField(max_length=4000, widget=forms.Textarea(attrs={"rows": 2}), **common)
