"""Running live checks in this process, as the runner does it in others: in their order, on one sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from appstore.certification import checks as folder
from appstore.certification.contract import Check, Sandbox, Skip, Subject
from core.findings import Finding, Level


def live_checks() -> list[Check]:
    """Return one of each, in the order in which they share a sandbox."""
    found = []
    for path in sorted(Path(next(iter(folder.__path__))).glob("live_*.py")):
        module = import_module(f"appstore.certification.checks.{path.stem}")
        kinds = [
            each
            for each in vars(module).values()
            if isinstance(each, type) and issubclass(each, Check) and each.__module__ == module.__name__
        ]
        assert len(kinds) == 1, path
        assert kinds[0].name == path.stem.replace("_", "-")
        found.append(kinds[0]())
    return sorted(found, key=lambda check: (check.order, check.name))


class Lent:
    """The tools that a live check uses."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox


def subject_of(descriptor: Mapping[str, Any], chart: Path | None = Path("chart.tgz")) -> Subject:
    """Return a package as its checks get it."""
    return Subject(Path("app.csar"), "0" * 64, "etsi", "app", "Acme", "1.0.0", descriptor, chart=chart)


def run(check: Check, sandbox: Sandbox, subject: Subject, **options: Any) -> tuple[str, list[Finding]]:
    """Run one check; returns `passed`, `warned`, `failed` or `skipped: why`, and its findings."""
    findings: list[Finding] = []
    try:
        for item in check.run(subject, options, Lent(sandbox)):  # type: ignore[arg-type]
            if isinstance(item, Finding):
                findings.append(item)
    except Skip as reason:
        return f"skipped: {reason}", findings
    levels = {each.level for each in findings}
    return "failed" if Level.ERROR in levels else "warned" if Level.WARNING in levels else "passed", findings
