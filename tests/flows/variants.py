"""Copies of the sample producer that are bad in one way each, as packages: what live certification must find."""

from __future__ import annotations

import tempfile
from pathlib import Path

from appstore.packages.packager import build_csar
from core.appd import AppDescriptor, Compute
from tools import images, samples

BAD_APPS = Path(__file__).with_name("bad_apps")
#: The program of each copy: the flaw first, then the producer as it is.
_PROGRAM = b"import flaw\nimport producer\n\nproducer.main()\n"


def build(to: Path, flaw: str = "", *, provider: str = "Live tests") -> Path:
    """Return the package of the producer with a flaw (the name of a file in `bad_apps`), or as it is without one."""
    sample = samples.SAMPLES[0]
    version = f"1.0.0-{flaw}" if flaw else sample.version
    with tempfile.TemporaryDirectory(prefix="variant-", dir=to) as scratch:
        folder = Path(scratch)
        files: dict[str, bytes | Path] = {}
        for source in (samples.CHARTS / "shared", samples.CHARTS / sample.app / "image"):
            files |= {f"app/{path.name}": path for path in sorted(source.glob("*.py"))}
        if flaw:
            files["app/producer.py"] = files["app/app.py"]
            files |= {"app/app.py": _PROGRAM, "app/flaw.py": BAD_APPS / f"{flaw}.py"}
        image = images.build(
            sample.app, version, files, to=folder / "image.tar", command=["python3", "/app/app.py"], ports=[8080]
        )
        chart = samples.copy_chart(samples.Sample(sample.app, version), folder / "chart")
        return build_csar(
            to / f"{sample.app}-{version}.csar",
            metadata={"released_at": samples.RELEASED_AT},
            appd=AppDescriptor(
                provider=provider,
                version=version,
                compute=Compute(cpu_millis=50, memory_bytes=48 << 20),
                mec_versions=("3.1.1",),
                graceful_termination_timeout=5,
                **sample.descriptor,  # type: ignore[arg-type]
            ),
            chart=chart,
            images=[image.archive],
        )
