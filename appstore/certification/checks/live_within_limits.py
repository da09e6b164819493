"""Check `live-within-limits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Subject
from core.findings import Finding, Level
from core.words import say


class WithinLimits(live.LiveCheck):
    """Limits are what the node plans with; a light load must not carry the application to them."""

    name = "live-within-limits"
    title = say("Under light load it stays within its memory and CPU limits")
    reason = say("An application that outgrows its limits is killed in production, or starves its neighbours.")
    group = "resources"
    order = 150
    options = (
        live.READY_WITHIN,
        Option("requests", 40, "GET requests of the light load, over all ports that speak HTTP"),
        Option("path", "/", "path that is asked for"),
        Option("memory_percent", 90, "share of the memory limit above which a warning is given"),
        Option("cpu_percent", 98, "mean share of the CPU limit at which the light load counts as too much"),
    )

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        state = live.running(subject, options, sandbox)
        before = int(state.get("restarts") or 0)
        looks = [sandbox.usage()]
        ports, wanted = live.tcp_ports(state), max(1, int(options["requests"]))
        for number in range(wanted if ports else 5):
            if ports:
                sandbox.request(ports[number % len(ports)], str(options["path"]))
            if number % 8 == 7 or not ports:
                yield Progress(20 + 70 * number // wanted, say("{number} requests", number=number + 1))
                looks.append(sandbox.usage())
                if any(each["oom_killed"] for each in looks[-1]):
                    break
        after = sandbox.state()
        looks.append(sandbox.usage())
        yield from _judge(looks, after, before, options)


def _judge(
    looks: list[Any], after: Mapping[str, Any], before: int, options: Mapping[str, Any]
) -> Iterator[Finding | Progress]:
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for look in looks:
        for each in look:
            seen.setdefault(f"{each['pod']}/{each['container']}", []).append(each)
    killed = [place for place, rows in seen.items() if any(row["oom_killed"] for row in rows)]
    for place in killed:
        limit = max(row["memory_limit"] for row in seen[place])
        yield Finding(
            Level.ERROR,
            "memory-exceeded",
            place,
            say("Was killed because it needed more than its memory limit of {limit}", limit=_size(limit))
            if limit
            else say("Was killed because it needed more than its memory limit"),
            say("Find the leak, or raise resources.limits.memory to what it needs"),
        )
    if not killed and after.get("reason") == "OOMKilled":
        killed.append("")
        yield Finding(
            Level.ERROR,
            "memory-exceeded",
            "",
            say("Was killed for its memory: {message}", message=after.get("message")),
        )
    if not killed and int(after.get("restarts") or 0) > before:
        yield Finding(
            Level.ERROR, "restarted-under-load", "", say("A container ended under load: {after}", after=live.why(after))
        )
    for place, rows in seen.items():
        if place not in killed:
            yield from _near(place, rows, options)


def _near(place: str, rows: list[Mapping[str, Any]], options: Mapping[str, Any]) -> Iterator[Finding]:
    limit, most = max(row["memory_limit"] for row in rows), max(row["memory_bytes"] for row in rows)
    if limit and most * 100 >= limit * float(options["memory_percent"]):
        yield Finding(
            Level.WARNING,
            "memory-near-limit",
            place,
            say("Takes {most} of its {limit}", most=_size(most), limit=_size(limit)),
        )
    # The first look is from before the load.
    cpu_limit, loaded = max(int(row.get("cpu_limit") or 0) for row in rows), rows[1:]
    mean = sum(row["cpu_millis"] for row in loaded) / len(loaded) if loaded else 0.0
    if cpu_limit and mean * 100 >= cpu_limit * float(options["cpu_percent"]):
        yield Finding(
            Level.ERROR,
            "cpu-exhausted",
            place,
            say(
                "The light load takes {mean} of its {cpu_limit} thousandths of a CPU",
                mean=format(mean, ".0f"),
                cpu_limit=cpu_limit,
            ),
            say("Raise resources.limits.cpu, or do less for each request"),
        )
    if not limit or not cpu_limit:
        missing = " and ".join(word for word, has in (("memory", limit), ("CPU", cpu_limit)) if not has)
        yield Finding(
            Level.INFO,
            "no-limit",
            place,
            say(
                "Has no limit of {missing}; it takes {most} and {mean} m of CPU",
                missing=missing,
                most=_size(most),
                mean=format(mean, ".0f"),
            ),
        )


def _size(octets: float) -> str:
    return f"{octets / (1 << 20):.0f} MiB"
