"""The form of a rollout: which nodes, in which waves, and when it stops."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from appstore.packages.models import Package
from core.accounts.models import Organisation
from core.errors import BreakwaterError
from frontend.forms import LabelsField, PortalForm
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.rollouts.models import LONGEST, MOST_PARALLEL, Rollout

MOST_NAMES = 2000


class AbortForm(PortalForm):
    """What becomes of what a rollout has changed; it stays where nothing is said."""

    rollback = forms.ChoiceField(
        label=_("And what it has changed?"),
        choices=[
            ("no", _("stays as it is now")),
            ("yes", _("goes back to what it was before; what was new is removed with what it stored")),
        ],
        widget=forms.RadioSelect,
        required=False,
    )


class RolloutForm(PortalForm):
    """Everything that is asked before a plan is written down."""

    title = forms.CharField(
        label=_("Title"), max_length=120, required=False, help_text=_("For you and others to know it again.")
    )
    kind = forms.ChoiceField(
        label=_("What is chosen"),
        choices=[
            ("nodes", _("Nodes: install it, or upgrade what runs under the name")),
            ("deployments", _("Deployments of this application that are there: upgrade them")),
        ],
        widget=forms.RadioSelect,
        initial="nodes",
    )
    name = forms.CharField(
        label=_("Name of the deployment"),
        max_length=53,
        required=False,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text=_("The same on every node. Not needed when deployments are chosen."),
    )
    labels = LabelsField(label=_("Labels"), help_text=_("One key=value a line, such as region=north. All must hold."))
    words = forms.CharField(label=_("Part of the name"), max_length=200, required=False)
    nodes = forms.CharField(
        label=_("Only these nodes"),
        required=False,
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
        help_text=_("Names, one a line. Empty: all that the rest chooses."),
    )
    area = forms.CharField(
        label=_("Area"),
        required=False,
        max_length=100,
        help_text=_("West, south, east, north in degrees, such as 9.5, 53.3, 10.4, 53.8."),
    )
    release = forms.ModelChoiceField(
        label=_("Only where this release runs"), queryset=Package.objects.none(), required=False, empty_label=_("any")
    )
    waves = forms.CharField(
        label=_("Waves"),
        max_length=400,
        initial="1, 10%, rest",
        help_text=_("Numbers of nodes, or shares of all, one after the other. The last is always the rest."),
    )
    max_parallel = forms.IntegerField(label=_("At most at once"), min_value=1, max_value=MOST_PARALLEL, initial=10)
    person = forms.BooleanField(label=_("A person decides before each next wave"), required=False)
    pause = forms.IntegerField(
        label=_("Pause between waves, in seconds"), min_value=0, max_value=LONGEST, initial=300, required=False,
        help_text=_("What was ready and fails in the pause counts as failed."),
    )  # fmt: skip
    stop_over = forms.IntegerField(
        label=_("Stop when more fail in a wave than"), min_value=0, max_value=20_000, initial=0, required=False,
        help_text=_("Empty: no such limit."),
    )  # fmt: skip
    stop_percent = forms.IntegerField(
        label=_("Stop when a larger share of a wave fails than, in %"), min_value=0, max_value=100, required=False
    )
    node_timeout = forms.IntegerField(
        label=_("A node has failed when it is not ready within, in seconds"),
        min_value=10,
        max_value=LONGEST,
        initial=600,
    )
    on_stop = forms.ChoiceField(
        label=_("When it stops"),
        choices=[
            ("hold", _("Hold: leave everything as it is, and wait for a person")),
            ("rollback", _("Roll back what this rollout has changed")),
        ],
        widget=forms.RadioSelect,
        initial=Rollout.OnStop.HOLD,
    )
    keep = forms.BooleanField(
        label=_("What runs already keeps its own values"), required=False, initial=True,
        help_text=_("While this is chosen, the values below are not looked at."),
    )  # fmt: skip

    def __init__(self, *args: Any, organisation: Organisation, package: Package, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.organisation = organisation
        # By a subquery: excluding what has a removed deployment would leave out what runs elsewhere.
        held = Deployment.objects.ordinary().present().filter(organisation=organisation).values("package")
        same = Package.objects.filter(provider=package.provider, name=package.name, pk__in=held)
        self.fields["release"].queryset = same.defer("descriptor", "findings")  # type: ignore[attr-defined]

    def clean_nodes(self) -> list[str] | None:
        """Return the ids of the named nodes; unknown names are told."""
        names = list(dict.fromkeys(line.strip() for line in self.cleaned_data["nodes"].splitlines() if line.strip()))
        if not names:
            return None
        if len(names) > MOST_NAMES:
            raise forms.ValidationError(
                _("These are more than %(most)s names; choose by labels.") % {"most": MOST_NAMES}
            )
        known = dict(Node.objects.filter(organisation=self.organisation, name__in=names).values_list("name", "pk"))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise forms.ValidationError(_("There is no node %(name)s.") % {"name": ", ".join(unknown[:5])})
        return [str(known[name]) for name in names]

    def clean_area(self) -> list[float] | None:
        """Return the four numbers."""
        text = self.cleaned_data["area"].strip()
        if not text:
            return None
        try:
            numbers = [float(each) for each in text.replace(",", " ").split()]
        except ValueError:
            raise forms.ValidationError(_("These are no numbers.")) from None
        if len(numbers) != 4 or not all(-180 <= each <= 180 for each in numbers):
            raise forms.ValidationError(_("Give four numbers: west, south, east, north."))
        return numbers

    def what(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return what a plan is made of; `values` are for all places unless each keeps its own."""
        facts = self.cleaned_data
        nodes = facts["kind"] == "nodes"
        target: dict[str, Any] = {"kind": facts["kind"], "labels": facts["labels"], "q": facts["words"]}
        if facts["area"]:
            target["area"] = facts["area"]
        if not nodes and facts["release"]:
            target["release"] = str(facts["release"].pk)
        if facts["nodes"] is not None:
            target["nodes" if not nodes else "ids"] = facts["nodes"]
        return {
            "name": facts["name"] if nodes else "",
            "target": target,
            "values": None if facts["keep"] else values,
            "waves": [each for each in facts["waves"].replace(";", ",").split(",") if each.strip()],
        }

    def rules(self) -> dict[str, Any]:
        """Return how it goes on and when it stops."""
        facts = self.cleaned_data
        names = ("title", "max_parallel", "stop_over", "stop_percent", "node_timeout", "on_stop")
        return {**{name: facts[name] for name in names}, "pause": None if facts["person"] else facts["pause"] or 0}

    def blame(self, error: BreakwaterError) -> None:
        """Show what a service refused beside the field that asked for it."""
        field = str(error.context.get("field", ""))
        here = {
            "target.labels": "labels", "target.area": "area", "target.q": "words", "target.ids": "nodes",
            "target.release": "release",
        }.get(field)  # fmt: skip
        if here:
            error.context["field"] = here
        super().blame(error)
