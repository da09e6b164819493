"""What engines with a release history of their own share: telling wishes apart, refusing, owning, going back."""

from __future__ import annotations

import hashlib
import json

from core.errors import Conflict, Invalid, Missing
from core.findings import blocking
from core.words import say
from engines.contract import Plan, Release
from engines.helm import Rendered, chartfile
from engines.pods.findings import CARRIES
from engines.store import Kept, Store


def wish_digest(release: Release) -> str:
    """Return what tells one wish from another: the chart's bytes, the values and the package's images."""
    try:
        values = json.dumps(release.values, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Invalid(say("The values must be an object of plain JSON"), field="values") from None
    # Nothing is added where there are no images, so that wishes from before images had IDs are known again.
    images = f"\n{json.dumps(dict(release.images), sort_keys=True)}" if release.images else ""
    return hashlib.sha256(f"{chartfile.check(release.chart)}\n{values}{images}".encode()).hexdigest()


def refuse(plan: Plan) -> None:
    """Raise `Invalid` with every finding that forbids running the chart; nothing has started yet."""
    refused = blocking(plan.findings)
    if refused:
        places = "; ".join(f"{finding.place}: {finding.message}" for finding in refused[:5])
        raise Invalid(
            say(
                "This node cannot run the chart ({refused_count} reasons): {places}",
                refused_count=len(refused),
                places=places,
            ),
            findings=[finding.as_dict() for finding in refused],
        )


def check_owners(store: Store, release: Release, rendered: Rendered) -> None:
    """Raise `Conflict` when another release owns one of the objects: a name in a namespace is given away once."""
    mine = {(each.kind, each.name) for each in rendered.manifests if each.kind in CARRIES}
    for other in store.releases():
        if other.namespace == release.namespace and other.name != release.name:
            shared = sorted(mine & {(each.kind, each.name) for each in other.manifests})
            if shared:
                objects = ", ".join("/".join(each) for each in shared[:5])
                raise Conflict(say("{objects} belongs to the release {name} already", objects=objects, name=other.name))


def roll_back(store: Store, namespace: str, name: str, revision: int | None, generation: int) -> Kept:
    """Make an earlier revision the present one again, as a new revision, and return it.

    Without `revision`: the last one before the present that was ready once, else the last one before. The same wish
    (a generation that rolled back already) twice is one revision.
    """
    kept = store.revisions(namespace, name)
    present = store.current(namespace, name)
    if present is None or present.leaving:
        raise Conflict(say("{name} is being removed", name=name))
    if generation and present.revision.generation == generation and present.revision.description.startswith("Rollback"):
        return present
    target = _target(kept, present, revision)
    return store.add(
        namespace,
        name,
        generation=generation or present.revision.generation,
        chart=target.revision.chart,
        chart_version=target.revision.chart_version,
        digest=target.digest,
        values=target.values,
        manifests=target.manifests,
        status="pending-rollback",
        description=f"Rollback to {target.revision.number}",
        images=target.images,
    )


def _target(kept: list[Kept], present: Kept, revision: int | None) -> Kept:
    if revision is not None:
        found = next((each for each in kept if each.revision.number == revision), None)
        if found is None:
            raise Missing(say("{name} has no revision {revision}", name=present.name, revision=revision))
        return found
    before = [each for each in kept if each.revision.number < present.revision.number]
    good = [each for each in before if each.was_ready] or before
    if not good:
        raise Conflict(say("{name} has no earlier revision to go back to", name=present.name))
    return good[-1]
