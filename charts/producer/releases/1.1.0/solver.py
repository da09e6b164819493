"""Where is the device, and how sure are we? Multilateration by Gauss-Newton, started from the linear answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

VERSION = "1.1.0"
METHOD = "Gauss-Newton least squares"
Measurement = tuple[float, float, float]
"""A radio unit's x and y and the measured distance to it, all in metres."""


def solve(measured: Sequence[Measurement]) -> dict[str, object]:
    """Return the position that fits the distances best and its accuracy; ValueError when they cannot tell one."""
    x, y = refine(measured, *linear(measured))
    left = residual(measured, x, y)
    return {
        "x": round(x, 2),
        "y": round(y, 2),
        "residual_m": round(left, 2),
        "accuracy_m": round(left * dilution(measured, x, y), 2),
    }


def linear(measured: Sequence[Measurement]) -> tuple[float, float]:
    """Subtract the first circle from each other one, which leaves straight lines, and intersect those."""
    if len(measured) < 3:
        raise ValueError("a position needs distances to at least three radio units")
    x0, y0, r0 = measured[0]
    rows = [(2 * (x - x0), 2 * (y - y0), r0**2 - r**2 + x**2 - x0**2 + y**2 - y0**2) for x, y, r in measured[1:]]
    a, b, d = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    u, v = (sum(row[i] * row[2] for row in rows) for i in (0, 1))
    determinant = a * d - b * b
    if abs(determinant) < 1e-9 * max(a * d, 1.0):
        raise ValueError("the radio units stand in one line, so there are two positions")
    return (d * u - b * v) / determinant, (a * v - b * u) / determinant


def refine(measured: Sequence[Measurement], x: float, y: float) -> tuple[float, float]:
    """Walk downhill from a first guess; unlike the linear answer this weighs each distance alike."""
    for _ in range(20):
        (a, b, d), (u, v) = _normal(measured, x, y)
        determinant = a * d - b * b
        if abs(determinant) < 1e-12:
            break
        dx, dy = (d * u - b * v) / determinant, (a * v - b * u) / determinant
        x, y = x + dx, y + dy
        if math.hypot(dx, dy) < 1e-6:
            break
    return x, y


def dilution(measured: Sequence[Measurement], x: float, y: float) -> float:
    """Return how much the radio units' places multiply an error of distance (the dilution of precision)."""
    (a, b, d), _ = _normal(measured, x, y)
    determinant = a * d - b * b
    return math.sqrt((a + d) / determinant) if determinant > 1e-12 else math.inf


def residual(measured: Sequence[Measurement], x: float, y: float) -> float:
    """Return the root mean square of what the position leaves unexplained."""
    return math.sqrt(sum((math.hypot(x - ax, y - ay) - r) ** 2 for ax, ay, r in measured) / len(measured))


def _normal(measured: Sequence[Measurement], x: float, y: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    a = b = d = u = v = 0.0
    for ax, ay, r in measured:
        distance = math.hypot(x - ax, y - ay) or 1e-9
        jx, jy, miss = (x - ax) / distance, (y - ay) / distance, r - distance
        a, b, d, u, v = a + jx * jx, b + jx * jy, d + jy * jy, u + jx * miss, v + jy * miss
    return (a, b, d), (u, v)
