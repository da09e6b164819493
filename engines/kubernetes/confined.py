"""Helm as this engine wants it: it makes no namespaces, for it acts as a user who may not make any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from core.errors import Invalid
from core.words import say
from engines.helm import Cluster, Helm
from engines.helm.cli import CliHelm
from engines.helm.sdk import SdkHelm


def confined(choice: str) -> Helm:
    """Return the adapter called `choice`, as `engines.helm.helm` does."""
    if choice == "sdk":
        return ConfinedSdk()
    if choice == "cli" or "/" in choice:
        return ConfinedCli("helm" if choice == "cli" else choice)
    raise Invalid(
        say("There is no Helm adapter {choice}; use sdk, cli or the path of a helm binary", choice=repr(choice))
    )


class ConfinedSdk(SdkHelm):
    """Through the Python SDK."""

    @contextmanager
    def _config(self, cluster: Cluster, namespace: str) -> Iterator[tuple[Any, Any]]:
        with super()._config(cluster, namespace) as (sdk, config):
            yield sdk, _WithoutNamespaces(config)


class _WithoutNamespaces:
    """A configuration of the SDK whose `install` leaves namespaces alone."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def install(self, *arguments: Any, **options: Any) -> Any:
        return self._config.install(*arguments, **{**options, "create_namespace": False})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class ConfinedCli(CliHelm):
    """Through a `helm` binary."""

    def _run(self, arguments: Sequence[str], *, timeout: float) -> str:
        return super()._run([word for word in arguments if word != "--create-namespace"], timeout=timeout)
