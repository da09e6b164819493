"""The kubernetes engine: any cluster, through Helm and the Kubernetes API."""

from engines.kubernetes.engine import KubernetesEngine

__all__ = ["KubernetesEngine"]
