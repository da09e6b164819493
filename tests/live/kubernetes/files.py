"""What the cluster's servers read: keys, certificates, configuration, images."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import platform
import subprocess
from pathlib import Path

#: Every address is inside the cluster's own network namespace.
NODE, NODE_IP = "edge-1", "10.200.0.2"
SERVICES, API_SERVICE = "10.96.0.0/16", "10.96.0.1"
PODS = "10.244.0.0/24"
PAUSE_IMAGE = "localhost/breakwater/pause:1"

_SERVER_NAMES = (
    f"IP:127.0.0.1,IP:{NODE_IP},IP:{API_SERVICE},DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,"
    "DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
)


def control_group(state: Path) -> str:
    """Return the name of the cluster's control group: one machine may hold several clusters, each with its folder."""
    return f"breakwater-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


def write_keys(pki: Path) -> None:
    """Make an authority, the API server's certificate, an administrator's certificate and the account key."""
    pki.mkdir(mode=0o700)
    _openssl("req", "-x509", *_new_key(pki / "ca.key"), "-subj", "/CN=breakwater-test-cluster", "-days", "30",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature", "-out", pki / "ca.crt")  # fmt: skip
    _certificate(
        pki, "apiserver", "/CN=kube-apiserver", f"extendedKeyUsage=serverAuth\nsubjectAltName={_SERVER_NAMES}\n"
    )
    _certificate(pki, "admin", "/O=system:masters/CN=breakwater-admin", "extendedKeyUsage=clientAuth\n")
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pki / "sa.key")
    _openssl("pkey", "-in", pki / "sa.key", "-pubout", "-out", pki / "sa.pub")


def kubeconfig(pki: Path, port: int) -> str:
    """Return a kubeconfig that carries everything in itself; it holds inside and, through the relay, outside."""

    def data(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key")}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        },
        indent=1,
    )


def write_configuration(state: Path) -> None:
    """Write what containerd, CNI, the kubelet, kube-proxy and CoreDNS read (JSON is YAML too)."""
    (state / "containerd.toml").write_text(_containerd(state))
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "subnet": PODS,
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(state / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (state / "cni").mkdir()
    (state / "cni" / "10-pods.conflist").write_text(json.dumps(network))
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(state / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{control_group(state)}",
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{state}/containerd.sock",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "1s",
        "oomScoreAdj": 0,  # the test machine's root may not ask for less
        "podLogsDir": str(state / "logs" / "pods"),
        "resolvConf": "",
        "serializeImagePulls": False,
        "volumePluginDir": str(state / "volume-plugins"),
    }
    (state / "kubelet.json").write_text(json.dumps(kubelet, indent=1))
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(state / "kubeconfig")},
        "mode": "iptables",
        # A pod may be its own peer behind a Service: without this the answer would not find back.
        "iptables": {"masqueradeAll": True, "syncPeriod": "10s", "minSyncPeriod": "0.2s"},
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    }
    (state / "kube-proxy.json").write_text(json.dumps(proxy, indent=1))
    (state / "Corefile").write_text(
        f".:53 {{\n  bind {NODE_IP}\n  errors\n  hosts {{\n    {NODE_IP} mep\n    fallthrough\n  }}\n"
        f"  kubernetes cluster.local {{\n    kubeconfig {state}/kubeconfig test\n  }}\n}}\n"
    )


def _containerd(state: Path) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{state}/containerd"
state = "{state}/run"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
address = "{state}/containerd.sock"

[ttrpc]
address = "{state}/containerd-ttrpc.sock"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"

[{cri}.containerd]
snapshotter = "{_snapshotter(state)}"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{state}/cni"
"""


def _snapshotter(state: Path) -> str:
    """Return `overlayfs` where the state folder's file system can carry one, else the slower `native`."""
    probe = state / "probe"
    for name in ("lower", "upper", "work", "merged"):
        (probe / name).mkdir(parents=True)
    options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
    tried = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(probe / "merged")], capture_output=True, check=False
    )
    if tried.returncode:
        return "native"
    subprocess.run(["umount", str(probe / "merged")], check=True)
    return "overlayfs"


def pause_image() -> bytes:
    """Return the image that holds a pod's namespaces, as a docker-archive: the docker engine makes the same."""
    place = Path(__file__).resolve().parents[3] / "engines" / "docker" / "pause.py"
    # By its file: the package around it wants libraries that this script does not have.
    found = importlib.util.spec_from_file_location("breakwater_pause", place)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    archive: bytes = module.archive(platform.machine())
    return archive


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)


def _certificate(pki: Path, name: str, subject: str, extensions: str) -> None:
    (pki / "extensions").write_text(extensions)
    _openssl("req", *_new_key(pki / f"{name}.key"), "-subj", subject, "-out", pki / f"{name}.csr")
    _openssl("x509", "-req", "-in", pki / f"{name}.csr", "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key",
             "-CAcreateserial", "-days", "30", "-extfile", pki / "extensions", "-out", pki / f"{name}.crt")  # fmt: skip


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
