"""Settings of `manage.py up`. They are read with those of the centre, so that all problems are told together."""

from __future__ import annotations

from typing import Any

from core.env import Env, boolean

ENGINES = ("auto", "docker", "memory")


def engine(text: str) -> str:
    """Read the engine of the local node."""
    if text not in ENGINES:
        raise ValueError(f"use one of {', '.join(ENGINES)}")
    return text


def declare(env: Env) -> dict[str, Any]:
    """Return the settings of the command, by their Django names."""
    mep = Env("MEP")  # the edge's own settings file finishes these; here we only need to know the ports
    return {
        "NODE_ENGINE": env(
            "NODE_ENGINE", "auto", cast=engine, help="engine of the local node: auto, docker or memory (simulated)"
        ),
        "DOCKER_SOCKET": env(
            "DOCKER_SOCKET", "", help="socket of a running Docker or podman; empty looks at the usual places"
        ),
        "PRIVATE_DOCKER": env(
            "PRIVATE_DOCKER",
            True,
            cast=boolean,
            help="start a Docker daemon of our own where none runs and we are root",
        ),
        "DOCKER_POOL": env("DOCKER_POOL", "10.89.0.0/16", help="networks that the private Docker daemon may give away"),
        "NODE_NAME": env("NODE_NAME", "local", help="name of the edge node on this machine"),
        "NODE_PLACE": env("NODE_PLACE", "60.1699,24.9384", help="where the local node is: latitude,longitude"),
        "DEMO": env(
            "DEMO", True, cast=boolean, help="fill an empty database with accounts, a node and sample packages"
        ),
        "EDGE_PORTS": {
            "MEP_MP1_PORT": mep("MP1_PORT", 8443, cast=int, help="TCP port of Mp1 on the local node"),
            "MEP_DNS_PORT": mep("DNS_PORT", 5354, cast=int, help="UDP and TCP port of the local node's DNS responder"),
        },
    }
