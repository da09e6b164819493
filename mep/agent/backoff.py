"""How long to wait before trying again."""

from __future__ import annotations

import random


def pause(tries: int, *, base: float = 0.2, most: float = 30.0, draw: float | None = None) -> float:
    """Return seconds to wait after `tries` failures: full jitter over a bound that doubles up to `most`.

    Full jitter spreads ten thousand nodes that lost one centre at the same moment.
    """
    bound = min(most, base * 2 ** min(tries, 30))
    return bound * (random.random() if draw is None else draw)  # noqa: S311 - spreads load, guards nothing
