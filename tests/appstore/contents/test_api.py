"""The inside of a package over HTTP, and on the pages: who sees it, and that nothing of it acts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from appstore.contents import services
from core.operations import services as operations
from tests.appstore.contents import inside

pytestmark = pytest.mark.django_db

PATHS = ("contents", "sbom", "values-schema", "readme", "icon", "difference")
README = (
    "# Hello\n\n![here](pics/a.png) ![remote](https://evil.example/x.png) <script>alert(1)</script>\n"
    "[go](javascript:alert(1)) [site](https://a.example)\n" + "A long text about the application. " * 5
)
SHOTS = """annotations:
  artifacthub.io/screenshots: |
    - {title: The "main" <window>, url: shot.png}
    - {title: Elsewhere, url: "https://evil.example/x.png"}
    - {title: Drawn, url: drawing.svg}
"""


def rich() -> bytes:
    """A package with README, pictures and much to ask for."""
    chart = inside.CHART.replace("annotations:\n", SHOTS + "", 1)
    files: dict[str, Any] = {
        "README.md": README, "pics/a.png": inside.png(3, 3), "shot.png": inside.png(4, 4), "icon.png": inside.png(5, 5),
        "drawing.svg": "<svg onload='alert(1)'/>", "templates/greedy.yaml": inside.GREEDY,
    }  # fmt: skip
    return inside.csar(chart_file=inside.chart(chart, **files), image_file=inside.image(inside.DEBIAN))


@pytest.fixture
def page_of(admin: Any) -> Any:
    """Get a page as the administrator."""
    browser = Client()
    browser.force_login(admin)
    return lambda url: browser.get(url)


def test_everything_is_told(read: Any, release: Any, api: Any) -> None:
    release(inside.csar())
    contents = read(
        inside.csar(version="1.1", chart_file=inside.chart(**{"icon.png": inside.png(), "README.md": README}))
    )
    at = f"/api/v1/packages/{contents.package_id}"
    told = api.get(f"{at}/contents").json()
    assert told["components"]["chart"] == 1
    assert told["pictures"][0]["url"].startswith(f"{at}/media/")
    bill = api.get(f"{at}/sbom")
    assert bill["Content-Type"] == "application/vnd.cyclonedx+json; version=1.6"
    assert bill["Content-Disposition"] == 'attachment; filename="hello-1.1.cdx.json"'
    assert json.loads(b"".join(bill.streaming_content))["specVersion"] == "1.6"
    assert api.get(f"{at}/values-schema").json() == inside.SCHEMA
    assert api.get(f"{at}/difference").json()["previous"] == "1.0"
    icon = api.get(f"{at}/icon", HTTP_ACCEPT="image/png")
    assert icon["Content-Type"] == "image/png"
    assert icon["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert icon["X-Content-Type-Options"] == "nosniff"
    assert b"".join(icon.streaming_content) == inside.png()
    assert api.get(f"{at}/icon", HTTP_IF_NONE_MATCH=icon["ETag"]).status_code == 304


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_sees_nothing_of_a_draft_and_all_of_a_release(
    path: str, release: Any, read: Any, stranger_api: Any, client: Any
) -> None:
    first = inside.csar(chart_file=inside.chart(**{"icon.png": inside.png(), "README.md": README}))
    one = release(first)
    draft = read(
        inside.csar(
            version="1.1", chart_file=inside.chart(**{"icon.png": inside.png(), "README.md": README, "x.txt": "x"})
        )
    )
    assert stranger_api.get(f"/api/v1/packages/{draft.package_id}/{path}").status_code == 404
    assert client.get(f"/api/v1/packages/{one.pk}/{path}").status_code == 401
    expected = 404 if path == "difference" else 200
    assert stranger_api.get(f"/api/v1/packages/{one.pk}/{path}").status_code == expected


def test_a_picture_is_served_only_for_the_package_that_has_it(read: Any, api: Any, stranger_api: Any) -> None:
    one = read(inside.csar(chart_file=inside.chart(**{"icon.png": inside.png()})))
    two = read(inside.csar(version="1.1"))
    name = one.pictures[0]["name"]
    assert api.get(f"/api/v1/packages/{one.package_id}/media/{name}").status_code == 200
    for client, package in ((api, two), (stranger_api, one)):
        assert client.get(f"/api/v1/packages/{package.package_id}/media/{name}").status_code == 404
    for odd in ("..", "x.png", "%2e%2e%2fetc%2fpasswd", "a" * 300):
        assert api.get(f"/api/v1/packages/{one.package_id}/media/{odd}").status_code == 404


def test_nothing_is_known_before_a_worker_has_looked(checked: Any, api: Any, page_of: Any) -> None:
    pk = checked(inside.csar())["id"]
    from appstore.contents.models import Contents

    Contents.objects.all().delete()
    assert api.get(f"/api/v1/packages/{pk}/contents").status_code == 404
    assert "Nobody has looked inside yet" in page_of(f"/packages/{pk}/inside").content.decode()
    api.post(f"/packages/{pk}/inspect")
    operations.run_due()
    assert api.get(f"/api/v1/packages/{pk}/contents").status_code == 200


def test_what_a_hostile_package_says_does_nothing_on_its_pages(read: Any, page_of: Any) -> None:
    contents = read(rich())
    assert any("evil.example" in problem for problem in contents.read().problems)
    assert any("drawing.svg" in problem for problem in contents.read().problems)
    for url in (f"/packages/{contents.package_id}", f"/packages/{contents.package_id}/inside"):
        text = page_of(url).content.decode()
        assert "<script>alert" not in text
        assert 'src="https://evil' not in text
        assert 'href="javascript' not in text
        assert "<svg onload" not in text
    overview = page_of(f"/packages/{contents.package_id}").content.decode()
    assert 'rel="noopener nofollow ugc"' in overview
    assert "&lt;window&gt;" in overview
    shown = {p["kind"]: p["name"] for p in contents.pictures}
    assert set(shown) == {"icon", "screenshot", "readme"}
    for name in shown.values():
        assert f"/api/v1/packages/{contents.package_id}/media/{name}" in overview


def test_the_page_says_what_it_asks_for_and_what_is_new(read: Any, release: Any, page_of: Any) -> None:
    release(inside.csar())
    greedy = inside.chart(**{"templates/greedy.yaml": inside.GREEDY})
    contents = read(inside.csar(version="1.1", chart_file=greedy, image_file=inside.image(inside.DEBIAN)))
    text = page_of(f"/packages/{contents.package_id}/inside").content.decode()
    assert "Runs privileged: it may do everything that the host may" in text
    assert text.index("What it asks for") < text.index("Compared with 1.0") < text.index("What it is made of")
    assert "grave permissions that it did not ask for before" in text
    assert "Closes a hole" in text
    assert "libc6" in text
    found = page_of(f"/packages/{contents.package_id}/inside?q=bash&kind=deb").content.decode()
    assert "5.2.15-2+b2" in found
    assert "2.36-9" not in found.partition("What it is made of")[2]
    assert "No component matches" in page_of(f"/packages/{contents.package_id}/inside?q=nothing%00").content.decode()


def test_the_form_to_deploy_tells_which_values_there_are(release: Any, page_of: Any) -> None:
    package = release(inside.csar())
    text = page_of(f"/packages/{package.pk}/deploy").content.decode()
    assert 'name="v/log/level"' in text
    assert "How many pods" in text


def test_a_readme_that_takes_too_long_is_shown_as_it_is(read: Any, page_of: Any, api: Any) -> None:
    contents = read(inside.csar())
    contents.readme, contents.readme_plain = "# <b>raw</b>", True
    contents.save()
    assert "# &lt;b&gt;raw&lt;/b&gt;" in page_of(f"/packages/{contents.package_id}").content.decode()
    assert api.get(f"/api/v1/packages/{contents.package_id}/readme").json()["html"] == ""


def test_the_page_costs_the_same_number_of_queries_for_any_package(
    read: Any, page_of: Any, django_assert_max_num_queries: Any
) -> None:
    contents = read(rich())
    with django_assert_max_num_queries(12):
        assert page_of(f"/packages/{contents.package_id}/inside").status_code == 200
    assert services.of(contents.package) == contents
