"""A simulated vehicle: it drives a closed road and measures distances as a radio would, with some error."""

from __future__ import annotations

import math
import random

NOISE_M = 3.0
ROUND_S = 90.0


class Vehicle:
    """Knows where it really is, which a real one would not; so the answers can be judged."""

    def __init__(self, units: list[dict[str, object]], *, seed: int = 1) -> None:
        self.units = {str(unit["id"]): (float(str(unit["x"])), float(str(unit["y"]))) for unit in units}
        xs, ys = zip(*self.units.values(), strict=True)
        self.centre = (sum(xs) / len(xs), sum(ys) / len(ys))
        self.reach = (max(xs) - min(xs)) / 3, (max(ys) - min(ys)) / 3
        self._random = random.Random(seed)

    def position(self, seconds: float) -> tuple[float, float]:
        """Return where it is after `seconds`."""
        angle = 2 * math.pi * seconds / ROUND_S
        return (
            self.centre[0] + self.reach[0] * math.sin(angle),
            self.centre[1] + self.reach[1] * math.sin(2 * angle + 0.7),
        )

    def measure(self, seconds: float) -> dict[str, float]:
        """Return the distance to each radio unit, as measured."""
        x, y = self.position(seconds)
        return {
            name: round(max(0.0, math.hypot(x - ux, y - uy) + self._random.gauss(0, NOISE_M)), 2)
            for name, (ux, uy) in self.units.items()
        }
