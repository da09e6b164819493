"""Settings of the agent; `mep.settings` reads them together with its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.env import Env, boolean


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
