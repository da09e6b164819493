"""What every test may use: organisations, people, actors, API clients."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Everything the suite writes goes to a folder of its own, before any settings are read.
_scratch = tempfile.TemporaryDirectory(prefix="breakwater-tests-")
os.environ["BREAKWATER_VAR"] = os.environ["MEP_VAR"] = _scratch.name

EDGE = os.environ.get("DJANGO_SETTINGS_MODULE") == "mep.settings"

# One process holds one settings module: the edge's tests run by `DJANGO_SETTINGS_MODULE=mep.settings pytest tests/mep`.
collect_ignore = [] if EDGE else ["mep"]


def pytest_configure(config: pytest.Config) -> None:
    """Keep test settings in one place: quick password hashes, no bell, no live broker."""
    from django.conf import settings

    settings.OPERATION_BELL = ""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        # A file, as in production: threads of a test see each other's rows and wait for each other's locks.
        database.setdefault("TEST", {})["NAME"] = str(Path(_scratch.name) / "test.sqlite3")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    _scratch.cleanup()


@pytest.fixture
def repository() -> Path:
    """The folder of the project."""
    return Path(__file__).resolve().parent.parent


if not EDGE:

    @pytest.fixture(autouse=True)
    def own_folders(tmp_path: Path, settings: Any) -> None:
        """Give each test its own blob store, CA and broker folder."""
        settings.VAR_DIR = tmp_path / "var"
        settings.BLOB_DIR = tmp_path / "var" / "blobs"
        settings.CA_DIR = tmp_path / "var" / "ca"
        settings.VAR_DIR.mkdir()

    @pytest.fixture
    def organisation(db: None) -> Any:
        """A tenant called `acme`."""
        from core.accounts.models import Organisation

        return Organisation.objects.create(slug="acme", name="Acme Edge")

    @pytest.fixture
    def stranger_organisation(db: None) -> Any:
        """Another tenant, called `other`."""
        from core.accounts.models import Organisation

        return Organisation.objects.create(slug="other", name="Other Operator")

    @pytest.fixture
    def make_user(db: None) -> Callable[..., Any]:
        """Make a person with roles: `make_user("ann", organisation, "operator")`."""
        from core.accounts.models import Membership, User

        def make(username: str, organisation: Any = None, *roles: str) -> User:
            user = User.objects.create_user(username=username, password="correct horse battery")
            for role in roles:
                Membership.objects.create(user=user, organisation=organisation, role=role)
            return user

        return make

    @pytest.fixture
    def admin(make_user: Any, organisation: Any) -> Any:
        """The administrator of `acme`."""
        return make_user("admin", organisation, "admin")

    @pytest.fixture
    def actor(admin: Any) -> Any:
        """The administrator of `acme`, acting."""
        from core.accounts.access import Actor

        return Actor(admin)

    @pytest.fixture
    def stranger(make_user: Any, stranger_organisation: Any) -> Any:
        """The administrator of the other tenant."""
        return make_user("stranger", stranger_organisation, "admin")

    @pytest.fixture
    def client_of() -> Iterator[Callable[[Any], Any]]:
        """Make a DRF client that is signed in: `client_of(user).get("/api/v1/nodes")`."""
        from rest_framework.test import APIClient

        def make(user: Any) -> APIClient:
            client = APIClient()
            client.force_login(user)
            return client

        return make

    @pytest.fixture
    def api(client_of: Any, admin: Any) -> Any:
        """A client of the administrator of `acme`."""
        return client_of(admin)

    @pytest.fixture
    def stranger_api(client_of: Any, stranger: Any) -> Any:
        """A client of the other tenant's administrator."""
        return client_of(stranger)
