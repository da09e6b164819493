"""Settings of `manage.py up`. They are read with those of the centre, so that all problems are told together."""

from __future__ import annotations

from dataclasses import dataclass

from core.env import Env, boolean

ENGINES = ("auto", "docker", "memory")


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What only the one command asks for."""

    node_engine: str
    docker_socket: str
    private_docker: bool
    docker_pool: str
    node_name: str
    node_place: tuple[float, float]
    demo: bool
    #: Ports of the local edge node, by the edge's own names of these settings.
    edge_ports: dict[str, int]


def engine(text: str) -> str:
    """Read the engine of the local node."""
    if text not in ENGINES:
        raise ValueError(f"use one of {', '.join(ENGINES)}")
    return text


def place(text: str) -> tuple[float, float]:
    """Read `latitude,longitude`."""
    latitude, longitude = text.split(",")
    return float(latitude), float(longitude)


def declare(env: Env) -> UpSettings:
    """Read the settings of the command."""
    mep = Env("MEP")  # the edge's own settings file judges these; here we only need to know the ports
    return UpSettings(
        node_engine=env(
            "NODE_ENGINE", "auto", cast=engine, help="engine of the local node: auto, docker or memory (simulated)"
        ),
        docker_socket=env(
            "DOCKER_SOCKET", "", help="socket of a running Docker or podman; empty looks at the usual places"
        ),
        private_docker=env(
            "PRIVATE_DOCKER",
            True,
            cast=boolean,
            help="start a Docker daemon of our own where none runs and we are root",
        ),
        docker_pool=env("DOCKER_POOL", "10.89.0.0/16", help="networks that the private Docker daemon may give away"),
        node_name=env("NODE_NAME", "local", help="name of the edge node on this machine"),
        node_place=env("NODE_PLACE", (60.1699, 24.9384), cast=place, help="latitude,longitude of the local node"),
        demo=env("DEMO", True, cast=boolean, help="fill an empty database with accounts, a node and sample packages"),
        edge_ports={
            "MEP_MP1_PORT": mep("MP1_PORT", 8443, cast=int, help="TCP port of Mp1 on the local node"),
            "MEP_DNS_PORT": mep("DNS_PORT", 5354, cast=int, help="UDP and TCP port of the local node's DNS responder"),
            "MEP_CONSOLE_PORT": mep("CONSOLE_PORT", 8444, cast=int, help="TCP port of the local node's console"),
        },
    )
