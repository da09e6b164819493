"""What a deployment costs beyond bare Helm, on the same chart.

    python benchmarks/engine_overhead.py [--runs 20] [--chart FOLDER] [--image IMAGE.tar] [--no-docker]

Four comparisons, medians with the 95th percentile in brackets:

1. Rendering: Helm's SDK alone in this process, against an engine's `plan` (helper process, bounded YAML, checks).
2. Applying: the same bare Helm, against `apply` of the memory engine (rendered, checked, sealed, recorded).
3. Running, where a Docker runtime is found or can be started: the pods' containers made and started by plain API
   calls until the page answers, against `apply` of the docker engine until it says ready.
4. On a cluster, when KUBECONFIG is set: Helm's own install that waits, against the kubernetes engine until ready. The
   chart's image must be in the cluster (`python -m tests.live.kubernetes.cluster load IMAGE.tar`).

Everything stays on this machine, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engines.contract import Engine, EngineSettings, Release, State  # noqa: E402
from engines.memory import MemoryEngine  # noqa: E402

CHART = ROOT / "tests" / "contracts" / "charts" / "web"


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as scratch:
        rendering(options, Path(scratch))
        if not options.no_docker:
            running(options, Path(scratch))
        if os.environ.get("KUBECONFIG"):
            cluster(options, Path(scratch))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="how often each thing is done (default 20)")
    parser.add_argument("--starts", type=int, default=5, help="how often pods are started (default 5)")
    parser.add_argument("--chart", type=Path, default=CHART)
    parser.add_argument("--image", type=Path, help="docker-archive to load first (default: packed from busybox)")
    parser.add_argument("--no-docker", action="store_true")
    return parser.parse_args()


def timed(work: Callable[[int], object], runs: int) -> list[float]:
    work(0)  # the first one loads libraries
    taken = []
    for number in range(1, runs + 1):
        began = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - began)
    return taken


def tell(what: str, taken: list[float], bare: list[float] | None = None) -> None:
    middle = statistics.median(taken)
    most = sorted(taken)[max(0, round(len(taken) * 0.95) - 1)]
    more = f"   + {1000 * (middle - statistics.median(bare)):.1f} ms" if bare else ""
    print(f"  {what:<58} {1000 * middle:9.1f} ms  [{1000 * most:.1f}]{more}", flush=True)


def rendering(options: argparse.Namespace, scratch: Path) -> None:
    from engines.helm.sdk import library

    sdk = library()

    def bare(number: int) -> None:
        with sdk.Config(kube_apiserver="http://127.0.0.1:1") as config:
            config.install(options.chart, "one", {}, namespace="t-bench", dry_run="client")

    memory = MemoryEngine(EngineSettings(state_dir=scratch / "memory"))
    print(f"Chart {options.chart.name}, {options.runs} runs")
    alone = timed(bare, options.runs)
    tell("bare Helm: SDK install, client dry run", alone)
    tell("engine: plan", timed(lambda n: memory.plan(options.chart, {}), options.runs), alone)
    tell(
        "engine: apply (memory), a new revision each time",
        timed(lambda n: memory.apply(Release("one", "t-bench", options.chart, {}, generation=n)), options.runs),
        alone,
    )
    memory.close()


def running(options: argparse.Namespace, scratch: Path) -> None:
    from tests import dockerd

    with contextlib.ExitStack() as stack:
        socket = dockerd.find()
        if not socket:
            if dockerd.unable():
                print(f"Docker: not measured, {dockerd.unable()}")
                return
            socket = stack.enter_context(dockerd.private())
        measure_docker(options, scratch, socket)


def measure_docker(options: argparse.Namespace, scratch: Path, socket: str) -> None:
    import docker

    from engines.docker import DockerEngine
    from tests.contracts.image import IMAGE, write_archive

    node = f"bench{secrets.token_hex(3)}"
    engine = DockerEngine(EngineSettings(name=node, socket=socket, state_dir=scratch / "docker"))
    holder_image = engine.keeper.images.pause()
    client = docker.APIClient(base_url=f"unix://{socket}", version="auto")
    with (options.image or write_archive(scratch / "image.tar")).open("rb") as archive:
        list(client.load_image(archive))
    made: list[str] = []
    network = client.create_network(f"{node}-bare", driver="bridge", internal=True)["Id"]

    def bare(number: int) -> None:
        """Start the same two containers as the engine does, and wait for the page."""
        holder = client.create_container(holder_image, host_config=client.create_host_config(network_mode=network))[
            "Id"
        ]
        made.append(holder)
        client.start(holder)
        address = next(iter(client.inspect_container(holder)["NetworkSettings"]["Networks"].values()))["IPAddress"]
        member = client.create_container(
            IMAGE,
            entrypoint=["/bin/sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"],
            host_config=client.create_host_config(network_mode=f"container:{holder}"),
        )["Id"]
        made.append(member)
        client.start(member)
        wait_for(lambda: answers(f"http://{address}:8080/index.html"))

    def ours(number: int) -> None:
        engine.apply(Release(f"run{number}", "t-bench", options.chart, {}, generation=1))
        wait_ready(engine, f"run{number}", "t-bench")

    try:
        print(f"\nOn {engine.ping()}, one pod with probes, {options.starts} starts")
        alone = timed(bare, options.starts)
        tell("bare: two containers by API calls until the page answers", alone)
        tell("engine: apply until ready", timed(ours, options.starts), alone)
        tell("engine: one round of supervise with all of these", timed(lambda n: engine.supervise(), options.runs))
        tell("engine: one status", timed(lambda n: engine.status("run1", "t-bench"), options.runs))
        tell("engine: remove", timed(lambda n: engine.remove(f"run{n}", "t-bench"), options.starts))
    finally:
        for container in reversed(made):
            client.remove_container(container, force=True)
        client.remove_network(network)
        client.close()
        engine.halt()
        engine.close()


def cluster(options: argparse.Namespace, scratch: Path) -> None:
    from engines import registry
    from engines.helm.sdk import library

    sdk = library()
    kubeconfig = Path(os.environ["KUBECONFIG"]).read_text()
    engine = registry.get("kubernetes")(EngineSettings(kubeconfig=kubeconfig, state_dir=scratch / "kubernetes"))
    space, plain = f"t-bench-{secrets.token_hex(3)}", f"bench-{secrets.token_hex(3)}"

    # In a namespace that the engine does not own: it would take it away from the administrator who installs here.
    def bare(number: int) -> None:
        with sdk.Config(kubeconfig_content=kubeconfig, namespace=plain) as config:
            config.install(
                options.chart, f"bare{number}", {}, namespace=plain, create_namespace=True, wait="watcher", timeout=120
            )

    def ours(number: int) -> None:
        engine.apply(Release(f"run{number}", space, options.chart, {}, generation=1))
        wait_ready(engine, f"run{number}", space)

    def clear() -> None:
        with sdk.Config(kubeconfig_content=kubeconfig, namespace=plain) as config:
            for number in range(options.starts + 1):
                with contextlib.suppress(sdk.HelmError):
                    config.uninstall(f"bare{number}", wait="watcher", timeout=60)

    print(f"\nOn {engine.ping()}, one pod with probes, {options.starts} starts")
    try:
        try:
            alone = timed(bare, options.starts)
        finally:
            clear()  # a small node has no room for both
        tell("bare Helm: install that waits", alone)
        tell("engine: apply until ready", timed(ours, options.starts), alone)
    finally:
        for number in range(options.starts + 1):
            engine.remove(f"run{number}", space)
        engine.close()


def wait_ready(engine: Engine, name: str, namespace: str) -> None:
    def ready() -> bool:
        engine.supervise()
        return engine.status(name, namespace).state is State.READY

    wait_for(ready)


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("it did not become ready in time")
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.read())
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
