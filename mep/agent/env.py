"""Settings of the agent; `mep.settings` reads them together with its own."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from core.env import Env, boolean, words
from core.errors import Invalid
from engines.limits import Limits
from engines.planning import quantity


def networks(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of networks in CIDR notation."""
    return tuple(str(ipaddress.ip_network(word)) for word in words(text))


def octets(text: str) -> int:
    """Read a size as Kubernetes writes it: `512Mi`, `10Gi` or a number of bytes."""
    try:
        return int(quantity(text))
    except Invalid as problem:
        raise ValueError(problem.detail) from None


def declare(env: Env) -> dict[str, Any]:
    """Return the agent's settings by name."""
    return {
        "NODE_NAME": env("NODE_NAME", "local", help="name that the engine marks its workloads with"),
        "ENGINE": env("ENGINE", "docker", help="short name of the engine: docker, kubernetes or memory"),
        "ENGINE_SOCKET": env(
            "ENGINE_SOCKET", "", help="socket of the container runtime; empty looks at the usual places"
        ),
        "ENGINE_KUBECONFIG": env(
            "ENGINE_KUBECONFIG",
            None,
            cast=Path,
            help="kubeconfig file of the kubernetes engine; none inside the cluster",
        ),
        "ENGINE_HELM": env("ENGINE_HELM", "sdk", help="sdk (in the process) or the path of a helm binary"),
        "PROGRESS_DEADLINE": env(
            "PROGRESS_DEADLINE",
            300.0,
            cast=float,
            help="seconds after which a release that is not ready counts as failed",
        ),
        "INTERNAL_NETWORKS": env(
            "INTERNAL_NETWORKS",
            True,
            cast=boolean,
            help="give containers of the docker engine no route out of the node",
        ),
        "POD_NETWORKS": env(
            "POD_NETWORKS",
            [],
            cast=networks,
            help="networks of the cluster's pods, where its nodes do not tell them; comma-separated, as 10.42.0.0/16",
        ),
        "UE_NETWORKS": env(
            "UE_NETWORKS",
            [],
            cast=networks,
            help="networks of UEs and of N6 that reach pods of the kubernetes engine whatever else is closed",
        ),
        "CONTAINER_MEMORY": env(
            "CONTAINER_MEMORY",
            Limits().memory,
            cast=octets,
            help="memory of a container whose chart sets no limit (docker engine), as 512Mi; 0 is all that the node has",
        ),
        "CONTAINER_MEMORY_MOST": env(
            "CONTAINER_MEMORY_MOST", 0, cast=octets, help="most memory that a container may ask for; 0 is any"
        ),
        "TENANT_MEMORY_MOST": env(
            "TENANT_MEMORY_MOST", 0, cast=octets, help="most memory of a tenant's containers together; 0 is any"
        ),
        "CONTAINER_PIDS": env("CONTAINER_PIDS", Limits().pids, cast=int, help="processes of one container; 0 is any"),
        "CONTAINER_DISK": env(
            "CONTAINER_DISK",
            Limits().disk,
            cast=octets,
            help="what a container may write beside its volumes, where the storage driver can bound that; 0 is any",
        ),
        "CONTAINER_LOG": env("CONTAINER_LOG", Limits().log, cast=octets, help="size of a container's kept log"),
        "HALT_ON_EXIT": env(
            "HALT_ON_EXIT", False, cast=boolean, help="stop the apps when the agent is stopped; they come back with it"
        ),
        "TRIALS": env(
            "TRIALS",
            True,
            cast=boolean,
            help="let the centre try applications here, once it has marked this node as a sandbox for certification",
        ),
        "JOIN": env("JOIN", "", help="join string to enrol with when this node has no identity yet", secret=True),
        "LINK_PAUSE": env(
            "LINK_PAUSE", 30.0, cast=float, help="longest pause between two tries to reach the centre, in seconds"
        ),
        "DIGEST_EVERY": env(
            "DIGEST_EVERY", 600.0, cast=float, help="seconds between comparisons of our store with the centre's"
        ),
    }
