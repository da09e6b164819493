"""Helm's errors in our words; its classes and texts are not quite consistent, so both are looked at."""

from __future__ import annotations

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable
from core.words import say


class SchemaBroken(Invalid):
    """The values do not fit the schema; `told` is Helm's whole text, line by line."""

    told = ""


def translate(kind: str, detail: str) -> BreakwaterError:
    """Return our error for the SDK's error class `kind` with this `detail`."""
    sentence = shorten(detail)
    lowered = detail.lower()
    if kind == "HelmValuesError" or "values don't meet the specifications of the schema" in lowered:
        broken = SchemaBroken(
            say("The values do not fit the chart's schema: {sentence}", sentence=sentence), field="values"
        )
        broken.told = detail
        return broken
    if kind in {"HelmChartLoadError", "HelmChartInvalidError"}:
        return Invalid(say("Helm cannot read the chart: {sentence}", sentence=sentence))
    if kind == "HelmRenderError":
        return Invalid(say("Helm cannot render the chart: {sentence}", sentence=sentence))
    # A timeout comes as "cancelled" with the deadline in its text.
    if kind == "HelmCancelledError":
        return TimedOut(say("Helm gave up waiting: {sentence}", sentence=sentence))
    if kind == "HelmKubeError":
        return Unavailable(say("The cluster does not answer: {sentence}", sentence=sentence))
    if kind == "HelmNotFoundError" or "has no deployed releases" in lowered or "release: not found" in lowered:
        return Missing(say("Helm knows no such release: {sentence}", sentence=sentence))
    if "cannot reuse a name that is still in use" in lowered or "another operation" in lowered:
        return Conflict(say("The release name is taken or busy: {sentence}", sentence=sentence))
    if any(word in lowered for word in ("connection refused", "no such host", "i/o timeout", "unreachable")):
        return Unavailable(say("The cluster does not answer: {sentence}", sentence=sentence))
    if "deadline exceeded" in lowered or "timed out" in lowered:
        return TimedOut(say("Helm gave up waiting: {sentence}", sentence=sentence))
    if kind == "HelmInvalidArgError":
        return Invalid(say("Helm does not take this: {sentence}", sentence=sentence))
    if kind == "HelmReleaseError" and any(
        word in lowered for word in ("template", "parse error", "execution error", "invalid release name", "yaml")
    ):
        return Invalid(say("Helm cannot render the chart: {sentence}", sentence=sentence))
    if kind in {"HelmIOError", "HelmPanicError", "HelmLibraryError"}:
        return Unavailable(say("Helm failed by itself: {sentence}", sentence=sentence))
    return Rejected(say("Helm was refused: {sentence}", sentence=sentence))


def shorten(detail: str, limit: int = 600) -> str:
    """Return the text in one line of bounded length."""
    line = " ".join(detail.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
