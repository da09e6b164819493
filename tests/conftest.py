"""What every test may use: organisations, people, actors, API clients."""

from __future__ import annotations

import gc
import itertools
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.db import connection
from django.test import TransactionTestCase
from django.utils import translation

from tests import databases
from tests.signing_in import sign_in
from tests.waiting import PATIENCE

# One process holds one settings module: the edge's tests run by `DJANGO_SETTINGS_MODULE=tests.edge_settings pytest tests/mep`.
EDGE = os.environ.get("DJANGO_SETTINGS_MODULE", "") in ("tests.edge_settings", "mep.settings")
collect_ignore = [] if EDGE else ["mep"]
KIND = "edge" if EDGE else "centre"
_NUMBERS = itertools.count()
# While modules are imported and tests are looked for, next to nothing becomes garbage; the collector is back after that.
gc.disable()


def _settled(file: Any) -> None:
    """Refuse what is no open file, as fsync does, and wait for no disk: no test pulls the plug of its own process."""
    os.fstat(file if isinstance(file, int) else file.fileno())


os.fsync = _settled

# Two shared cores: a slow example is no failure, and the default suite stays quick.
hypothesis.settings.register_profile(
    "breakwater",
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("breakwater")


def _looks_into_tables(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}
    return item.get_closest_marker("django_db") is not None or not fixtures.isdisjoint(
        getattr(item, "fixturenames", ())
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests that start real servers more time than the others, where they name no time themselves; begin with long ones.

    With `TEST_ONLY_TABLES` those are left out that no database could change.
    """
    if os.environ.get("TEST_ONLY_TABLES"):
        without = [item for item in items if not _looks_into_tables(item)]
        items[:] = [item for item in items if _looks_into_tables(item)]
        config.hook.pytest_deselected(items=without)
    for item in items:
        if item.get_closest_marker("live") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300 * min(PATIENCE, 3)))
    # At the end of a run one process would work on such a test, and the others would wait. All others are in any order.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to make what the processes of this run share, while they still look for their tests."""
    config._making = []  # type: ignore[attr-defined]
    if not getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        return
    wanted = []
    if connection.vendor == "sqlite" and not databases.cached(KIND).exists():
        wanted.append(["-m", "tests.databases", KIND])
    if not EDGE and not (databases.ROOT / ".hypothesis" / "unicode_data").exists():
        # Which characters there are in UTF-8: each process would count them at its first text.
        wanted.append(["-c", "from hypothesis import strategies; strategies.text().validate()"])
    config._making = [  # type: ignore[attr-defined]
        subprocess.Popen([sys.executable, *each], cwd=databases.ROOT) for each in wanted
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the collector look at what tests make, seldom, and not at modules and thousands of tests again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no process behind, not even after a run without a database."""
    for making in getattr(config, "_making", ()):
        making.wait()


if connection.vendor == "sqlite":

    @pytest.fixture(scope="session")
    def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
        """Take a copy of the migrated database as that of the tests; each process of a run has its own."""
        from django.conf import settings

        database = settings.DATABASES["default"]
        kept, own = database["NAME"], str(database["TEST"]["NAME"])
        with django_db_blocker.unblock():
            connection.close()
            databases.fresh(KIND, Path(own))
            database["NAME"] = connection.settings_dict["NAME"] = own
            with closing(sqlite3.connect(databases.template(KIND))) as empty, pytest.MonkeyPatch.context() as patch:

                def renew(case: TransactionTestCase) -> None:
                    connection.close()
                    databases.renew(empty, Path(own))

                # A flush leaves the rows of migrations out, and takes many times as long.
                patch.setattr(TransactionTestCase, "_fixture_teardown", renew)
                yield
            connection.close()
            database["NAME"] = connection.settings_dict["NAME"] = kept


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own. pytest's also looks through all folders there are and sets a link; every test has one."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = tmp_path_factory.getbasetemp() / f"{name}-{next(_NUMBERS)}"
    folder.mkdir(mode=0o700)
    return folder


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

    @pytest.fixture(autouse=True)
    def own_language() -> Iterator[None]:
        """Let no test speak the language that the last page of another one spoke."""
        yield
        translation.deactivate()

    @pytest.fixture(autouse=True)
    def fresh_catalogue() -> None:
        """Forget the copy of the index of the test before, whose database is gone: to find that out costs a query."""
        from appstore.catalog import snapshot

        snapshot.forget()

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
        """Make a person with roles: `make_user("edge-user", organisation, "operator")`."""
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
    def client_of() -> Callable[[Any], Any]:
        """Make a DRF client that is signed in: `client_of(user).get("/api/v1/nodes")`."""
        from rest_framework.test import APIClient

        def make(user: Any) -> APIClient:
            client = APIClient()
            sign_in(client, user)
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


@pytest.fixture
def speak(tmp_path: Path, settings: Any) -> Iterator[Callable[[dict[str, str]], None]]:
    """Return what makes a small Chinese catalogue the only one of ours."""
    from babel.messages import Catalog
    from babel.messages.mofile import write_mo
    from django.utils.translation import trans_real

    from core import spoken

    def with_catalogue(texts: dict[str, str]) -> None:
        catalogue = Catalog(locale="zh_Hans")
        for english, chinese in texts.items():
            catalogue.add(english, chinese)
        path = tmp_path / "zh_Hans" / "LC_MESSAGES" / "django.mo"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            write_mo(file, catalogue)
        settings.LOCALE_PATHS = [tmp_path]

    yield with_catalogue
    trans_real._translations = {}
    spoken._recognised.cache_clear()
    spoken._sentences.cache_clear()
