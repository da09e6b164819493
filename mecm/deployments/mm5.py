"""A MEP reached over its management interface (Mm5): how a worker of the centre gives an app its identity.

The direct applier's `MepPort`. Every answer of the MEP is checked before it is used, and every trouble becomes an
error of ours that says whether waiting helps. Neither the token nor a client secret is ever part of a message.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import httpx

from core.errors import Invalid, Missing, Rejected, TimedOut, Unavailable
from core.words import say
from engines.applier import AppSpec, MepAccess

#: Seconds for one request in all: a worker must not hang on a MEP that does not answer.
TIMEOUT = 10.0
_LARGEST = 8 * 1024 * 1024


class Mm5:
    """A client of one MEP's management API. `transport` stands in for the network in tests."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca: str = "",
        name: str = "the MEP",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.name = name
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            verify=_trust(ca),
            timeout=httpx.Timeout(TIMEOUT, connect=5.0),
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    def __enter__(self) -> Mm5:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def provision(self, app: AppSpec) -> MepAccess:
        """Make the app instance known with its rules; the same credentials each time."""
        body = {
            "appName": app.app_name or app.name,
            "appProvider": app.app_provider,
            "appDId": app.app_d_id,
            "appSoftVersion": app.app_soft_version,
            "appDVersion": app.app_d_version,
            "namespace": app.namespace,
            "appServiceRequired": list(app.services_required),
            "appServiceOptional": list(app.services_optional),
            "appServiceProduced": list(app.services_produced),
            "appTrafficRule": list(app.traffic_rules),
            "appDNSRule": list(app.dns_rules),
        }
        told = self._ask("PUT", _instance(app.app_instance_id), json=body)
        url = self._text(told, "url")
        return MepAccess(
            client_id=self._text(told, "clientId"),
            client_secret=self._text(told, "clientSecret"),
            url=url,
            token_url=self._text(told, "tokenUrl"),
            ca_cert=self._text(told, "caCert", ""),
        )

    def terminate(self, app_instance_id: str, timeout: float) -> None:
        """Announce the termination to the app; unknown already is fine."""
        body = {"operationAction": "TERMINATING", "gracefulTerminationTimeout": timeout}
        self._ask("POST", f"{_instance(app_instance_id)}/terminate", json=body, absent_is_fine=True)

    def terminated(self, app_instance_id: str) -> bool:
        """Return whether nobody needs to wait for the app any more."""
        told = self._ask("GET", _instance(app_instance_id), absent_is_fine=True)
        return told is None or told.get("terminationOver") is True

    def discard(self, app_instance_id: str) -> None:
        """Forget the app instance with everything it owned; gone already is fine."""
        self._ask("DELETE", _instance(app_instance_id), absent_is_fine=True)
        # What was wished of its rules outlives an instance that the platform lost, so it does not go with it by itself.
        self._ask("DELETE", f"{_instance(app_instance_id)}/rules", absent_is_fine=True)

    def wish_rules(self, spec: Mapping[str, Any], generation: int) -> dict[str, Any]:
        """Hand over what the centre wants of an app's rules; return what became of it."""
        body = {**spec, "generation": generation}
        return dict(self._ask("PUT", f"{_instance(str(spec['appInstanceId']))}/rules", json=body) or {})

    def state(self) -> dict[str, Any]:
        """Return the MEP's snapshot of itself."""
        return dict(self._ask("GET", "/mm5/v1/state") or {})

    def _ask(
        self, method: str, path: str, *, json: Any = None, absent_is_fine: bool = False
    ) -> Mapping[str, Any] | None:
        with self._translated():
            request = self._client.build_request(method, path, json=json)
            response = self._client.send(request, stream=True)
            try:
                body = self._read(response)
            finally:
                response.close()
        status = response.status_code
        if status == 404 and absent_is_fine:
            return None
        self._refuse(status, body)
        if status == 204 or not body:
            return {}
        try:
            told = httpx.Response(200, content=body).json()
        except (ValueError, RecursionError):
            raise Rejected(say("{name} answered with something that is no JSON", name=self.name)) from None
        if not isinstance(told, Mapping):
            raise Rejected(say("{name} answered with something that is no object", name=self.name))
        return told

    def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                raise Rejected(say("{name} answered with more than {largest} bytes", name=self.name, largest=_LARGEST))
        return bytes(body)

    def _refuse(self, status: int, body: bytes) -> None:
        if status < 300:
            return
        if status in (401, 403):
            raise Rejected(
                say("{name} does not accept our token; set it anew with PUT /nodes/<id>/mep", name=self.name)
            )
        if status == 404:
            raise Missing(say("{name} does not know what we asked for", name=self.name))
        if status == 400:
            raise Invalid(say("{name} refused what the package asks for: {body}", name=self.name, body=_detail(body)))
        if status in (408, 504):
            raise TimedOut(say("{name} took too long", name=self.name))
        if status == 429 or status >= 500:
            raise Unavailable(say("{name} answered {status}", name=self.name, status=status))
        raise Rejected(say("{name} answered {status}: {body}", name=self.name, status=status, body=_detail(body)))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise TimedOut(
                say("{name} did not answer within {timeout} s", name=self.name, timeout=format(TIMEOUT, "g"))
            ) from None
        except httpx.TransportError as problem:
            if isinstance(problem.__context__, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(problem):
                raise Rejected(say("{name} shows a certificate that its CA did not sign", name=self.name)) from None
            raise Unavailable(say("{name} cannot be reached", name=self.name)) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise Rejected(say("{name} answered with something that is no HTTP", name=self.name)) from None

    def _text(self, told: Mapping[str, Any] | None, member: str, default: str | None = None) -> str:
        value = (told or {}).get(member, default)
        if not isinstance(value, str) or (not value and default is None):
            raise Rejected(say("{name} answered without {member}", name=self.name, member=member))
        return value


class NoMep:
    """Stands where a node has no MEP: applications run there, without identity and rules."""

    def provision(self, app: AppSpec) -> MepAccess:
        """Return access to nothing."""
        return MepAccess(client_id="", client_secret="", url="", token_url="")

    def terminate(self, app_instance_id: str, timeout: float) -> None:
        """Nobody listens."""

    def terminated(self, app_instance_id: str) -> bool:
        """Nobody needs to wait."""
        return True

    def discard(self, app_instance_id: str) -> None:
        """Nothing is there."""


@lru_cache(maxsize=256)
def _trust(ca: str) -> ssl.SSLContext:
    """Trust the node's own authority and no other; without one, the known ones. Made once: to read those takes 30 ms."""
    if not ca:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cadata=ca)
    except ssl.SSLError:
        raise Invalid(say("The certificates of the MEP's authority cannot be used")) from None


def _instance(app_instance_id: str) -> str:
    return f"/mm5/v1/app_instances/{quote(app_instance_id, safe='')}"


def _detail(body: bytes) -> str:
    """Return the `detail` of a problem document, shortened; a stranger's text is never passed on whole."""
    try:
        told = httpx.Response(200, content=body).json()
    except (ValueError, RecursionError):
        return say("no reason given")
    detail = told.get("detail") if isinstance(told, Mapping) else None
    return detail[:300] if isinstance(detail, str) and detail else say("no reason given")
