"""Engines: a Helm chart becomes running workloads. A plain library without Django."""

from core.registry import Registry
from engines.contract import Engine

#: The engines by the short name that the database stores.
registry: Registry[type[Engine]] = Registry(
    "engines",
    {
        "memory": "engines.memory:MemoryEngine",
        "docker": "engines.docker:DockerEngine",
        "kubernetes": "engines.kubernetes:KubernetesEngine",
    },
)
