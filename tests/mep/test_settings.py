"""What an operator may set is written down, and written so that it can be read."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from mep import settings


def test_every_setting_is_explained_in_the_docs(repository: Path) -> None:
    from mep.agent.env import declare

    text = (repository / "docs" / "mep.md").read_text()
    agents = {f"MEP_{name}" for name in declare(type(settings.env)("MEP", {}))}
    missing = [each.name for each in settings.env.declared if each.name not in agents and f"`{each.name}`" not in text]
    assert missing == []


def test_servers_and_networks_are_read_in_every_usual_form() -> None:
    assert settings.servers("10.0.0.1, 10.0.0.2:5353,[::1]:54,::2") == (
        ("10.0.0.1", 53), ("10.0.0.2", 5353), ("::1", 54), ("::2", 53),
    )  # fmt: skip
    assert ipaddress.ip_network("127.0.0.0/8") in settings.networks("loopback,10.0.0.0/8")


@pytest.mark.parametrize("text", ["name", "10.0.0.1:x", "10.0.0.1:0", "10.0.0.1:99999", "10.0.0"])
def test_a_server_that_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        settings.servers(text)
