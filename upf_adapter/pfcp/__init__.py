"""N4: rules as sessions of a UPF that belongs to this platform (3GPP TS 29.244)."""

from upf_adapter.pfcp.adapter import PfcpUpf

__all__ = ["PfcpUpf"]
