"""The centre with its uploads on the ASGI side, as a module that uvicorn can serve."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

wsgi = get_wsgi_application()
pages = WSGIMiddleware(wsgi, workers=2)  # type: ignore[arg-type]
forms = WSGIMiddleware(wsgi, workers=2)  # type: ignore[arg-type]

from appstore.packages.ingest import Ingest  # noqa: E402  (its models need the apps to be loaded)

application = Ingest(pages, forms=forms)  # type: ignore[arg-type]
