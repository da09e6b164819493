"""Tolerant reading of descriptor parts: any spelling of a member name, one object or a list, numbers as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.appd.descriptor import Feature, ServiceDependency, ServiceProduced, Transport
from core.findings import Finding, Level
from core.words import say

_NOISE = re.compile(r"[_\-\s]")


def folded(key: object) -> str:
    """Return a member name without case, underscores and hyphens: `tunnel_dst_address` is `tunnelDstAddress`."""
    return _NOISE.sub("", str(key)).casefold()


class Members:
    """One object of a descriptor, asked by folded names; remembers what nobody asked for."""

    def __init__(self, raw: Any, place: str, findings: list[Finding]) -> None:
        self.place, self.findings = place, findings
        self._values: dict[str, Any] = {}
        self._spelt: dict[str, str] = {}
        if not isinstance(raw, Mapping):
            self.complain(say("must be an object, not {kind}", kind=kind_of(raw)))
            return
        for key, value in raw.items():
            name = folded(key)
            if name in self._values and self._values[name] != value:
                self.complain(say("{key} is given twice, in two spellings", key=key))
            self._values.setdefault(name, value)
            self._spelt.setdefault(name, str(key))

    def take(self, *names: str) -> Any:
        """Return the first member of these names that is there, else None."""
        found = None
        for name in map(folded, names):
            self._spelt.pop(name, None)
            if found is None:
                found = self._values.get(name)
        return found

    def text(self, *names: str, default: str = "") -> str:
        """Return a member as text; numbers are taken as they are written."""
        value = self.take(*names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.complain(say("must be text, not {kind}", kind=kind_of(value)), names[0])
            return default
        return str(value).strip()

    def texts(self, *names: str) -> list[str]:
        """Return a list of texts; one text or number is a list of one."""
        value = self.take(*names)
        if value is None:
            return []
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(i, bool) or not isinstance(i, str | int | float) for i in items):
            self.complain(say("must be a list of texts"), names[0])
            return []
        return [str(i).strip() for i in items]

    def number(self, *names: str, low: int, high: int) -> int | None:
        """Return a whole number within bounds; None and a finding when it is none."""
        value = self.take(*names)
        if value is None:
            return None
        text = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?\d{1,18}", text) or not low <= int(text) <= high:
            self.complain(
                say(
                    "must be a whole number from {low} to {high}, not {text}", low=low, high=high, text=repr(text[:40])
                ),
                names[0],
            )
            return None
        return int(text)

    def word(self, *names: str, of: Mapping[str, str] | tuple[str, ...]) -> str:
        """Return one word of an enumeration, whatever its case and hyphens; empty and a finding when unknown."""
        value = self.take(*names)
        if value is None:
            return ""
        known = dict(of) if isinstance(of, Mapping) else {word: word for word in of}
        word = str(value).strip().upper().replace("-", "_").replace(" ", "_")
        if word not in known:
            self.complain(
                say(
                    "{value} is unknown; use one of {values}",
                    value=repr(str(value)[:40]),
                    values=", ".join(sorted(set(known.values()))),
                ),
                names[0],
            )
            return ""
        return known[word]

    def objects(self, *names: str) -> list[tuple[str, Any]]:
        """Return `(place, raw)` for each object of a list; one object is a list of one."""
        value = self.take(*names)
        return listed(value, f"{self.place}.{names[0]}", self.findings)

    def require(self, value: object, name: str) -> None:
        """Note that a mandatory member has no value."""
        if value in (None, "", []):
            self.complain(say("is mandatory"), name)

    def complain(self, message: str, name: str = "", *, code: str = "appd-invalid", level: Level = Level.ERROR) -> None:
        """Note one problem at this object, or at its member `name`."""
        self.findings.append(Finding(level, code, f"{self.place}.{name}" if name else self.place, message))

    def leftovers(self) -> None:
        """Note members that this descriptor version does not know; they are dropped."""
        for spelt in self._spelt.values():
            self.complain(say("is not known and is left out"), spelt[:80], code="appd-unknown-member", level=Level.INFO)


def listed(value: Any, place: str, findings: list[Finding]) -> list[tuple[str, Any]]:
    """Return `(place, raw)` for each entry of a list, of a single object, or of nothing."""
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        return [(place, value)]
    if not isinstance(value, list | tuple):
        findings.append(
            Finding(Level.ERROR, "appd-invalid", place, say("must be a list, not {kind}", kind=kind_of(value)))
        )
        return []
    if len(value) > 256:
        findings.append(Finding(Level.ERROR, "appd-invalid", place, say("has more than 256 entries")))
        return []
    return [(f"{place}[{number}]", entry) for number, entry in enumerate(value)]


def kind_of(value: object) -> str:
    """Return what a raw value is, in JSON's words."""
    if isinstance(value, bool):
        return say("true or false")
    for kinds, word in (
        ((str,), "text"),
        ((int, float), "a number"),
        ((Mapping,), "an object"),
        ((list, tuple), "a list"),
    ):
        if isinstance(value, kinds):
            return word
    return "nothing" if value is None else type(value).__name__


