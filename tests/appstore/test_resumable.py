"""Uploads in parts: the offset never lies, limits hold, a crash costs a part, and nothing is left behind."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appstore.packages import partial, resumable
from appstore.packages.models import Package, Upload
from core.accounts.access import Actor
from core.accounts.models import Membership, Organisation, User
from core.errors import BreakwaterError, Conflict, Missing
from mecm import tasks
from tests.appstore import making

pytestmark = pytest.mark.django_db

TUS = {"Tus-Resumable": "1.0.0"}
PART = "application/offset+octet-stream"


def begin(api: Any, length: int, name: str = "hello.csar", **metadata: str) -> Any:
    said = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in {"filename": name, **metadata}.items())
    return api.post("/api/v1/uploads", headers={**TUS, "Upload-Length": str(length), "Upload-Metadata": said})


def patch(api: Any, url: str, offset: int, content: bytes, **headers: str) -> Any:
    return api.generic(
        "PATCH", url, content, content_type=PART, headers={**TUS, "Upload-Offset": str(offset), **headers}
    )


def files(settings: Any) -> list[Path]:
    return list((Path(settings.BLOB_DIR) / "partial").glob("*"))


def test_a_file_in_three_parts_becomes_a_package(api: Any, settings: Any) -> None:
    content = making.edgegallery()
    made = begin(api, len(content), sha256=hashlib.sha256(content).hexdigest())
    assert made.status_code == 201
    url, cut = made["Location"], [0, 1000, 2500, len(content)]
    for start, stop in itertools.pairwise(cut):
        answer = patch(api, url, start, content[start:stop])
        assert (answer.status_code, answer["Upload-Offset"]) == (204, str(stop))
        assert answer["Upload-Expires"].endswith("GMT")
    package = Package.objects.get(pk=answer["Breakwater-Package"])
    assert (package.sha256, package.filename) == (hashlib.sha256(content).hexdigest(), "hello.csar")
    told = api.head(url, headers=TUS)
    assert (told["Upload-Offset"], told["Upload-Length"]) == (str(len(content)), str(len(content)))
    assert told["Cache-Control"] == "no-store"
    assert api.get(url).json()["package"] == str(package.pk)
    assert files(settings) == []


def test_the_protocol_is_told_and_other_versions_are_refused(api: Any) -> None:
    told = api.options("/api/v1/uploads")
    assert told["Tus-Extension"] == "creation,expiration,termination,checksum"
    url = begin(api, 10)["Location"]
    assert begin(api, 10).status_code == 201
    refused = api.post("/api/v1/uploads", headers={"Tus-Resumable": "0.2.2", "Upload-Length": "3"})
    assert (refused.status_code, refused["Tus-Version"]) == (412, "1.0.0")
    plain = api.generic("PATCH", url, b"x", content_type="text/plain", headers={**TUS, "Upload-Offset": "0"})
    assert plain.status_code == 415
    for length in ("", "-1", "1.5", "9" * 30):
        assert api.post("/api/v1/uploads", headers={**TUS, "Upload-Length": length}).status_code == 400
    assert api.post("/api/v1/uploads", headers={**TUS, "Upload-Length": "3", "Upload-Metadata": "filename ?"}
                    ).status_code == 400  # fmt: skip


def test_a_wrong_offset_is_refused_and_the_right_one_told(api: Any) -> None:
    url = begin(api, 10)["Location"]
    assert patch(api, url, 0, b"abc").status_code == 204
    for wrong in (0, 2, 4, 10):
        answer = patch(api, url, wrong, b"x")
        assert (answer.status_code, answer["Upload-Offset"], answer.json()["offset"]) == (409, "3", 3)
    assert patch(api, url, 3, b"x" * 8).status_code == 413
    assert api.get(url).json()["offset"] == 3


def test_a_damaged_part_counts_for_nothing(api: Any) -> None:
    url = begin(api, 6)["Location"]
    for algorithm in ("sha1", "sha256"):
        right = base64.b64encode(hashlib.new(algorithm, b"abc").digest()).decode()
        offset = int(api.get(url).json()["offset"])
        assert patch(api, url, offset, b"abX", **{"Upload-Checksum": f"{algorithm} {right}"}).status_code == 460
        assert api.get(url).json()["offset"] == offset
        assert patch(api, url, offset, b"abc", **{"Upload-Checksum": f"{algorithm} {right}"}).status_code in (204, 409)
    assert patch(api, begin(api, 6)["Location"], 0, b"abc", **{"Upload-Checksum": "crc32 AAAA"}).status_code == 400


def test_two_writers_at_once_are_refused(api: Any) -> None:
    url = begin(api, 10)["Location"]
    first = resumable.open_for_writing(Upload.objects.get(), 0)
    try:
        answer = patch(api, url, 0, b"abc")
        assert (answer.status_code, answer.json()["retryable"]) == (423, True)
    finally:
        first.close()
    assert patch(api, url, 0, b"abc").status_code == 204


def test_another_tenant_finds_nothing(api: Any, stranger_api: Any) -> None:
    url = begin(api, 10)["Location"]
    assert stranger_api.get("/api/v1/uploads").json()["results"] == []
    for answer in (stranger_api.head(url), patch(stranger_api, url, 0, b"x"), stranger_api.delete(url, headers=TUS)):
        assert answer.status_code == 404
    assert begin(stranger_api, 10, organisation="acme").status_code == 404
    assert len(api.get("/api/v1/uploads").json()["results"]) == 1


def test_a_forged_request_of_another_site_is_refused(admin: Any) -> None:
    from rest_framework.test import APIClient

    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(admin)
    assert begin(browser, 10).status_code == 403
    assert not Upload.objects.exists()


def test_who_may_not_write_packages_may_not_begin(client_of: Any, make_user: Any, organisation: Any) -> None:
    assert begin(client_of(make_user("viewer", organisation, "viewer")), 10).status_code == 403


def test_limits_hold_for_each_organisation(api: Any, stranger_api: Any, settings: Any) -> None:
    settings.UPLOADS_AT_ONCE, settings.UPLOADS_BYTES, settings.MAX_PACKAGE_BYTES = 2, 100, 90
    assert begin(api, 91).status_code == 413
    first = begin(api, 60)["Location"]
    assert begin(api, 41).status_code == 409
    assert begin(api, 40).status_code == 201
    assert "2 unfinished uploads" in begin(api, 1).json()["detail"]
    assert begin(stranger_api, 90).status_code == 201
    assert api.delete(first, headers=TUS).status_code == 204
    assert begin(api, 1).status_code == 201


def test_the_same_bytes_lead_to_the_package_that_has_them(api: Any, upload: Any, settings: Any) -> None:
    content = making.edgegallery()
    present = upload(content).json()["id"]
    url = begin(api, len(content))["Location"]
    answer = patch(api, url, 0, content)
    assert (answer.status_code, answer.json()["package"]) == (409, present)
    # Who lost that answer is told the same.
    told = api.get(url).json()
    assert (told["problem"]["package"], told["offset"]) == (present, len(content))
    assert patch(api, url, len(content), b"").status_code == 409
    assert files(settings) == []


def test_another_digest_than_told_is_refused(api: Any, settings: Any) -> None:
    url = begin(api, 3, sha256="0" * 64)["Location"]
    answer = patch(api, url, 0, b"abc")
    assert (answer.status_code, api.get(url).json()["problem"]["code"]) == (400, "invalid")
    assert files(settings) == []
    assert not Package.objects.exists()


def test_nothing_is_left_after_the_end_of_its_time_or_a_cancel(api: Any, settings: Any) -> None:
    gone, cancelled, going = (begin(api, 10)["Location"] for _ in range(3))
    for url in (gone, cancelled, going):
        patch(api, url, 0, b"abc")
    assert api.delete(cancelled, headers=TUS).status_code == 204
    Upload.objects.filter(pk=gone[-36:]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert patch(api, gone, 3, b"d").status_code == 404
    stray = Path(settings.BLOB_DIR) / "partial" / "0f8b1c1e-5a07-4a55-9d0e-7a4e6a1f3b10"
    stray.write_bytes(b"x")
    os.utime(stray, (0, 0))
    tasks.collect_package_garbage()
    assert [path.name for path in files(settings)] == [going[-36:]]
    assert patch(api, going, 3, b"d").status_code == 204


def test_a_cancel_while_a_part_arrives_leaves_nothing(actor: Any, organisation: Any, settings: Any) -> None:
    upload = resumable.begin(actor=actor, organisation=organisation, filename="a.csar", length=10)
    file = resumable.open_for_writing(upload, 0)
    file.write(b"abc")
    resumable.cancel(upload, actor=actor)
    with pytest.raises(Missing):
        resumable.settle(upload, file, actor=actor)
    file.close()
    assert files(settings) == []


def test_what_a_dead_process_left_whole_is_finished_by_the_sweep(actor: Any, organisation: Any, settings: Any) -> None:
    content = making.edgegallery()
    upload = resumable.begin(actor=actor, organisation=organisation, filename="a.csar", length=len(content))
    file = resumable.open_for_writing(upload, 0)
    file.write(content)
    file.settle()
    file.close()
    Upload.objects.update(offset=len(content))  # and here it died
    tasks.collect_package_garbage()
    upload.refresh_from_db()
    assert Package.objects.get() == upload.package
    assert files(settings) == []


def test_an_old_backup_without_the_bytes_begins_where_the_disk_is(api: Any, settings: Any) -> None:
    url = begin(api, 10)["Location"]
    patch(api, url, 0, b"abcdef")
    os.truncate(files(settings)[0], 2)
    assert api.head(url, headers=TUS)["Upload-Offset"] == "2"
    assert patch(api, url, 6, b"ghij")["Upload-Offset"] == "2"
    assert patch(api, url, 2, b"cdef").status_code == 204


class Sending(RuleBasedStateMachine):
    """Somebody sends a file; lines break, processes die, others interfere. The server knows a prefix, and it grows."""

    def __init__(self) -> None:
        super().__init__()
        organisation, _ = Organisation.objects.get_or_create(slug="acme")
        user, _ = User.objects.get_or_create(username="dora")
        Membership.objects.get_or_create(user=user, organisation=organisation, role="developer")
        self.actor, self.organisation = Actor(user), organisation
        self.content = os.urandom(64)
        self.upload = self.begin()
        self.safe = 0
        self.writer: partial.Partial | None = None
        self.written = 0

    def begin(self) -> Upload:
        return resumable.begin(
            actor=self.actor, organisation=self.organisation, filename="a.csar", length=len(self.content)
        )

    @property
    def over(self) -> bool:
        return self.safe == len(self.content)

    @precondition(lambda self: self.writer is None and not self.over)
    @rule(wrong=st.integers(-3, 3))
    def open(self, wrong: int) -> None:
        offset = self.safe + wrong
        try:
            self.writer = resumable.open_for_writing(self.upload, offset)
            self.written = 0
        except Conflict as problem:
            self.told_elsewhere(offset, problem)
        else:
            assert offset == self.safe

    def told_elsewhere(self, offset: int, problem: Conflict) -> None:
        assert offset != self.safe
        assert problem.context["offset"] == self.safe

    @precondition(lambda self: self.writer)
    @rule()
    def somebody_else_opens(self) -> None:
        with pytest.raises(partial.Busy):
            resumable.open_for_writing(self.upload, self.safe)

    @precondition(lambda self: self.writer)
    @rule(size=st.integers(1, 30))
    def write(self, size: int) -> None:
        start = self.safe + self.written
        piece = self.content[start : start + size]
        self.writer.write(piece)  # type: ignore[union-attr]
        self.written += len(piece)

    @precondition(lambda self: self.writer and self.safe + self.written < len(self.content))
    @rule()
    def write_too_much(self) -> None:
        with pytest.raises(BreakwaterError):
            self.writer.write(b"x" * 65)  # type: ignore[union-attr]
        self.written = 0

    @precondition(lambda self: self.writer)
    @rule()
    def settle(self) -> None:
        assert self.writer
        self.upload = resumable.settle(self.upload, self.writer, actor=self.actor)
        self.writer.close()
        self.writer, self.safe = None, self.safe + self.written

    @precondition(lambda self: self.writer)
    @rule()
    def die(self) -> None:
        assert self.writer
        self.writer.close()  # the kernel does this for a process that is killed; nobody counts the part
        self.writer = None

    @precondition(lambda self: self.writer is None and not self.over)
    @rule()
    def cancel_and_begin_again(self) -> None:
        resumable.cancel(self.upload, actor=self.actor)
        self.upload, self.safe = self.begin(), 0

    @rule()
    def sweep(self) -> None:
        resumable.sweep()

    @invariant()
    def the_server_knows_the_truth(self) -> None:
        row = Upload.objects.get(pk=self.upload.pk)
        assert resumable.offset_of(row) == self.safe
        if self.over:
            assert row.package
            assert row.package.sha256 == hashlib.sha256(self.content).hexdigest()
            assert not partial.path_of(row.pk).exists()
        elif self.safe:
            assert partial.path_of(row.pk).read_bytes()[: self.safe] == self.content[: self.safe]

    def teardown(self) -> None:
        if self.writer:
            self.writer.close()
        Upload.objects.all().delete()


class TestSending(Sending.TestCase, TestCase):  # type: ignore[misc]
    """Every example in a transaction of its own."""

    settings = hypothesis_settings(max_examples=8, stateful_step_count=16, deadline=None)
