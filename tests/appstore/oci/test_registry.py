"""The pull half of the OCI Distribution Specification: what Helm and other clients send, and who gets what."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from appstore.oci import manifests
from appstore.oci.models import Artifact
from appstore.oci.registry import page
from appstore.packages import services as packages
from appstore.packages.models import Package
from tests.appstore.contents import inside
from tests.appstore.oci.conftest import Registry

CHART = inside.chart()
MISSING = (404, "NAME_UNKNOWN")
SIGN_IN = (401, "UNAUTHORIZED")


def body(response: Any) -> bytes:
    """The bytes of an answer, streamed or not."""
    return b"".join(response.streaming_content) if response.streaming else response.content


@pytest.mark.django_db
class TestPulling:
    """A published chart."""

    @pytest.fixture(autouse=True)
    def _published(self, release: Any) -> None:
        self.package = release(inside.csar(chart_file=CHART))

    def test_manifest_configuration_and_layer_are_what_helm_wants(self, anybody: Registry) -> None:
        response = anybody.get("acme/hello/manifests/1.2.0")
        assert response.status_code == 200
        assert response["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
        digest = hashlib.sha256(response.content).hexdigest()
        assert response["Docker-Content-Digest"] == f"sha256:{digest}"
        told = json.loads(response.content)
        assert told["schemaVersion"] == 2
        assert told["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
        (layer,) = told["layers"]
        assert layer["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
        assert layer["digest"] == f"sha256:{hashlib.sha256(CHART).hexdigest()}"
        assert layer["size"] == len(CHART)
        assert told["annotations"]["io.breakwater.release.version"] == "1.0"
        config = anybody.get(f"acme/hello/blobs/{told['config']['digest']}")
        assert len(config.content) == told["config"]["size"]
        assert f"sha256:{hashlib.sha256(config.content).hexdigest()}" == told["config"]["digest"]
        assert json.loads(config.content)["name"] == "hello"
        assert body(anybody.get(f"acme/hello/blobs/{layer['digest']}")) == CHART

    def test_the_tag_of_the_release_the_digest_and_the_long_name_lead_to_the_same(self, anybody: Registry) -> None:
        first = anybody.get("acme/hello/manifests/1.2.0")
        for path in ("acme/hello/manifests/1.0", "acme/acme/hello/manifests/1.2.0",
                     f"acme/hello/manifests/{first['Docker-Content-Digest']}"):  # fmt: skip
            assert anybody.get(path).content == first.content

    def test_head_says_the_same_without_the_body(self, anybody: Registry) -> None:
        digest = anybody.manifest("acme/hello", "1.2.0")["layers"][0]["digest"]
        for path in ("acme/hello/manifests/1.2.0", f"acme/hello/blobs/{digest}"):
            get = anybody.get(path)
            head = anybody.client.head(f"/v2/{path}")
            assert (head.status_code, body(head)) == (200, b"")
            for name in ("Content-Length", "Docker-Content-Digest", "Content-Type"):
                assert head[name] == get[name]

    @pytest.mark.parametrize(
        ("asked", "start", "end"),
        [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=3-99999999", 3, None)],
    )
    def test_a_part_of_a_file_is_given(self, anybody: Registry, asked: str, start: int, end: int | None) -> None:
        digest = anybody.manifest("acme/hello", "1.2.0")["layers"][0]["digest"]
        response = anybody.get(f"acme/hello/blobs/{digest}", Range=asked)
        wanted = CHART[start:end]
        assert response.status_code == 206
        assert body(response) == wanted
        first = len(CHART) + start if start < 0 else start
        assert response["Content-Range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(CHART)}"

    @pytest.mark.parametrize(
        ("asked", "status"), [("bytes=99999999-", 416), ("bytes=5-2", 416), ("bytes=0-1,3-4", 200), ("lines=1-2", 200)]
    )
    def test_an_odd_range_is_refused_or_left_out(self, anybody: Registry, asked: str, status: int) -> None:
        digest = anybody.manifest("acme/hello", "1.2.0")["layers"][0]["digest"]
        assert anybody.get(f"acme/hello/blobs/{digest}", Range=asked).status_code == status

    def test_the_bill_of_materials_refers_to_the_chart(self, anybody: Registry) -> None:
        subject = anybody.get("acme/hello/manifests/1.2.0")["Docker-Content-Digest"]
        response = anybody.get(f"acme/hello/referrers/{subject}")
        assert response["Content-Type"] == "application/vnd.oci.image.index.v1+json"
        (found,) = json.loads(response.content)["manifests"]
        assert found["artifactType"] == "application/vnd.cyclonedx+json"
        told = anybody.manifest("acme/hello", found["digest"])
        assert told["subject"]["digest"] == subject
        bill = body(anybody.get(f"acme/hello/blobs/{told['layers'][0]['digest']}"))
        assert json.loads(bill)["bomFormat"] == "CycloneDX"
        assert body(anybody.get(f"acme/hello/blobs/{told['config']['digest']}")) == b"{}"
        other = anybody.get(f"acme/hello/referrers/{subject}?artifactType=text/plain")
        assert json.loads(other.content)["manifests"] == []
        assert other["OCI-Filters-Applied"] == "artifactType"
        nothing = anybody.get(f"acme/hello/referrers/sha256:{'0' * 64}")
        assert (nothing.status_code, json.loads(nothing.content)["manifests"]) == (200, [])

    def test_no_other_file_of_the_store_is_given(self, anybody: Registry, member: Registry) -> None:
        for client in (anybody, member):
            assert client.code(f"acme/hello/blobs/sha256:{self.package.sha256}") == (404, "BLOB_UNKNOWN")
            assert client.code("acme/hello/blobs/sha256:zz") == (400, "DIGEST_INVALID")
            assert client.code("acme/hello/manifests/9.9.9") == (404, "MANIFEST_UNKNOWN")

    def test_nothing_can_be_pushed(self, member: Registry) -> None:
        strict = Client(enforce_csrf_checks=True)
        for send in (strict.post, strict.put, strict.delete, strict.patch):
            response = send("/v2/acme/hello/blobs/uploads/")
            assert (response.status_code, json.loads(response.content)["errors"][0]["code"]) == (405, "UNSUPPORTED")

    @pytest.mark.parametrize("path", ["acme", "acme/", "a/b/c", "acme/hello/", "acme/hello/tags", "acme//hello/tags/list",
                                      "acme/hello%00/tags/list", "../hello/tags/list", "acme/x/y/hello/tags/list",
                                      "acme/from-000000000000/acme/hello/tags/list", "acme/HELLO/tags/list"])  # fmt: skip
    def test_an_odd_address_is_unknown(self, path: str, member: Registry) -> None:
        assert member.code(path) == MISSING

    def test_the_page_costs_few_queries_however_many_releases(
        self, anybody: Registry, release: Any, django_assert_max_num_queries: Any
    ) -> None:
        release(inside.csar(version="1.1", chart_file=inside.chart(inside.CHART.replace("1.2.0", "1.3.0"))))
        with django_assert_max_num_queries(2):
            assert anybody.get("acme/hello/tags/list").status_code == 200


@pytest.mark.django_db
class TestWhoGetsWhat:
    """Published to all, to the organisation, or not at all."""

    def test_who_did_not_sign_in_gets_public_releases_only(
        self, anybody: Registry, release: Any, settings: Any
    ) -> None:
        release(inside.csar())
        assert anybody.code("acme/hello/tags/list") == (200, "")
        Package.objects.update(visibility="organisation")
        assert anybody.code("acme/hello/tags/list") == SIGN_IN
        Package.objects.update(visibility="public")
        settings.OCI_ANONYMOUS = False
        assert anybody.code("acme/hello/tags/list") == SIGN_IN

    @pytest.mark.parametrize(
        "path", ["tags/list", "manifests/1.2.0", "manifests/1.0", "blobs/", "referrers/", "manifests/digest"]
    )
    def test_what_is_not_published_is_unknown_to_everybody(
        self, path: str, read: Any, member: Registry, foreigner: Registry, anybody: Registry
    ) -> None:
        read(inside.csar(chart_file=CHART))
        chart = Artifact.objects.get(kind="chart")
        path = path.replace("blobs/", f"blobs/sha256:{chart.layer_digest}").replace("digest", f"sha256:{chart.digest}")
        path = path.replace("referrers/", f"referrers/sha256:{chart.digest}")
        for client in (member, foreigner):
            assert client.code(f"acme/hello/{path}") == MISSING
        # A stranger is asked to sign in, and so learns nothing.
        assert anybody.code(f"acme/hello/{path}") == anybody.code(f"no/such/{path}") == SIGN_IN

    def test_a_withdrawn_release_is_unknown_and_the_others_stay(
        self, release: Any, actor: Any, member: Registry
    ) -> None:
        old = release(inside.csar())
        release(inside.csar(version="1.1", chart_file=inside.chart(inside.CHART.replace("1.2.0", "1.3.0"))))
        packages.withdraw(old, actor=actor, reason="bad")
        assert json.loads(member.get("acme/hello/tags/list").content)["tags"] == ["1.1", "1.3.0"]
        assert member.code("acme/hello/manifests/1.2.0") == (404, "MANIFEST_UNKNOWN")

    def test_a_release_for_the_organisation_is_for_its_members(
        self, release: Any, member: Registry, foreigner: Registry
    ) -> None:
        release(inside.csar(), visibility="organisation")
        assert member.code("acme/hello/tags/list") == (200, "")
        assert foreigner.code("acme/hello/tags/list") == MISSING

    def test_a_token_gives_what_its_scopes_give(
        self, release: Any, admin: Any, token_of: Any, organisation: Any
    ) -> None:
        release(inside.csar(), visibility="organisation")
        assert Registry(token_of(admin, scopes=["packages.read"])).code("acme/hello/tags/list") == (200, "")
        assert Registry(token_of(admin, scopes=["nodes.read"])).code("acme/hello/tags/list") == MISSING
        assert Registry(token_of(admin), basic=False).code("acme/hello/tags/list") == (200, "")

    @pytest.mark.parametrize(
        "said", ["Basic !!", "Basic YWRtaW46d3Jvbmc=", "Basic ", "Bearer wrong", "Digest x", "Basic " + "A" * 9999]
    )
    def test_wrong_credentials_are_refused_even_for_what_is_public(self, said: str, release: Any) -> None:
        release(inside.csar())
        response = Client(headers={"Authorization": said}).get("/v2/acme/hello/tags/list")
        assert response.status_code == 401
        assert response["WWW-Authenticate"].startswith("Basic ")

    def test_a_password_is_no_token(self, admin: Any) -> None:
        assert Registry("correct horse battery").get("").status_code == 401

    def test_the_session_of_a_browser_means_nothing(self, admin: Any, release: Any) -> None:
        release(inside.csar(), visibility="organisation")
        browser = Client()
        browser.force_login(admin)
        assert browser.get("/v2/acme/hello/tags/list").status_code == 401

    def test_the_root_tells_a_right_login_from_a_wrong_one(self, anybody: Registry, member: Registry) -> None:
        assert member.get("").status_code == 200
        assert anybody.get("").status_code == 401
        assert member.get("")["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.django_db
class TestNames:
    """Which name leads to which chart."""

    def test_tags_come_in_pages(self, release: Any, anybody: Registry) -> None:
        for number in range(3):
            release(
                inside.csar(
                    version=f"1.{number}", chart_file=inside.chart(inside.CHART.replace("1.2.0", f"2.{number}.0"))
                )
            )
        seen: list[str] = []
        at = "acme/hello/tags/list?n=2"
        while at:
            response = anybody.get(at)
            seen += json.loads(response.content)["tags"]
            link = re.match(r'</v2/(.+)>; rel="next"\Z', response.get("Link", ""))
            at = link[1] if link else ""
        assert seen == ["1.0", "1.1", "1.2", "2.0.0", "2.1.0", "2.2.0"]
        assert anybody.code("acme/hello/tags/list?n=x") == (400, "UNSUPPORTED")
        assert json.loads(anybody.get("acme/hello/tags/list?n=0").content)["tags"] == []

    def test_a_plus_in_a_version_is_an_underscore_in_the_tag(self, release: Any, anybody: Registry) -> None:
        release(inside.csar(version="1.0+build.5", chart_file=inside.chart(inside.CHART.replace("1.2.0", "1.2.0+7"))))
        assert json.loads(anybody.get("acme/hello/tags/list").content)["tags"] == ["1.0_build.5", "1.2.0_7"]

    def test_one_chart_in_two_releases_is_the_later_one(self, release: Any, anybody: Registry) -> None:
        release(inside.csar(chart_file=CHART))
        release(inside.csar(version="1.1", chart_file=CHART))
        told = anybody.manifest("acme/hello", "1.2.0")
        assert told["annotations"]["io.breakwater.release.version"] == "1.1"
        assert anybody.manifest("acme/hello", "1.0")["annotations"]["io.breakwater.release.version"] == "1.0"

    def test_two_providers_with_one_name_have_longer_names(self, release: Any, anybody: Registry) -> None:
        release(inside.csar())
        release(inside.csar(app_provider_id="Beta Ltd."))
        response = anybody.get("acme/hello/tags/list")
        assert response.status_code == 404
        message = json.loads(response.content)["errors"][0]["message"]
        assert "acme/acme/hello or acme/beta-ltd/hello" in message
        for provider in ("acme", "beta-ltd"):
            assert anybody.manifest(f"acme/{provider}/hello", "1.2.0")["layers"]

    def test_what_comes_from_another_store_covers_no_own_name(self, release: Any, member: Registry) -> None:
        release(inside.csar())
        release(inside.csar(version="6.6"), origin="ab" * 32)
        assert json.loads(member.get("acme/hello/tags/list").content)["tags"] == ["1.0", "1.2.0"]
        fetched = member.get("acme/from-abababababab/acme/hello/tags/list")
        assert json.loads(fetched.content)["tags"] == ["1.2.0", "6.6"]

    def test_two_stores_whose_ids_begin_alike_are_not_taken_for_one(self, release: Any, member: Registry) -> None:
        stores = ["ab" * 32, "ab" * 6 + "cd" * 26]
        for version, store in zip(("6.6", "7.7"), stores, strict=True):
            release(inside.csar(version=version), origin=store)
        refused = member.get("acme/from-abababababab/acme/hello/tags/list")
        assert refused.status_code == 404
        for version, store in zip(("6.6", "7.7"), stores, strict=True):
            longer = f"acme/from-{store}/acme/hello"
            assert longer in json.loads(refused.content)["errors"][0]["message"]
            assert json.loads(member.get(f"{longer}/tags/list").content)["tags"] == ["1.2.0", version]

    def test_tags_are_told_without_reading_what_may_be_megabytes(
        self, release: Any, anybody: Registry, django_assert_num_queries: Any
    ) -> None:
        release(inside.csar())
        with django_assert_num_queries(1) as told:
            assert anybody.get("acme/hello/tags/list").status_code == 200
        assert not [
            each for each in ('"config"', '"descriptor"', '"findings"') if each in told.captured_queries[0]["sql"]
        ]


@given(st.text(max_size=40))
def test_names_and_tags_are_what_the_specification_allows(text: str) -> None:
    step, tag = manifests.step_of(text), manifests.tag_of(text)
    assert step == "" or re.fullmatch(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*", step)
    assert tag == "" or re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", tag)


@given(st.sets(st.from_regex(r"[a-z0-9.]{1,4}", fullmatch=True), max_size=12), st.integers(1, 5))
def test_pages_of_tags_are_all_tags_once(tags: set[str], limit: int) -> None:
    seen: list[str] = []
    more = True
    while more:
        rows, more = page(tags, last=seen[-1] if seen else "", limit=limit)
        seen += rows
    assert seen == sorted(tags)
