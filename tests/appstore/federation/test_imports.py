"""Taking a partner's release in: our checks and our policy decide, and its origin is always shown."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.utils import timezone

from appstore.federation import feed, imports, ports, sync, terms
from appstore.federation.feed import Refused
from appstore.federation.models import Peer, RemoteRelease
from appstore.federation.models_feed import TransferDay
from appstore.packages import blobs, gates
from appstore.packages.models import Blob, Package
from core import dsse
from core.accounts.access import SYSTEM
from core.errors import Conflict, Denied, Invalid, Missing, Throttled, TooLarge
from core.operations.models import Operation
from tests.appstore import making
from tests.appstore.federation.forge import Forge, Memory, agree, new_key, ref, release

PACKAGE = making.edgegallery()
SHA = hashlib.sha256(PACKAGE).hexdigest()
TRUE = {"name": "hello", "provider": "Acme", "version": "1.0", "sha256": SHA, "size": len(PACKAGE)}


@pytest.fixture
def forge() -> Forge:
    """A partner that offers a real package."""
    made = Forge().say({ref(1): release(**TRUE)})
    made.files[f"blobs/{SHA}"] = PACKAGE
    return made


@pytest.fixture
def peer(forge: Forge, organisation: Any) -> Peer:
    return forge.peer(organisation)


def offered(peer: Peer, forge: Forge, number: int = 1) -> RemoteRelease:
    sync.sync(peer, Memory(forge.files), now=forge.now)
    return RemoteRelease.objects.select_related("peer").get(peer=peer, ref=ref(number))


def bring(peer: Peer, forge: Forge, number: int = 1) -> Package:
    return imports.bring(offered(peer, forge, number), link=Memory(forge.files))


def test_a_release_becomes_a_package_of_the_operator_with_its_origin(
    peer: Peer, forge: Forge, organisation: Any
) -> None:
    package = bring(peer, forge)
    assert (package.organisation, package.origin, package.origin_ref) == (organisation, forge.id, ref(1))
    assert (package.state, package.name, package.format) == ("checked", "hello", "edgegallery-csar")
    assert RemoteRelease.objects.get().package == package
    assert blobs.path_of(SHA).exists()


def test_a_policy_publishes_what_passes(peer: Peer, forge: Forge) -> None:
    imports.set_policy(peer, actor=SYSTEM, publish_imports=True)
    assert bring(peer, forge).state == "published"


def test_twice_is_once(peer: Peer, forge: Forge) -> None:
    first = bring(peer, forge)
    again = imports.bring(RemoteRelease.objects.select_related("peer", "package").get(), link=Memory({}))
    assert again == first
    assert Package.objects.count() == 1


def test_the_bytes_of_the_day_are_counted(peer: Peer, forge: Forge) -> None:
    bring(peer, forge)
    assert TransferDay.objects.get(peer=peer, incoming=True).size == len(PACKAGE)


def test_more_bytes_a_day_than_agreed_are_not_taken(forge: Forge, organisation: Any) -> None:
    peer = forge.peer(organisation, limits=terms.Limits(bytes_per_day=10))
    with pytest.raises(Throttled):
        bring(peer, forge)


def test_other_bytes_make_no_package_and_the_offer_says_why(peer: Peer, forge: Forge) -> None:
    forge.files[f"blobs/{SHA}"] = PACKAGE[:-1] + b"!"
    with pytest.raises(Refused):
        bring(peer, forge)
    assert not Package.objects.exists()
    assert not blobs.path_of(SHA).exists()
    assert RemoteRelease.objects.get().imported["problem"]["reason"] == "changed"


@pytest.mark.parametrize("lie", [{"name": "popular"}, {"provider": "Umbrella"}, {"version": "9.9"}])
def test_a_package_that_is_not_what_the_partner_calls_it_is_refused(organisation: Any, lie: Any) -> None:
    forge = Forge().say({ref(1): release(**{**TRUE, **lie})})
    forge.files[f"blobs/{SHA}"] = PACKAGE
    peer = forge.peer(organisation)
    with pytest.raises(Refused) as refused:
        bring(peer, forge)
    assert refused.value.reason == "mislabelled"
    assert not Package.objects.exists()


def test_a_package_of_another_size_than_the_feed_says_is_refused(organisation: Any) -> None:
    blobs.store([PACKAGE])  # here already, so that nothing is counted on the line
    forge = Forge().say({ref(1): release(**{**TRUE, "size": 5})})
    with pytest.raises(Refused) as refused:
        bring(forge.peer(organisation), forge)
    assert refused.value.reason == "mislabelled"


def test_a_package_that_fails_our_check_stays_unpublished_and_says_why(organisation: Any) -> None:
    junk = b"no package at all"
    sha256 = hashlib.sha256(junk).hexdigest()
    forge = Forge().say({ref(1): release(**{**TRUE, "sha256": sha256, "size": len(junk)})})
    forge.files[f"blobs/{sha256}"] = junk
    peer = forge.peer(organisation)
    imports.set_policy(peer, actor=SYSTEM, publish_imports=True)
    with pytest.raises(Conflict, match="does not pass the check"):
        bring(peer, forge)
    assert Package.objects.get().state == "rejected"


def test_our_policy_says_no_to_a_package_and_it_does_not_stay(peer: Peer, forge: Forge) -> None:
    asked: list[str] = []

    def no(deed: Any, package: Package, organisation_id: Any) -> None:
        asked.append(deed)
        if deed == "import":
            raise Conflict("Only signed packages are taken in here.")

    gates.registry.register("test-policy")(no)
    try:
        with pytest.raises(Conflict, match="Only signed"):
            bring(peer, forge)
    finally:
        del gates.registry._loaded["test-policy"]
    assert asked == ["import"]
    assert not Package.objects.exists()


def test_the_same_application_from_two_origins_is_kept_apart(organisation: Any, forge: Forge) -> None:
    first = forge.peer(organisation)
    other = Forge().say({ref(9): release(**TRUE)})
    other.files[f"blobs/{SHA}"] = PACKAGE
    second = other.peer(organisation)
    for peer in (first, second):
        imports.set_policy(peer, actor=SYSTEM, publish_imports=True)
    bring(first, forge)
    offer = offered(second, other, 9)
    assert any("with the same bytes" in line for line in imports.conflicts(offer))
    link = Memory(other.files)
    imports.bring(offer, link=link)
    assert set(Package.objects.values_list("origin", "state")) == {(forge.id, "published"), (other.id, "published")}
    assert link.asked == []  # the same bytes are one file, and do not come twice


def test_the_digest_of_a_draft_of_somebody_here_opens_nothing(
    peer: Peer, forge: Forge, stranger_organisation: Any
) -> None:
    sha256, size = blobs.store([PACKAGE])
    draft = Package.objects.create(organisation=stranger_organisation, sha256=sha256, size=size)
    draft.blobs.add(Blob.objects.create(sha256=sha256, size=size))
    shown = forge.files.pop(f"blobs/{SHA}")
    with pytest.raises(Missing):
        bring(peer, forge)
    assert Package.objects.get() == draft
    forge.files[f"blobs/{SHA}"] = shown
    assert bring(peer, forge).organisation == peer.organisation


def test_a_name_that_we_have_ourselves_is_told_before_it_is_taken(peer: Peer, forge: Forge, organisation: Any) -> None:
    Package.objects.create(
        organisation=organisation, sha256="e" * 64, size=1, name="hello", provider="Acme", version="1.0",
        state="published", published_at=timezone.now(),
    )  # fmt: skip
    offer = offered(peer, forge)
    assert imports.conflicts(offer) == [
        "this store has hello 1.0 with other bytes; both are kept, apart by their origin"
    ]
    assert bring(peer, forge).origin == forge.id


def test_the_same_version_twice_of_one_partner_waits_for_a_person(peer: Peer, forge: Forge) -> None:
    imports.set_policy(peer, actor=SYSTEM, publish_imports=True)
    bring(peer, forge)
    other = making.edgegallery(appd="folder")
    sha256 = hashlib.sha256(other).hexdigest()
    forge.say({ref(2): release(**{**TRUE, "sha256": sha256, "size": len(other)})})
    forge.files[f"blobs/{sha256}"] = other
    assert bring(peer, forge, 2).state == "checked"
    assert "given away once" in RemoteRelease.objects.get(ref=ref(2)).imported["problem"]["detail"]


def test_the_same_bytes_by_two_references_of_one_partner_are_one_package(peer: Peer, forge: Forge) -> None:
    bring(peer, forge)
    forge.say({ref(2): release(**TRUE)})
    with pytest.raises(Conflict, match="two references"):
        bring(peer, forge, 2)


@pytest.mark.parametrize("fate", ["yanked", "quarantined", "withdrawn", "recalled"])
def test_what_was_taken_back_is_not_fetched(peer: Peer, forge: Forge, fate: str) -> None:
    forge.say({ref(1): release(**TRUE, state=fate)})
    with pytest.raises(Conflict, match=fate):
        bring(peer, forge)


def test_what_came_from_us_is_not_fetched(peer: Peer, forge: Forge) -> None:
    forge.say({ref(1): release(**TRUE, via=[sync.our_id()])})
    with pytest.raises(Conflict, match="went round"):
        bring(peer, forge)


def test_a_package_larger_than_agreed_is_not_fetched(peer: Peer, forge: Forge) -> None:
    offer = offered(peer, forge)
    agree(peer, incoming=terms.Offer(limits=terms.Limits(package_bytes=10)))
    with pytest.raises(TooLarge):
        imports.check(offer)


def test_an_import_is_asked_for_by_those_who_may(peer: Peer, forge: Forge, actor: Any, make_user: Any) -> None:
    from core.accounts.access import Actor

    offered(peer, forge)
    operation = imports.request_import(peer, ref(1), actor)
    assert (operation.kind, operation.state) == (imports.IMPORT, Operation.State.PENDING)
    with pytest.raises(Missing):
        imports.request_import(peer, ref(7), actor)
    with pytest.raises(Denied):
        imports.request_import(peer, ref(1), Actor(make_user("viewer", peer.organisation, "viewer")))
    with pytest.raises(Missing):
        imports.request_import(peer, ref(1), Actor(make_user("nobody")))


def certified(forge: Forge, sha256: str, digest: str = "") -> str:
    """Have the partner offer its package with a certificate over `sha256`; returns the certificate's digest."""
    data = feed.packed_json(dsse.statement({"hello": sha256}, "urn:test", {"level": "basic"}, new_key()))
    digest = digest or feed.digest(data)
    forge.say({ref(1): release(**TRUE, certificates=[digest])})
    forge.files[f"certificates/{ref(1)}/{digest}"] = data
    return digest


