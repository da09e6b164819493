"""Which PCF serves a UE: asked from the BSF (TS 29.521 5.3.2.3.2), remembered for a while, asked again when it fails."""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from upf_adapter import sbi
from upf_adapter.flows import IpAddress, Network

API = "nbsf-management/v1/pcfBindings"
#: UEs whose PCF is remembered.
MOST = 4096


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a UE's PCF is, and the data network and slice of its session as the BSF knows them."""

    pcf: str
    dnn: str = ""
    snssai: dict[str, Any] | None = None


class Bindings:
    """The bindings of a BSF; with `fixed` every UE is served by that one PCF and no BSF is asked.

    `networks` are those that a PCF may be in; none: any, as the BSF is the core's own.
    """

    def __init__(
        self,
        client: sbi.Client,
        bsf: str,
        *,
        fixed: str = "",
        lifetime: float = 300.0,
        networks: Sequence[Network] = (),
    ) -> None:
        self.client, self.bsf, self.fixed, self.lifetime, self.networks = client, bsf, fixed, lifetime, networks
        self._known: OrderedDict[str, tuple[float, Binding]] = OrderedDict()

    def find(self, ue: IpAddress) -> tuple[Binding | None, bool]:
        """Return the binding of a UE, and whether it was only remembered; None when the UE has no session now."""
        if self.fixed:
            return Binding(self.fixed), False
        until, binding = self._known.get(str(ue), (0.0, None))
        if binding is not None and time.monotonic() < until:
            return binding, True
        self.forget(ue)
        params = {"ipv4Addr": str(ue)} if ue.version == 4 else {"ipv6Prefix": f"{ue}/128"}
        answer = self.client.send("GET", f"{self.bsf}/{API}", params=params, fine=(404,))
        if answer.status in (204, 404):
            return None, False
        binding = self._read(answer.json())
        self._known[str(ue)] = (time.monotonic() + self.lifetime, binding)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return binding, False

    def forget(self, ue: IpAddress) -> None:
        """Ask again next time."""
        self._known.pop(str(ue), None)

    def _read(self, body: Any) -> Binding:
        # Some answer a list with the one binding.
        found = body[0] if isinstance(body, list) and body else body
        if not isinstance(found, dict):
            raise sbi.Nonsense("The BSF answered something that is no PCF binding")
        snssai, dnn = found.get("snssai"), found.get("dnn")
        return Binding(
            self._address(found),
            dnn if isinstance(dnn, str) else "",
            {name: snssai[name] for name in ("sst", "sd") if snssai.get(name) not in (None, "")}
            if isinstance(snssai, dict) and isinstance(snssai.get("sst"), int)
            else None,
        )

    def _address(self, found: dict[str, Any]) -> str:
        scheme = urlsplit(self.bsf).scheme
        ends = found.get("pcfIpEndPoints")
        for end in ends if isinstance(ends, list) else ():
            text = (end.get("ipv4Address") or end.get("ipv6Address")) if isinstance(end, dict) else None
            port = end.get("port", 443 if scheme == "https" else 80) if text else None
            try:
                address = ipaddress.ip_address(str(text))
            except ValueError:
                continue
            if not isinstance(port, int) or not 0 < port < 65536 or not self._allowed(address):
                continue
            return f"{scheme}://{f'[{address}]' if address.version == 6 else address}:{port}"
        name = found.get("pcfFqdn")
        if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9.-]{1,253}", name) and not self.networks:
            return f"{scheme}://{name}"
        raise sbi.Nonsense("The BSF names no PCF that may be used")

    def _allowed(self, address: IpAddress) -> bool:
        return not self.networks or any(address.version == net.version and address in net for net in self.networks)
