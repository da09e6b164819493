"""Helm behind one small contract: the Python SDK or a `helm` binary, same errors, same answers."""

from __future__ import annotations

from core.errors import Invalid
from core.words import say
from engines.helm.port import Cluster, Helm, HelmRelease, Rendered

__all__ = ["Cluster", "Helm", "HelmRelease", "Rendered", "helm"]


def helm(choice: str = "sdk") -> Helm:
    """Return the adapter called `choice`: `sdk` (no binary needed) or `cli` (a `helm` on PATH, or a path to one)."""
    if choice == "sdk":
        from engines.helm.sdk import SdkHelm  # the adapters are imported when chosen

        return SdkHelm()
    if choice == "cli" or "/" in choice:
        from engines.helm.cli import CliHelm

        return CliHelm("helm" if choice == "cli" else choice)
    raise Invalid(
        say("There is no Helm adapter {choice}; use sdk, cli or the path of a helm binary", choice=repr(choice))
    )
