"""The sample applications as packages: their images, their charts, their CSARs, made from `charts/` on this machine.

    python tools/samples.py [--to var/samples] [--provider NAME]

Work that is up to date is skipped, so it may be called at every start.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from appstore.packages.packager import build_csar  # noqa: E402
from core.appd import AppDescriptor, Compute, ServiceDependency, ServiceProduced, Transport  # noqa: E402
from tools import images  # noqa: E402

CHARTS = ROOT / "charts"
PROVIDER = "Breakwater"
RELEASED_AT = "2026-11-23T00:00:00+00:00"
_NOT_IN_CHART = shutil.ignore_patterns("image", "releases")

# An address for documentation (RFC 5737): whoever runs a real user plane gives the service one of his own.
_ADDRESS = "203.0.113.10"
_TRAFFIC_RULE = {
    "trafficRuleId": "positioning-uplink",
    "filterType": "FLOW",
    "priority": 10,
    "trafficFilter": [{"dstAddress": [f"{_ADDRESS}/32"], "dstPort": ["8080"], "protocol": ["TCP"]}],
    "action": "PASSTHROUGH",
}
_DNS_RULE = {
    "dnsRuleId": "positioning-name",
    "domainName": "positioning.mec.example",
    "ipAddressType": "IP_V4",
    "ipAddress": _ADDRESS,
    "ttl": 60,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One release of one sample application."""

    app: str
    version: str
    descriptor: dict[str, object] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return f"{self.app}-{self.version}.csar"


_PRODUCER: dict[str, object] = {
    "name": "positioning",
    "description": "Tells where a device is from its distances to radio units; other applications find it by name.",
    "services_produced": (
        ServiceProduced(
            "positioning",
            "1.0",
            transports=(Transport(),),
            dns_rule_ids=("positioning-name",),
            traffic_rule_ids=("positioning-uplink",),
        ),
    ),
    "traffic_rules": (_TRAFFIC_RULE,),
    "dns_rules": (_DNS_RULE,),
}
_CONSUMER: dict[str, object] = {
    "name": "vehicle",
    "description": "A simulated vehicle that finds the positioning service of its edge node and asks it where it is.",
    "services_optional": (ServiceDependency("positioning", "1.0", transports=(Transport(),)),),
}
SAMPLES = (
    Sample("producer", "1.0.0", _PRODUCER),
    Sample("producer", "1.1.0", _PRODUCER),
    Sample("consumer", "1.0.0", _CONSUMER),
)


def build(to: Path, *, provider: str = PROVIDER) -> list[Path]:
    """Return the packages of all samples in `to`, built where they are missing or out of date."""
    to.mkdir(parents=True, exist_ok=True)
    packages = [to / sample.file_name for sample in SAMPLES]
    stamp, wanted = to / ".built-from.json", {"inputs": _inputs(), "provider": provider}
    if all(package.is_file() for package in packages) and stamp.is_file():
        try:
            if json.loads(stamp.read_text()) == wanted:
                return packages
        except ValueError:
            pass  # half written; build again
    stamp.unlink(missing_ok=True)
    for sample in SAMPLES:
        build_package(sample, to, provider=provider)
    stamp.write_text(json.dumps(wanted))
    return packages


def build_package(sample: Sample, to: Path, *, provider: str = PROVIDER) -> Path:
    """Build one sample's image and chart and put both into a CSAR."""
    with tempfile.TemporaryDirectory(prefix="sample-", dir=to) as scratch:
        image = build_image(sample, Path(scratch))
        return build_csar(
            to / sample.file_name,
            metadata={"released_at": RELEASED_AT},
            appd=AppDescriptor(
                provider=provider,
                version=sample.version,
                compute=Compute(cpu_millis=50, memory_bytes=48 << 20),
                mec_versions=("3.1.1",),
                graceful_termination_timeout=10,
                **sample.descriptor,  # type: ignore[arg-type]
            ),
            chart=copy_chart(sample, Path(scratch) / "chart"),
            images=[image.archive],
        )


def build_image(sample: Sample, to: Path) -> images.Image:
    """Build the sample's container image; files of its release lie over those of the first one."""
    files: dict[str, bytes | Path] = {}
    folder = CHARTS / sample.app
    for source in (CHARTS / "shared", folder / "image", folder / "releases" / sample.version):
        files |= {f"app/{path.name}": path for path in sorted(source.glob("*.py"))}
    return images.build(
        sample.app,
        sample.version,
        files,
        to=to / f"{sample.app}-{sample.version}.tar",
        command=["python3", "/app/app.py"],
        ports=[8080],
    )


def copy_chart(sample: Sample, to: Path) -> Path:
    """Copy the chart without the image's sources, as the version of this release."""
    shutil.copytree(CHARTS / sample.app, to, ignore=_NOT_IN_CHART)
    described = to / "Chart.yaml"
    text = re.sub(r"(?m)^(version|appVersion): .*$", rf"\1: {sample.version}", described.read_text("utf-8"))
    described.write_text(text, "utf-8")
    return to


def _inputs() -> str:
    """Return a digest over everything that a package is made of."""
    seen = hashlib.sha256(images.python_identity().encode())
    writers = [ROOT / "appstore" / "packages" / name for name in ("packager.py", "template.py", "images.py")]
    sources = [*_files(CHARTS), *_files(ROOT / "core" / "appd"), *writers, Path(__file__).resolve()]
    for path in sorted(sources):
        seen.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=ROOT / "var" / "samples")
    parser.add_argument("--provider", default=PROVIDER)
    wanted = parser.parse_args()
    for package in build(wanted.to, provider=wanted.provider):
        print(f"{package} {package.stat().st_size} bytes")


if __name__ == "__main__":
    main()
