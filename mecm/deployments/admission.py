"""What may be wished for at all: the name, the namespace, the values and the package of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError

from appstore.packages import gates, states
from appstore.packages.models import Package
from core.accounts.models import Organisation
from core.errors import Conflict, Invalid
from core.words import say
from mecm.deployments import secrecy
from mecm.deployments import values as given
from mecm.deployments.models import Deployment
from mecm.nodes.models import DNS_LABEL


def check_name(name: str) -> str:
    """Return the name of a release; `Invalid` when it can be none."""
    try:
        DNS_LABEL(name)
    except ValidationError as problem:
        raise Invalid(
            say("name {messages}", messages=problem.messages[0]),
            errors=[{"field": "name", "detail": problem.messages[0]}],
        ) from None
    if len(name) > 53:  # Helm's limit for release names
        raise Invalid(
            say("name must be at most 53 characters"), errors=[{"field": "name", "detail": say("is too long")}]
        )
    return name


def namespace_of(organisation: Organisation) -> str:
    """Return the namespace of a tenant, the same on every node."""
    return f"t-{organisation.slug}"


def values_for(present: Deployment | None, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the values with what is present in the place of each mark; without any, those that are present.

    `Invalid` names the field of a mark where nothing is to be kept.
    """
    there = present.values if present is not None else {}
    if values is None:
        return dict(there)
    return given.check(secrecy.kept(given.check(values), there))


def deployable(package: Package, organisation_id: UUID) -> None:
    """Pass when the organisation may begin to run the package."""
    if package.state not in states.LISTED:
        why = f" {package.state_reason}" if package.state in states.MARKED and package.state_reason else ""
        raise Conflict(
            say(
                "{name} is {state}; only a published package is deployed.{why}",
                name=package.name or package.filename,
                state=package.state,
                why=why,
            ),
            state=package.state,
        )
    if package.visibility != Package.Visibility.PUBLIC and package.organisation_id != organisation_id:
        raise Conflict(
            say("{package} is for its own organisation and partner stores; ask its publisher.", package=package)
        )
    gates.require("deploy", package, organisation_id)


def again_deployable(package: Package, organisation_id: UUID) -> None:
    """Pass when a package that ran here may be gone back to: a yanked one, and one that is hidden by now, too."""
    if package.state not in states.KEPT:
        raise Conflict(
            say(
                "{package} is {state}, so there is no way back to it. {state_reason}",
                package=package,
                state=package.state,
                state_reason=package.state_reason,
            ).strip(),
            state=package.state,
        )
    gates.require("deploy", package, organisation_id)


def same_application(present: Package, wanted: Package) -> None:
    """Pass when one package is another release of the same application as the other."""
    if (present.name, present.provider) != (wanted.name, wanted.provider):
        raise Conflict(
            say(
                "{wanted_name} of {wanted_provider} is another application than {present_name} of "
                "{present_provider}; deploy it beside, under a name of its own.",
                wanted_name=wanted.name,
                wanted_provider=wanted.provider,
                present_name=present.name,
                present_provider=present.provider,
            )
        )


def same_wish(deployment: Deployment, package: Package, values: Mapping[str, Any]) -> bool:
    """Return whether the deployment is wished for like this already; what failed may be wished for again."""
    same = deployment.package_id == package.pk and deployment.values == values
    return same and deployment.state != Deployment.State.FAILED
