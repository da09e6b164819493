"""Catalogue, packages and upload as people see them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from appstore.packages.models import Package
from core.accounts.access import SYSTEM
from core.operations.models import Operation
from frontend.store.packages import package_facts

NO_SCRIPT = "<script>alert(1)</script>"


def text_of(response: Any) -> str:
    """Return the page, which must be one."""
    assert response.status_code == 200
    return response.content.decode()


def test_the_empty_catalogue_says_what_to_do(pages: Any) -> None:
    assert "Upload the first package" in text_of(pages.get("/"))


def test_everybody_finds_what_is_published_and_nothing_else(browser_of: Any, stranger: Any, make_package: Any) -> None:
    make_package("crane")
    make_package("secret", state="checked")
    text = text_of(browser_of(stranger).get("/"))
    assert "crane" in text
    assert "secret" not in text


def test_the_catalogue_shows_an_application_once_in_its_newest_release(pages: Any, make_package: Any) -> None:
    old = make_package("crane", "1.0")
    new = make_package("crane", "1.1")
    text = text_of(pages.get("/"))
    assert f"/packages/{new.pk}" in text
    assert f"/packages/{old.pk}" not in text
    # The older one is found from the newer one's page.
    assert f"/packages/{old.pk}" in text_of(pages.get(f"/packages/{new.pk}"))


def test_search_finds_by_name_and_provider(pages: Any, make_package: Any) -> None:
    make_package("crane", provider="Harbour")
    make_package("camera", provider="City")
    text = text_of(pages.get("/?q=harb"))
    assert "crane" in text
    assert "camera" not in text
    assert "Nothing matches" in text_of(pages.get("/?q=zebra"))


def test_a_long_catalogue_has_pages(pages: Any, make_package: Any) -> None:
    for number in range(26):
        make_package(f"app-{number:02}")
    assert "26 applications" in text_of(pages.get("/"))
    assert text_of(pages.get("/?page=2")).count("app-card") == 2


def test_a_release_page_tells_what_the_descriptor_says(pages: Any, package: Any) -> None:
    text = text_of(pages.get(f"/packages/{package.pk}"))
    for fact in (
        "greeting",
        "location",
        "radio",
        "tr-1",
        "192.0.2.0/24",
        "FORWARD_DECAPSULATED",
        "hello.example",
        "0.5 CPU",
    ):
        assert fact in text
    assert f"/packages/{package.pk}/deploy" in text


def test_findings_stand_with_place_and_remedy_errors_first(pages: Any, make_package: Any) -> None:
    found = [
        {"level": "warning", "code": "w", "place": "a.mf", "message": "Not signed", "remedy": "Sign it"},
        {"level": "error", "code": "e", "place": "Image/x.tar", "message": "Wrong hash", "remedy": "Write it anew"},
    ]
    text = text_of(pages.get(f"/packages/{make_package(state='rejected', findings=found).pk}"))
    assert text.index("Wrong hash") < text.index("Not signed")
    for part in ("Image/x.tar", "Write it anew", "Sign it", "It cannot be published like this"):
        assert part in text


def test_findings_can_be_taken_along_with_their_lines(
    pages: Any, browser_of: Any, stranger: Any, make_package: Any
) -> None:
    found = [
        {"level": "info", "code": "i", "place": "b", "message": "Fine", "remedy": ""},
        {"level": "error", "code": "y", "place": "x/values.yaml", "message": "No YAML (line 12)", "remedy": "Mend it"},
    ]
    package = make_package(state="rejected", findings=found)
    text = text_of(pages.get(f"/packages/{package.pk}"))
    assert "x/values.yaml</span>, line 12" in text
    assert "Copy as JSON" in text
    url = f"/packages/{package.pk}/findings.json"
    kept = pages.get(url)
    assert "attachment" in kept["Content-Disposition"]
    assert [(row["code"], row["line"]) for row in kept.json()["findings"]] == [("y", 12), ("i", None)]
    assert browser_of(stranger).get(url).status_code == 404


def test_unfinished_uploads_are_listed_and_can_be_cancelled(
    pages: Any, browser_of: Any, stranger: Any, actor: Any, organisation: Any
) -> None:
    from appstore.packages import resumable
    from appstore.packages.models import Upload

    begun = resumable.begin(actor=actor, organisation=organisation, filename="half.csar", length=100)
    url = f"/uploads/{begun.pk}/cancel"
    assert "half.csar" in text_of(pages.get("/packages/upload"))
    assert "half.csar" not in text_of(browser_of(stranger).get("/packages/upload"))
    assert browser_of(stranger).post(url).status_code == 404
    assert "half.csar is cancelled" in text_of(pages.post(url, follow=True))
    assert not Upload.objects.exists()


def test_findings_are_for_the_owner(browser_of: Any, stranger: Any, make_package: Any) -> None:
    found = [{"level": "warning", "code": "w", "place": "internal/path", "message": "Not signed", "remedy": ""}]
    package = make_package(findings=found)
    assert "internal/path" not in text_of(browser_of(stranger).get(f"/packages/{package.pk}"))


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ({"state": "valid", "signer": "CN=Acme", "self_signed": True}, "vouches for themselves"),
        ({"state": "valid", "signer": "CN=Acme", "weak": "it uses SHA-1"}, "never be trusted"),
        ({"state": "valid", "signer": "CN=Acme", "trusted": True}, "valid and trusted"),
        ({"state": "invalid", "problem": "the digest differs"}, "The digest differs. Do not use"),
        ({"state": "absent"}, "Anybody could have made it"),
        ({}, "not read yet"),
    ],
)
def test_the_signature_is_told_in_words(pages: Any, make_package: Any, signature: Any, words: str) -> None:
    assert words in text_of(pages.get(f"/packages/{make_package(signature=signature).pk}"))


def test_what_a_package_says_is_text_and_never_code(pages: Any, make_package: Any) -> None:
    evil = make_package(
        NO_SCRIPT,
        provider=NO_SCRIPT,
        description=NO_SCRIPT,
        findings=[{"level": NO_SCRIPT, "message": NO_SCRIPT, "place": NO_SCRIPT, "remedy": NO_SCRIPT}],
        descriptor={"appServiceProduced": [{"serName": NO_SCRIPT}], "appTrafficRule": "odd", "appDNSRule": [1, None]},
    )
    for address in ("/", "/packages", f"/packages/{evil.pk}"):
        assert NO_SCRIPT not in text_of(pages.get(address))


def test_publishing_puts_it_into_the_catalogue(pages: Any, make_package: Any) -> None:
    package = make_package(state="checked")
    assert "ask-publish" in text_of(pages.get(f"/packages/{package.pk}"))
    response = pages.post(f"/packages/{package.pk}/publish", follow=True)
    assert "is in the catalogue now" in text_of(response)
    package.refresh_from_db()
    assert package.state == "published"


def test_what_a_rule_forbids_is_told_on_the_page(pages: Any, make_package: Any) -> None:
    package = make_package(state="rejected")
    response = pages.post(f"/packages/{package.pk}/publish", follow=True)
    assert response.status_code == 409
    assert "cannot publish now" in response.content.decode()


def test_withdrawing_needs_a_reason_and_shows_it(pages: Any, package: Any) -> None:
    response = pages.post(f"/packages/{package.pk}/yank", {"reason": " "})
    assert response.status_code == 400
    assert "Say why" in response.content.decode()
    text = text_of(pages.post(f"/packages/{package.pk}/yank", {"reason": "It leaks memory"}, follow=True))
    assert "It leaks memory" in text
    assert "The catalogue is empty" in text_of(pages.get("/"))


def test_discarding_forgets_it(pages: Any, make_package: Any) -> None:
    package = make_package(state="checked")
    assert "is gone" in text_of(pages.post(f"/packages/{package.pk}/discard", follow=True))
    assert not Package.objects.exists()


def test_a_developer_may_upload_and_publish_but_not_register_nodes(
    browser_of: Any, make_user: Any, organisation: Any, make_package: Any
) -> None:
    developer = browser_of(make_user("dev", organisation, "developer"))
    assert "ask-publish" in text_of(developer.get(f"/packages/{make_package(state='checked').pk}"))
    assert "Register a node" not in text_of(developer.get("/nodes"))
    assert developer.get("/packages/upload").status_code == 200


def test_without_scripts_the_form_takes_the_file(pages: Any, organisation: Any) -> None:
    file = SimpleUploadedFile("hello.csar", b"not a package at all")
    response = pages.post("/packages/upload", {"file": file})
    package = Package.objects.get()
    assert response.headers["Location"] == f"/packages/{package.pk}"
    assert (package.organisation, package.state) == (organisation, "draft")
    assert "Waiting for a worker" in text_of(pages.get(f"/packages/{package.pk}"))


@pytest.mark.parametrize(
    ("content", "words"), [(None, "This field is required"), (b"", "empty"), (b"x" * 200, "too large|larger|at most")]
)
def test_a_file_that_cannot_be_taken_is_told_on_the_form(pages: Any, settings: Any, content: Any, words: str) -> None:
    import re

    settings.MAX_PACKAGE_BYTES = 100
    data = {} if content is None else {"file": SimpleUploadedFile("a.csar", content)}
    response = pages.post("/packages/upload", data)
    assert response.status_code == 400
    assert re.search(words, response.content.decode())
    assert not Package.objects.exists()


def test_a_check_that_ends_while_the_page_is_made_is_told_with_its_outcome(
    organisation: Any, make_package: Any
) -> None:
    package = make_package("crane", state="draft")
    Operation.objects.create(
        kind="package.check", target=f"package:{package.pk}", organisation_id=organisation.pk, state="succeeded"
    )
    Package.objects.filter(pk=package.pk).update(state="rejected")
    assert package_facts(package, SYSTEM)["package"].state == "rejected"


def test_the_check_is_followed_live_until_it_ends(pages: Any, organisation: Any, make_package: Any) -> None:
    package = make_package(state="draft")
    work = Operation.objects.create(
        kind="package.check",
        target=f"package:{package.pk}",
        organisation_id=organisation.pk,
        state="running",
        percent=40,
    )
    text = text_of(pages.get(f"/packages/{package.pk}"))
    assert f'data-live="/api/v1/packages/{package.pk}/stream"' in text
    assert 'value="40"' in text
    Operation.objects.filter(pk=work.pk).update(state="succeeded")
    assert "data-live=" not in text_of(pages.get(f"/packages/{package.pk}"))
