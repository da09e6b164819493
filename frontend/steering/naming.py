"""What a DNS rule would do among the others about its name: who is told what, in words and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from frontend.steering import picture, words
from mecm.deployments.models import Deployment
from mecm.steering import names, table
from mecm.steering.models import DNS


def of(
    deployment: Deployment,
    rule_id: str,
    content: Mapping[str, Any],
    *,
    told: table.Told,
    others: list[table.Line],
) -> dict[str, Any]:
    """Return the sentence, pictures and encounters of a rule that is written, judged scope by scope."""
    line = next((each for each in others if each.rule_id == rule_id), None)
    said = content.get("scope")
    scope = str(said) if said is not None else _unsaid(line)
    mine = names.Answer(rule_id, deployment.name, str(content["ipAddressType"]), str(content["ipAddress"]), scope)
    about = _others(str(deployment.app_instance_id), rule_id, str(content["domainName"]), told, others)
    whole = {**content, "scope": scope}
    return {
        "sentence": words.sentence(DNS, whole, deployment.name),
        "same_name": [
            {
                "how": each.how,
                "rule": each.other.rule_id,
                "app": each.other.app,
                "address": each.other.address,
                "who": words.scope(each.other.scope, told.scopes),
            }
            for each in names.encounters(mine, about, told.scopes)
        ],
        "no_scope": scope if names.missing(scope, told.scopes) else "",
        "pictures": picture.draw_names(_stops(mine, about, told.scopes), str(content["domainName"])),
    }


def _unsaid(line: table.Line | None) -> str:
    """Return the scope of a rule that names none: that of its package, or what was set at the node."""
    if line is None:
        return names.EVERYBODY
    told = (each.get("scope") for each in (line.own or {}, line.live or {}))
    return next((each for each in told if isinstance(each, str)), names.EVERYBODY)


def _others(instance: str, rule_id: str, name: str, told: table.Told, others: list[table.Line]) -> list[names.Answer]:
    """Return the other rules about a name: of this application as wished, of others on the node as reported."""
    found = [
        _answer(each.rule_id, each.app, each.rule, each.scope)
        for each in others
        if each.kind == DNS and each.rule_id != rule_id and each.rule.get("domainName") == name
        and each.wished_state != "INACTIVE" and each.source != table.LOST
    ]  # fmt: skip
    for (kind, other, its_id), raw in told.rules.items():
        if kind == DNS and other != instance and raw.get("domainName") == name:
            scope = raw.get("scope")
            app = told.apps.get(other) or other
            found.append(_answer(its_id, app, raw, scope if isinstance(scope, str) else names.EVERYBODY))
    return found


def _answer(rule_id: str, app: str, rule: Mapping[str, Any], scope: str) -> names.Answer:
    return names.Answer(rule_id, app, str(rule.get("ipAddressType", "")), str(rule.get("ipAddress", "?")), scope)


def _stops(
    mine: names.Answer, others: list[names.Answer], scopes: Mapping[str, names.Scope] | None
) -> list[picture.Stop]:
    """Return one stop for each scope that knows the name, in the order in which the node asks them."""
    by_scope: dict[str, list[names.Answer]] = {}
    for each in [mine, *others]:
        if each is mine or not names.missing(each.scope, scopes):
            by_scope.setdefault(each.scope, []).append(each)

    def order(scope: str) -> tuple[int, str]:
        known = names.rank(scope, scopes)
        # Of a scope whose kind is not known only so much is: it comes before what is for everybody.
        return (len(names.KINDS) - 1 if known is None else known), scope

    ordered = sorted(by_scope, key=order)
    # The one that the picture is about stays in it, however many come before.
    ordered = ordered[max(0, ordered.index(mine.scope) - picture.MOST + 1) :]
    return [_stop(scope, by_scope[scope], mine, scopes) for scope in ordered]


def _stop(
    scope: str, answers: list[names.Answer], mine: names.Answer, scopes: Mapping[str, names.Scope] | None
) -> picture.Stop:
    known = (scopes or {}).get(scope)
    if not scope:
        title, who = _("Everybody"), _("all other clients")
    else:
        title = words.scope(scope, {scope: names.Scope(known.name, known.kind)} if known else None)
        lacking = _("the node has no such scope") if names.missing(scope, scopes) else _("its clients")
        who = words.prefixes(known) if known and known.networks else lacking
    return picture.Stop(
        f"{title[:1].upper()}{title[1:]}",
        who,
        ", ".join(dict.fromkeys(each.address for each in answers)),
        "app",
        mine=scope == mine.scope,
        active=not names.missing(scope, scopes),
        note=", ".join(dict.fromkeys(each.app for each in answers)),
    )
