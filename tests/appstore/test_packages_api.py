"""Packages over HTTP: upload in every form, hostile or not; lists, access, downloads."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from appstore.packages.models import Package
from core.operations import services as operations
from core.operations.models import Operation
from tests.appstore import hostile, making

pytestmark = pytest.mark.django_db

URL = "/api/v1/packages"


def left_over(settings: Any) -> list[str]:
    """What uploads left behind that is in nobody's package."""
    root = Path(settings.BLOB_DIR)
    known = {digest for package in Package.objects.all() for digest in package.blobs.values_list("pk", flat=True)}
    return [str(path) for path in root.rglob("*") if path.is_file() and path.name not in known]


HALF_A_FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'


class TestUpload:
    """The door for new packages."""

    def test_a_raw_body_is_a_package(self, upload: Any, api: Any) -> None:
        response = upload(making.edgegallery(), "hello_1.0.csar")
        assert response.status_code == 201
        told = response.json()
        assert (told["state"], told["filename"], told["size"]) == ("draft", "hello_1.0.csar", len(making.edgegallery()))
        assert told["sha256"] == hashlib.sha256(making.edgegallery()).hexdigest()
        assert response["Location"] == f"{URL}/{told['id']}"
        assert api.get(f"/api/v1/operations/{told['operation']}").json()["kind"] == "package.check"

    def test_a_form_is_a_package_too(self, api: Any) -> None:
        file = SimpleUploadedFile("hello.csar", making.edgegallery())
        response = api.post(
            URL, {"note": "x", "other": SimpleUploadedFile("o", b"o"), "file": file}, format="multipart"
        )
        assert response.status_code == 201, response.content
        assert response.json()["sha256"] == hashlib.sha256(making.edgegallery()).hexdigest()
        assert response.json()["filename"] == "hello.csar"

    @pytest.mark.parametrize(
        "form",
        [{}, {"file": "text"}, {"other": SimpleUploadedFile("o", b"o")}],
    )
    def test_a_form_without_the_file_is_refused(self, api: Any, form: Any, settings: Any) -> None:
        response = api.post(URL, form, format="multipart")
        assert response.status_code == 400
        assert response["Content-Type"] == "application/problem+json"
        assert left_over(settings) == []

    def test_two_files_are_refused(self, api: Any, settings: Any) -> None:
        files = [SimpleUploadedFile("a", b"a"), SimpleUploadedFile("b", b"b")]
        assert api.post(URL, {"file": files}, format="multipart").status_code == 400
        assert left_over(settings) == []

    @pytest.mark.parametrize(
        "body",
        [b"", b"--x", b"garbage", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'],
    )
    def test_a_broken_form_is_refused(self, api: Any, body: bytes, settings: Any) -> None:
        for kind in (
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "multipart/form-data; boundary=" + "y" * 999,
        ):
            assert api.generic("POST", URL, body, content_type=kind).status_code in (201, 400)
        assert left_over(settings) == []

    def test_an_empty_body_is_refused(self, upload: Any, settings: Any) -> None:
        assert upload(b"").status_code == 400
        assert left_over(settings) == []

    def test_a_body_that_is_too_large_is_refused(self, upload: Any, api: Any, settings: Any) -> None:
        settings.MAX_PACKAGE_BYTES = 1000
        for response in (
            upload(b"x" * 1001),
            api.post(URL, {"file": SimpleUploadedFile("a", b"x" * 1001)}, format="multipart"),
        ):
            assert response.status_code == 413
            assert response.json()["limit"] == 1000
        assert left_over(settings) == []

    def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(self, api: Any, settings: Any) -> None:
        settings.MAX_PACKAGE_BYTES = 1000

        class Unread(io.BytesIO):
            def read(self, *args: Any) -> bytes:
                raise AssertionError("nothing may be read")

        response = api.generic(
            "POST", URL, content_type="application/octet-stream", **{"wsgi.input": Unread(), "CONTENT_LENGTH": "99999"}
        )
        assert response.status_code == 413

    @pytest.mark.parametrize("told", ["5000", "-1", "many", "9" * 30, "１２"])
    def test_a_length_that_lies_is_found_out(self, api: Any, told: str, settings: Any) -> None:
        body = {"wsgi.input": io.BytesIO(b"x" * 100), "CONTENT_LENGTH": told}
        response = api.generic("POST", URL, content_type="application/octet-stream", **body)
        assert response.status_code in (400, 413)
        assert left_over(settings) == []
        assert not Package.objects.exists()

    def test_a_body_in_chunks_has_no_length(self, api: Any) -> None:
        content = making.edgegallery()
        body = {"wsgi.input": io.BytesIO(content), "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
        response = api.generic("POST", URL + "?filename=a.csar", content_type="application/octet-stream", **body)
        assert response.status_code == 201
        assert response.json()["size"] == len(content)

    def test_a_client_that_goes_away_leaves_nothing(self, api: Any, settings: Any) -> None:
        class Gone(io.BytesIO):
            def read(self, *args: Any) -> bytes:
                block = super().read(*args)
                if not block:
                    raise ConnectionResetError("the client is gone")
                return block

        body = {"wsgi.input": Gone(b"x" * 100), "CONTENT_LENGTH": "5000"}
        assert api.generic("POST", URL, content_type="application/octet-stream", **body).status_code == 400
        assert left_over(settings) == []

    @pytest.mark.parametrize(
        ("header", "form"),
        [
            ("X-Content-SHA256", lambda digest: digest.hex()),
            ("Content-Digest", lambda digest: f"sha-256=:{base64.b64encode(digest).decode()}:"),
            ("Digest", lambda digest: f"SHA-256={base64.b64encode(digest).decode()}"),
        ],
    )
    def test_a_digest_that_was_told_is_checked(
        self, upload: Any, header: str, form: Callable[[bytes], str], settings: Any
    ) -> None:
        content = making.edgegallery()
        assert upload(content, **{header: form(hashlib.sha256(b"other").digest())}).status_code == 400
        assert upload(content, **{header: form(b"short")}).status_code == 400
        assert left_over(settings) == []
        assert upload(content, **{header: form(hashlib.sha256(content).digest())}).status_code == 201

    def test_the_same_bytes_twice_name_the_package_that_is_there(self, upload: Any) -> None:
        first = upload(making.edgegallery()).json()
        again = upload(making.edgegallery())
        assert (again.status_code, again.json()["package"]) == (409, first["id"])

    def test_who_may_not(
        self, upload: Any, make_user: Any, organisation: Any, client_of: Any, stranger_api: Any, settings: Any
    ) -> None:
        content = making.edgegallery()
        assert upload(content, client=APIClient()).status_code == 401
        assert upload(content, client=client_of(make_user("vera", organisation, "viewer"))).status_code == 403
        assert upload(content, f"a&organisation={organisation.slug}", client=stranger_api).status_code == 404
        assert left_over(settings) == []
        assert not Package.objects.exists()

    def test_a_forged_request_is_refused_without_reading_the_form(self, admin: Any, settings: Any) -> None:
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(admin)
        form = {"file": SimpleUploadedFile("a.csar", making.edgegallery())}
        assert client.post(URL, form, format="multipart").status_code == 403
        assert left_over(settings) == []
        token = {"X-CSRFToken": "a" * 32}
        client.cookies[settings.CSRF_COOKIE_NAME] = token["X-CSRFToken"]
        form = {"file": SimpleUploadedFile("a.csar", making.edgegallery())}
        assert client.post(URL, form, format="multipart", headers=token).status_code == 201
        raw = {"data": making.chart_bytes(), "content_type": "application/octet-stream"}
        assert client.post(URL, **raw).status_code == 403
        assert client.post(URL, **raw, headers=token).status_code == 201


@pytest.mark.parametrize(
    ("make", "code"),
    [*hostile.ZIPS.values(), *hostile.TARS.values(), *hostile.BROKEN.values()],
    ids=[*hostile.ZIPS, *(f"tar {name}" for name in hostile.TARS), *hostile.BROKEN],
)
def test_a_hostile_upload_is_told_through_the_api(
    upload: Any,
    api: Any,
    settings: Any,
    make: Callable[[], bytes],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    response = upload(make(), "evil.csar")
    assert response.status_code == 201
    operations.run_due()
    told = api.get(response["Location"]).json()
    assert told["state"] == "rejected"
    assert code in {finding["code"] for finding in told["findings"]}
    assert told["counts"]["error"] >= 1
    assert all(finding["message"] for finding in told["findings"])
    assert api.post(f"{response['Location']}/publish").status_code == 409
    assert left_over(settings) == []
    assert list(elsewhere.iterdir()) == []
    assert sorted(p.name for p in settings.VAR_DIR.iterdir()) == ["blobs"]


class TestSamples:
    """The real packages through the whole API."""

    def test_test2048_passes_with_warnings(self, checked: Any) -> None:
        told = checked(making.sample("test2048_1.0.csar").read_bytes())
        assert (told["state"], told["name"], told["signature"]["state"]) == ("checked", "test2048", "valid")
        assert {f["code"] for f in told["findings"] if f["level"] == "warning"} == {
            "listed-member-missing", "signature-weak", "signature-partial", "signer-unknown",
        }  # fmt: skip
        assert told["chart_sha256"] == "83bf759b70a07856d6a2ed5e095c1ceebc00556059596d36dd4897211833448f"

    @pytest.mark.parametrize("name", ["sampleapp.csar", "22406fba-fd5d-4f55-b3fa-89a45fee913a-apprules.csar"])
    def test_the_others_are_read_and_rejected_for_their_hashes(self, checked: Any, name: str) -> None:
        told = checked(making.sample(name).read_bytes())
        assert told["state"] == "rejected"
        assert {f["code"] for f in told["findings"] if f["level"] == "error"} == {"manifest-hash-mismatch"}
        assert len(told["descriptor"]["appTrafficRule"]) == 1
        assert len(told["descriptor"]["appDNSRule"]) == 1


def test_texts_that_no_database_holds_are_made_harmless(upload: Any, api: Any) -> None:
    files = making.edgegallery_files()
    item = {"name": "a\u0000b\ud800c", "swImage": "\udfff"}
    files["Image/SwImageDesc.json"] = json.dumps([item])
    manifest = making.manifest_of(files, app_package_description="NUL \x00 here", app_provider_id="x" * 500)
    response = upload(making.zip_bytes({"hello.mf": manifest, **files}))
    assert operations.run_due() == 1
    told = api.get(response["Location"]).json()
    assert told["description"] == "NUL \ufffd here"
    assert told["descriptor"]["images"][0]["name"] == "a\ufffdb\ufffdc"
    assert told["state"] == "rejected"
    assert "appd-too-long" in {finding["code"] for finding in told["findings"]}


class TestReading:
    """Lists, details, downloads."""

    def test_a_list_is_searched_filtered_and_paged(self, checked: Any, api: Any) -> None:
        checked(making.edgegallery())
        checked(making.chart_bytes("world"), "world.tgz")
        checked(hostile.PNG, "picture.png")

        def names(query: str) -> list[str]:
            response = api.get(f"{URL}?{query}")
            assert response.status_code == 200, response.content
            return sorted(row["filename"] for row in response.json()["results"])

        assert names("") == ["hello.csar", "picture.png", "world.tgz"]
        assert names("q=WORLD") == ["world.tgz"]
        assert names("q=says+acme") == ["hello.csar", "world.tgz"]
        assert names("q=nothing") == []
        assert names("state=rejected") == ["picture.png"]
        assert names("format=helm-chart") == ["world.tgz"]
        assert names("organisation=acme&q=hello") == ["hello.csar", "world.tgz"]
        assert names("organisation=nobody") == []
        page = api.get(f"{URL}?page_size=2&page=2").json()
        assert (page["count"], len(page["results"]), page["next"]) == (3, 1, None)
        assert "descriptor" not in page["results"][0]

    @pytest.mark.parametrize("query", ["state=lost", "format=rpm"])
    def test_a_filter_that_does_not_exist_is_refused(self, api: Any, query: str) -> None:
        assert api.get(f"{URL}?{query}").status_code == 400

    @pytest.mark.parametrize(
        "query", ["q=%00", "q=" + "a+" * 500, "page=0", "page=x", "page_size=9999", "organisation=%00"]
    )
    def test_odd_questions_get_an_answer(self, api: Any, query: str) -> None:
        assert api.get(f"{URL}?{query}").status_code in (200, 400, 404)

    def test_a_package_is_downloaded_as_it_was_sent(self, checked: Any, api: Any) -> None:
        told = checked(making.edgegallery(), "hello.csar")
        response = api.get(f"{URL}/{told['id']}/content")
        assert b"".join(response.streaming_content) == making.edgegallery()
        assert response["Content-Disposition"] == 'attachment; filename="hello.csar"'
        assert response["Repr-Digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(told['sha256'])).decode()}:"
        assert api.get(f"{URL}/{told['id']}/content", headers={"If-None-Match": response["ETag"]}).status_code == 304

    def test_others_see_what_is_published_and_nothing_else(self, checked: Any, api: Any, stranger_api: Any) -> None:
        told = checked(making.edgegallery())
        paths = [f"{URL}/{told['id']}", f"{URL}/{told['id']}/content"]
        assert [stranger_api.get(path).status_code for path in paths] == [404, 404]
        assert stranger_api.get(URL).json()["count"] == 0
        assert api.post(f"{URL}/{told['id']}/publish").json()["state"] == "published"
        assert [stranger_api.get(path).status_code for path in paths] == [200, 200]
        assert stranger_api.get(f"{URL}/{told['id']}").json()["operation"] is None
        for act, data in (("check", {}), ("publish", {}), ("withdraw", {"reason": "mine"})):
            assert stranger_api.post(f"{URL}/{told['id']}/{act}", data, format="json").status_code == 404
        assert stranger_api.delete(f"{URL}/{told['id']}").status_code == 404
        assert stranger_api.get(f"{URL}/{told['id']}/stream").status_code == 404

    def test_a_life_through_the_api(self, checked: Any, api: Any) -> None:
        told = checked(making.edgegallery())
        path = f"{URL}/{told['id']}"
        assert api.post(f"{path}/check").status_code == 202
        operations.run_due()
        assert api.post(f"{path}/publish").status_code == 200
        assert api.post(f"{path}/publish").status_code == 409
        assert api.delete(path).status_code == 409
        assert api.post(f"{path}/withdraw", {}, format="json").status_code == 400
        withdrawn = api.post(f"{path}/withdraw", {"reason": "leaks"}, format="json").json()
        assert (withdrawn["state"], withdrawn["withdrawn_reason"]) == ("yanked", "leaks")
        draft = checked(making.chart_bytes())
        assert api.delete(f"{URL}/{draft['id']}").status_code == 204
        assert api.get(f"{URL}/{draft['id']}").status_code == 404

    @pytest.mark.django_db(transaction=True)
    def test_the_stream_tells_state_and_operation(self, organisation: Any, admin: Any) -> None:
        from asgiref.sync import async_to_sync
        from django.test import RequestFactory

        from appstore.packages.api import stream

        package = Package.objects.create(organisation=organisation, sha256="0" * 64, size=1, state="checked")
        Operation.objects.create(kind="package.check", target=f"package:{package.pk}", state="succeeded")
        request = RequestFactory().get(f"{URL}/{package.pk}/stream")
        request.user = admin
        response: Any = stream(request, package.pk)

        async def events() -> list[bytes]:
            return [part async for part in response.streaming_content]

        parts = async_to_sync(events)()
        seen = json.loads(next(part for part in parts if part.startswith(b"data:"))[5:])
        assert (seen["state"], seen["operation"]["state"], seen["finished"]) == ("checked", "succeeded", True)


class TestQueries:
    """Answers cost a fixed number of queries, however many rows there are."""

    def fill(self, organisation: Any, number: int) -> None:
        rows = [
            Package(organisation=organisation, sha256=f"{n:064x}", size=n, name=f"n{n}", findings=[{"level": "info"}])
            for n in range(number)
        ]
        Package.objects.bulk_create(rows)

    @pytest.mark.parametrize("number", [1, 60])
    def test_a_list(self, api: Any, organisation: Any, number: int, django_assert_num_queries: Any) -> None:
        self.fill(organisation, number)
        # session, user, roles, count, page
        with django_assert_num_queries(5):
            response = api.get(f"{URL}?page_size=50")
        assert len(response.json()["results"]) == min(number, 50)

    def test_one(self, api: Any, organisation: Any, django_assert_num_queries: Any) -> None:
        self.fill(organisation, 1)
        package = Package.objects.get()
        # session, user, roles, package, its operation
        with django_assert_num_queries(5):
            assert api.get(f"{URL}/{package.pk}").status_code == 200


def test_the_api_describes_itself() -> None:
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator().get_schema(request=None, public=True)
    upload = schema["paths"]["/api/v1/packages"]["post"]
    assert set(upload["requestBody"]["content"]) == {"application/octet-stream", "multipart/form-data"}
    assert {"201", "400", "409", "413"} <= set(upload["responses"])
    for path in ("check", "publish", "withdraw", "content"):
        assert (
            f"/api/v1/packages/{{id}}/{path}" in schema["paths"] or f"/api/v1/packages/{{pk}}/{path}" in schema["paths"]
        )
    json.dumps(schema, default=str)
