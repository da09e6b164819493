"""The consumer's page: what it discovered, what it was answered, what it was told."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f4b; --bad: #c0392b; --dim: #8a8f98; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem }
.badge { border: 1px solid currentColor; border-radius: 1rem; padding: .05rem .6rem; font-size: .85rem }
.good { color: var(--good) } .bad { color: var(--bad) } .dim { color: var(--dim) }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid var(--line) }
svg { width: 100%; max-height: 22rem; border: 1px solid var(--line); border-radius: .5rem }
"""


def render(state: dict[str, Any]) -> str:
    """Return the page as HTML; everything that came from elsewhere is escaped."""
    service, answers = state["service"], state["answers"]
    joined = state["platform"]["state"] == "joined"
    found = "No service of that name is known to the platform."
    if service:
        found = (
            f"<b>{_text(service['serName'])}</b> {_text(service['version'])}, {_text(service['state'])}, at "
            f"<code>{_text(service['uri'])}</code> <span class=dim>(found as {_text(service['serInstanceId'])})</span>"
        )
    last = answers[0] if answers else None
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="2"><title>Vehicle</title><style>{STYLE}</style></head><body>
<h1>Vehicle</h1>
<p class=dim>A simulated vehicle measures its distance to the radio units of the site and asks the
<b>{_text(state["wanted"])}</b> service of its edge node where it is.</p>
<p><span class="badge {"good" if joined else "bad"}">platform: {_text(state["platform"]["state"])}</span>
<span class="badge {"good" if last and last["ok"] else "bad"}">{_answered(last)}</span></p>
<h2>Service</h2><p>{found}</p>
{_map(state)}
<h2>Answers <span class=dim>({state["counts"]["answers"]} good, {state["counts"]["failures"]} failed)</span></h2>
{_table(["at", "position", "error", "by", "took"], [_answer(answer) for answer in answers[:8]])}
<h2>Told by the platform</h2>
{_table(["at", "service", "change", "state"], [_told(item) for item in state["notifications"][:8]])}
<h2>Errors</h2>
{_table(["at", "error"], [[_text(item["at"]), _text(item["error"])] for item in state["errors"][:8]])}
<p class=dim>The same as JSON: <a href="state.json">state.json</a></p>
</body></html>"""


def _answered(last: dict[str, Any] | None) -> str:
    if not last:
        return "no answer yet"
    if not last["ok"]:
        return "the last call failed"
    return f"answered by {_text(last['version'])}, {_text(last['method'])}"


def _answer(answer: dict[str, Any]) -> list[str]:
    if not answer["ok"]:
        return [_text(answer["at"]), f"<span class=bad>{_text(answer['error'])}</span>", "", "", ""]
    position = answer["position"]
    accuracy = f" &plusmn; {_text(position['accuracy_m'])} m" if "accuracy_m" in position else ""
    return [
        _text(answer["at"]),
        f"{_text(position['x'])}, {_text(position['y'])}{accuracy}",
        f"{_text(answer['error_m'])} m",
        f"{_text(answer['method'])} ({_text(answer['version'])})",
        f"{_text(answer['milliseconds'])} ms",
    ]


def _told(item: dict[str, Any]) -> list[str]:
    return [_text(item[key]) for key in ("at", "serName", "changeType", "state")]


def _map(state: dict[str, Any]) -> str:
    """Draw the radio units, where the vehicle is, and where the service says it is."""
    units, answers = state["radioUnits"], [answer for answer in state["answers"] if answer["ok"]]
    if not units:
        return ""
    xs, ys = [unit["x"] for unit in units], [unit["y"] for unit in units]
    margin = 0.12 * max(max(xs) - min(xs), max(ys) - min(ys), 1)
    left, top = min(xs) - margin, min(ys) - margin
    width, height = max(xs) + margin - left, max(ys) + margin - top
    size = max(width, height) / 90
    drawn = [
        f'<rect x="{unit["x"] - size:.1f}" y="{unit["y"] - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}" '
        f'fill="#4c78d8"><title>{_text(unit["id"])}</title></rect>'
        for unit in units
    ]
    for age, answer in reversed(list(enumerate(answers))):
        x, y = answer["position"]["x"], answer["position"]["y"]
        opacity = max(0.15, 1 - age / 20)
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="#e07b39" opacity="{opacity:.2f}"/>')
    if answers:
        x, y = answers[0]["truth"]["x"], answers[0]["truth"]["y"]
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 * size:.1f}" fill="none" stroke="currentColor" '
            f'stroke-width="{size / 3:.1f}"><title>where the vehicle is</title></circle>'
        )
    box = f"{left:.1f} {top:.1f} {width:.1f} {height:.1f}"
    return f'<svg viewBox="{box}" role="img" aria-label="Site with radio units and positions">{"".join(drawn)}</svg>'


def _table(heads: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return "<p class=dim>None.</p>"
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    return escape(str(value))
