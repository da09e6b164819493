"""What a signature is worth to somebody: four states, nothing in between."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any


class State(enum.StrEnum):
    """The four states that are shown and that policies speak of."""

    UNSIGNED = "unsigned"
    #: Signed, and unchanged since; but nobody whom we trust vouches for the signer, or the signature is too weak.
    UNKNOWN = "unknown"
    TRUSTED = "trusted"
    #: There is a signature and it does not hold. Never accepted, whatever the policy.
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the trust list of one organisation says of one package now.

    `reason` is a sentence for people. `signer` is the subject of the signer's certificate, `anchor` the name of the
    trusted certificate at the other end of the path, `publisher` the verified publisher it stands for, if any.
    """

    state: State
    reason: str
    signer: str = ""
    fingerprint: str = ""
    anchor: str = ""
    publisher: str = ""
    signed_at: str = ""
    checked_at: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "state": str(self.state)}
