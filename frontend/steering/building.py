"""The rule builder: a form, what the rule would do, and a packet to try, side by side."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from core.accounts import access
from core.errors import BreakwaterError, Denied, Missing, Unauthenticated
from frontend import tenancy
from frontend.page import page
from frontend.steering import sketch, words
from frontend.steering.forms import PacketForm
from frontend.steering.listing import DEPLOYMENTS
from frontend.steering.rule_forms import DnsForm, RuleForm, TrafficForm
from mecm.steering import services, table
from mecm.steering.models import DNS, KINDS, TRAFFIC, RuleSet

_FORMS: dict[str, type[TrafficForm] | type[DnsForm]] = {TRAFFIC: TrafficForm, DNS: DnsForm}
#: What a rule without a name yet is called in its preview.
NEW = "new rule"


class Desk:
    """What is needed to write one rule: whose it is, what else there is, its form and the packet beside it."""

    def __init__(self, request: HttpRequest, pk: Any, kind: str, rule_id: str) -> None:
        self.request, self.kind, self.actor = request, kind, tenancy.actor_of(request)
        self.deployment = access.get(DEPLOYMENTS, self.actor, services.PERMISSION, pk)
        if kind not in KINDS:
            raise Missing(_("There are no rules of this kind."))
        self.new = not rule_id
        self.told = table.told_by(self.deployment.node_id)
        self.others = table.lines(self.told, [self.deployment], kind, strangers=False)
        self.line = next((each for each in self.others if each.rule_id == rule_id), None)
        if not self.new and (self.line is None or self.line.source in (table.NODE, table.LOST)):
            raise Missing(_("There is no such rule, or it was not made from here."))
        generation = RuleSet.objects.filter(pk=self.deployment.pk).values_list("generation", flat=True).first() or 0
        initial = self._initial() | {"generation": generation}
        data = request.POST if request.method == "POST" else None
        self.form: RuleForm = _FORMS[kind](data, new=self.new, initial=initial)
        if isinstance(self.form, DnsForm):
            self.form.offer(self.told.scopes, self.line.rule.get("scope") if self.line else None)
        self.packet = PacketForm(data, prefix="packet", initial=self._packet()) if kind == TRAFFIC else None

    @property
    def rule_id(self) -> str:
        """Return what the rule is called, as far as is known."""
        if self.line is not None:
            return self.line.rule_id
        typed = self.form.data.get("rule_id", "") if self.form.is_bound else ""
        return str(typed).strip()[:255] or NEW

    def preview(self) -> dict[str, Any]:
        """Return what the rule would do, or why there is nothing to say."""
        if not self.form.is_bound:
            return self._sketch(self.line.rule, self.line.wished_state) if self.line is not None else {}
        if self.form.is_valid():
            return self._sketch(self.form.raw(), self.form.cleaned_data["state"])  # type: ignore[attr-defined]
        labels = {name: f"{field.label}: " for name, field in self.form.fields.items()}
        told = [f"{labels.get(name, '')}{words}" for name, each in self.form.errors.items() for words in each]
        return {"refused": " ".join(told)}

    def reads_packet(self) -> bool:
        """Whether there is no packet, or one that can be read; what cannot is marked."""
        return self.packet is None or self.packet.is_valid()

    def save(self) -> None:
        """Wish for what was typed."""
        wanted: dict[str, Any] = {
            "actor": self.actor,
            "rule": self.form.raw(),  # type: ignore[attr-defined]
            "state": self.form.cleaned_data["state"],
            "expected": self.form.cleaned_data["generation"],
        }
        verb = services.add_rule if self.new else services.set_rule
        verb(self.deployment, self.kind, self.form.cleaned_data["rule_id"] if self.new else self.rule_id, **wanted)

    def context(self, **more: Any) -> dict[str, Any]:
        """Return what the template needs."""
        return {
            "section": "deployments",
            "deployment": self.deployment,
            "kind": self.kind,
            "dns": self.kind == DNS,
            "form": self.form,
            "packet": self.packet,
            "line": self.line,
            "giving_back": words.giving_back(self.line) if self.line and self.line.source == table.CHANGED else None,
            "new": self.new,
            "rule_id": "" if self.new else self.rule_id,
            "unsupported": services.unsupported(self.deployment.node),
            **more,
        }

    def _sketch(self, members: Any, state: str) -> dict[str, Any]:
        return sketch.tried(
            self.deployment,
            self.kind,
            self.rule_id,
            members,
            told=self.told,
            others=self.others,
            state=state,
            packet=self.packet,
        )

    def _initial(self) -> dict[str, Any]:
        if self.line is not None:
            return {**_FORMS[self.kind].told(self.line.rule), "state": self.line.wished_state}
        # Where the application is, its other rules know.
        shown = (TrafficForm.told(each.rule) for each in self.others if each.kind == TRAFFIC)
        near = next((each for each in shown if each.get("to")), {})
        return {name: near[name] for name in ("interface", "to") if name in near}

    def _packet(self) -> dict[str, Any]:
        return {"src": "10.45.0.7", "dst": "203.0.113.10", "protocol": "UDP", "src_port": 40000, "dst_port": 443}


@page
def new_rule(request: HttpRequest, pk: Any, kind: str) -> HttpResponse:
    """Write a rule that the package does not have."""
    return _write(request, Desk(request, pk, kind, ""))


@page
def change_rule(request: HttpRequest, pk: Any, kind: str, rule: str) -> HttpResponse:
    """Change what a rule says."""
    return _write(request, Desk(request, pk, kind, rule))


@require_POST
@page
def preview_rule(request: HttpRequest, pk: Any, kind: str) -> HttpResponse:
    """Return what the rule that is typed at the moment would do; `rule` names one that there is."""
    desk = Desk(request, pk, kind, request.GET.get("rule", ""))
    return render(request, "frontend/steering/preview.html", desk.context(**desk.preview()))


def _write(request: HttpRequest, desk: Desk) -> HttpResponse:
    status = 200
    if request.method == "POST" and "preview" not in request.POST:
        status = 400
        if desk.form.is_valid():
            try:
                desk.save()
            except (Missing, Denied, Unauthenticated):
                raise
            except BreakwaterError as error:
                desk.form.blame(error)
                status = error.status
            else:
                messages.success(request, _("The wish is on its way to the node."))
                return redirect(f"{reverse('frontend:deployment-rules', args=[desk.deployment.pk])}?kind={desk.kind}")
    elif request.method == "POST" and not (desk.form.is_valid() and desk.reads_packet()):
        status = 400
    if request.method == "POST":
        # Whatever the page comes back for, it marks all that cannot be read.
        desk.reads_packet()
    context = desk.context(**desk.preview())
    return render(request, "frontend/steering/build.html", context, status=status)
