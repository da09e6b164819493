"""The life of packages: states, checks, publishing, immutability."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from appstore.packages import blobs, checking, life, services, states
from appstore.packages.models import Blob, Package
from core.accounts.access import ANONYMOUS, SYSTEM, Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, TooLarge
from core.operations import services as operations
from core.operations.models import Operation
from tests.appstore import hostile, making

pytestmark = pytest.mark.django_db


@pytest.fixture
def receive(actor: Any, organisation: Any) -> Any:
    """Take bytes in; `check=True` lets a worker look at them."""

    def take(content: bytes, *, check: bool = True, **more: Any) -> Package:
        options = {"actor": actor, "organisation": organisation, "filename": "a.csar", **more}
        package = services.receive([content], **options)
        if check:
            operations.run_due(kinds=[services.CHECK])
            package.refresh_from_db()
        return package

    return take


class TestStates:
    """The transition table."""

    def test_the_usual_life(self) -> None:
        state = states.DRAFT
        for deed, expected in (
            ("fail", "rejected"),
            ("pass", "checked"),
            ("publish", "published"),
            ("yank", "yanked"),
        ):
            state = states.after(state, deed)
            assert state == expected

    def test_every_state_and_deed_is_decided(self) -> None:
        deeds = {deed for _, deed in states.TRANSITIONS}
        for state in states.STATES:
            for deed in deeds:
                if deed in states.deeds(state):
                    assert states.after(state, deed) in (*states.STATES, "")
                else:
                    with pytest.raises(Conflict):
                        states.after(state, deed)

    def test_nothing_leads_back_from_a_release(self) -> None:
        for state in states.FINAL:
            for deed in states.deeds(state):
                for resumes in ("", *states.STATES):
                    assert states.after(state, deed, resumes) in states.FINAL

    @given(st.lists(st.sampled_from(sorted({deed for _, deed in states.TRANSITIONS})), max_size=12))
    def test_whatever_was_done_undoing_it_leads_back(self, deeds: list[str]) -> None:
        """A deed that sets a release aside, and its undoing at once, change nothing that can be deployed or not."""
        state, resumes = states.PUBLISHED, ""
        for deed in deeds:
            if deed not in states.deeds(state):
                continue
            before, kept = state, resumes
            state, resumes = states.after(before, deed, kept), states.resuming(before, deed, kept)
            assert state in states.FINAL
            assert resumes in ("", *states.KEPT)
            undo = states.UNDO.get(deed)
            if undo and before in states.KEPT:
                assert states.after(state, undo, resumes) == before

    def test_only_what_is_listed_can_be_deployed_and_only_what_is_kept_gone_back_to(self) -> None:
        assert set(states.LISTED) < set(states.KEPT) < set(states.FINAL)
        assert not {states.QUARANTINED, states.RECALLED} & set(states.KEPT)


def test_an_upload_becomes_a_draft_with_a_check_under_way(receive: Any) -> None:
    package = receive(making.edgegallery(), check=False)
    assert package.state == "draft"
    assert blobs.path_of(package.sha256).read_bytes() == making.edgegallery()
    operation = Operation.objects.get(target=f"package:{package.pk}")
    assert (operation.kind, operation.state, operation.organisation_id) == (
        "package.check",
        "pending",
        package.organisation_id,
    )
    assert Entry.objects.filter(action="package.upload", object_id=str(package.pk)).exists()


def test_a_good_package_is_checked_and_its_files_stored(receive: Any) -> None:
    package = receive(making.edgegallery())
    assert (package.state, package.format) == ("checked", "edgegallery-csar")
    assert (package.name, package.provider, package.version) == ("hello", "Acme", "1.0")
    assert blobs.path_of(package.chart_sha256).read_bytes() == making.chart_bytes()
    (image,) = package.images
    assert image["name"] == "localhost/breakwater/hello:1.0"
    assert blobs.path_of(image["sha256"]).read_bytes() == making.image_bytes()
    assert image["size"] == len(making.image_bytes())
    assert set(package.blobs.values_list("pk", flat=True)) == {package.sha256, package.chart_sha256, image["sha256"]}
    assert package.compute == {
        "cpu_millis": 1000, "memory_bytes": 256 << 20, "storage_bytes": 2 << 30, "architecture": "X86",
    }  # fmt: skip


def test_a_chart_is_its_own_package(receive: Any) -> None:
    package = receive(making.chart_bytes(), filename="hello-1.2.0.tgz")
    assert (package.state, package.format, package.chart_sha256) == ("checked", "helm-chart", package.sha256)


@pytest.mark.parametrize(
    ("make", "code"),
    [*hostile.ZIPS.values(), *hostile.TARS.values(), *hostile.BROKEN.values(), (hostile.lying_bomb, "member-lies")],
    ids=[*hostile.ZIPS, *(f"tar {n}" for n in hostile.TARS), *hostile.BROKEN, "lying bomb"],
)
def test_a_hostile_package_is_rejected_with_the_reason(receive: Any, make: Any, code: str) -> None:
    package = receive(make())
    assert package.state == "rejected"
    assert code in {finding["code"] for finding in package.findings}
    assert Operation.objects.get().state == "succeeded"


def test_a_hostile_chart_inside_a_right_package_is_found(receive: Any) -> None:
    for make, code in (hostile.TARS["symlink"], hostile.TARS["bomb"], hostile.TARS["parent folder"]):
        package = receive(hostile.inside_csar("Artifacts/Deployment/Charts/hello.tgz", make()))
        assert package.state == "rejected"
        assert code in {finding["code"] for finding in package.findings}


def test_images_are_looked_into(receive: Any) -> None:
    cases = {
        "image-no-manifest": making.tar_bytes({"a": "b"}),
        "image-bad-manifest": making.tar_bytes({"manifest.json": "[{]"}),
        "image-incomplete": making.tar_bytes({"manifest.json": '[{"Config": "c", "Layers": []}]'}),
        "image-unnamed": making.image_bytes(name=""),
        "not-an-archive": b"no image",
    }
    for code, content in cases.items():
        package = receive(hostile.inside_csar("Image/hello.tar", content))
        assert package.state == "rejected"
        assert code in {finding["code"] for finding in package.findings}
    other = receive(hostile.inside_csar("Image/hello.tar", making.image_bytes("other:2")))
    assert other.state == "checked"
    assert "image-name-differs" in {finding["code"] for finding in other.findings}
    assert other.images[0]["name"] == "other:2"


def test_a_check_may_run_twice_with_one_effect(receive: Any) -> None:
    package = receive(making.edgegallery())
    before = Package.objects.values().get()
    services.request_check(package)
    assert operations.run_due(kinds=[services.CHECK]) == 1
    after = Package.objects.values().get()
    assert {k: v for k, v in before.items() if k != "checked_at"} == {
        k: v for k, v in after.items() if k != "checked_at"
    }
    assert package.blobs.count() == 3


def test_asking_for_a_check_twice_is_asking_once(receive: Any) -> None:
    package = receive(making.edgegallery(), check=False)
    assert services.request_check(package).pk == services.request_check(package).pk
    assert Operation.objects.count() == 1


def test_a_package_that_is_gone_makes_its_check_a_nothing(receive: Any, actor: Any) -> None:
    package = receive(making.edgegallery(), check=False)
    services.discard(package, actor=actor)
    operations.run_due()
    assert Operation.objects.get().state == "succeeded"
    assert not Package.objects.exists()


def test_a_verdict_does_not_touch_what_was_released_meanwhile(receive: Any, actor: Any) -> None:
    package = services.publish(receive(making.edgegallery()), actor=actor)
    assert services.record_check(package.pk, checking.Verdict(), actor=SYSTEM) is None
    package.refresh_from_db()
    assert package.state == "published"


def test_a_crash_of_the_check_is_a_finding(receive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from appstore.packages import formats

    class Crashing(formats.Format):
        """A format with a bug."""

        name = "crashing"

        @classmethod
        def claim(cls, archive: Any) -> int:
            return 1000

        def read(self, archive: Any) -> Any:
            raise ZeroDivisionError

    monkeypatch.setitem(formats.registry._loaded, "crashing", Crashing)
    package = receive(making.edgegallery())
    assert package.state == "rejected"
    assert [f["code"] for f in package.findings] == ["check-crashed"]


def test_a_broken_disk_is_tried_again(receive: Any, settings: Any) -> None:
    package = receive(making.edgegallery(), check=False)
    blobs.path_of(package.sha256).chmod(0o644)
    incoming = settings.BLOB_DIR / "incoming"
    incoming.rmdir()
    incoming.write_text("in the way")
    operations.run_due()
    operation = Operation.objects.get()
    assert (operation.state, operation.problem["retryable"]) == ("pending", True)
    package.refresh_from_db()
    assert package.state == "draft"


class TestReceiving:
    """What does not get in."""

    def test_nothing(self, receive: Any) -> None:
        with pytest.raises(Invalid, match="empty"):
            receive(b"")

    def test_too_much(self, receive: Any, settings: Any) -> None:
        settings.MAX_PACKAGE_BYTES = 100
        with pytest.raises(TooLarge):
            receive(b"x" * 101)
        assert list(settings.BLOB_DIR.rglob("*.part")) == []

    def test_another_file_than_told(self, receive: Any) -> None:
        with pytest.raises(Invalid, match="SHA-256"):
            receive(b"x", expected="0" * 64)

    def test_the_same_bytes_twice(self, receive: Any) -> None:
        package = receive(making.edgegallery())
        with pytest.raises(Conflict) as problem:
            receive(making.edgegallery())
        assert problem.value.context["package"] == str(package.pk)
        assert Package.objects.count() == 1

    def test_the_same_bytes_of_another_organisation_are_another_package(
        self, receive: Any, stranger: Any, stranger_organisation: Any
    ) -> None:
        receive(making.edgegallery())
        other = receive(making.edgegallery(), actor=Actor(stranger), organisation=stranger_organisation)
        assert other.state == "checked"
        assert Blob.objects.count() == 3

    def test_from_whom_it_may_not(self, receive: Any, make_user: Any, organisation: Any, stranger: Any) -> None:
        for who, error in ((make_user("vera", organisation, "viewer"), Denied), (stranger, Missing)):
            with pytest.raises(error):
                receive(making.edgegallery(), actor=Actor(who))
        assert not Blob.objects.exists()

    @pytest.mark.parametrize(
        ("told", "kept"),
        [
            ("../../etc/passwd", "passwd"), ("C:\\x\\a.csar", "a.csar"), ("", "package"), ("..", "package"),
            ("a\x00b\n.csar", "a_b_.csar"), ("n" * 300 + ".csar", "n" * 195 + ".csar"), ("héllo (1).csar", "héllo (1).csar"),
        ],
    )  # fmt: skip
    def test_but_any_name_is_made_harmless(self, told: str, kept: str) -> None:
        assert services.clean_name(told) == kept


class TestPublishing:
    """Releases."""

    def test_only_what_passed_its_check(self, receive: Any, actor: Any) -> None:
        with pytest.raises(Conflict, match="not been checked"):
            services.publish(receive(making.edgegallery(), check=False), actor=actor)
        with pytest.raises(Conflict, match="found errors"):
            services.publish(receive(hostile.PNG), actor=actor)

    def test_a_version_is_given_away_once(self, receive: Any, actor: Any) -> None:
        first = services.publish(receive(making.edgegallery()), actor=actor)
        second = receive(making.edgegallery(appd="folder"))
        with pytest.raises(Conflict) as problem:
            services.publish(second, actor=actor)
        assert problem.value.context["package"] == str(first.pk)
        life.yank(first, actor=actor, reason="broken")
        with pytest.raises(Conflict):
            services.publish(second, actor=actor)
        second.refresh_from_db()
        assert second.state == "checked"

    def test_a_release_is_neither_checked_nor_discarded(self, receive: Any, actor: Any) -> None:
        package = services.publish(receive(making.edgegallery()), actor=actor)
        for deed in (
            lambda: services.request_check(package),
            lambda: services.discard(package, actor=actor),
            lambda: package.delete(),
        ):
            with pytest.raises(Conflict):
                deed()

    def test_yanking_needs_a_reason(self, receive: Any, actor: Any) -> None:
        package = services.publish(receive(making.edgegallery()), actor=actor)
        with pytest.raises(Invalid):
            life.yank(package, actor=actor, reason="  ")
        package = life.yank(package, actor=actor, reason="leaks")
        assert (package.state, package.state_reason) == ("yanked", "leaks")
        with pytest.raises(Conflict):
            services.publish(package, actor=actor)

    def test_every_deed_is_in_the_audit_trail(self, receive: Any, actor: Any) -> None:
        package = services.publish(receive(making.edgegallery()), actor=actor)
        life.yank(package, actor=actor, reason="leaks")
        services.discard(receive(making.chart_bytes()), actor=actor)
        actions = list(Entry.objects.order_by("at").values_list("action", flat=True))
        for deed in ("upload", "pass", "publish", "yank", "discard"):
            assert f"package.{deed}" in actions

    def test_who_may_publish(self, receive: Any, make_user: Any, organisation: Any, stranger: Any) -> None:
        package = receive(making.edgegallery())
        with pytest.raises(Denied):
            services.publish(package, actor=Actor(make_user("vera", organisation, "viewer")))
        with pytest.raises(Missing):
            services.publish(package, actor=Actor(stranger))
        assert services.publish(package, actor=Actor(make_user("cid", organisation, "certifier"))).state == "published"


class TestImmutability:
    """What the database itself keeps, whoever asks."""

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "other"}, {"version": "2"}, {"provider": "x"}, {"sha256": "0" * 64}, {"size": 1}, {"descriptor": {"a": 1}},
            {"chart_sha256": "1" * 64}, {"images": []}, {"findings": []}, {"state": "draft"}, {"state": "checked"},
            {"format": "x"}, {"published_at": timezone.now()}, {"description": "x"}, {"app_d_id": "x"},
        ],
    )  # fmt: skip
    def test_a_release_never_changes(self, receive: Any, actor: Any, change: dict[str, Any]) -> None:
        package = services.publish(receive(making.edgegallery()), actor=actor)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            Package.objects.filter(pk=package.pk).update(**change)
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE packages_package SET name = 'evil'")
        for state in states.FINAL:
            Package.objects.filter(pk=package.pk).update(state=state, visibility="organisation", notes=state)
            with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
                Package.objects.filter(pk=package.pk).update(**change)

    @pytest.mark.parametrize("change", [{"name": "other"}, {"sha256": "0" * 64}, {"descriptor": {"a": 1}}])
    def test_what_is_reviewed_does_not_change_meanwhile(self, receive: Any, actor: Any, change: dict[str, Any]) -> None:
        package = receive(making.edgegallery())
        services.turn(package, "submit", actor=actor)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            Package.objects.filter(pk=package.pk).update(**change)
        assert services.record_check(package.pk, checking.Verdict(), actor=SYSTEM) is None
        services.turn(package, "decline", actor=actor)
        Package.objects.filter(pk=package.pk).update(**change)

    def test_the_constraints_have_names(self, organisation: Any) -> None:
        base = {"organisation": organisation, "size": 1, "provider": "a", "name": "b", "version": "1"}
        now = timezone.now()

        def add(**values: Any) -> None:
            with transaction.atomic():
                Package.objects.create(**{**base, "sha256": uuid.uuid4().hex * 2, **values})

        add(sha256="0" * 64)
        for values in (
            {"sha256": "0" * 64},
            {"state": "lost"},
            {"state": "published"},
            {"state": "published", "published_at": now, "name": ""},
        ):
            with pytest.raises(IntegrityError):
                add(**values)
        add(state="published", published_at=now)
        with pytest.raises(IntegrityError):
            add(state="yanked", published_at=now)


def test_who_sees_what(receive: Any, actor: Any, stranger: Any) -> None:
    draft, release = receive(making.chart_bytes()), services.publish(receive(making.edgegallery()), actor=actor)
    assert set(Package.objects.visible_to(actor)) == {draft, release}
    assert set(Package.objects.visible_to(Actor(stranger))) == {release}
    assert not Package.objects.visible_to(ANONYMOUS).exists()
    assert set(Package.objects.visible_to(SYSTEM)) == {draft, release}
