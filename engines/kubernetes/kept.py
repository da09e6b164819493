"""Releases as Helm keeps them in the cluster: one Secret a revision, `sh.helm.release.v1.<name>.v<number>`.

Helm's own reading commands would do, but they fetch every revision whole and do not tell labels; status is asked every
few seconds. So metadata is listed (small), and the one wanted Secret is read and remembered. The form has been the same
since Helm 3.0. What this engine knows of a revision lies in the Secret's labels, beside Helm's.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from core.errors import Conflict, Invalid, Missing, Rejected
from core.words import say
from engines.contract import Manifest, Release, Revision
from engines.helm import manifests as yaml
from engines.kubernetes.api import Api, Object
from engines.planning import items, mapping

#: Labels of ours on the Secret of a revision.
GENERATION, CHART, VALUES, ENGINE, INTENT, READY = (
    f"breakwater.io/{word}" for word in ("generation", "chart", "values", "engine", "rolling-back", "ready")
)
PENDING = frozenset(["pending-install", "pending-upgrade", "pending-rollback"])
_REMEMBERED, _LARGEST = 64, 64 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """One revision, without its content."""

    namespace: str
    name: str
    number: int
    status: str
    generation: int
    secret: str
    version: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def wish(self) -> tuple[str, str]:
        """The digests of chart and values."""
        return self.labels.get(CHART, ""), self.labels.get(VALUES, "")

    @property
    def was_ready(self) -> bool:
        """Whether every workload of this very revision has been seen ready."""
        # Helm hands labels on from revision to revision, so this one names its own.
        return self.labels.get(READY) == str(self.number)


@dataclass(frozen=True, slots=True)
class Content:
    """What a revision consists of."""

    chart: str
    chart_version: str
    deployed_at: datetime
    description: str
    manifests: tuple[Manifest, ...] = field(default=(), repr=False)
    hooks: tuple[Manifest, ...] = field(default=(), repr=False)


NOTHING = Content("", "", datetime.fromtimestamp(0, UTC), "")


class Releases:
    """Reads and mends the releases of one cluster."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._contents: OrderedDict[tuple[str, str, str], Content] = OrderedDict()
        self._lock = threading.Lock()

    def revisions(self, namespace: str, name: str) -> list[Kept]:
        """Return the revisions of a release, oldest first; none where there is no release."""
        found = self._api.secrets_metadata(namespace, f"owner=helm,name={name}")
        return sorted((_kept(each) for each in found), key=lambda kept: kept.number)

    def of_engine(self, engine: str) -> list[tuple[str, str]]:
        """Return namespace and name of every release that the engine of this name made."""
        found = self._api.secrets_metadata("", f"owner=helm,{ENGINE}={label(engine)}")
        return sorted({(kept.namespace, kept.name) for kept in map(_kept, found)})

    def any_in(self, namespace: str) -> bool:
        """Say whether the namespace holds any release, whoever made it."""
        return bool(self._api.secrets_metadata(namespace, "owner=helm"))

    def content(self, kept: Kept) -> Content:
        """Return what a revision consists of; `Missing` when it is gone meanwhile."""
        key = (kept.namespace, kept.secret, kept.version)
        with self._lock:
            if key in self._contents:
                self._contents.move_to_end(key)
                return self._contents[key]
        content = _content(self._payload(kept))
        with self._lock:
            self._contents[key] = content
            while len(self._contents) > _REMEMBERED:
                self._contents.popitem(last=False)
        return content

    def revision(self, kept: Kept) -> Revision:
        """Return the revision in the words of the contract: `deployed` only when it has been seen ready.

        Helm calls a revision deployed as soon as the cluster took its objects.
        """
        content = self.content(kept)
        status = kept.status
        if status == "deployed" and not kept.was_ready:
            back = content.description.startswith("Rollback")
            status = "pending-rollback" if back else "pending-install" if kept.number == 1 else "pending-upgrade"
        return Revision(
            number=kept.number,
            generation=kept.generation,
            chart=content.chart,
            chart_version=content.chart_version,
            status=status,
            created_at=content.deployed_at,
            description=content.description,
        )

    def mark(self, kept: Kept, **labels: str) -> None:
        """Set labels of a revision; GENERATION and such as keywords without prefix."""
        named = {f"breakwater.io/{key.replace('_', '-')}": value for key, value in labels.items()}
        self._api.patch("Secret", kept.secret, kept.namespace, {"metadata": {"labels": named}})

    def give_up(self, kept: Kept) -> None:
        """Call a revision failed whose caller died half way: Helm would refuse to touch the release for ever."""
        payload = self._payload(kept)
        payload["info"] = {**mapping(payload.get("info")), "status": "failed", "description": "Interrupted"}
        packed = gzip.compress(json.dumps(payload).encode(), 9)
        self._api.patch(
            "Secret",
            kept.secret,
            kept.namespace,
            {
                # If somebody wrote meanwhile, that caller is not dead.
                "metadata": {"labels": {"status": "failed"}, "resourceVersion": kept.version},
                "data": {"release": base64.b64encode(base64.b64encode(packed)).decode()},
            },
        )

    def _payload(self, kept: Kept) -> dict[str, Any]:
        secret = self._api.find("Secret", kept.secret, kept.namespace)
        if secret is None:
            raise Missing(
                say("The release {name} has no revision {number} any more", name=kept.name, number=kept.number)
            )
        try:
            packed = base64.b64decode(base64.b64decode(str(mapping(secret.get("data")).get("release", ""))))
            unpacked = (
                zlib.decompressobj(wbits=31).decompress(packed, _LARGEST) if packed[:2] == b"\x1f\x8b" else packed
            )
            payload = json.loads(unpacked)
        except (binascii.Error, zlib.error, ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            raise Rejected(
                say(
                    "Revision {number} of the release {name} cannot be read in the cluster",
                    number=kept.number,
                    name=kept.name,
                )
            )
        return payload


def labels_for(release: Release, engine: str, chart: str) -> dict[str, str]:
    """Return the labels of a revision that fulfils this wish; `chart` is the digest of the chart."""
    try:
        values = json.dumps(release.values, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Invalid(say("The values must be an object of plain JSON"), field="values") from None
    own = {
        GENERATION: str(release.generation),
        CHART: chart[:40],
        VALUES: hashlib.sha256(values.encode()).hexdigest()[:40],
        ENGINE: label(engine),
        INTENT: "",
        READY: "",
    }
    return {**{f"breakwater.io/{label(key)}": label(value) for key, value in release.labels.items()}, **own}


def label(text: str) -> str:
    """Return the text as a label's value: what does not fit is replaced (63 characters, RFC 1123 and _ .)."""
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "-_.") else "-" for each in text)
    return kept[:63].strip("-_.")


