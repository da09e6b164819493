"""isLocal, scopeOfLocality and consumedLocalOnly: what an asker is told depends on where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from mep.mp1 import locality
from mep.mp1.locality import EVERYWHERE, SCOPES
from mep.mp1.models import Notice
from mep.settings import networks
from tests.mep.conftest import Mp1
from tests.mep.test_discovery import Server, server  # noqa: F401 - a fixture
from tests.mep.test_service_mgmt import problem

API = "/mec_service_mgmt/v1"
names = st.sampled_from(["a", "b"])
places = st.dictionaries(st.sampled_from([each for each in SCOPES if each != "MEC_SYSTEM"]), names).map(
    lambda found: tuple(sorted(found.items()))
)


@given(places, places)
def test_two_places_share_the_scopes_that_both_call_by_one_name(here: locality.Place, there: locality.Place) -> None:
    shared, ours, theirs = locality.shared(here, there), dict(here), dict(there)
    assert "MEC_SYSTEM" in shared
    assert locality.shared(there, here) == shared, "who asks whom makes no difference"
    for scope in ours.keys() & theirs.keys():
        assert (scope in shared) == (ours[scope] == theirs[scope])
    if "MEC_HOST" not in shared:
        assert shared <= {"MEC_SYSTEM", *(ours.keys() & theirs.keys())}, "what nobody said is not shared"


@given(places)
def test_an_asker_on_this_host_shares_everything(here: locality.Place) -> None:
    assert locality.shared(here, None) == EVERYWHERE
    if "MEC_HOST" in dict(here):
        assert locality.shared(here, (("MEC_HOST", dict(here)["MEC_HOST"]),)) == EVERYWHERE


@given(st.sampled_from(SCOPES), st.booleans(), st.frozensets(st.sampled_from(SCOPES)))
def test_only_a_service_for_local_consumers_is_withheld_and_only_from_others(
    scope: str, local_only: bool, near: frozenset[str]
) -> None:
    assert locality.offered(scope, local_only, near) == (not local_only or scope in near)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.9.1.1", {"ZONE": "north"}), ("10.9.9.1", {"ZONE": "south"}), ("10.8.0.1", None),
        ("::ffff:10.9.1.1", {"ZONE": "north"}),
        ("2001:db8::1", {}), ("", None), ("a socket", None), ("fe80::1%eth0", None),
    ],
)  # fmt: skip
def test_the_smallest_network_tells_where_an_address_is(address: str, place: dict[str, str] | None) -> None:
    regions = locality.regions("10.9.0.0/16 ZONE=north; 10.9.9.0/24 zone=south;2001:db8::/32;")
    found = regions.place(address)
    assert (None if found is None else dict(found)) == place


@pytest.mark.parametrize(
    "text", ["10.9.0.0/16 MOON=x", "ZONE=north", "10.9.0.0/16 ZONE", "10.9.0.1/16", "10.0.0.0/8 ZONE=a,ZONE=b"]
)
def test_a_mistake_in_the_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        locality.regions(text)


class From:
    """An app that asks from an address."""

    def __init__(self, app: Mp1, address: str) -> None:
        self.app, self.address = app, address
        self._client = Client(raise_request_exception=False, REMOTE_ADDR=address)

    def get(self, path: str) -> Any:
        headers = {"Host": "mep:8443", "Authorization": f"Bearer {self.app.token}"}
        return self._client.get(path.replace("{app}", self.app.id), headers=headers)


HERE, ZONE, GROUP, FAR = "10.1.0.1", "10.9.0.1", "10.10.0.1", "192.168.7.7"


@pytest.fixture
def country(app: Mp1, settings: Any) -> dict[tuple[str, bool], str]:
    """A host in a zone of a zone group, and a service per scope, for everybody and for local consumers only."""
    settings.CALLBACK_NETWORKS = networks("private")
    settings.LOCALITY = locality.place("MEC_HOST=edge-7,ZONE=north,ZONE_GROUP=country")
    settings.ELSEWHERE = locality.regions(
        "10.9.0.0/16 ZONE=north,ZONE_GROUP=country; 10.10.0.0/16 ZONE=south,ZONE_GROUP=country; 192.168.0.0/16"
    )
    return {
        (scope, only): app.register(serName=scope, scopeOfLocality=scope, consumedLocalOnly=only)["serInstanceId"]
        for scope in ("MEC_SYSTEM", "MEC_HOST", "ZONE", "ZONE_GROUP")
        for only in (True, False)
    }


NEAR = {
    HERE: {"MEC_SYSTEM", "MEC_HOST", "ZONE", "ZONE_GROUP"},
    ZONE: {"MEC_SYSTEM", "ZONE", "ZONE_GROUP"},
    GROUP: {"MEC_SYSTEM", "ZONE_GROUP"},
    FAR: {"MEC_SYSTEM"},
}


@pytest.mark.parametrize("address", NEAR)
def test_an_asker_is_offered_what_is_for_everybody_and_what_is_near(
    country: dict[tuple[str, bool], str], neighbour: Mp1, address: str
) -> None:
    asker = From(neighbour, address)
    found = {each["serInstanceId"]: each["isLocal"] for each in asker.get(f"{API}/services").json()}
    near = NEAR[address]
    assert found == {made: scope in near for (scope, only), made in country.items() if not only or scope in near}
    for (scope, only), made in country.items():
        one = asker.get(f"{API}/services/{made}")
        if only and scope not in near:
            assert "locality" in problem(one, 403)["detail"]
        else:
            assert one.json()["isLocal"] == (scope in near)


@pytest.mark.parametrize("address", NEAR)
def test_the_filters_go_by_the_same_computation(
    country: dict[tuple[str, bool], str], neighbour: Mp1, address: str
) -> None:
    asker = From(neighbour, address)
    for wanted in (True, False):
        found = asker.get(f"{API}/services?is_local={str(wanted).lower()}").json()
        assert {each["isLocal"] for each in found} <= {wanted}
        assert {each["serName"] for each in found} == {
            scope for scope in NEAR[HERE] if (scope in NEAR[address]) == wanted
        }
    found = asker.get(f"{API}/services?scope_of_locality=ZONE&consumed_local_only=true").json()
    assert len(found) == ("ZONE" in NEAR[address])


def test_its_own_services_an_app_sees_from_anywhere(country: dict[tuple[str, bool], str], app: Mp1) -> None:
    found = From(app, FAR).get(f"{API}/applications/{{app}}/services").json()
    assert {each["serInstanceId"] for each in found} == set(country.values())
    assert {each["serName"] for each in found if each["isLocal"]} == {"MEC_SYSTEM"}


def test_what_two_askers_see_differently_has_two_etags_and_either_allows_a_change(
    country: dict[tuple[str, bool], str], app: Mp1
) -> None:
    path = f"{API}/applications/{{app}}/services/{country['ZONE', False]}"
    near, far = From(app, HERE).get(path), From(app, FAR).get(path)
    assert near.content != far.content
    assert near["ETag"] != far["ETag"]
    body = {key: value for key, value in far.json().items() if key != "isLocal"}
    assert app.put(path, {**body, "version": "2"}, If_Match=far["ETag"]).status_code == 200
    problem(app.put(path, body, If_Match=far["ETag"]), 412)


def test_the_fast_path_gives_each_asker_its_own_answer(
    server: Server,  # noqa: F811
    country: dict[tuple[str, bool], str],
    neighbour: Mp1,
) -> None:
    for query in ("", "?is_local=true", "?is_local=false", "?ser_name=ZONE", "?consumed_local_only=true"):
        for address in (*NEAR, *NEAR):
            headers = [(b"host", b"mep:8443"), (b"authorization", f"Bearer {neighbour.token}".encode())]
            scope = {"path": f"{API}/services", "query_string": query[1:].encode(), "headers": headers}
            quick = server.mep.fast.answer({**scope, "client": (address, 1)})
            assert quick is not None
            ordinary = From(neighbour, address).get(f"{API}/services{query}")
            assert quick[2] == ordinary.content
            assert dict(quick[1])[b"etag"].decode() == ordinary["ETag"]


@pytest.mark.parametrize("address", NEAR)
def test_nobody_hears_of_a_service_that_it_would_not_be_offered(
    country: dict[tuple[str, bool], str], app: Mp1, neighbour: Mp1, address: str
) -> None:
    wish = {
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": f"http://{address}:80/x",
    }
    ears = {}
    for wanted in (None, True, False):
        criteria = {} if wanted is None else {"filteringCriteria": {"isLocal": wanted}}
        made = neighbour.post(f"{API}/applications/{{app}}/subscriptions", {**wish, **criteria})
        ears[wanted] = made["Location"].rpartition("/")[2]
    told: dict[bool | None, set[tuple[str, bool]]] = {wanted: set() for wanted in ears}
    for (scope, only), made in country.items():
        assert app.delete(f"{API}/applications/{{app}}/services/{made}").status_code == 204
        for wanted, ear in ears.items():
            for notice in Notice.objects.filter(subscription=ear, body__icontains=made):
                assert notice.body["serviceReferences"][0]["changeType"] == "REMOVED"
                told[wanted].add((scope, only))
    near = NEAR[address]
    assert told[None] == {(scope, only) for scope, only in country if not only or scope in near}
    assert told[True] == {(scope, only) for scope, only in country if scope in near}
    assert told[False] == {(scope, only) for scope, only in country if not only and scope not in near}


def test_without_the_setting_everybody_is_near(neighbour: Mp1, app: Mp1, speak: Callable[..., Mp1]) -> None:
    app.register(scopeOfLocality="NFVI_NODE")
    assert From(neighbour, "203.0.113.9").get(f"{API}/services").json()[0]["isLocal"] is True
