"""The forms of rules: between what a person types and what MEC 011 writes, both ways without loss."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from core.errors import BreakwaterError
from mep.console.forms import ConsoleForm
from mep.dns.models import DnsScope
from mep.mp1.models import App, DnsRule, TrafficRule
from mep.mp1.states import AppState, RuleState
from upf_adapter.contract import ACTIONS

#: What an action does, in words.
IN_WORDS = {
    "DROP": _("Drop the packets"),
    "FORWARD_DECAPSULATED": _("Send them to the app, out of the tunnel"),
    "FORWARD_ENCAPSULATED": _("Send them to the app, still in the tunnel"),
    "PASSTHROUGH": _("Let them pass as if there were no rule"),
    "DUPLICATE_DECAPSULATED": _("Let them pass and copy them, out of the tunnel"),
    "DUPLICATE_ENCAPSULATED": _("Let them pass and copy them, still in the tunnel"),
}
INTERFACES = {
    "IP": _("IP address"),
    "MAC": _("MAC address"),
    "TUNNEL/GTP_U": _("GTP-U tunnel to an address"),
    "TUNNEL/GRE": _("GRE tunnel to an address"),
}
#: Fields of the form -> members of a TrafficFilter.
_LISTS = {
    "src": "srcAddress",
    "dst": "dstAddress",
    "src_ports": "srcPort",
    "dst_ports": "dstPort",
    "protocols": "protocol",
}
_CODE = {"spellcheck": "false", "autocapitalize": "none"}


def _words(**options: Any) -> forms.CharField:
    hint = options.pop("placeholder", "")
    return forms.CharField(
        required=False, max_length=2000, widget=forms.TextInput(attrs={"placeholder": hint, **_CODE}), **options
    )


class RuleForm(ConsoleForm):
    """What traffic and DNS rules share: the app that it belongs to, its id, whether it is to be active."""

    app = forms.ChoiceField(label=_("For the application"))
    rule_id = forms.CharField(
        label=_("Rule id"),
        max_length=255,
        help_text=_("Your name for it; the app sees it too."),
        widget=forms.TextInput(attrs=_CODE),
    )
    active = forms.BooleanField(label=_("Active from the start"), required=False)
    #: The version that was looked at, so that nobody overwrites what changed meanwhile.
    if_match = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)

    def __init__(self, *args: Any, rule: TrafficRule | DnsRule | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if rule is not None:
            # Whose rule it is and what it is called stay.
            for name in ("app", "rule_id"):
                del self.fields[name]
            self.fields["active"].label = _("Active")
            return
        living = App.objects.exclude(state=AppState.TERMINATED).order_by("name", "id").values_list("id", "name")
        self.fields["app"].choices = [("", _("Choose one")), *((key, f"{name} ({key})") for key, name in living[:2000])]  # type: ignore[attr-defined]

    def state(self) -> str:
        """Return the wished state."""
        return RuleState.ACTIVE if self.cleaned_data["active"] else RuleState.INACTIVE


class DnsForm(RuleForm):
    """A DNS rule."""

    PLACES = {
        "ruleId": "rule_id",
        "domainName": "name",
        "ipAddress": "address",
        "ttl": "ttl",
        "scope": "scope",
    }
    name = forms.CharField(
        label=_("Domain name"),
        max_length=253,
        widget=forms.TextInput(attrs={"placeholder": "video.example", **_CODE}),
    )
    address = forms.CharField(
        label=_("Answer with"),
        max_length=45,
        help_text=_("An IPv4 address answers A queries, an IPv6 address AAAA queries."),
        widget=forms.TextInput(attrs={"placeholder": _("10.60.0.10 or fd00::10"), **_CODE}),
    )
    ttl = forms.IntegerField(
        label=_("Time to live (s)"),
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text=_("Empty: the node's default, because apps move."),
    )
    scope = forms.ChoiceField(label=_("Who gets this answer"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes = DnsScope.objects.values_list("name", "kind")[:2000]
        self.fields["scope"].choices = [  # type: ignore[attr-defined]
            ("", _("Everybody")),
            *(
                (name, _("Clients in the %(kind)s scope %(name)s") % {"kind": kind, "name": name})
                for name, kind in scopes
            ),
        ]

    def raw(self) -> dict[str, Any]:
        """Return the DnsRule of MEC 011."""
        data = self.cleaned_data
        return {
            "domainName": data["name"].strip(),
            "ipAddressType": "IP_V6" if ":" in data["address"] else "IP_V4",
            "ipAddress": data["address"].strip(),
            "ttl": data["ttl"],
            "state": self.state(),
        }

    @staticmethod
    def told(rule: DnsRule) -> dict[str, Any]:
        """Return what the form shows of a rule."""
        return {
            "name": rule.domain_name,
            "address": rule.address,
            "ttl": rule.ttl,
            "scope": rule.scope,
            "active": rule.state == RuleState.ACTIVE,
        }


class TrafficForm(RuleForm):
    """A traffic rule: one filter in fields, further ones as JSON."""

    PLACES = {
        "ruleId": "rule_id",
        "priority": "priority",
        "filterType": "filter_type",
        "action": "action",
        "trafficFilter": "more",
        **{f"trafficFilter[0].{member}": name for name, member in _LISTS.items()},
        "trafficFilter[0].dSCP": "dscp",
        "dstInterface": "to",
        "dstInterface[1]": "to_second",
    }
    priority = forms.IntegerField(
        min_value=0,
        max_value=255,
        initial=100,
        help_text=_("0 to 255; of the rules that match, the lowest number decides."),
    )
    filter_type = forms.ChoiceField(
        label=_("Looks at"),
        choices=[("FLOW", _("whole flows, both directions")), ("PACKET", _("single packets"))],
    )
    src = _words(
        label=_("From (UE addresses)"), placeholder="10.45.0.0/16", help_text=_("Addresses, prefixes or first-last.")
    )
    dst = _words(label=_("To (addresses)"), placeholder="203.0.113.0/24")
    src_ports = _words(label=_("Source ports"), placeholder=_("any"), help_text=_("Like 443, 8000-8100."))
    dst_ports = _words(label=_("Target ports"), placeholder="80, 443")
    protocols = _words(label=_("Protocols"), placeholder=_("any"), help_text=_("Like TCP, UDP."))
    dscp = forms.IntegerField(label=_("DSCP"), required=False, min_value=0, max_value=63)
    everything = forms.BooleanField(
        label=_("Yes, match every packet of every UE"), required=False, help_text=_("Needed when no filter is given.")
    )
    more = forms.CharField(
        label=_("Further filters (JSON)"),
        required=False,
        max_length=20_000,
        help_text=_("A list of TrafficFilter objects (MEC 011 7.1.5.3); a packet that fits any filter fits the rule."),
        widget=forms.Textarea(attrs={"rows": 4, "class": "code", **_CODE}),
    )
    action = forms.ChoiceField(label=_("What to do"), choices=[(each, IN_WORDS[each]) for each in ACTIONS])
    interface = forms.ChoiceField(label=_("By way of"), choices=list(INTERFACES.items()))
    to = _words(label=_("To the app at"), placeholder="10.60.0.10", help_text=_("None for dropping."))
    to_second = _words(label=_("Second target"), help_text=_("Only for copying to two; by the same way."))

    def clean_more(self) -> list[Any]:
        """Return the further filters."""
        text = self.cleaned_data["more"].strip()
        if not text:
            return []
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise forms.ValidationError(_("This is no JSON: %(problem)s") % {"problem": problem}) from None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise forms.ValidationError(_("This must be a list of objects: [{…}, …]."))
        return found

    def clean(self) -> dict[str, Any]:
        """A rule about everything has to be meant; targets fit the action."""
        data = super().clean() or self.cleaned_data
        if not self.errors and not self._filter() and not data["more"] and not data["everything"]:
            self.add_error(
                "everything", _("No filter is given, so every packet would match. Say so, or fill in a filter above.")
            )
        if data.get("action") in ACTIONS:
            least, most = ACTIONS[data["action"]]
            given = [name for name in ("to", "to_second") if data.get(name, "").strip()]
            if len(given) > most:
                told = ngettext("%(action)s takes %(most)d target.", "%(action)s takes %(most)d targets.", most)
                told = told if most else str(_("%(action)s takes no target."))
                self.add_error(given[most], told % {"action": data["action"], "most": most})
            elif len(given) < least:
                self.add_error("to", _("%(action)s needs a target.") % {"action": data["action"]})
            for name in given[:most]:
                if not is_address(data[name].strip(), data.get("interface", "IP")):
                    mac = data.get("interface") == "MAC"
                    told = str(_("%(text)s is no MAC address.") if mac else _("%(text)s is no IP address."))
                    self.add_error(name, told % {"text": repr(data[name].strip()[:60])})
        return data

    def raw(self) -> dict[str, Any]:
        """Return the TrafficRule of MEC 011."""
        data = self.cleaned_data
        first = self._filter()
        targets = [self._target(data[name].strip()) for name in ("to", "to_second") if data[name].strip()]
        return {
            "filterType": data["filter_type"],
            "priority": data["priority"],
            "trafficFilter": [*([first] if first or not data["more"] else []), *data["more"]],
            "action": data["action"],
            **({"dstInterface": targets} if targets else {}),
            "state": self.state(),
        }

    def blame(self, error: BreakwaterError) -> None:
        """As usual; without a filter in fields, those in JSON are the first ones."""
        if self._filter() or not self.cleaned_data.get("more"):
            super().blame(error)
            return
        self.PLACES = {name: self.PLACES[name] for name in self.PLACES if not name.startswith("trafficFilter[")}
        super().blame(error)

    def _filter(self) -> dict[str, Any]:
        data = self.cleaned_data
        found: dict[str, Any] = {
            member: re.split(r"[\s,;]+", data[name].strip(" \t,;"))
            for name, member in _LISTS.items()
            if data.get(name, "").strip(" \t,;")
        }
        if data.get("dscp") is not None:
            found["dSCP"] = data["dscp"]
        return found

    def _target(self, text: str) -> dict[str, Any]:
        kind = self.cleaned_data["interface"]
        if kind == "IP":
            return {"interfaceType": "IP", "dstIpAddress": text}
        if kind == "MAC":
            return {"interfaceType": "MAC", "dstMacAddress": text}
        return {
            "interfaceType": "TUNNEL",
            "tunnelInfo": {"tunnelType": kind.partition("/")[2], "tunnelDstAddress": text},
        }

    @staticmethod
    def told(rule: TrafficRule) -> dict[str, Any]:
        """Return what the form shows of a rule; filters that do not fit into its fields are shown as JSON."""
        body = rule.body
        filters = list(body.get("trafficFilter") or [])
        told: dict[str, Any] = {
            "priority": body.get("priority"),
            "filter_type": body.get("filterType"),
            "action": body.get("action"),
            "active": rule.state == RuleState.ACTIVE,
            "everything": {} in filters,
        }
        if filters and set(filters[0]) <= {*_LISTS.values(), "dSCP"}:
            first = filters.pop(0)
            told |= {name: ", ".join(first.get(member) or ()) for name, member in _LISTS.items()}
            told["dscp"] = first.get("dSCP")
        if filters:
            told["more"] = json.dumps(filters, indent=2, ensure_ascii=False)
        for name, target in zip(("to", "to_second"), body.get("dstInterface") or (), strict=False):
            kind, address = address_of(target)
            told |= {"interface": kind, name: address}
        return told


def is_address(text: str, interface: str) -> bool:
    """Return whether the text is an address of the kind that the interface takes."""
    if interface == "MAC":
        return re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text) is not None
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def fits(rule: TrafficRule) -> bool:
    """Return whether the form can hold the rule's targets without loss: source addresses and mixed ways it cannot."""
    targets = list(rule.body.get("dstInterface") or ())
    kinds = {address_of(target)[0] for target in targets}
    plain = all(
        set(target) <= {"interfaceType", "dstIpAddress", "dstMacAddress", "tunnelInfo"}
        and set(target.get("tunnelInfo") or {}) <= {"tunnelType", "tunnelDstAddress"}
        for target in targets
    )
    return plain and len(kinds) <= 1


def address_of(target: dict[str, Any]) -> tuple[str, str]:
    """Return the kind of a destination interface and the address in it."""
    kind = str(target.get("interfaceType", ""))
    if kind == "IP":
        return kind, str(target.get("dstIpAddress") or "")
    if kind == "MAC":
        return kind, str(target.get("dstMacAddress") or "")
    tunnel = target.get("tunnelInfo") or {}
    return f"TUNNEL/{tunnel.get('tunnelType', '')}", str(tunnel.get("tunnelDstAddress") or "")
