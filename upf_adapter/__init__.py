"""UPF adapters: a traffic rule reaches a user plane. A plain library without Django."""

from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import Invalid
from core.registry import Registry
from upf_adapter.contract import UpfAdapter

#: The adapters by the short name that the database stores.
registry: Registry[type[UpfAdapter]] = Registry(
    "upf_adapters",
    {
        "memory": "upf_adapter.memory:MemoryUpf",
        "nef": "upf_adapter.nef:NefUpf",
        "pcf": "upf_adapter.pcf:PcfUpf",
        "pfcp": "upf_adapter.pfcp:PfcpUpf",
        "nftables": "upf_adapter.nftables:NftablesUpf",
    },
)


def create(name: str, options: Mapping[str, Any] | None = None) -> UpfAdapter:
    """Return the adapter called `name`, set up with `options`.

    `Missing` lists the names there are, `Invalid` names the option that is wrong. Reaches nobody yet.
    """
    kind = registry.get(name)
    try:
        return kind(msgspec.convert(dict(options or {}), kind.Options))
    except msgspec.ValidationError as problem:
        raise Invalid(f"The options of the user plane {name} are not usable: {problem}") from None
