"""Bad values for each kind of control, made from what the page itself says of it."""

from __future__ import annotations

from typing import Any

from tests.frontend.forms.reading import Control

TEXTS = ("text", "textarea", "search", "email", "url", "tel", "password")
#: Right by its kind, and full of what breaks careless pages.
ODD = "\"><script>alert(1)</script> \u202e\u05d0\u05d1 \u754c \U0001f30a & 'x'"


def values(controls: list[Control], must: bool) -> list[Any]:
    """Return what this field must refuse, the likeliest first; empty for one in which nothing can be wrong."""
    control = controls[0]
    kind, attrs = control.kind, control.attrs
    found: list[Any] = []
    if must and kind not in ("select", "radio", "file", "checkbox"):
        found.append("")
    if kind in TEXTS:
        if "maxlength" in attrs and int(attrs["maxlength"]) < 100_000:
            found.append(("s3cret" if kind == "password" else "x") * (int(attrs["maxlength"]) + 1))
        found.append("a\x00b")
        if kind != "password":
            found.append("a\x07b\x1b[31m")
    if kind == "email":
        found.append("no address")
    if kind == "number":
        found += ["x", "1e999"]
        found += [str(float(attrs["min"]) - 1).removesuffix(".0")] if "min" in attrs else []
        found += [str(float(attrs["max"]) + 1).removesuffix(".0")] if "max" in attrs else []
    if kind in ("date", "datetime-local"):
        found += ["2026-13-45", "soon\x00"]
    if kind in ("select", "radio"):
        found += ["no-such-choice", "\x00"]
    if kind == "checkbox" and len(controls) > 1:
        found.append(["no-such-choice"])
    return found


def odd(controls: list[Control]) -> str | None:
    """Return an odd text that this field may take; None for one that takes no text."""
    control = controls[0]
    if control.kind not in ("text", "textarea", "search"):
        return None
    return ODD[: int(control.attrs.get("maxlength", "100000"))]
