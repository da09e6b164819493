"""The tenants' networks: one each on a node, without a way out unless the node says otherwise."""

from __future__ import annotations

import threading
from typing import Any

from core.errors import Conflict
from engines.contract import EngineSettings
from engines.docker.daemon import Daemon
from engines.docker.seen import PREFIX


class Networks:
    """Finds and makes the networks of one node; remembers what it found."""

    def __init__(self, settings: EngineSettings, daemon: Daemon) -> None:
        self.settings, self.daemon = settings, daemon
        self._known: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def _labels(self, namespace: str) -> dict[str, str]:
        return {PREFIX + "node": self.settings.name, PREFIX + "namespace": namespace}

    def get(self, namespace: str) -> tuple[str, str]:
        """Return id and gateway of the tenant's network, made when it is not there."""
        with self._lock:
            if namespace not in self._known:
                mine = self._labels(namespace)
                found = self.daemon.networks(mine)
                facts = self.daemon.network(found[0]["Id"]) if found else self._make(namespace, mine)
                config = (facts.get("IPAM") or {}).get("Config") or [{}]
                self._known[namespace] = (str(facts["Id"]), str(config[0].get("Gateway") or ""))
            return self._known[namespace]

    def _make(self, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
        internal = self.settings.internal_networks
        try:
            return self.daemon.make_network(f"bw-{namespace}", labels, internal=internal)
        except Conflict:  # another node of the same runtime serves a tenant of this name
            return self.daemon.make_network(f"bw-{namespace}-{self.settings.name}", labels, internal=internal)

    def gateway(self, namespace: str) -> str:
        """Return the node's address on a network that was found already."""
        return self._known.get(namespace, ("", ""))[1]

    def remove(self, namespace: str) -> None:
        """Remove the tenant's network; gone already is fine."""
        with self._lock:
            self._known.pop(namespace, None)
            for network in self.daemon.networks(self._labels(namespace)):
                self.daemon.remove_network(network["Id"])

    def forget(self, namespace: str) -> None:
        """Look the network up again next time: the runtime says it is gone."""
        with self._lock:
            self._known.pop(namespace, None)
