"""The cluster's API as this engine needs it: plain objects in and out, strangers' errors translated here."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import httpx2
import msgspec
from lightkube import ApiError, Client
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable
from core.words import say
from engines.kubernetes.kubeconfig import Access

Object = Mapping[str, Any]

#: The kinds that are read all the time. Objects are kept as they come: a typed model would drop what it does not know.
_KINDS: dict[str, Any] = {
    "Namespace": create_global_resource("", "v1", "Namespace", "namespaces"),
    "Node": create_global_resource("", "v1", "Node", "nodes"),
    "Pod": create_namespaced_resource("", "v1", "Pod", "pods"),
    "Secret": create_namespaced_resource("", "v1", "Secret", "secrets"),
    "Service": create_namespaced_resource("", "v1", "Service", "services"),
    "Event": create_namespaced_resource("", "v1", "Event", "events"),
    "PersistentVolumeClaim": create_namespaced_resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    "RoleBinding": create_namespaced_resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    "Deployment": create_namespaced_resource("apps", "v1", "Deployment", "deployments"),
    "ReplicaSet": create_namespaced_resource("apps", "v1", "ReplicaSet", "replicasets"),
    "StatefulSet": create_namespaced_resource("apps", "v1", "StatefulSet", "statefulsets"),
    "DaemonSet": create_namespaced_resource("apps", "v1", "DaemonSet", "daemonsets"),
    "Job": create_namespaced_resource("batch", "v1", "Job", "jobs"),
    "Ingress": create_namespaced_resource("networking.k8s.io", "v1", "Ingress", "ingresses"),
    "NetworkPolicy": create_namespaced_resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    "CronJob": create_namespaced_resource("batch", "v1", "CronJob", "cronjobs"),
}
#: Asks for metadata alone (Kubernetes API concepts, "Metadata-only fetches"): a release's Secret may be a megabyte.
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_TIMEOUT = httpx2.Timeout(15.0, connect=5.0)
# One line for each request would be the only thing that anybody reads.
logging.getLogger("httpx2").setLevel(logging.WARNING)
_VERSION = re.compile(r"[a-z0-9.-]+(/v[a-z0-9]+)?")


class Api:
    """One cluster, as one user. Raises only errors of `core.errors`; may be used from any thread."""

    def __init__(self, access: Access, transport: httpx2.BaseTransport | None = None) -> None:
        user = User(token=access.token or None)
        # TLS is the transport's business; without this word lightkube would load the system's authorities in vain.
        self._config = SingleConfig("node", Context(cluster="node"), Cluster(server=access.server, insecure=True), user)
        tls = access.tls()

        def way() -> httpx2.BaseTransport:
            return transport or httpx2.HTTPTransport(verify=tls, retries=1)

        self._client: Any = Client(self._config, timeout=_TIMEOUT, trust_env=False, transport=way())
        self._plain = httpx2.Client(
            base_url=access.server,
            timeout=_TIMEOUT,
            trust_env=False,
            transport=way(),
            headers={"Authorization": f"Bearer {access.token}"} if access.token else {},
        )
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._plain.close()

    def version(self) -> str:
        """Return the API server's version, such as `v1.35.4`."""
        return str(self._read("/version").get("gitVersion", ""))

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None where there is none."""
        try:
            with _translated():
                return cast(Object, self._client.get(_KINDS[kind], name, **_where(namespace)))
        except Missing:
            return None

    def all(self, kind: str, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects of a kind in a namespace."""
        with _translated():
            return list(self._client.list(_KINDS[kind], labels=labels, **_where(namespace)))

    def everywhere(self, kind: str) -> list[Object]:
        """Return the objects of a kind in all namespaces."""
        with _translated():
            return list(self._client.list(_KINDS[kind], namespace="*"))

    def secrets_metadata(self, namespace: str, selector: str) -> list[Object]:
        """Return the metadata of Secrets, without what is in them; all namespaces when `namespace` is empty."""
        path = f"/api/v1/namespaces/{namespace}/secrets" if namespace else "/api/v1/secrets"
        found: list[Object] = []
        query = {"labelSelector": selector, "limit": "500"}
        while True:
            page = self._read(path, accept=_METADATA_ONLY, **query)
            found += [item["metadata"] for item in page.get("items") or []]
            query["continue"] = (page.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return found

    def allowed(self, namespace: str, verb: str, resource: str, *, user: str = "") -> bool:
        """Say whether we, or `user`, may do this (authorization.k8s.io/v1 access reviews)."""
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        what = {"namespace": namespace, "verb": verb, "resource": resource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": kind,
            "spec": {
                "resourceAttributes": what,
                **({"user": user, "groups": ["system:authenticated"]} if user else {}),
            },
        }
        answer = self._ask("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", json=body)
        return bool(answer.json()["status"]["allowed"])

    def create(self, kind: str, body: Mapping[str, Any]) -> None:
        """Create an object of the cluster's own; `Conflict` where it is already."""
        with _translated():
            self._client.create(_KINDS[kind](body))

    def replace(self, kind: str, body: Mapping[str, Any]) -> None:
        """Put an object in the place of the one of its name, whatever that has become."""
        with _translated():
            self._client.replace(_KINDS[kind](body))

    def patch(self, kind: str, name: str, namespace: str, body: Mapping[str, Any]) -> None:
        """Merge into an object (RFC 7396)."""
        with _translated():
            self._client.patch(_KINDS[kind], name, dict(body), **_where(namespace), patch_type=PatchType.MERGE)

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace with all that is in it; gone already is fine."""
        with contextlib.suppress(Missing), _translated():
            self._client.delete(_KINDS["Namespace"], name)

    def log(self, pod: str, namespace: str, container: str, tail: int) -> list[str]:
        """Return a container's last lines, each with its time before it."""
        with _translated():
            lines = self._client.log(
                pod, namespace=namespace, container=container, tail_lines=tail, timestamps=True, newlines=False
            )
            return list(lines)

    # --- for trials

    def metrics(self, namespace: str) -> list[Object]:
        """Return what the pods of a namespace take now (metrics.k8s.io/v1beta1); `Missing` without a metrics-server."""
        return list(self._read(f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods").get("items") or [])

    def kill_pod(self, name: str, namespace: str) -> None:
        """Delete a pod without giving it time; gone already is fine."""
        with contextlib.suppress(Missing):
            self._ask("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", params={"gracePeriodSeconds": "0"})

    def through(self, namespace: str, service: str, path: str, timeout: float, most: int = 1 << 20) -> dict[str, Any]:
        """Send a GET to a Service (`[https:]name:port`) through the API server; see `engines.trials.answer_of`.

        The API server answers 503 with a Status of its own when nobody takes the connection.
        """
        url = f"/api/v1/namespaces/{namespace}/services/{service}/proxy{path}"
        deadline, size, start = time.monotonic() + timeout, 0, b""
        with (
            _translated(),
            self._plain.stream(
                "GET", url, timeout=timeout, headers={"Accept": "*/*"}, follow_redirects=False
            ) as answer,
        ):
            # The application behind it is a stranger: no more of its answer is read than counts.
            for chunk in answer.iter_raw(64 << 10):
                size, start = size + len(chunk), start or chunk[:4096]
                if size >= most or time.monotonic() > deadline:
                    break
            status = answer.status_code
        if status >= 400 and (said := _of_the_server(start)):
            return {"connected": False, "problem": said}
        return {"connected": True, "status": status, "bytes": size}

    # --- objects of any kind

    def namespaced(self, api_version: str, kind: str) -> bool | None:
        """Say whether objects of this kind live in namespaces; None where the cluster does not know it."""
        found = self._resources(api_version).get(kind)
        return found[1] if found else None

    def find_any(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object of any kind, or None where the object or the kind is not there."""
        path = self._path(api_version, kind, namespace, name)
        if not path:
            return None
        try:
            return self._read(path)
        except Missing:
            return None

    def delete_any(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Delete an object of any kind with what it owns; gone already is fine."""
        path = self._path(api_version, kind, namespace, name)
        if path:
            with contextlib.suppress(Missing):
                self._ask("DELETE", path, params={"propagationPolicy": "Background"})

    def _path(self, api_version: str, kind: str, namespace: str, name: str) -> str:
        found = self._resources(api_version).get(kind)
        if not found or not _harmless(name):
            return ""
        plural, namespaced = found
        where = f"/namespaces/{namespace}" if namespaced else ""
        return f"{_root(api_version)}{where}/{plural}/{name}"

    def _resources(self, api_version: str) -> dict[str, tuple[str, bool]]:
        if not _VERSION.fullmatch(api_version):
            return {}
        if api_version not in self._known:
            try:
                told = self._read(_root(api_version)).get("resources") or []
            except Missing:
                return {}
            self._known[api_version] = {
                each["kind"]: (each["name"], bool(each["namespaced"])) for each in told if "/" not in each["name"]
            }
        return self._known[api_version]

    def _read(self, path: str, *, accept: str = "application/json", **query: str) -> dict[str, Any]:
        answer = self._ask("GET", path, params=query, headers={"Accept": accept})
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Rejected(say("The cluster's API answered with something that is no API object"))
        return body

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with _translated():
            answer = self._plain.request(method, path, **options)
        if answer.is_success:
            return answer
        try:
            said = str(answer.json().get("message", ""))
        except (ValueError, AttributeError):
            said = ""
        raise refused(answer.status_code, said)


def _of_the_server(body: bytes) -> str:
    """Return what the API server says itself (a Status); empty when the answer is somebody else's."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(told, dict) or (told.get("kind"), told.get("apiVersion")) != ("Status", "v1"):
        return ""
    return _short(str(told.get("message", "")), 200) or "nobody takes the connection"


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ApiError as problem:
        raise refused(problem.status.code or 0, problem.status.message or "") from None
    except httpx2.HTTPStatusError as problem:  # an answer that no API server gives
        raise refused(problem.response.status_code, "") from None
    except httpx2.TimeoutException:
        raise TimedOut(say("The cluster's API did not answer in time")) from None
    except httpx2.HTTPError as problem:
        raise Unavailable(say("The cluster's API cannot be reached: {problem}", problem=_short(str(problem)))) from None
    except (msgspec.MsgspecError, ConfigError, ValueError):
        raise Rejected(say("The cluster's API answered with something that is no API object")) from None


def refused(status: int, message: str) -> BreakwaterError:
    """Return our error for an answer of the API server (HTTP status, Status.message)."""
    said = _short(message) or f"status {status}"
    if status == 404:
        return Missing(say("The cluster has no such object: {said}", said=said))
    if "because it is being terminated" in message:
        return Unavailable(say("The namespace is still being removed: {said}", said=said))
    if status == 401:
        return Rejected(say("The cluster does not accept the credentials of its kubeconfig"))
    if status == 403:
        return Rejected(say("The cluster does not allow this to the user of its kubeconfig: {said}", said=said))
    if status == 409:
        return Conflict(say("The object changed meanwhile: {said}", said=said))
    if status in (400, 422):
        return Invalid(say("The cluster does not take this: {said}", said=said))
    if status == 429 or status >= 500:
        return Unavailable(say("The cluster's API is not well: {said}", said=said))
    return Rejected(say("The cluster's API refused: {said}", said=said))


def _where(namespace: str) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _harmless(name: str) -> bool:
    return bool(name) and "/" not in name and "%" not in name and name not in {".", ".."}


def _short(text: str, limit: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
