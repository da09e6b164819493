"""Ports that lead to pods: a stable loopback port for each exposed Service, and mapped ports inside pods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from core.errors import BreakwaterError
from core.words import say
from engines.docker import netns
from engines.docker.daemon import Daemon
from engines.docker.proxy import Backend, Proxies, listen
from engines.docker.seen import Pod
from engines.pods.wanted import NODE_PORTS, PodTemplate, Service, ServicePort, Wanted, Workload
from engines.store import Store

LOOPBACK = "127.0.0.1"
#: After a port inside a pod could not be opened, it is tried again after this many seconds.
AGAIN = 15.0

OutsideKey = tuple[str, str, str, int]  # namespace, release, Service, port
InsideKey = tuple[str, int]  # holder, port


def exposed(wanted: Wanted) -> Iterator[tuple[Service, ServicePort]]:
    """Return the ports that should be reached from the node: TCP ports of NodePort and LoadBalancer Services."""
    for service in wanted.services:
        for port in service.ports:
            if service.exposed and port.protocol == "TCP":
                yield service, port


def mapped(services: Sequence[Service], template: PodTemplate) -> dict[int, int]:
    """Return which ports inside the pods must lead to which others: those where port and targetPort differ."""
    return {
        port.port: template.port(port.target)
        for service in services
        if service.selects(template.labels)
        for port in service.ports
        if port.protocol == "TCP" and template.port(port.target) not in {0, port.port}
    }


def needs_mapping(wanted: Wanted) -> list[Workload]:
    """Return the workloads whose pods need a mapped port."""
    return [workload for workload in wanted.workloads if mapped(wanted.services, workload.template)]


class Doors:
    """Opens and closes these ports; one caller at a time."""

    def __init__(self, daemon: Daemon, store: Store, proxies: Proxies) -> None:
        self.daemon, self.store, self.proxies = daemon, store, proxies
        self._failed: dict[InsideKey, float] = {}

    def sync(
        self,
        outside: Mapping[OutsideKey, tuple[ServicePort, Sequence[Backend]]],
        inside: Mapping[InsideKey, tuple[Pod, int]],
    ) -> None:
        """Make the open ports exactly these, and lead each to those behind it."""
        for key in self.proxies.names() - set(outside) - set(inside):
            self.proxies.shut(key)
        for key, (port, _) in outside.items():
            if key not in self.proxies:
                self._open_outside(key, port)
        for inner, (pod, _) in inside.items():
            if inner not in self.proxies and time.monotonic() >= self._failed.get(inner, 0.0):
                self._open_inside(inner, pod)
        self._failed = {key: due for key, due in self._failed.items() if key in inside}
        self.proxies.point({key: backends for key, (_, backends) in outside.items()})
        self.proxies.point({key: [(pod.address, target)] for key, (pod, target) in inside.items()})

    def _open_outside(self, key: OutsideKey, port: ServicePort) -> None:
        kept = self.store.ports()
        taken = {number for other, number in kept.items() if other != key}
        for number in (kept.get(key, 0), port.node_port, 0):
            if number in taken or (number and number == port.node_port and number not in NODE_PORTS):
                continue  # an older engine let such a number in
            try:
                listening = listen(LOOPBACK, number)
            except OSError:
                continue
            got = listening.getsockname()[1]
            if kept.get(key) != got:
                self.store.set_port(key, got)
            if port.node_port and got != port.node_port:
                self.store.event(
                    key[0], key[1], "Warning", "NodePortTaken", f"Service/{key[2]}",
                    say("port {node_port} of the node is taken; {got} is used", node_port=port.node_port, got=got),
                )  # fmt: skip
            self.proxies.open(key, listening)
            return

    def _open_inside(self, key: InsideKey, pod: Pod) -> None:
        assert pod.holder is not None
        try:
            process = int((self.daemon.inspect(pod.holder.id).get("State") or {}).get("Pid") or 0)
            if process:
                self.proxies.open(key, netns.listen_inside(process, key[1]))
        except BreakwaterError as problem:
            self._failed[key] = time.monotonic() + AGAIN
            self.store.event(pod.namespace, pod.release, "Warning", "PortNotMapped", f"Pod/{pod.name}", problem.detail)
