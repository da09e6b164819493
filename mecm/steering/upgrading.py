"""What another release means for rules that an operator changed: told before the upgrade, in one query for all nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from appstore.packages.models import Package
from core.errors import Invalid
from mecm.steering import checking
from mecm.steering.models import DESCRIBED_AS, ID_OF, KINDS, RuleWish

#: The release has no such rule; says something else than when it was changed; has a rule of the name of an added one.
LOST, DIFFERS, MEETS = "rule-lost", "rule-differs", "rule-meets"
_WORDS = {
    LOST: "the {kind} rule {id!r} was changed by an operator and this release has none of that id: the change would be lost",
    DIFFERS: "the {kind} rule {id!r} was changed by an operator and this release says something else in it than the "
    "changed rule was made from: the operator's content would stay",
    MEETS: "the {kind} rule {id!r} was added by an operator and this release has one of that id: the operator's content "
    "would stand in its place",
}


@dataclass(frozen=True, slots=True)
class Consequence:
    """What becomes of one changed rule with another release."""

    code: str
    kind: str
    rule_id: str

    @property
    def message(self) -> str:
        """It in words."""
        return _WORDS[self.code].format(kind={"dns": "DNS"}.get(self.kind, self.kind), id=self.rule_id)


def consequences(package: Package, deployments: Iterable[UUID]) -> dict[UUID, list[Consequence]]:
    """Return what becomes of the changed rules of each deployment with this release, where there is something to say.

    One query, however many deployments; nothing is touched.
    """
    rows = RuleWish.objects.filter(rule_set__in=list(deployments)).order_by("kind", "rule_id")
    found: dict[UUID, list[Consequence]] = defaultdict(list)
    described = {kind: _described(package.descriptor or {}, kind) for kind in KINDS}
    for key, kind, rule_id, rule, base, made in rows.values_list(
        "rule_set_id", "kind", "rule_id", "rule", "base", "made"
    ):
        code = judge(kind, described[kind].get(rule_id), rule=rule, base=base, made=made)
        if code:
            found[key].append(Consequence(code, kind, rule_id))
    return dict(found)


def judge(kind: str, own: Any, *, rule: Any, base: Any, made: bool) -> str:
    """Return the code of what becomes of one changed rule; `own` is what the release says, None when it has no such rule."""
    if own is None:
        return "" if made else LOST
    said = _content(kind, own)
    if rule is None or said == rule:
        return ""
    if made:
        return MEETS
    return DIFFERS if base is not None and said != _content(kind, base) else ""


def _described(descriptor: Mapping[str, Any], kind: str) -> dict[str, Any]:
    raw = descriptor.get(DESCRIBED_AS[kind])
    return (
        {str(each.get(ID_OF[kind], "")): each for each in raw or () if isinstance(each, dict)}
        if isinstance(raw, list)
        else {}
    )


def _content(kind: str, raw: Any) -> Any:
    try:
        return checking.content(kind, raw)
    except Invalid:
        return raw
