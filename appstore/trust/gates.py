"""The gate of this topic: what the signature policies and the names of verified publishers allow."""

from __future__ import annotations

from uuid import UUID

from appstore.packages.gates import Deed
from appstore.packages.models import Package
from appstore.trust import services, trustlists
from appstore.trust.models import PublisherClaim
from appstore.trust.names import key_of
from appstore.trust.standing import Standing, State
from core.errors import Conflict
from core.words import say

_RANK = {State.BROKEN: 0, State.UNSIGNED: 1, State.UNKNOWN: 2, State.TRUSTED: 3}
_WANTED = {State.UNKNOWN: say("signed"), State.TRUSTED: say("signed by a publisher on the trust list")}
_DONE = {"publish": say("published"), "deploy": say("deployed"), "import": say("imported")}


def gate(deed: Deed, package: Package, organisation_id: UUID) -> None:
    """Pass, or raise `Conflict`: the signature is worth less than the organisation or the store asks for.

    What the store asks for is judged by the store's own list: nobody meets it by trusting themselves. A broken signature
    is never accepted. Nobody publishes under the name of a publisher that somebody else has proved to be.
    """
    if deed not in _DONE:
        return  # a deed that the signature says nothing about
    if package.signature.get("state") == "invalid":
        problem = package.signature.get("problem") or "it does not fit to the content"
        raise Conflict(
            say(
                "{package} cannot be {deed}: its signature does not hold ({problem}). Get it again from its publisher.",
                package=package,
                deed=_DONE[deed],
                problem=problem,
            ),
            signature=str(State.BROKEN),
        )
    both = trustlists.policies(organisation_id)
    for whose, policy in (("store", both.store), *((("organisation", both.own),) if both.apart else ())):
        least = policy.least(deed)
        if least is State.UNSIGNED:
            continue
        found = services.judgement(package, policy.pk)
        if not enough(found.standing, least):
            raise Conflict(
                say(
                    "{package} cannot be {deed}: the policy of the {whose} asks that it is {least}. {reason} {remedy}",
                    package=package,
                    deed=_DONE[deed],
                    whose=whose,
                    least=_WANTED[least],
                    reason=found.standing.reason,
                    remedy=found.remedy,
                ).strip(),
                signature=str(found.standing.state),
                needed=str(least),
                policy=whose,
            )
    if deed == "publish" and not package.origin:
        _own_name(package)


def enough(standing: Standing, least: State) -> bool:
    """Return whether a standing is at least the state that a policy asks for."""
    return standing.state is not State.BROKEN and _RANK[standing.state] >= _RANK[least]


def _own_name(package: Package) -> None:
    key = key_of(package.provider)
    if not key:
        return
    claims = list(PublisherClaim.objects.reserving().filter(provider_key=key).select_related("organisation"))
    # Whoever proves it last has it: a proof that lapsed keeps a name only until somebody else proves it.
    owners = [claim for claim in claims if claim.state == PublisherClaim.State.VERIFIED] or claims
    if not owners or any(claim.organisation_id == package.organisation_id for claim in owners):
        return
    raise Conflict(
        say(
            "{provider} is {name}, as they have proved; another organisation cannot publish "
            "under this name. Use your own provider name, or ask the operator of this store.",
            provider=owners[0].provider,
            name=owners[0].organisation.name,
        ),
        provider=package.provider,
    )