def next_target(revisions: list[Kept], wanted: int | None) -> Kept:
    """Return the revision to go back to: the wanted one, or the last before the present that was ready."""
    present = revisions[-1]
    if wanted is not None:
        found = next((kept for kept in revisions if kept.number == wanted), None)
        if found is None:
            raise Missing(say("{name} has no revision {wanted}", name=present.name, wanted=wanted))
        return found
    before = [kept for kept in revisions[:-1] if kept.status in {"deployed", "superseded"}]
    good = [kept for kept in before if kept.was_ready] or before
    if not good:
        raise Conflict(say("{name} has no earlier revision to go back to", name=present.name))
    return good[-1]


def _kept(metadata: Object) -> Kept:
    labels = {str(key): str(value) for key, value in mapping(metadata.get("labels")).items()}
    return Kept(
        namespace=str(metadata.get("namespace", "")),
        name=labels.get("name", ""),
        number=_number(labels.get("version")),
        status=labels.get("status", "unknown"),
        generation=_number(labels.get(GENERATION)),
        secret=str(metadata.get("name", "")),
        version=str(metadata.get("resourceVersion", "")),
        labels=labels,
    )


def _content(payload: Mapping[str, Any]) -> Content:
    info, chart = mapping(payload.get("info")), mapping(mapping(payload.get("chart")).get("metadata"))
    hooks = [
        manifest for hook in items(payload.get("hooks")) for manifest in yaml.manifests(str(hook.get("manifest", "")))
    ]
    return Content(
        chart=str(chart.get("name", "")),
        chart_version=str(chart.get("version", "")),
        deployed_at=_moment(info.get("last_deployed")),
        description=str(info.get("description", "")),
        manifests=yaml.manifests(str(payload.get("manifest", ""))),
        hooks=tuple(hooks),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
