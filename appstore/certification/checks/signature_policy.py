"""Check `signature-policy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_ORDER = ("unsigned", "unknown", "trusted")
_WORDS = {
    "unsigned": say("unsigned"),
    "unknown": say("signed by somebody unknown"),
    "trusted": say("signed by a trusted publisher"),
}


class SignaturePolicy(Check):
    """The package is signed as the operator demands: by anybody, or by somebody whom the trust list vouches for."""

    name = "signature-policy"
    title = say("It is signed as the operator demands")
    reason = say("Only a signature says who made it, and that nobody changed it since.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.SIGNATURE, Part.WHOLE})
    options = (Option("at_least", "unknown", "the least that is accepted", ("unsigned", "unknown", "trusted")),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        state = str(subject.signature.get("standing") or _plain(subject.signature))
        wanted = str(options["at_least"])
        if state == "broken":
            yield support.error(
                "signature-broken", "", say("The signature does not hold"), say("Sign the package again")
            )
        elif _ORDER.index(state if state in _ORDER else "unsigned") < _ORDER.index(wanted):
            message = say(
                "The package is {state}; the profile asks for {wanted}",
                state=_WORDS.get(state, state),
                wanted=_WORDS[wanted],
            )
            yield support.error(
                "signature-too-weak", "", message, say("Sign with a certificate that the operator trusts")
            )
        if subject.signature.get("weak"):
            yield support.warning(
                "signature-weak", "", say("It can never be trusted: {weak}", weak=subject.signature["weak"])[:300]
            )


def _plain(signature: Mapping[str, Any]) -> str:
    """Return the standing where no trust list was asked."""
    return {"valid": "unknown", "invalid": "broken"}.get(str(signature.get("state")), "unsigned")
