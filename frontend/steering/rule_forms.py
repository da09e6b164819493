"""The forms of rules: between what a person types and what MEC 011 writes, both ways without loss."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import BreakwaterError
from frontend.forms import PortalForm
from frontend.steering import words
from mecm.steering.names import Scope
from upf_adapter.contract import ACTIONS, Refused

_CODE = {"spellcheck": "false", "autocapitalize": "none"}
#: Fields of the form -> members of a TrafficFilter.
_LISTS = {
    "src": "srcAddress",
    "src_ports": "srcPort",
    "dst": "dstAddress",
    "dst_ports": "dstPort",
    "protocols": "protocol",
}
#: Choice of a DNS rule for everybody; no scope can be called so.
_ALL = "*"
_NUMBERS = {"dscp": "dSCP", "tc": "tC"}
IN_WORDS = {
    "FORWARD_DECAPSULATED": gettext_lazy("To the application, out of the tunnel"),
    "FORWARD_ENCAPSULATED": gettext_lazy("To the application, in the tunnel"),
    "DUPLICATE_DECAPSULATED": gettext_lazy("Pass and copy, out of the tunnel"),
    "DUPLICATE_ENCAPSULATED": gettext_lazy("Pass and copy, in the tunnel"),
    "PASSTHROUGH": gettext_lazy("Pass as if there were no rule"),
    "DROP": gettext_lazy("Drop"),
}
INTERFACES = {
    "IP": gettext_lazy("an IP address"),
    "MAC": gettext_lazy("a MAC address"),
    "TUNNEL/GTP_U": gettext_lazy("a GTP-U tunnel to an address"),
    "TUNNEL/GRE": gettext_lazy("a GRE tunnel to an address"),
}


def _words(label: Any, hint: Any = "", **options: Any) -> forms.CharField:
    widget = forms.TextInput(attrs={"placeholder": hint, **_CODE})
    return forms.CharField(label=label, required=False, max_length=2000, widget=widget, **options)


def _json(label: Any, help_text: Any) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 4, "class": "code", **_CODE})
    return forms.CharField(label=label, required=False, max_length=20_000, widget=widget, help_text=help_text)


class RuleForm(PortalForm):
    """What traffic and DNS rules share: the id of a new one, its state, and the generation that was looked at."""

    PLACES: dict[str, str] = {}
    rule_id = forms.CharField(
        label=gettext_lazy("Rule id"),
        max_length=255,
        help_text=gettext_lazy("Your name for it; the application sees it too."),
        widget=forms.TextInput(attrs=_CODE),
    )
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[
            ("", gettext_lazy("Follows the application: active once it is ready")),
            ("ACTIVE", gettext_lazy("Active, also before the application is ready")),
            ("INACTIVE", gettext_lazy("Switched off")),
        ],
    )
    generation = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    def __init__(self, *args: Any, new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not new:
            del self.fields["rule_id"]

    def blame(self, error: BreakwaterError) -> None:
        """Show what was refused beside the field that it is about."""
        places = error.context.get("errors")
        for place in places if isinstance(places, list) else []:
            place["field"] = self._place(str(place.get("field", "")))
        if error.context.get("field") == "ruleId":
            error.context["field"] = "rule_id"
        super().blame(error)

    def _place(self, member: str) -> str:
        while member:
            if member in self.PLACES:
                return self.PLACES[member]
            member = re.sub(r"(\[\d+\]|\.[^.\[]*|[^.\[]+)$", "", member)
        return ""


class DnsForm(RuleForm):
    """A DNS rule."""

    PLACES = {
        "ruleId": "rule_id",
        "domainName": "name",
        "ipAddress": "address",
        "ipAddressType": "address",
        "ttl": "ttl",
        "scope": "scope",
    }
    name = forms.CharField(
        label=gettext_lazy("Domain name"),
        max_length=255,
        widget=forms.TextInput(attrs={"placeholder": "video.example", **_CODE}),
    )
    address = forms.CharField(
        label=gettext_lazy("Answer with"),
        max_length=45,
        help_text=gettext_lazy("An IPv4 address answers A queries, an IPv6 address AAAA queries."),
        widget=forms.TextInput(attrs={"placeholder": "10.60.0.10", **_CODE}),
    )
    ttl = forms.IntegerField(
        label=gettext_lazy("Time to live (s)"),
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text=gettext_lazy("Empty: the node's own, because applications move."),
    )
    scope = forms.ChoiceField(
        label=gettext_lazy("Who gets this answer"),
        required=False,
        choices=[("", gettext_lazy("As the package or the node says")), (_ALL, gettext_lazy("Everybody"))],
        help_text=gettext_lazy(
            "A scope is a set of client addresses that the node knows. It asks UE scopes first, then application, zone, "
            "and what is for everybody; the first that has the name decides."
        ),
    )

    def offer(self, scopes: Mapping[str, Scope] | None, present: Any) -> None:
        """Let one choose among the scopes that the node told, and the one that the rule has already."""
        known = {name: words.scope(name, scopes) for name in scopes or {}}
        if isinstance(present, str) and present and present not in known:
            known[present] = words.scope(present, scopes)
        field = self.fields["scope"]
        field.choices = [*field.choices, *known.items()]  # type: ignore[attr-defined]

    def raw(self) -> dict[str, Any]:
        """Return the DnsRule of MEC 011."""
        data = self.cleaned_data
        found: dict[str, Any] = {
            "domainName": data["name"].strip(),
            "ipAddressType": "IP_V6" if ":" in data["address"] else "IP_V4",
            "ipAddress": data["address"].strip(),
        }
        if data["ttl"] is not None:
            found["ttl"] = data["ttl"]
        if data["scope"]:
            found["scope"] = "" if data["scope"] == _ALL else data["scope"]
        return found

    @staticmethod
    def told(rule: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the form shows of a rule."""
        scope = rule.get("scope")
        shown = {"name": rule.get("domainName"), "address": rule.get("ipAddress"), "ttl": rule.get("ttl")}
        return {**shown, "scope": _ALL if scope == "" else scope or ""}


