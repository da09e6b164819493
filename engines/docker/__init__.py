"""The docker engine: one machine, no cluster."""

from engines.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
