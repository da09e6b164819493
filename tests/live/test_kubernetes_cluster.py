"""The test cluster is closed: nothing leads out of it but what a test opens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import PIPE

import pytest

from engines.contract import Release, State
from tests.contracts.engine import CHARTS
from tests.contracts.image import IMAGE
from tests.live.conftest import TestCluster
from tests.live.kubernetes import files
from tests.live.kubernetes.cluster import Cluster
from tests.live.kubernetes.netns import Border
from tests.live.kubernetes.processes import RELAY
from tests.live.test_kubernetes_engine import KubernetesHarness
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def harness(kubernetes_cluster: TestCluster) -> Iterator[KubernetesHarness]:
    if kubernetes_cluster.own is None:
        pytest.skip("about the cluster that the tests bring up themselves, and KUBECONFIG names another")
    made = KubernetesHarness(kubernetes_cluster)
    yield made
    made.close()


@pytest.fixture
def border(harness: KubernetesHarness) -> Border:
    assert harness.cluster.own is not None
    return harness.cluster.own.border()


@pytest.fixture
def greeting() -> Iterator[int]:
    """A server on the host's loopback; gives its port."""

    class Greeter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the host")

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Greeter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_no_address_outside_can_be_reached(border: Border) -> None:
    # 192.0.2.1 is no host's address (RFC 5737); there is not even a route to try.
    with pytest.raises(OSError, match="unreachable"):
        border.connect(("192.0.2.1", 443))


def test_the_hosts_own_servers_are_out_of_reach(border: Border, greeting: int) -> None:
    for address in ("127.0.0.1", files.NODE_IP):
        with pytest.raises(ConnectionRefusedError):
            border.connect((address, greeting))


def test_a_node_port_is_reached_from_the_host_through_a_relay(harness: KubernetesHarness) -> None:
    harness.engine.apply(Release("one", harness.namespace, CHARTS / "web", {"image": IMAGE, "message": "from inside"}))
    status = until(
        lambda: status if (status := harness.engine.status("one", harness.namespace)).state is State.READY else None,
        harness.patience,
        every=0.2,
    )
    assert harness.cluster.own is not None
    address = harness.cluster.own.forward(status.endpoints[0].port)

    def ask() -> str:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:  # the rule for the new Service is not there yet
            return ""

    assert until(ask, harness.patience, every=0.2) == "from inside"


def test_pods_reach_what_the_host_exposes_by_the_name_mep(harness: KubernetesHarness, greeting: int) -> None:
    assert harness.cluster.own is not None
    _, port = harness.cluster.own.expose(greeting)
    script = f"wget -q -O- http://mep:{port}/; echo; sleep 1000"
    harness.engine.apply(Release("one", harness.namespace, CHARTS / "web", {"image": IMAGE, "script": script}))
    until(
        lambda: any("hello from the host" in line.text for line in harness.engine.logs("one", harness.namespace)),
        harness.patience,
        every=0.2,
    )


def test_a_second_cluster_comes_and_goes_without_a_trace_and_leaves_the_first_alone(
    harness: KubernetesHarness,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A short path: sockets in it may have names of about a hundred characters at most.
    state = Path(tempfile.mkdtemp(prefix="bwk-")) / "c"
    second = Cluster(state, port)
    # A relay that a run left behind, which was killed with its folder: it sits on the port and leads nowhere.
    relay = [sys.executable, "-m", RELAY, "relay", "/nowhere", str(os.getpid()), str(port)]
    forgotten = subprocess.Popen(relay, cwd=ROOT)
    listening = f":{port:04X} 00000000:0000 0A"  # looked up, because a connection would be led in a circle
    until(lambda: listening in Path("/proc/net/tcp").read_text(), 20)
    try:
        second.up()
        assert second.ready()
        assert second.lost() == ""
        forgotten.wait(5)
        # Another run uses it: what ends one of them does not take it from the other.
        using = (
            "from pathlib import Path; from tests.live.kubernetes.cluster import Cluster; "
            f"mine = Cluster(Path({str(state)!r}), {port}); mine.up(); print('used', flush=True); input()"
        )
        with subprocess.Popen([sys.executable, "-c", using], cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "used\n"
            assert second.down() == [other.pid]
            other.communicate("\n")
        assert second.ready()
        process = second._first_process()
        group = files.control_group(state)
        assert any((root / group).exists() for root in Path("/sys/fs/cgroup").iterdir())
    finally:
        forgotten.kill()
        assert second.down() == []
        state.parent.rmdir()
    until(lambda: not Path(f"/proc/{process}/exe").exists(), 5)  # what is left may wait to be reaped
    assert not any((root / group).exists() for root in Path("/sys/fs/cgroup").iterdir())
    assert not state.exists()
    assert harness.cluster.own is not None
    assert harness.cluster.own.ready()
    assert harness.engine.ping()