def read_required(raw: Any, place: str, findings: list[Finding]) -> tuple[ServiceDependency, ...]:
    """Read `appServiceRequired` or `appServiceOptional`."""
    found = []
    for where, entry in listed(raw, place, findings):
        members = Members(entry, where, findings)
        name = members.text("serName", "serviceName")
        members.require(name, "serName")
        found.append(
            ServiceDependency(
                name,
                members.text("version"),
                _category(members),
                _transports(members, "serTransportDependencies", "transportDependencies"),
                _permissions(members),
                members.text("appId"),
                members.text("packageId"),
            )
        )
        members.leftovers()
    return tuple(s for s in found if s.ser_name)


def read_produced(raw: Any, place: str, findings: list[Finding]) -> tuple[ServiceProduced, ...]:
    """Read `appServiceProduced`."""
    found = []
    for where, entry in listed(raw, place, findings):
        members = Members(entry, where, findings)
        name = members.text("serName", "serviceName")
        members.require(name, "serName")
        found.append(
            ServiceProduced(
                name,
                members.text("version"),
                _category(members),
                _transports(members, "transportsSupported", "transports"),
                tuple(members.texts("dnsRuleIdList")),
                tuple(members.texts("trafficRuleIdList")),
            )
        )
        members.leftovers()
    return tuple(s for s in found if s.ser_name)


def read_features(raw: Any, place: str, findings: list[Finding]) -> tuple[Feature, ...]:
    """Read `appFeatureRequired` or `appFeatureOptional`; a bare text is a name."""
    found = []
    if isinstance(raw, list):
        raw = [{"featureName": e} if isinstance(e, str) else e for e in raw]
    for where, entry in listed(raw, place, findings):
        members = Members(entry, where, findings)
        name = members.text("featureName", "name")
        members.require(name, "featureName")
        found.append(Feature(name, members.text("version")))
        members.leftovers()
    return tuple(f for f in found if f.name)


def _permissions(members: Members) -> tuple[str, ...]:
    """EdgeGallery writes `requestedPermissions: true`; MEC 010-2 leaves the structure open."""
    value = members.take("requestedPermissions")
    if value is None or value is False or value == "false":
        return ()
    if value is True or value == "true":
        return ("all",)
    items = value if isinstance(value, list) else [value]
    return tuple(str(i)[:200] for i in items if isinstance(i, str | int))


def _category(members: Members) -> Mapping[str, Any] | None:
    raw = members.take("serCategory")
    if raw is None or raw == "":
        return None
    inner = Members(
        {"id": raw, "name": raw} if isinstance(raw, str) else raw, f"{members.place}.serCategory", members.findings
    )
    category = {name: inner.text(name) for name in ("href", "id", "name", "version")}
    return {name: value for name, value in category.items() if value} or None


def _transports(members: Members, *names: str) -> tuple[Transport, ...]:
    found = []
    for where, entry in members.objects(*names):
        outer = Members(entry, where, members.findings)
        inner = outer.take("transport")
        told = Members(inner if inner is not None else entry, where, members.findings)
        found.append(
            Transport(
                told.text("type", default="REST_HTTP"),
                told.text("protocol", default="HTTP"),
                told.text("version", default="1.1"),
                tuple(outer.texts("serializers", "serializer")) or ("JSON",),
            )
        )
    return tuple(found)
