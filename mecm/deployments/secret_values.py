"""Secrets in the values of deployments: what may be shown, what a mark keeps, and texts that quote none.

Whoever shows values takes them from here. Only the spec that goes to the node, and the chart's renderer, get real ones.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from core.errors import BreakwaterError
from mecm.deployments import secrecy

if TYPE_CHECKING:
    from appstore.packages.models import Package
    from mecm.deployments.models import Deployment

#: A secret that is shorter is replaced only where it stands alone: else every "1" in a text would go.
_SHORT = 5


def schemas_of(packages: Iterable[Package]) -> list[Mapping[str, Any]]:
    """Return what the charts of these releases say of their values; `UNREAD` for one that cannot be read any more."""
    from mecm.deployments import fitting  # which renders charts, and rendering asks here what it must not quote

    found: dict[str, Mapping[str, Any]] = {}
    for package in packages:
        if package.chart_sha256 not in found:
            try:
                found[package.chart_sha256] = fitting.chart_of(package).schema
            except BreakwaterError:
                found[package.chart_sha256] = secrecy.UNREAD
    return list(found.values())


def schemas_for(deployment: Deployment) -> list[Mapping[str, Any]]:
    """Return what every release that the deployment ever had says of its values. One query.

    What was a secret to one of them stays one, so that another release does not show what is kept.
    """
    return schemas_of([deployment.package, *_releases_of(deployment)])


def _releases_of(deployment: Deployment) -> Iterable[Package]:
    from appstore.packages.models import Package  # the judging of values needs no database

    ran = deployment.revisions.order_by().values("package")
    return Package.objects.filter(pk__in=ran).only("name", "chart_sha256")


def shown(values: Any, *packages: Package) -> Any:
    """Return values as they may be shown: each secret is the mark, by the word of any of the releases."""
    return secrecy.hidden(values, *schemas_of(packages)) if values else values


def shown_of(deployment: Deployment, values: Any = None) -> Any:
    """Return the deployment's values (or others of its history) as they may be shown. One query."""
    values = deployment.values if values is None else values
    return secrecy.hidden(values, *schemas_for(deployment)) if values else values


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which none of the secrets stands, as it is, quoted or in base64; the mark stands there."""
    for secret in sorted(secrets, key=len, reverse=True):
        plain = secret.encode(errors="replace")
        quoted = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]
        forms = {secret, *quoted, secret.strip(), *secret.splitlines()}
        if len(secret) >= _SHORT:
            forms |= {base64.b64encode(plain).decode(), base64.urlsafe_b64encode(plain).decode()}
        for form in sorted(filter(None, forms), key=len, reverse=True):
            if len(form) >= _SHORT:
                text = text.replace(form, secrecy.HIDDEN)
            else:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", lambda _found: secrecy.HIDDEN, text)
    return text


def scrubbed_all(told: Any, secrets: Iterable[str]) -> Any:
    """Return JSON in which no text holds one of the secrets."""
    known = list(secrets)
    if not known:
        return told
    if isinstance(told, str):
        return scrubbed(told, known)
    if isinstance(told, Mapping):
        return {key: scrubbed_all(inner, known) for key, inner in told.items()}
    if isinstance(told, list | tuple):
        return [scrubbed_all(inner, known) for inner in told]
    return told


def quoting_none(error: BreakwaterError, secrets: Iterable[str]) -> BreakwaterError:
    """Return the error with none of the secrets in what it tells."""
    known = list(secrets)
    if known:
        error.detail = scrubbed(error.detail, known)
        error.context = scrubbed_all(error.context, known)
        error.args = (error.detail, *error.args[1:])
    return error


def of(package: Package, values: Any) -> set[str]:
    """Return the secrets in values that are for one release, to look for them in texts. No query."""
    return secrecy.secrets_in(values, *schemas_of([package])) if values else set()


def in_deployment(deployment: Deployment) -> set[str]:
    """Return the secrets of a deployment, to look for them in what its node tells. One query."""
    return secrecy.secrets_in(deployment.values, *schemas_for(deployment)) if deployment.values else set()
