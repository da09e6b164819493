"""The MEP on this very node, as the applier sees it."""

from __future__ import annotations

from django.conf import settings

from engines.applier import AppSpec, MepAccess
from mep.mp1 import services as mp1
from mep.mp1.tls import ca_pem


class LocalMep:
    """Speaks to the MEP through its own verbs: both share one database."""

    def provision(self, app: AppSpec) -> MepAccess:
        """Make the app instance known; the same credentials each time."""
        credentials = mp1.provision(
            app.app_instance_id,
            app_name=app.app_name or app.name,
            app_provider=app.app_provider,
            app_d_id=app.app_d_id,
            app_soft_version=app.app_soft_version,
            app_d_version=app.app_d_version,
            services={
                "required": app.services_required,
                "optional": app.services_optional,
                "produced": app.services_produced,
            },
            traffic_rules=app.traffic_rules,
            dns_rules=app.dns_rules,
            namespace=app.namespace,
        )
        return MepAccess(
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
            url=settings.API_ROOT,
            token_url=f"{settings.API_ROOT}/mep/token",
            ca_cert=ca_pem(),
        )

    def terminate(self, app_instance_id: str, timeout: float) -> None:
        """Announce the termination to the app."""
        mp1.begin_termination(app_instance_id, timeout=timeout)

    def terminated(self, app_instance_id: str) -> bool:
        """Return whether nobody needs to be waited for."""
        return mp1.termination_over(app_instance_id)

    def discard(self, app_instance_id: str) -> None:
        """Forget the app instance with everything it owned."""
        mp1.discard(app_instance_id)
