"""Ports that tests take for their servers stay theirs."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests import ports


def test_a_port_that_was_given_is_given_to_nobody_else_though_nothing_listens_there() -> None:
    mine = ports.free_port()
    assert mine in ports.PORTS
    code = f"from tests import ports; ports.PORTS = range({mine}, {mine} + 1); print(ports.free_port())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode == 1
    assert "is free" in other.stderr


def test_a_port_that_somebody_listens_on_is_not_given() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            try:
                server.bind((address, 0))
            except OSError:
                continue
            assert not ports._free(server.getsockname()[1])
