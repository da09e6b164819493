"""What a rule would do before it is wished for: in words, as a picture, beside the rules of its node, about a packet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from core.errors import BreakwaterError
from frontend.steering import naming, picture, words
from frontend.steering.forms import PacketForm
from mecm.deployments.models import Deployment
from mecm.steering import checking, judging, table
from mecm.steering.models import DNS, TRAFFIC
from upf_adapter.contract import TrafficRule


def of(
    deployment: Deployment,
    kind: str,
    rule_id: str,
    members: Mapping[str, Any],
    *,
    told: table.Told,
    others: list[table.Line],
    state: str = "",
    packet: PacketForm | None = None,
) -> dict[str, Any]:
    """Return what a page shows of a rule that is written: sentence, pictures, what it is in the way of, a verdict.

    `Invalid` when it is no rule, `Refused` when the node's user plane said that it cannot do it.
    """
    content = checking.content(kind, members)
    said: dict[str, Any] = {"sentence": words.sentence(kind, content, deployment.name), "off": state == "INACTIVE"}
    if kind == DNS:
        return said | naming.of(deployment, rule_id, content, told=told, others=others)
    rule = checking.as_rule(f"{deployment.app_instance_id}/{rule_id}", content)
    checking.expressible(rule, told.plane)
    known = judging.with_wishes(judging.of_node(deployment.node_id), _coming(others, rule.id))
    draft = judging.drafted(known, rule, name=rule_id, app=deployment.name, active=state != "INACTIVE")
    names = {each.rule.id: each for each in draft.steering.rules}
    said |= {
        "findings": [
            {
                "kind": each.kind,
                "mine": each.rule.id == rule.id,
                "rule": names[each.rule.id],
                "others": [names[one.id] for one in each.others],
                "example": each.example,
            }
            for each in draft.findings
        ],
        "pictures": _pictures(draft, rule, deployment.name, str(told.plane.get("adapter", ""))),
        "compared": draft.steering.compared,
        "simulated": draft.steering.simulated,
    }
    if packet is not None and packet.is_bound and packet.is_valid():
        verdict = draft.steering.judge(packet.packet())
        said |= {"verdict": verdict, "fate": judging.fate(verdict.now), "by_this": verdict.now is draft.reported}
    return said


def tried(*args: Any, **options: Any) -> dict[str, Any]:
    """As `of`, with the reason in `refused` where there is nothing to show."""
    try:
        return of(*args, **options)
    except BreakwaterError as error:
        return {"refused": error.detail}


def _coming(others: list[table.Line], besides: str) -> list[tuple[TrafficRule, str, str, bool]]:
    """Return the rules of the application that are wished for and not yet reported as such."""
    found = []
    for each in others:
        key = f"{each.instance}/{each.rule_id}"
        if each.kind != TRAFFIC or each.wish is None or each.outcome not in ("pending", "applied") or key == besides:
            continue
        active = each.wished_state != "INACTIVE" and (bool(each.wished_state) or each.state != "INACTIVE")
        found.append((checking.as_rule(key, each.rule), each.rule_id, each.app, active))
    return found


def _pictures(draft: judging.Draft, mine: TrafficRule, app: str, plane: str) -> list[picture.Picture]:
    near = {
        mine.id,
        *(each.rule.id for each in draft.findings),
        *(o.id for each in draft.findings for o in each.others),
    }
    shown = [each for each in draft.steering.rules if each.rule.id in near]
    # The one that the picture is about stays in it, however many come before.
    at = next(index for index, each in enumerate(shown) if each.rule.id == mine.id)
    shown = shown[max(0, at - picture.MOST + 1) :]
    return picture.draw([_stop(each, mine.id) for each in shown], plane or _("not known"))


def _stop(each: judging.Reported, mine: str) -> picture.Stop:
    members = {
        "action": each.rule.action,
        "dstInterface": list(each.rule.destinations),
        "trafficFilter": list(each.rule.filters),
    }
    action = each.rule.action
    look = "drop" if action == "DROP" else "internet" if action == "PASSTHROUGH" else "app"
    return picture.Stop(
        f"{each.rule.priority} · {each.name}",
        words.matching(members),
        words.end(members, each.app).capitalize() if look != "app" else words.end(members, each.app),
        look,
        mine=each.rule.id == mine,
        active=each.active,
    )
