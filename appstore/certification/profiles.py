"""What is demanded: the profile of an organisation, that of the store's operator, or the usual one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from appstore.certification import suites
from appstore.certification.models import LEVELS, Profile
from appstore.certification.verdicts import Demand
from core.accounts import services as accounts
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Invalid, Missing
from core.words import say

#: What holds where nobody has said anything: nothing is needed to publish or to deploy.
USUAL: Final[dict[str, Any]] = {
    "suites": ["static-full"],
    "levels": {
        "basic": {"suites": ["static-basic"], "gates": "error", "without": []},
        "standard": {"suites": ["static-full"], "gates": "error", "without": []},
        "telco": {"suites": ["static-full", "live", "manual"], "gates": "error", "without": []},
    },
    "options": {},
    "values": {},
    "publish_level": "",
    "deploy_level": "",
    "import_level": "",
    "valid_days": 365,
}
_MEMBERS = tuple(USUAL)
_MOST = 50


def of(organisation_id: UUID | Any) -> dict[str, Any]:
    """Return the profile by which packages of that organisation are judged: its own, the operator's, or the usual one."""
    both = _both(organisation_id)
    rows = {row.organisation_id: row for row in Profile.objects.filter(organisation_id__in=both)}
    for each in both:
        if each in rows:
            return {name: getattr(rows[each], name) for name in _MEMBERS}
    return {name: value.copy() if isinstance(value, dict | list) else value for name, value in USUAL.items()}


def needed(deed: str, organisation_id: UUID | Any) -> list[tuple[str, str]]:
    """Return the levels that a deed of that organisation needs, each with who demands it: `own` or `operator`."""
    if deed not in ("publish", "deploy", "import"):
        return []
    both = _both(organisation_id)
    rows = {row.organisation_id: row for row in Profile.objects.filter(organisation_id__in=both)}
    found = []
    for each, who in zip(both, ("own", "operator"), strict=False):
        level = getattr(rows[each], f"{deed}_level") if each in rows else ""
        if level:
            found.append((level, who))
    return found


def demands(profile: Mapping[str, Any]) -> list[Demand]:
    """Return what each level of a profile asks for, from the lowest up."""
    return [
        Demand(
            level,
            tuple(profile["levels"][level]["suites"]),
            profile["levels"][level].get("gates", "error"),
            frozenset(profile["levels"][level].get("without", [])),
        )
        for level in LEVELS
        if level in profile["levels"]
    ]


@transaction.atomic
def save(organisation: Organisation, *, actor: Actor, **changes: Any) -> Profile:
    """Change what an organisation demands; `Invalid` names the member that is wrong. What ran is not judged again."""
    actor.require("certification.manage", organisation)
    wanted = {**of(organisation.pk), **changes}
    _check(wanted)
    profile, _ = Profile.objects.update_or_create(
        organisation=organisation, defaults={name: wanted[name] for name in _MEMBERS}
    )
    facts = {name: wanted[name] for name in ("suites", "publish_level", "deploy_level", "import_level", "valid_days")}
    audit.record(actor, "certification.profile", profile, organisation=organisation, **facts)
    return profile


def _check(wanted: Mapping[str, Any]) -> None:
    # A built-in suite may have no check yet and still be asked for: then its level is not reached.
    known = {suite.name for suite in suites.all_newest()} | {name for name, _, _ in suites.BUILTIN}
    checks = suites.known()
    if set(wanted) - set(_MEMBERS):
        raise Invalid(
            say("A profile has no {wanted}", wanted=", ".join(sorted(set(wanted) - set(_MEMBERS)))), field="profile"
        )
    _names(wanted["suites"], known, "suites", "suite")
    levels = wanted["levels"]
    if not isinstance(levels, dict) or set(levels) - set(LEVELS):
        raise Invalid(say("The levels are {levels}", levels=", ".join(LEVELS)), field="levels")
    for level, demand in levels.items():
        if not isinstance(demand, dict) or set(demand) - {"suites", "gates", "without"}:
            raise Invalid(say("{level} has suites, gates and without", level=level), field=f"levels.{level}")
        _names(demand.get("suites"), known, f"levels.{level}.suites", "suite")
        if not demand["suites"]:
            raise Invalid(say("{level} must ask for at least one suite", level=level), field=f"levels.{level}.suites")
        if demand.get("gates", "error") not in ("error", "warning"):
            raise Invalid(say("gates is error or warning"), field=f"levels.{level}.gates")
        _names(demand.get("without", []), set(checks), f"levels.{level}.without", "check")
    if not isinstance(wanted["options"], dict) or not isinstance(wanted["values"], dict):
        raise Invalid(say("Options and values are objects"), field="options")
    for name, options in wanted["options"].items():
        if name not in checks or not isinstance(options, dict):
            raise Invalid(say("There is no check {name}", name=str(name)[:80]), field="options")
        suites.settle(checks[name], options)
    for deed in ("publish", "deploy", "import"):
        level = wanted[f"{deed}_level"]
        if level and level not in levels:
            raise Invalid(say("That level is not described by this profile"), field=f"{deed}_level")
    days = wanted["valid_days"]
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 3660:
        raise Invalid(say("A certificate is valid for 1 to 3660 days"), field="valid_days")


def _names(given: Any, known: set[str], field: str, what: str) -> None:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > _MOST:
        raise Invalid(say("Give a list of up to {most} names", most=_MOST), field=field)
    for name in given:
        if name not in known:
            raise Invalid(
                say(
                    "There is no {what} {name}; there are {known}",
                    what=what,
                    name=repr(str(name)[:80]),
                    known=", ".join(sorted(known)),
                ),
                field=field,
            )


def _both(organisation_id: UUID | Any) -> list[Any]:
    """Return the organisation and the operator of the store; one id when they are the same."""
    try:
        operator = accounts.operator().pk
    except Missing:
        return [organisation_id]
    return [organisation_id] if str(operator) == str(organisation_id) else [organisation_id, operator]
