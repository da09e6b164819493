"""A kubeconfig that a tenant uploaded: read, reduced to what is harmless, never written to disk.

A kubeconfig may name programs to run and files to read; here it comes from outside, so only one that carries its
certificates and its credentials in itself is taken.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from core.errors import Invalid
from core.words import say
from engines.helm.manifests import load_all

#: What would run a program, read a file or go another way on the machine that holds this text.
_REFUSED_FOR_USERS = {
    "exec": "runs a program",
    "auth-provider": "runs a login plugin",
    "tokenFile": "names a file",
    "client-certificate": "names a file (use client-certificate-data)",
    "client-key": "names a file (use client-key-data)",
    "username": "uses a password, which Kubernetes no longer takes",
    "as": "impersonates another user",
}
_REFUSED_FOR_CLUSTERS = {
    "certificate-authority": "names a file (use certificate-authority-data)",
    "proxy-url": "names a proxy",
    "tls-server-name": "names another server (tls-server-name)",
}
_LARGEST = 256 << 10


@dataclass(frozen=True)
class Access:
    """How to reach one cluster, and as whom."""

    server: str
    ca: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    verify: bool = True

    @classmethod
    def read(cls, text: str, context: str = "") -> Access:
        """Return what the kubeconfig's `context` (default: its current one) says; `Invalid` names what is not taken."""
        if not text.strip():
            raise Invalid(say("The node has no kubeconfig yet"), field="kubeconfig")
        if len(text) > _LARGEST:
            raise Invalid(
                say("The kubeconfig is larger than {largest} KiB", largest=_LARGEST >> 10), field="kubeconfig"
            )
        documents = load_all(text, "The kubeconfig")
        config = documents[0] if documents else None
        if not isinstance(config, Mapping):
            raise _invalid(say("is no mapping"))
        chosen = context or str(config.get("current-context") or "")
        where = _named(config, "contexts", "context", chosen)
        cluster = _named(config, "clusters", "cluster", str(where.get("cluster") or ""))
        user = _named(config, "users", "user", str(where.get("user") or ""))
        for part, refused in ((cluster, _REFUSED_FOR_CLUSTERS), (user, _REFUSED_FOR_USERS)):
            for key, why in refused.items():
                if part.get(key):
                    raise _invalid(why)
        access = cls(
            server=_server(cluster.get("server")),
            ca=_pem(cluster, "certificate-authority-data"),
            token=_text(user.get("token")),
            certificate=_pem(user, "client-certificate-data"),
            key=_pem(user, "client-key-data"),
            verify=cluster.get("insecure-skip-tls-verify") is not True,
        )
        if not access.token and not (access.certificate and access.key):
            raise _invalid(say("has neither a token nor a client certificate with its key"))
        access.tls()  # certificates that cannot be read are told now, not at the first use
        return access

    def kubeconfig(self, acting_as: str = "") -> str:
        """Return a kubeconfig with just this, for Helm; with `acting_as` each request is made as that user."""
        cluster: dict[str, Any] = {"server": self.server}
        if not self.verify:
            cluster["insecure-skip-tls-verify"] = True
        elif self.ca:
            cluster["certificate-authority-data"] = _encoded(self.ca)
        user: dict[str, Any] = {"token": self.token} if self.token else {}
        if self.certificate:
            user |= {"client-certificate-data": _encoded(self.certificate), "client-key-data": _encoded(self.key)}
        if acting_as:
            user["as"] = acting_as
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "node", "cluster": cluster}],
                "users": [{"name": "node", "user": user}],
                "contexts": [{"name": "node", "context": {"cluster": "node", "user": "node"}}],
                "current-context": "node",
            }
        )

    def tls(self) -> ssl.SSLContext:
        """Return the TLS settings; `Invalid` when the certificates cannot be read."""
        try:
            if not self.verify:
                # Not the default one, which reads every authority of the system and then trusts anybody.
                settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                settings.check_hostname = False
                settings.verify_mode = ssl.CERT_NONE
            elif self.certificate:
                settings = ssl.create_default_context(cadata=self.ca or None)
            else:
                settings = _trust(self.ca)
            if self.certificate:
                # The library reads keys from files only: this one exists in memory.
                descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(f"{self.certificate}\n{self.key}\n".encode())
                    file.flush()
                    settings.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except (ssl.SSLError, ValueError):
            raise _invalid(say("has a certificate or key that cannot be read")) from None
        return settings


@lru_cache(maxsize=256)
def _trust(ca: str) -> ssl.SSLContext:
    """Trust this authority, or those of the system; shared, since to read those takes 30 ms for each question to a cluster."""
    return ssl.create_default_context(cadata=ca or None)


def _named(config: Mapping[str, Any], plural: str, singular: str, name: str) -> Mapping[str, Any]:
    entries = config.get(plural)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(singular), Mapping):
            return dict(entry[singular])
    raise _invalid(say("has no {singular} {name}", singular=singular, name=repr(name[:80])))


def _server(value: Any) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "https" and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _invalid(say("names no https:// server"))
    return text


def _pem(part: Mapping[str, Any], key: str) -> str:
    try:
        return base64.b64decode("".join(_text(part.get(key)).split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise _invalid(say("has {key} that is no base64", key=key)) from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _invalid(why: str) -> Invalid:
    # Nothing of the text itself is repeated: it is a secret.
    return Invalid(say("The kubeconfig {why}", why=why), field="kubeconfig")
