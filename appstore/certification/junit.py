"""A run as a JUnit file, which every build server reads: a suite for each group of checks, a case for each check."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from appstore.certification.contract import Outcome
from appstore.certification.models import CheckResult, Run

#: What XML 1.0 (2.2) cannot hold at all.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BROKEN = {Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.STOPPED}


def document(run: Run, rows: Iterable[CheckResult]) -> bytes:
    """Return the JUnit file of a run: failures for failed checks, errors for broken ones, `skipped` for the rest."""
    groups: dict[str, list[CheckResult]] = {}
    for row in rows:
        groups.setdefault(str(row.described.get("group", "other")), []).append(row)
    every = [row for group in groups.values() for row in group]
    root = Element("testsuites", {"name": _text(f"certification of {run.package}"), **_counts(every)})
    at = (run.started_at or run.created_at).strftime("%Y-%m-%dT%H:%M:%S")
    for number, (name, members) in enumerate(sorted(groups.items())):
        suite = SubElement(
            root,
            "testsuite",
            {
                "name": _text(name),
                "id": str(number),
                "package": "breakwater.certification",
                "timestamp": at,
                "hostname": "localhost",
                **_counts(members),
            },
        )
        properties = SubElement(suite, "properties")
        for key, value in (
            ("package.sha256", run.sha256),
            ("run", str(run.pk)),
            ("verdict", run.verdict),
            ("level", run.level),
            ("suites", ", ".join(f"{each['name']} {each['version']}" for each in run.wanted)),
        ):
            SubElement(properties, "property", {"name": key, "value": _text(value)})
        for row in members:
            _case(suite, name, row)
        SubElement(suite, "system-out")
        SubElement(suite, "system-err")
    indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode").encode() + b"\n"


def _case(suite: Element, group: str, row: CheckResult) -> None:
    case = SubElement(
        suite,
        "testcase",
        {
            "name": _text(row.check_name),
            "classname": _text(f"breakwater.certification.{group}"),
            "time": f"{row.seconds:.3f}",
        },
    )
    lines = [
        f"{finding['level']}: {finding['code']}: {finding['place']}: {finding['message']} {finding['remedy']}".strip()
        for finding in row.findings
    ]
    if row.carried_from_id:
        lines.insert(0, f"carried over from run {row.carried_from_id}")
    text = _text("\n".join(lines))
    if row.outcome == Outcome.FAILED:
        worst = next((each["message"] for each in row.findings if each["level"] == "error"), row.note)
        SubElement(case, "failure", {"message": _text(worst), "type": "failed"}).text = text
    elif row.outcome in _BROKEN:
        SubElement(case, "error", {"message": _text(row.note), "type": row.outcome}).text = _text(row.trace)
    elif row.outcome not in (Outcome.PASSED, Outcome.WARNED):
        SubElement(case, "skipped", {"message": _text(row.note or row.outcome or "not ended")})
    if text and row.outcome != Outcome.FAILED:
        SubElement(case, "system-out").text = text


def _counts(rows: list[CheckResult]) -> dict[str, str]:
    done = (Outcome.PASSED, Outcome.WARNED, Outcome.FAILED)
    return {
        "tests": str(len(rows)),
        "failures": str(sum(row.outcome == Outcome.FAILED for row in rows)),
        "errors": str(sum(row.outcome in _BROKEN for row in rows)),
        "skipped": str(sum(row.outcome not in _BROKEN and row.outcome not in done for row in rows)),
        "time": f"{sum(row.seconds for row in rows):.3f}",
    }


def _text(value: object) -> str:
    return _FORBIDDEN.sub("\ufffd", str(value))
