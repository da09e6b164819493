"""Reading a kubeconfig that a person uploaded. It is hostile until it is shown to be plain."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from core import yamls
from core.errors import Invalid, TooLarge
from core.words import say

LARGEST, DEEPEST = 256 * 1024, 20

#: Members that would make our worker run a program or read a file of ours, and why each is refused.
_USER_MEMBERS = {
    "exec": "runs a program on the server; use a token or a client certificate",
    "auth-provider": "runs a sign-in plugin on the server; use a token or a client certificate",
    "tokenFile": "reads a file on the server; put the token itself into the kubeconfig",
    "client-certificate": "reads a file on the server; use client-certificate-data",
    "client-key": "reads a file on the server; use client-key-data",
}
_CLUSTER_MEMBERS = {
    "certificate-authority": "reads a file on the server; use certificate-authority-data",
    "proxy-url": "sends the credentials through a proxy",
}
_DATA_MEMBERS = ("certificate-authority-data", "client-certificate-data", "client-key-data")


def check(text: str, *, allow_insecure: bool = False) -> str:
    """Return a kubeconfig that holds only what its current context needs, with every secret inline.

    `Invalid` lists all that is wrong, by field; no value of the file is ever repeated in the message.
    Plain http and switched-off certificate checks are taken for loopback addresses only, unless `allow_insecure`.
    """
    document = _parse(text)
    problems: list[dict[str, str]] = []
    context = _named(document, "contexts", document.get("current-context"), "context", problems)
    cluster = _named(document, "clusters", context.get("cluster"), "cluster", problems)
    user = _named(document, "users", context.get("user"), "user", problems)
    if not problems:
        problems += _cluster(cluster, allow_insecure)
        problems += _refused(user, _USER_MEMBERS, "users[].user")
        problems += _data(user, "users[].user")
        problems += _credentials(user)
    if problems:
        raise Invalid(say("This kubeconfig cannot be used"), errors=problems)
    # Only the current context is kept: what we do not need we do not hold.
    kept_user = {
        key: user[key]
        for key in ("token", "username", "password", "client-certificate-data", "client-key-data")
        if key in user
    }
    kept_cluster = {
        key: cluster[key]
        for key in ("server", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name")
        if key in cluster
    }
    kept_context = {"cluster": "cluster", "user": "user"}
    if isinstance(context.get("namespace"), str):
        kept_context["namespace"] = context["namespace"]
    plain: str = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "default",
            "contexts": [{"name": "default", "context": kept_context}],
            "clusters": [{"name": "cluster", "cluster": kept_cluster}],
            "users": [{"name": "user", "user": kept_user}],
        },
        sort_keys=False,
    )
    return plain


def server_of(text: str) -> str:
    """Return the address of the cluster's API in a checked kubeconfig; the only part of it that people may see."""
    return str(yamls.load(text, "A kubeconfig")["clusters"][0]["cluster"]["server"])


def _parse(text: str) -> Mapping[str, Any]:
    if len(text.encode()) > LARGEST:
        raise TooLarge(say("A kubeconfig of more than {largest} KiB is not taken", largest=LARGEST // 1024))
    document = yamls.load(text, "A kubeconfig", deepest=DEEPEST)
    if not isinstance(document, Mapping) or document.get("kind", "Config") != "Config":
        raise Invalid(say("This is no kubeconfig: a YAML mapping of kind Config is wanted"))
    return document


def _named(document: Mapping[str, Any], table: str, name: Any, member: str, problems: list[dict[str, str]]) -> Any:
    rows = document.get(table)
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and isinstance(name, str) and row.get("name") == name:
            found = row.get(member)
            if isinstance(found, Mapping):
                return found
    if not problems:
        told = "current-context" if table == "contexts" else f"the current context's {member}"
        problems.append({"field": table, "detail": say("has no entry for {told}", told=told)})
    return {}


def _cluster(cluster: Mapping[str, Any], allow_insecure: bool) -> Iterator[dict[str, str]]:
    yield from _refused(cluster, _CLUSTER_MEMBERS, "clusters[].cluster")
    yield from _data(cluster, "clusters[].cluster")
    field = "clusters[].cluster.server"
    server = cluster.get("server")
    try:
        parts = urlsplit(server) if isinstance(server, str) else urlsplit("")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        yield {"field": field, "detail": say("is no address")}
        return
    if parts.scheme not in ("http", "https") or not host:
        yield {"field": field, "detail": say("must be an https address")}
        return
    if parts.username or parts.password or parts.query or parts.fragment:
        yield {"field": field, "detail": say("must hold no user name, query or fragment")}
    if allow_insecure or _is_loopback(host):
        return
    if parts.scheme == "http":
        yield {"field": field, "detail": say("must be https: credentials would travel in the clear")}
    if cluster.get("insecure-skip-tls-verify"):
        yield {
            "field": "clusters[].cluster.insecure-skip-tls-verify",
            "detail": say("must not be set: anybody could pose as the cluster; use certificate-authority-data"),
        }


def _refused(table: Mapping[str, Any], members: Mapping[str, str], field: str) -> Iterator[dict[str, str]]:
    for member, why in members.items():
        if table.get(member):
            yield {"field": f"{field}.{member}", "detail": why}
    for member in ("impersonate", "as", "act-as"):
        if table.get(member):
            yield {"field": f"{field}.{member}", "detail": say("impersonation is not taken")}


def _data(table: Mapping[str, Any], field: str) -> Iterator[dict[str, str]]:
    for member in _DATA_MEMBERS:
        if member not in table:
            continue
        try:
            base64.b64decode(str(table[member]), validate=True)
        except (binascii.Error, ValueError):
            yield {"field": f"{field}.{member}", "detail": say("is not base64")}


def _credentials(user: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for member in ("token", "username", "password"):
        if member in user and not isinstance(user[member], str):
            yield {"field": f"users[].user.{member}", "detail": say("must be text")}
    if bool(user.get("client-certificate-data")) != bool(user.get("client-key-data")):
        yield {"field": "users[].user", "detail": say("a client certificate needs its key, and the other way round")}
    if not any(user.get(member) for member in ("token", "password", "client-certificate-data")):
        yield {"field": "users[].user", "detail": say("holds no token, password or client certificate")}


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
