"""What those see who are not signed in: what is public, and nothing that changes anything."""

from __future__ import annotations

from typing import Any

import pytest

from appstore.catalog.models import App
from appstore.contents import permissions
from appstore.contents.models import Contents
from appstore.packages.models import Package


@pytest.fixture
def released(make_package: Any) -> dict[str, App]:
    """A public application with a second release for its own organisation, an inner one, a granted one, and a draft."""
    make_package("open-sea")
    make_package("open-sea", "2.0.0", visibility="organisation")
    make_package("inner-dock", visibility="organisation")
    make_package("lock-gate", visibility="partners")
    make_package("half-built", state="checked")
    make_package("sunk", state="yanked")
    return {app.name: app for app in App.objects.all()}


def test_a_visitor_sees_what_is_public_and_nothing_else(client: Any, released: dict[str, App]) -> None:
    text = client.get("/").content.decode()
    assert "open-sea" in text
    assert "Sign in" in text
    for hidden in ("inner-dock", "lock-gate", "half-built", "sunk", "2.0.0", '<form method="post" action="/catalogue'):
        assert hidden not in text
    app = client.get(f"/catalogue/{released['open-sea'].pk}").content.decode()
    assert "1.0.0" in app
    assert "2.0.0" not in app
    assert "/packages/" not in app.replace("/api/v1/packages/", "")
    assert "/favourite" not in app
    for name in ("inner-dock", "lock-gate"):
        assert client.get(f"/catalogue/{released[name].pk}").status_code == 404
        assert "Nothing matches" in client.get(f"/search?q={name}").content.decode()
    assert client.get("/apps/acme/Acme/inner-dock").status_code == 404
    lead = client.get("/apps/acme/Acme/open-sea")
    assert (lead.status_code, lead.headers["Location"]) == (302, f"/catalogue/{released['open-sea'].pk}")


def test_a_visitor_reads_what_a_public_release_asks_for_and_its_readme(client: Any, released: dict[str, App]) -> None:
    host = {"code": "host-pid", "severity": "high", "place": "Deployment/x", "words": permissions._HOST["hostPID"][1]}
    picture = {"kind": "readme", "name": "a.png", "source": "a.png"}
    for version, readme in (("1.0.0", "# Sea\n\n![Waves](a.png) <script>"), ("2.0.0", "Secret plans")):
        package = Package.objects.get(name="open-sea", version=version)
        Contents.objects.create(
            package=package,
            sha256=package.sha256,
            reader=1,
            facts={"permissions": [host]},
            readme=readme,
            pictures=[picture],
        )
    address = f"/catalogue/{released['open-sea'].pk}"
    text = client.get(address).content.decode()
    assert "Sees all processes of the host and may signal them" in text
    assert "<h2>Sea</h2>" in text
    for absent in ("Secret plans", "a.png", "<script> "):
        assert absent not in text
    told = client.get(address, headers={"Accept-Language": "zh-CN"}).content.decode()
    assert "严重" in told


def test_a_closed_store_lets_no_visitor_in(client: Any, released: dict[str, App], settings: Any) -> None:
    settings.PUBLIC_CATALOGUE = False
    for address in ("/", f"/catalogue/{released['open-sea'].pk}", "/search?q=open", "/apps/acme/Acme/open-sea"):
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/sign-in")


def test_the_menu_shows_what_the_person_may_do(browser_of: Any, make_user: Any, organisation: Any) -> None:
    def menu(role: str) -> str:
        text = browser_of(make_user(role, organisation, role)).get("/").content.decode()
        return text[text.index('id="menu"') : text.index("</nav>")]

    viewer, certifier, administrator = menu("viewer"), menu("certifier"), menu("admin")
    assert "/packages/upload" not in viewer
    assert "Administer" not in viewer
    assert "/reviews" in certifier
    assert "/partners" not in certifier
    for group in ("Store", "Develop", "Certify", "Operate", "Administer"):
        assert f'<div class="nav-section">{group}</div>' in administrator
