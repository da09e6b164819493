"""The servers of the test cluster, built once from their Go modules and kept by version.

Nothing is fetched but Go modules, through whatever module proxy the machine is set up with. The
result is one folder of static programs: kube-apiserver, kube-controller-manager, kube-scheduler,
kubelet, kube-proxy, etcd and coredns.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The newest line that still takes containerd 1.6 and a cgroup v1 host (1.36 needs containerd 2).
KUBERNETES = os.environ.get("TEST_KUBERNETES_VERSION", "1.35.4")
#: The CoreDNS release that is built against the same client library.
COREDNS = os.environ.get("TEST_COREDNS_VERSION", "1.14.4")
CACHE = Path(os.environ.get("TEST_KUBERNETES_CACHE", "/var/cache/breakwater/kubernetes"))

SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
PROGRAMS = (*SERVERS, "etcd", "coredns")

# CoreDNS with the plugins that a cluster needs; the stock build pulls in the SDKs of three clouds.
DNS_PROGRAM = """package main

import (
\t"github.com/coredns/coredns/core/dnsserver"
\t"github.com/coredns/coredns/coremain"

\t_ "github.com/coredns/coredns/plugin/bind"
\t_ "github.com/coredns/coredns/plugin/errors"
\t_ "github.com/coredns/coredns/plugin/hosts"
\t_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
\tdnsserver.Directives = []string{"bind", "errors", "hosts", "kubernetes"}
\tcoremain.Run()
}
"""


def folder() -> Path:
    """Where the programs of the wanted version are, or will be."""
    return CACHE / KUBERNETES


def missing() -> list[str]:
    """Return the programs that are not built yet."""
    return [name for name in PROGRAMS if not os.access(folder() / name, os.X_OK)]


def go() -> str:
    """Return the Go tool's path; empty when this machine has none that is new enough."""
    for candidate in (os.environ.get("GO", ""), shutil.which("go") or "", "/usr/local/go/bin/go"):
        if not candidate or not os.access(candidate, os.X_OK):
            continue
        said = subprocess.run([candidate, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"go1\.(\d+)", said.strip())
        if version and int(version[1]) >= 25:
            return candidate
    return ""


def build() -> float:
    """Build what is missing and return the seconds it took (0.0 when nothing was)."""
    folder().mkdir(parents=True, exist_ok=True)
    with _alone(folder()):
        if not missing():
            return 0.0
        tool = go()
        if not tool:
            raise SystemExit("Go 1.25 or newer is needed to build the servers; set GO to its path")
        started = time.monotonic()
        work = folder() / "build"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            _write_module(tool, work)
            _compile(tool, work)
            for built in (work / "bin").iterdir():
                built.replace(folder() / {"v3": "etcd", "server": "etcd", "dns": "coredns"}.get(built.name, built.name))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if missing():
            raise SystemExit(f"the build gave no {', '.join(missing())}")
        return time.monotonic() - started


def _write_module(tool: str, work: Path) -> None:
    """Make a module that requires Kubernetes as a library.

    Its own go.mod points at folders of its source tree that no module carries; each of those is
    also published as a module, under minor version 0.x.
    """
    told = json.loads(_go(tool, work, "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"))
    theirs = Path(told["GoMod"]).read_text()
    staging = sorted(set(re.findall(r"^\s*(k8s\.io/[a-z0-9-]+) => \./staging", theirs, re.MULTILINE)))
    etcd = re.search(r"go\.etcd\.io/etcd/server/v3 (v\S+)", theirs)
    dialect = re.search(r"^go (\S+)$", theirs, re.MULTILINE)
    if not staging or not etcd or not dialect:
        raise SystemExit(f"k8s.io/kubernetes v{KUBERNETES} looks unlike what we know")
    library = f"v0.{KUBERNETES.partition('.')[2]}"
    lines = [
        "module breakwater.invalid/cluster",
        f"go {dialect[1]}",
        f"godebug default=go{'.'.join(dialect[1].split('.')[:2])}",
    ]
    lines += [f"require k8s.io/kubernetes v{KUBERNETES}", f"require go.etcd.io/etcd/server/v3 {etcd[1]}"]
    lines += [f"require github.com/coredns/coredns v{COREDNS}"]
    lines += [f"replace {name} => {name} {library}" for name in staging]
    (work / "go.mod").write_text("\n".join(lines) + "\n")
    shutil.copyfile(Path(told["Dir"]) / "go.sum", work / "go.sum")
    (work / "dns").mkdir()
    (work / "dns" / "main.go").write_text(DNS_PROGRAM)


def _compile(tool: str, work: Path) -> None:
    (work / "bin").mkdir()
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in SERVERS]
    said = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES} -X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}"
    _go(
        tool, work, "build", "-p", str(os.cpu_count() or 2), "-trimpath", f"-ldflags=-s -w {said}",
        "-o", "bin/", *packages, "go.etcd.io/etcd/server/v3", "./dns",
    )  # fmt: skip


def _go(tool: str, work: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(work / "cache"),  # two gigabytes that nobody needs again
    }
    done = subprocess.run(
        ["nice", "-n", "10", tool, *arguments], cwd=work, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"go {arguments[0]} failed:\n{done.stderr[-4000:]}")
    return done.stdout


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let one process build at a time; the second finds the work done."""
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