class Judge:
    """A room that judges certificates."""

    names = staticmethod(lambda: ["room"])

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict

    def get(self, name: str) -> Any:
        def judge(package: Package, envelope: Any, origin: str) -> Any:
            if isinstance(self.verdict, Exception):
                raise self.verdict
            return self.verdict

        return judge


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"level": "basic", "lab": "Harbour Lab"}, ("basic", None)),
        (Invalid("No lab that we trust signed it"), (None, "No lab that we trust signed it")),
    ],
)
def test_a_certificate_counts_when_our_labs_say_so(peer: Peer, forge: Forge, verdict: Any, said: Any) -> None:
    certified(forge, SHA)
    present, ports.judges = ports.judges, Judge(verdict)  # type: ignore[assignment]
    try:
        bring(peer, forge)
    finally:
        ports.judges = present
    note = RemoteRelease.objects.get().imported["certificates"][0]
    assert (note.get("level"), note.get("problem")) == said


@pytest.mark.parametrize(
    ("sha256", "digest", "why"), [("f" * 64, "", "another package"), (SHA, "e" * 64, "not the one")]
)
def test_a_certificate_of_something_else_counts_for_nothing(
    peer: Peer, forge: Forge, sha256: str, digest: str, why: str
) -> None:
    certified(forge, sha256, digest)
    present, ports.judges = ports.judges, Judge({"level": "extended"})  # type: ignore[assignment]
    try:
        assert bring(peer, forge).state == "checked"
    finally:
        ports.judges = present
    note = RemoteRelease.objects.get().imported["certificates"][0]
    assert why in note["problem"]
    assert "level" not in note
