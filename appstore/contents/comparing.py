"""What differs between two releases, topic by topic, in words. Touches nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from appstore.contents.facts import Component, Facts, ImageFact, Permission
from core.words import say

Row = TypeVar("Row")

TOPICS = ("permissions", "images", "components", "licences", "objects", "ports")
_SEVERITIES = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True, slots=True)
class Step:
    """One difference: `what` it is about, how it was and how it is; one of the two is empty when it came or went."""

    what: str
    before: str = ""
    after: str = ""
    severity: str = ""


@dataclass(slots=True)
class Topic:
    """What came, went and changed in one topic."""

    added: list[Step] = field(default_factory=list)
    removed: list[Step] = field(default_factory=list)
    changed: list[Step] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(slots=True)
class Difference:
    """Everything that differs between a release and the one before it.

    `parts` are the words of `certification.contract.Part` whose content differs: a check that looks at none of them
    comes to the same result. `reasons` says why a person should look at the release before it is published.
    """

    permissions: Topic = field(default_factory=Topic)
    images: Topic = field(default_factory=Topic)
    components: Topic = field(default_factory=Topic)
    licences: Topic = field(default_factory=Topic)
    objects: Topic = field(default_factory=Topic)
    ports: Topic = field(default_factory=Topic)
    parts: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    #: The version of the release before; the caller knows it.
    previous: str = ""

    @property
    def needs_review(self) -> bool:
        """Whether what the application may do, or who signed it, is not what it was."""
        return bool(self.reasons)

    def topics(self) -> list[tuple[str, Topic]]:
        """Return the topics in the order in which people should read them."""
        return [(name, getattr(self, name)) for name in TOPICS]

    def __bool__(self) -> bool:
        return any(topic for _, topic in self.topics()) or bool(self.reasons)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "needs_review": self.needs_review}


def compare(old: Facts, new: Facts) -> Difference:
    """Return what differs from `old` to `new`."""
    found = Difference(
        permissions=_topic(old.permissions, new.permissions, _permission_key, _permission_words, lambda p: p.severity),
        images=_images(old.images, new.images),
        components=_components(old.components, new.components),
        licences=_topic(_licences(old), _licences(new), str, str),
        objects=_topic(old.objects, new.objects, _object_key, _object_words),
        ports=_topic(old.ports, new.ports, _port_key, _port_words),
        parts=changed_parts(old.parts, new.parts),
    )
    for steps in (found.permissions.added, found.permissions.removed, found.permissions.changed):
        steps.sort(key=lambda step: (_SEVERITIES.get(step.severity, 3), step.what))
    if found.permissions:
        gained = [step for step in (*found.permissions.added, *found.permissions.changed) if step.severity == "high"]
        if len(gained) > 1:
            found.reasons.append(
                say("It asks for {count} grave permissions that it did not ask for before.", count=len(gained))
            )
        elif gained:
            found.reasons.append(say("It asks for 1 grave permission that it did not ask for before."))
        else:
            found.reasons.append(say("What it asks for is not what it was."))
    if not new.rendered:
        found.reasons.append(say("Its chart cannot be rendered with its own values, so what it asks for is not known."))
    if old.signer != new.signer:
        found.reasons.append(_signer_words(old, new))
    return found


def changed_parts(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the parts whose digests differ; a part that one of the two does not know differs."""
    return sorted(part for part in {*old, *new} if not old.get(part) or old.get(part) != new.get(part))


def _signer_words(old: Facts, new: Facts) -> str:
    before, after = old.signer_name or old.signer, new.signer_name or new.signer
    if not old.signer:
        return say("It is signed by {after}; the release before was not signed.", after=after)
    if not new.signer:
        return say("It is not signed; the release before was signed by {before}.", before=before)
    return say(
        "It is signed by {after} with another certificate than the release before ({before}).",
        after=after,
        before=before,
    )


def _topic(
    old: Iterable[Row],
    new: Iterable[Row],
    key: Callable[[Row], Hashable],
    words: Callable[[Row], str],
    severity: Callable[[Row], str] = lambda row: "",
) -> Topic:
    """Compare two lists of rows that a key tells apart."""
    before, after = {key(row): row for row in old}, {key(row): row for row in new}
    topic = Topic()
    for name, row in after.items():
        was = before.get(name)
        if was is None:
            topic.added.append(Step(words(row), after=words(row), severity=severity(row)))
        elif words(was) != words(row) or severity(was) != severity(row):
            topic.changed.append(Step(words(row), words(was), words(row), severity(row)))
    topic.removed = [Step(words(row), before=words(row), severity=severity(row))
                     for name, row in before.items() if name not in after]  # fmt: skip
    return topic


def _permission_key(each: Permission) -> Hashable:
    return each.code, each.place, each.value


def _permission_words(each: Permission) -> str:
    return f"{each.place} {each.words}"


def _object_key(each: Mapping[str, str]) -> Hashable:
    return each.get("kind"), each.get("namespace"), each.get("name")


def _object_words(each: Mapping[str, str]) -> str:
    namespace = each.get("namespace")
    return f"{each.get('kind')}/{each.get('name')}" + (f" in {namespace}" if namespace else "")


def _port_key(each: Mapping[str, Any]) -> Hashable:
    return each.get("kind"), each.get("place"), each.get("port"), each.get("protocol")


def _port_words(each: Mapping[str, Any]) -> str:
    name = f" ({each['name']})" if each.get("name") else ""
    kind = f", {each['type']}" if each.get("type") not in (None, "", "ClusterIP") else ""
    return f"{each.get('place')} port {each.get('port')}/{each.get('protocol')}{name}{kind}"


def _licences(facts: Facts) -> list[str]:
    return sorted({*facts.licences, *(each.licence for each in facts.components if each.licence)})


def _images(old: Iterable[ImageFact], new: Iterable[ImageFact]) -> Topic:
    return _versions(
        ((_image_name(each), _image_version(each)) for each in old),
        ((_image_name(each), _image_version(each)) for each in new),
    )


def _image_name(each: ImageFact) -> str:
    name = each.reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _image_version(each: ImageFact) -> str:
    tag = each.reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    digest = each.digest.removeprefix("sha256:")[:12]
    where = "in the package" if each.carried else "from a registry"
    said = " ".join(part for part in (tag, f"sha256:{digest}" if digest else "") if part) or "any version"
    return f"{said}, {where}"


def _components(old: Iterable[Component], new: Iterable[Component]) -> Topic:
    """Packages and charts by name and place; images are a topic of their own."""

    def rows(components: Iterable[Component]) -> Iterable[tuple[str, str]]:
        for each in components:
            if each.kind != "image":
                place = each.place.rpartition("/")[2].partition(":")[0] if each.kind != "chart" else ""
                yield f"{each.kind} {each.name}" + (f" in {place}" if place else ""), each.version or "no version"

    return _versions(rows(old), rows(new))


def _versions(old: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]]) -> Topic:
    """Compare what has a name and a version; one name may be there in several versions."""
    before, after = _grouped(old), _grouped(new)
    topic = Topic()
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was is None:
            topic.added.append(Step(name, after=", ".join(now or ())))
        elif now is None:
            topic.removed.append(Step(name, before=", ".join(was)))
        elif was != now:
            topic.changed.append(Step(name, ", ".join(was), ", ".join(now)))
    return topic


def _grouped(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for name, version in rows:
        found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in found.items()}
