"""The application descriptor (MEC 010-2, clause 6.2.1), one typed shape for every package format.

Descriptors arrive in many spellings: MEC 010-2 JSON, TOSCA of MEC 037 and of EdgeGallery. They are
read tolerantly (`read_*`, each returns the value and its findings) and kept strictly.
"""

from core.appd.descriptor import (
    AppDescriptor,
    Compute,
    Feature,
    Image,
    ServiceDependency,
    ServiceProduced,
    Transport,
)
from core.appd.reading import read_features, read_produced, read_required
from core.appd.rules import read_dns_rules, read_traffic_rules
from core.appd.validation import validate

__all__ = [
    "AppDescriptor",
    "Compute",
    "Feature",
    "Image",
    "ServiceDependency",
    "ServiceProduced",
    "Transport",
    "read_dns_rules",
    "read_features",
    "read_produced",
    "read_required",
    "read_traffic_rules",
    "validate",
]
