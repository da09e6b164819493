"""`manage.py edge` starts the helper of the data plane, and nobody beside it can change the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from mep.agent.management.commands.edge import helper_command
from tests.upf.lab import ROOT, Lab, needs_lab
from tests.waiting import until
from upf_adapter.nftables import privileges
from upf_adapter.nftables.helper import options


def configured(settings: Any, folder: Path, **chosen: Any) -> None:
    file = folder / "upf.json"
    file.write_text(json.dumps(chosen))
    settings.UPF, settings.UPF_CONFIG = "nftables", str(file)


def test_another_user_plane_needs_no_helper(settings: Any) -> None:
    settings.UPF, settings.UPF_CONFIG = "memory", ""
    assert helper_command() == []


def test_a_helper_that_somebody_else_starts_is_not_started_again(settings: Any, tmp_path: Path) -> None:
    configured(settings, tmp_path, socket="/run/upf.sock")
    assert helper_command() == []


def test_without_an_interface_the_start_says_what_is_missing(settings: Any, tmp_path: Path) -> None:
    configured(settings, tmp_path)
    with pytest.raises(CommandError, match="interfaces"):
        helper_command()


@pytest.mark.skipif(not privileges.holds(privileges.CAP_NET_ADMIN), reason="needs CAP_NET_ADMIN")
def test_the_helper_is_given_the_options_of_the_file(settings: Any, tmp_path: Path) -> None:
    configured(settings, tmp_path, interfaces=["n6", "ue0"], mark_mask=0xFF00, table="edge")
    command = helper_command()
    assert command[:3] == [sys.executable, "-m", "upf_adapter.nftables.helper"]
    read = options(command[3:])
    assert (read.interface, read.mark_mask, read.table, read.owner) == (["n6", "ue0"], 0xFF00, "edge", os.geteuid())
    assert read.socket == Path(settings.VAR) / "upf.sock"


def capabilities(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(status.split("CapBnd:\t")[1].split()[0], 16) | int(status.split("CapPrm:\t")[1].split()[0], 16)


def family(parent: int) -> dict[str, int]:
    """Return the children by what they run."""
    found = {}
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            found["helper" if "upf_adapter.nftables.helper" in words else " ".join(words[-2:]).strip()] = int(child)
    return found


@pytest.mark.live
@needs_lab
def test_the_helper_alone_may_change_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "upf.json"
    file.write_text(json.dumps({"interfaces": ["ue0"]}))
    environment = {
        **os.environ,
        "MEP_VAR": str(tmp_path / "var"),
        "MEP_MP1_BIND": "127.0.0.1",
        "MEP_UPF": "nftables",
        "MEP_UPF_CONFIG": str(file),
        "DJANGO_SETTINGS_MODULE": "mep.settings",
    }
    admin = 1 << privileges.CAP_NET_ADMIN
    with Lab(()) as lab:
        manage = [sys.executable, str(ROOT / "manage.py"), "edge", "--without", "agent", "--without", "dns"]
        edge = lab.start("edge", *manage, cwd="/", env=environment, stderr=subprocess.DEVNULL)
        until(lambda: {"helper", "mp1"} <= family(edge.pid).keys(), 60)
        until(lambda: capabilities(family(edge.pid)["helper"]) == admin, 20)
        until(lambda: not capabilities(family(edge.pid)["mp1"]) & admin, 20)
        until(lambda: "breakwater" in lab.run("edge", "nft", "list", "tables"), 60, what="mp1 has put its empty set")
        os.kill(family(edge.pid)["helper"], 9)
        until(lambda: capabilities(family(edge.pid).get("helper", edge.pid)) == admin, 30)
        edge.terminate()
        assert edge.wait(40) == 0
