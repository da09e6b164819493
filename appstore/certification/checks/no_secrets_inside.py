"""Check `no-secrets-inside`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.archives import Archive, Damaged
from core.findings import Finding
from core.words import say

_LARGEST, _MOST = 1 << 20, 64 << 20
_PATTERNS = {
    "private-key": re.compile(rb"-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED )?PRIVATE KEY-----"),
    "aws-key": re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "github-token": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "slack-token": re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{10,48}\b"),
    "google-key": re.compile(rb"\bAIza[0-9A-Za-z_-]{35}\b"),
    "json-web-token": re.compile(rb"\beyJ[A-Za-z0-9_-]{10,500}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{20,600}\b"),
    "registry-login": re.compile(rb'"auth"\s*:\s*"[A-Za-z0-9+/=]{12,400}"'),
}
#: A password in values: not empty, no template, and nothing that says it is to be replaced.
_PASSWORD = re.compile(
    rb"(?im)^[ \t]*[\w.-]*(?:password|passwd|secretkey|secret_key|apikey|api_key)[ \t]*:[ \t]*([^\s#{][^#\r\n]{2,200})"
)
_PLACEHOLDER = re.compile(
    rb"(?i)^[\"']?(?:<.*>|\{\{.*|changeme|change-me|replace.*|example.*|x+|\*+|none|null|true|false|''|\"\")[\"']?\s*$"
)


class NoSecretsInside(Check):
    """No private key, token or password lies in the package."""

    name = "no-secrets-inside"
    title = say("No secret lies in the package")
    reason = say("Everybody who downloads the package has it.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        done = 0
        for archive, prefix in _archives(subject, tools):
            for name, member in archive.members.items():
                if member.size > _LARGEST or name.startswith("Image/"):
                    continue
                if (done := done + member.size) > _MOST:
                    yield support.info("secrets-not-all-read", prefix, say("It holds too much text to be read whole"))
                    return
                try:
                    content = archive.read(name, at_most=_LARGEST)
                except Damaged:
                    continue
                yield from _secrets(content, f"{prefix}{name}")


def _archives(subject: Subject, tools: Tools) -> Iterator[tuple[Archive, str]]:
    if support.is_csar(subject):
        yield tools.archive(), ""
    if subject.chart is not None:
        yield tools.chart_archive(), "chart: "


def _secrets(content: bytes, place: str) -> Iterator[Finding]:
    """Yield what looks like a secret; the finding never repeats it."""
    for code, pattern in _PATTERNS.items():
        found = pattern.search(content)
        if found:
            line = content.count(b"\n", 0, found.start()) + 1
            yield support.error(
                code,
                place,
                say("Line {line} looks like a {what}", line=line, what=code.replace("-", " ")),
                say("Remove and revoke it"),
            )
    if not place.lower().endswith((".yaml", ".yml", ".properties", ".env")):
        return
    for found in _PASSWORD.finditer(content):
        if _PLACEHOLDER.match(found.group(1).strip()):
            continue
        line = content.count(b"\n", 0, found.start()) + 1
        remedy = say("Leave it empty and let the operator set it")
        yield support.warning("password-preset", place, say("Line {line} sets a password", line=line), remedy)
