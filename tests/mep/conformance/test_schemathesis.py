"""schemathesis against the AdvantEDGE files of MEC 011 V2.2.1: what fits them is served, what does not is refused.

Every finding fails the test unless `EXPLAINED` says why we do otherwise. A 500 is never explained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mep.conformance.schemas import APIS, one_connection, operations  # noqa: F401 - a fixture
from tests.mep.conformance.world import World


class Explained(NamedTuple):
    """A finding that is as it should be: its kind, what it says (of the finding, or of our refusal), and why."""

    kind: str
    says: str
    why: str


REJECTED, ACCEPTED, SCHEMA, STATUS = (
    "RejectedPositiveData",
    "AcceptedNegativeData",
    "JsonSchemaError",
    "UndefinedStatusCode",
)
EXPLAINED = [
    # What the standard demands and the file does not know.
    Explained(REJECTED, "scope_of_locality must be one of", "8.1.6.5: the file has a plain text for the enumeration"),
    Explained(REJECTED, "Only one of ser_instance_id", "8.2.3.3.1: the filters exclude each other, a schema cannot say so"),
    Explained(REJECTED, "Invalid enum value", "the file has a plain text for subscriptionType and indication"),
    Explained(REJECTED, "Exactly one of transportId and transportInfo", "8.1.2.2: exactly one of the two in a request"),
    Explained(REJECTED, "offers no transport", "8.1.2.2: transportId is that of a transport the platform offers"),
    Explained(REJECTED, "endpoint must have exactly one of", "8.1.5.3: exactly one form; the file lets others stand beside"),
    Explained(REJECTED, "filteringCriteria: only one of", "8.1.3.2: only one list may name services"),
    Explained(REJECTED, "callbackReference: ", "MEC 009 6.12: absolute http(s) URI without query, fragment, user information"),
    Explained(REJECTED, "priority: Expected `int` (<= 255|>= 0)", "7.1.5.2: 0 to 255; the file has any number"),
    Explained(REJECTED, "trafficFilter: Expected `array` of length >= 1", "7.1.5.2: 1..N; the file has any number"),
    Explained(REJECTED, r"trafficFilter\[", "7.1.5.3: addresses, ports, DSCP have a form; the file has plain texts and numbers"),
    Explained(REJECTED, r"dstInterface(:|\[)", "7.1.5.2: the number of destinations and their members follow from the action"),
    Explained(REJECTED, "is no domain name", "7.1.5.3: an FQDN; the file has a plain text"),
    Explained(REJECTED, "ipAddress: ", "7.1.5.3: an address of ipAddressType; the file has a plain text"),
    Explained(REJECTED, "ttl: Expected `int` ", "RFC 2181 8: a ttl has 31 bits"),
    Explained(REJECTED, "port: Expected `int` ", "a port has 16 bits; the file has 32"),
    Explained(REJECTED, "livenessInterval: Expected `int` ", "0 to 86400 seconds; the file has any number"),
    Explained(REJECTED, r"Expected `str` of length (>= 1|<= )", "names say something and end somewhere"),
    Explained(REJECTED, r"grantTypes", "8.1.5.4: 1..4 and only client credentials; the file has any number of any text"),
    Explained(REJECTED, r"is missing$", "mandatory in the tables of the standard, optional in the file"),
    Explained(REJECTED, "The query string cannot be read", "MEC 009 6.15: a query that is no text is a wrong query"),
    # Where we are kinder: the standards page lists what was met in the field.
    Explained(ACCEPTED, r"_links|serInstanceId|isLocal|trafficRuleId|dnsRuleId", "read-only members are ignored"),
    Explained(ACCEPTED, r"dstInterface|trafficFilter", "one object for a list, numbers for texts, and unset members are read"),
    Explained(ACCEPTED, r"additionalProperties", "unknown members are ignored: newer clients send more"),
    Explained(ACCEPTED, r"`format`", "URIs of a service are told as its producer wrote them"),
    Explained(SCHEMA, r"is not of type \"array\"[\s\S]*dstInterface", "one destination is one object, as ETSI's own files say"),
    # What every resource may answer.
    Explained(STATUS, "Received: 400", "MEC 009 6.15: a bad body is 400, in confirm_ready and confirm_termination too"),
]  # fmt: skip
IDS = {"appInstanceId": "app", "serviceId": "service", "trafficRuleId": "traffic", "dnsRuleId": "dns"}


def findings(case: Any, answer: Any) -> Iterator[Any]:
    """Yield what schemathesis has to say against an answer."""
    try:
        case.validate_response(answer)
    except BaseExceptionGroup as group:
        yield from group.exceptions
    except AssertionError as one:
        yield one


def explained(finding: Any, answer: Any) -> bool:
    """Return whether the table has this finding."""
    said = f"{finding}\n{answer.json().get('detail', '') if answer.status_code >= 400 else ''}"
    return any(type(finding).__name__ == each.kind and re.search(each.says, said) for each in EXPLAINED)


def ask(world: World, api: str, operation: Any, mode: Any, examples: int) -> None:
    """Send requests of one operation that fit the file, or do not, and judge the answers."""
    ids = {**IDS, "subscriptionId": "availability" if api == "mec_service_mgmt" else "termination"}
    headers = {"Authorization": f"Bearer {world.app.token}", "Host": "mep:8443"}

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode), st.integers(0, 9))
    def sent(case: Any, dice: int) -> None:
        if dice:  # mostly what exists: anything else is 403 or 404 before the body is looked at
            for name in case.path_parameters or {}:
                case.path_parameters[name] = world.ids[ids[name]]
        with transaction.atomic():
            answer = case.call(headers=headers)
            transaction.set_rollback(True)
        assert answer.status_code < 500, answer.text
        for finding in findings(case, answer):
            assert explained(finding, answer), f"{finding}\n{case.as_curl_command()}\n{answer.text}"

    sent()


def everything(world: World, api: str, examples: int) -> None:
    """Ask every operation of an API, with fitting and with unfitting requests."""
    from schemathesis import GenerationMode

    for operation in operations(api):
        ask(world, api, operation, GenerationMode.POSITIVE, examples)
        if operation.body or operation.query:  # a path alone cannot be unfit
            ask(world, api, operation, GenerationMode.NEGATIVE, examples)


@pytest.mark.parametrize("api", APIS)
def test_what_fits_the_file_is_served_and_what_does_not_is_refused(
    world: World,
    one_connection: None,  # noqa: F811
    api: str,
) -> None:
    everything(world, api, examples=2)


@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.parametrize("api", APIS)
def test_the_same_holds_for_many_more(world: World, one_connection: None, api: str) -> None:  # noqa: F811
    everything(world, api, examples=25)
