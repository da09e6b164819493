"""Clients that others wrote, as they are, against the MEP as a process with TLS and tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.mep.conformance.schemas import document
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE
from tests.mep.process import Process

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
CONVERSATION = Path(__file__).with_name("conversation.py")


@pytest.fixture(scope="module")
def mep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One MEP for the clients; its prefix is another one than those that are always there."""
    made = Process(tmp_path_factory.mktemp("clients") / "node", PREFIX="/edge7").start()
    try:
        yield made.wait()
    finally:
        made.stop()


# --- EdgeGallery's own SDK -------------------------------------------------------------------------------------------------


def test_the_sdk_of_edgegallery_lists_registers_updates_and_deletes_a_service(mep: Process) -> None:
    sdk = pytest.importorskip("edgegallery_sdk_mep")
    with mep.app("sdk-app") as ours:
        configuration = sdk.Configuration()
        configuration.host = f"https://localhost:{mep.port}"
        configuration.ssl_ca_cert = str(mep.var / "tls" / "ca.pem")
        client = sdk.ApiClient(configuration)
        client.set_default_header("Authorization", ours.headers["Authorization"])
        own, everybody, subscriptions = (
            sdk.AppServicesApi(client),
            sdk.ServicesApi(client),
            sdk.AppSubscriptionsApi(client),
        )

        assert own.app_services_get("sdk-app") == []
        wanted = sdk.ServiceInfoPost(
            ser_name="hello",
            ser_category=sdk.CategoryRef(href="http://x/greetings", id="greetings", name="greetings", version="1"),
            version="1.0",
            state="ACTIVE",
            transport_info=sdk.TransportInfo(
                id="t1",
                name="rest",
                type="REST_HTTP",
                protocol="HTTP",
                version="1.1",
                endpoint=sdk.EndPointInfoUris(uris=["http://10.1.2.3/hello"]),
                security=sdk.SecurityInfo(
                    o_auth2_info=sdk.SecurityInfoOAuth2Info(
                        grant_types=["OAUTH2_CLIENT_CREDENTIALS"], token_endpoint="http://10.1.2.3/token"
                    )
                ),
            ),
            serializer="JSON",
        )
        made = own.app_services_post(wanted, "sdk-app")
        assert (made.ser_name, made.state, made.scope_of_locality, made.is_local) == (
            "hello",
            "ACTIVE",
            "MEC_HOST",
            True,
        )
        assert made.transport_info.endpoint == {"uris": ["http://10.1.2.3/hello"]}

        found = everybody.services_get(ser_name="hello", is_local=True)
        assert [each.ser_instance_id for each in found] == [made.ser_instance_id]
        assert everybody.services_get(ser_category_id="nothing") == []
        assert everybody.services_service_id_get(made.ser_instance_id).ser_category.id == "greetings"

        # What it read is what it writes: read-only members and all.
        made.version, made.state = "2.0", "INACTIVE"
        changed = own.app_services_service_id_put(made, "sdk-app", made.ser_instance_id)
        assert (changed.version, changed.state, changed.ser_instance_id) == ("2.0", "INACTIVE", made.ser_instance_id)

        wish = sdk.SerAvailabilityNotificationSubscription(
            subscription_type="SerAvailabilityNotificationSubscription",
            callback_reference="http://10.1.2.3/changes",
            links=sdk.ModelSelf(
                _self=sdk.LinkType(href="http://10.1.2.3/")
            ),  # its type demands what the standard forbids
        )
        subscriptions.applications_subscriptions_post(wish, "sdk-app")
        links = subscriptions.applications_subscriptions_get("sdk-app")
        assert json.dumps(client.sanitize_for_serialization(links)).count("/subscriptions/") == 1

        own.app_services_service_id_delete("sdk-app", made.ser_instance_id)
        assert own.app_services_get("sdk-app") == []
        with pytest.raises(sdk.rest.ApiException) as refusal:
            own.app_services_service_id_get("sdk-app", made.ser_instance_id)
        assert refusal.value.status == 404
        assert json.loads(refusal.value.body)["detail"]


# --- clients generated from the files of V2.1.1 ------------------------------------------------------------------------------


def generate(folder: Path, api: str) -> tuple[Path, list[str]]:
    """Generate a client from the handwritten file of an API; returns where it is and what had to be mended first."""
    raw = document(f"mec011-{api}-2.1.1-handwritten.yaml")
    mended = mend(raw)
    file = folder / f"{api}.yaml"
    file.write_text(yaml.safe_dump(raw))
    target = folder / api.replace("-", "_")
    program = Path(sys.executable).with_name("openapi-python-client")
    options = folder / "options.yaml"
    options.write_text(f"package_name_override: {target.name}\npost_hooks: []\n")
    ran = subprocess.run(
        [program, "generate", "--path", file, "--meta", "none", "--output-path", target, "--config", options],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return target, [*mended, ran.stdout]


def mend(raw: dict[str, Any]) -> list[str]:
    """Change what the generator cannot read; returns what was changed."""
    return []


def test_clients_generated_from_the_files_of_v2_1_1_do_the_same_for_both_apis(mep: Process, tmp_path: Path) -> None:
    if not Path(sys.executable).with_name("openapi-python-client").exists():
        pytest.skip("openapi-python-client is not installed")
    for api in ("service-mgmt", "app-support"):
        generate(tmp_path, api)
    with mep.app("gen-app", appTrafficRule=[TRAFFIC_RULE], appDNSRule=[DNS_RULE]) as ours:
        talk = {
            "root": f"https://localhost:{mep.port}/edge7",
            "ca": str(mep.var / "tls" / "ca.pem"),
            "token": ours.headers["Authorization"].removeprefix("Bearer "),
            "app": "gen-app",
        }
        ran = subprocess.run(
            [sys.executable, CONVERSATION], input=json.dumps(talk), capture_output=True, text=True, timeout=120,
            env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        print(ran.stdout)
