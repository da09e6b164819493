"""What our API document says about signing in."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API tokens in the OpenAPI document."""

    target_class = "core.http.TokenAuthentication"
    name = "apiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the scheme: a bearer token."""
        return {"type": "http", "scheme": "bearer", "description": "An API token, made under /api/v1/tokens."}
