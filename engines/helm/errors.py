"""Helm's errors in our words; its classes and texts are not quite consistent, so both are looked at."""

from __future__ import annotations

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable


class SchemaBroken(Invalid):
    """The values do not fit the schema; `told` is Helm's whole text, line by line."""

    told = ""


def translate(kind: str, detail: str) -> BreakwaterError:
    """Return our error for the SDK's error class `kind` with this `detail`."""
    sentence = shorten(detail)
    lowered = detail.lower()
    if kind == "HelmValuesError" or "values don't meet the specifications of the schema" in lowered:
        broken = SchemaBroken(f"The values do not fit the chart's schema: {sentence}", field="values")
        broken.told = detail
        return broken
    if kind in {"HelmChartLoadError", "HelmChartInvalidError"}:
        return Invalid(f"Helm cannot read the chart: {sentence}")
    if kind == "HelmRenderError":
        return Invalid(f"Helm cannot render the chart: {sentence}")
    # A timeout comes as "cancelled" with the deadline in its text.
    if kind == "HelmCancelledError":
        return TimedOut(f"Helm gave up waiting: {sentence}")
    if kind == "HelmKubeError":
        return Unavailable(f"The cluster does not answer: {sentence}")
    if kind == "HelmNotFoundError" or "has no deployed releases" in lowered or "release: not found" in lowered:
        return Missing(f"Helm knows no such release: {sentence}")
    if "cannot reuse a name that is still in use" in lowered or "another operation" in lowered:
        return Conflict(f"The release name is taken or busy: {sentence}")
    if any(word in lowered for word in ("connection refused", "no such host", "i/o timeout", "unreachable")):
        return Unavailable(f"The cluster does not answer: {sentence}")
    if "deadline exceeded" in lowered or "timed out" in lowered:
        return TimedOut(f"Helm gave up waiting: {sentence}")
    if kind == "HelmInvalidArgError":
        return Invalid(f"Helm does not take this: {sentence}")
    if kind == "HelmReleaseError" and any(
        word in lowered for word in ("template", "parse error", "execution error", "invalid release name", "yaml")
    ):
        return Invalid(f"Helm cannot render the chart: {sentence}")
    if kind in {"HelmIOError", "HelmPanicError", "HelmLibraryError"}:
        return Unavailable(f"Helm failed by itself: {sentence}")
    return Rejected(f"Helm was refused: {sentence}")


def shorten(detail: str, limit: int = 600) -> str:
    """Return the text in one line of bounded length."""
    line = " ".join(detail.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
