"""UPF adapters: a traffic rule reaches a user plane. A plain library without Django."""

from core.registry import Registry
from upf_adapter.contract import UpfAdapter

#: The adapters by the short name that the database stores.
registry: Registry[type[UpfAdapter]] = Registry("upf_adapters", {"memory": "upf_adapter.memory:MemoryUpf"})