class TrafficForm(RuleForm):
    """A traffic rule: one filter and its targets in fields; what these cannot hold as JSON."""

    PLACES = {
        "ruleId": "rule_id",
        "priority": "priority",
        "filterType": "filter_type",
        "action": "action",
        "trafficFilter": "more",
        **{f"trafficFilter[0].{member}": name for name, member in {**_LISTS, **_NUMBERS}.items()},
        "dstInterface": "to",
        "dstInterface[1]": "to_second",
    }
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=0,
        max_value=255,
        initial=100,
        help_text=gettext_lazy("0 to 255; of the rules that match, the lowest number decides."),
    )
    filter_type = forms.ChoiceField(
        label=gettext_lazy("Looks at (filterType)"),
        choices=[("FLOW", gettext_lazy("whole flows")), ("PACKET", gettext_lazy("single packets"))],
    )
    protocols = _words(
        gettext_lazy("Protocols"), gettext_lazy("any"), help_text=gettext_lazy("Like UDP, TCP or numbers.")
    )
    src = _words(
        gettext_lazy("From (UE addresses)"),
        "10.45.0.0/16",
        help_text=gettext_lazy("Addresses, prefixes or first-last."),
    )
    src_ports = _words(
        gettext_lazy("Source ports"), gettext_lazy("any"), help_text=gettext_lazy("Like 443, 8000-8100.")
    )
    dst = _words(gettext_lazy("To (addresses)"), "203.0.113.0/24")
    dst_ports = _words(gettext_lazy("Target ports"), "80, 443")
    dscp = forms.IntegerField(
        label=gettext_lazy("DSCP"), required=False, min_value=0, max_value=63, help_text=gettext_lazy("IPv4 only.")
    )
    tc = forms.IntegerField(
        label=gettext_lazy("Traffic class"),
        required=False,
        min_value=0,
        max_value=255,
        help_text=gettext_lazy("IPv6 only."),
    )
    everything = forms.BooleanField(
        label=gettext_lazy("Yes, match every packet of every UE"),
        required=False,
        help_text=gettext_lazy("Needed when no filter is given."),
    )
    more = _json(
        gettext_lazy("Further filters (JSON)"),
        gettext_lazy(
            "A list of TrafficFilter objects (MEC 011, 7.1.5.3); a packet that fits any filter fits the rule."
        ),
    )
    action = forms.ChoiceField(
        label=gettext_lazy("Action"), choices=[(name, f"{name}") for name in IN_WORDS], widget=forms.Select
    )
    interface = forms.ChoiceField(label=gettext_lazy("By (dstInterface)"), choices=list(INTERFACES.items()))
    to = _words(gettext_lazy("To the application at"), "10.60.0.10", help_text=gettext_lazy("None for dropping."))
    to_second = _words(
        gettext_lazy("Second target"), help_text=gettext_lazy("Only for copying to two; by the same way.")
    )
    targets = _json(
        gettext_lazy("Targets (JSON)"),
        gettext_lazy("A list of DestinationInterface objects (MEC 011, 7.1.5.4), in place of the fields above."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["action"].choices = [(name, f"{words} ({name})") for name, words in IN_WORDS.items()]  # type: ignore[attr-defined]

    def clean_more(self) -> list[Any]:
        """Return the further filters."""
        return _objects(self.cleaned_data["more"])

    def clean_targets(self) -> list[Any]:
        """Return the targets that are written out."""
        return _objects(self.cleaned_data["targets"])

    def clean(self) -> dict[str, Any]:
        """A rule about everything has to be meant; targets are addresses and fit the action."""
        data = super().clean() or self.cleaned_data
        if not data.get("targets") and data.get("interface") in INTERFACES and data["interface"] != "MAC":
            for name in ("to", "to_second"):
                if data.get(name, "").strip() and not _is_address(data[name].strip()):
                    self.add_error(name, _("This is no IP address."))
        if not self.errors and not self._filter() and not data["more"] and not data["everything"]:
            words = _("No filter is given, so every packet would match. Say so, or fill in a filter above.")
            self.add_error("everything", words)
        if data.get("action") in ACTIONS and not data.get("targets") and "targets" in data:
            least, most = ACTIONS[data["action"]]
            given = [name for name in ("to", "to_second") if data.get(name, "").strip()]
            if len(given) > most and given[most] not in self.errors:
                words = _("%(action)s takes at most %(number)s targets.") % {"action": data["action"], "number": most}
                self.add_error(given[most], words)
            elif len(given) < least and "to" not in self.errors:
                self.add_error("to", _("%(action)s needs a target.") % {"action": data["action"]})
        return data

    def raw(self) -> dict[str, Any]:
        """Return the TrafficRule of MEC 011."""
        data = self.cleaned_data
        first = self._filter()
        aims = data["targets"] or [
            _target(data["interface"], data[name].strip()) for name in ("to", "to_second") if data[name].strip()
        ]
        return {
            "filterType": data["filter_type"],
            "priority": data["priority"],
            "trafficFilter": [*([first] if first or not data["more"] else []), *data["more"]],
            "action": data["action"],
            **({"dstInterface": aims} if aims else {}),
        }

    def blame(self, error: BreakwaterError) -> None:
        """As usual; a refusal of the user plane stands at what it is about, filters in JSON may be the first ones."""
        if not self._filter() and self.cleaned_data.get("more"):
            self.PLACES = {name: self.PLACES[name] for name in self.PLACES if not name.startswith("trafficFilter[")}
        if self.cleaned_data.get("targets"):
            self.PLACES = {name: value for name, value in self.PLACES.items() if not name.startswith("dstInterface")}
            self.PLACES["dstInterface"] = "targets"
        if isinstance(error, Refused):
            error.context["errors"] = [{"field": self._member(error), "detail": error.detail}]
        super().blame(error)

    def _member(self, error: Refused) -> str:
        place = error.detail.partition(":")[0]
        if place.startswith("trafficFilter["):
            beyond = error.context.get("members")
            return f"{place}.{beyond[0]}" if isinstance(beyond, list) and beyond else f"{place}.dstAddress"
        if place.startswith("dstInterface"):
            return place
        return "filterType" if "no filterType" in error.detail else "action"

    def _filter(self) -> dict[str, Any]:
        data = self.cleaned_data
        found: dict[str, Any] = {
            member: re.split(r"[\s,;]+", data[name].strip(" \t,;"))
            for name, member in _LISTS.items()
            if data.get(name, "").strip(" \t,;")
        }
        return found | {member: data[name] for name, member in _NUMBERS.items() if data.get(name) is not None}

    @staticmethod
    def told(rule: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the form shows of a rule; filters and targets that its fields cannot hold are shown as JSON."""
        filters = [dict(each) for each in _listed(rule.get("trafficFilter"))]
        shown: dict[str, Any] = {
            "priority": rule.get("priority"),
            "filter_type": rule.get("filterType"),
            "action": rule.get("action"),
            "everything": {} in filters,
        }
        if filters and set(filters[0]) <= {*_LISTS.values(), *_NUMBERS.values()}:
            first = filters.pop(0)
            shown |= {name: ", ".join(map(str, _values(first.get(member)))) for name, member in _LISTS.items()}
            shown |= {name: first.get(member) for name, member in _NUMBERS.items()}
        if filters:
            shown["more"] = json.dumps(filters, indent=2, ensure_ascii=False)
        aims = _listed(rule.get("dstInterface"))
        if len({_kind(each) for each in aims}) > 1 or any(
            _target(_kind(each), _address(each)) != each for each in aims
        ):
            return {**shown, "interface": "IP", "targets": json.dumps(aims, indent=2, ensure_ascii=False)}
        for name, aim in zip(("to", "to_second"), aims, strict=False):
            shown |= {"interface": _kind(aim), name: _address(aim)}
        return shown


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _objects(text: str) -> list[Any]:
    if not text.strip():
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise forms.ValidationError(_("This is no JSON: %s") % problem) from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise forms.ValidationError(_("This must be a list of objects: [{…}, …]."))
    return found


def _listed(value: Any) -> list[Any]:
    many = value if isinstance(value, list | tuple) else [value]
    return [each for each in many if isinstance(each, Mapping)]


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _kind(aim: Mapping[str, Any]) -> str:
    kind, tunnel = str(aim.get("interfaceType", "")), aim.get("tunnelInfo")
    return f"TUNNEL/{tunnel.get('tunnelType', '') if isinstance(tunnel, Mapping) else ''}" if kind == "TUNNEL" else kind


def _address(aim: Mapping[str, Any]) -> str:
    tunnel = aim.get("tunnelInfo")
    inner = tunnel.get("tunnelDstAddress") if isinstance(tunnel, Mapping) else ""
    member = {"IP": "dstIpAddress", "MAC": "dstMacAddress"}.get(str(aim.get("interfaceType", "")))
    return str((aim.get(member) if member else inner) or "")


def _target(kind: str, text: str) -> dict[str, Any]:
    if kind == "IP":
        return {"interfaceType": "IP", "dstIpAddress": text}
    if kind == "MAC":
        return {"interfaceType": "MAC", "dstMacAddress": text}
    return {
        "interfaceType": "TUNNEL",
        "tunnelInfo": {"tunnelType": kind.partition("/")[2], "tunnelDstAddress": text},
    }
