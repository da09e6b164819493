"""How fast is a search with facets in a catalogue of 10,000 applications with 5 releases each?

    python benchmarks/catalogue.py                                           # SQLite
    python tools/servers.py postgres -- python benchmarks/catalogue.py       # PostgreSQL

The data are made from a fixed seed: words by Zipf's law from a vocabulary of 20,000, a few frequent categories, services
and licences and a long tail of providers, READMEs of 80 to 400 words, one release in thirty seen by its organisation only.
The queries are a mix of what people do: the front page, one common word, two words, a word half typed, a mistyped one,
and each of them with up to three facets ticked; half of them are asked by a member of an organisation. Each is measured
through the service and through the HTTP API (Django's test client: the whole stack but the socket, JSON included).

On a machine that is busy with other things the time that passed tells little; what this process computed tells more (without
PostgreSQL's share, which is a process of its own).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
LETTERS = "bcdfghklmnprstvw"
VOWELS = "aeiou"
KINDS = ("no words", "one frequent word", "two words", "one to three letters", "a mistyped word", "one rare word")
CATEGORIES = (
    "Video analytics", "Connected vehicles", "Caching", "Network functions", "AR and VR", "Industry", "IoT", "AI inference",
    "Games", "Security",
)  # fmt: skip
LICENCES = ("Apache-2.0", "MIT", "GPL-3.0-only", "BSD-3-Clause", "MPL-2.0", "LicenseRef-Proprietary")


def main() -> int:
    """Fill a fresh database, search it, print the figures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--apps", type=int, default=10_000)
    options.add_argument("--releases", type=int, default=5)
    options.add_argument("--queries", type=int, default=400)
    options.add_argument("--profile", action="store_true", help="show where the time of the service goes")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="breakwater-catalogue-") as folder:
        os.environ.update(DJANGO_SETTINGS_MODULE="mecm.settings", BREAKWATER_VAR=folder, BREAKWATER_LOG_LEVEL="ERROR")
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        return _measure(asked)


def _measure(asked: argparse.Namespace) -> int:
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import override_settings

    from appstore.catalog import search, services, snapshot
    from appstore.catalog.models import App
    from core.accounts.access import ANONYMOUS, Actor
    from core.accounts.models import Membership, Organisation, User

    call_command("migrate", verbosity=0)
    organisation = Organisation.objects.create(slug="acme", name="Acme Edge")
    user = User.objects.create_user("someone", password=None)
    Membership.objects.create(user=user, organisation=organisation, role="developer")
    dice = random.Random(7)
    words = vocabulary(dice, 20_000)
    began = time.perf_counter()
    count = services.put(entries(dice, words, asked.apps, asked.releases, organisation.pk), quiet=True)
    took = time.perf_counter() - began
    popular = list(App.objects.order_by("?")[: asked.apps // 3])
    for app in popular:
        app.downloads, app.rating_sum, app.rating_count = int(dice.paretovariate(0.7)) * 3, dice.randint(3, 60), 14
    App.objects.bulk_update(popular, ["downloads", "rating_sum", "rating_count"], batch_size=200)
    print(
        f"{connection.vendor}: {count} releases of {asked.apps} applications indexed in {took:.1f} s, {count / took:.0f} a second"
    )
    began = time.perf_counter()
    snapshot.current()
    print(f"first read of the index by a process: {(time.perf_counter() - began) * 1000:.0f} ms")
    if connection.vendor == "postgresql":
        connection.cursor().execute("ANALYZE")
    asks = list(questions(dice, words, asked.queries))
    actors = [ANONYMOUS, Actor(user)]

    def cold(deed: Callable[[Any], Any], queries: list[Any]) -> list[tuple[float, float]]:
        """Ask each query once, with no match kept from another."""
        times = []
        for query in queries:
            snapshot.current().matches.clear()
            times.append(_timed(lambda query=query: deed(query)))
        return times

    def ask(query: Any) -> Any:
        return search.search(search.Query.of(query), actors[len(query) % 2])

    _report("service", cold(ask, asks))
    for kind in KINDS:
        _report(f"  {kind}", cold(ask, [query for number, query in enumerate(asks) if KINDS[number % 6] == kind]))
    _report("service, words known", [_timed(lambda query=query: ask(query)) for query in asks for _ in range(2)][1::2])
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client = Client()
        client.force_login(user)

        def get(path: str) -> Callable[[Any], None]:
            def send(query: Any) -> None:
                answer = client.get(f"{path}?{query.urlencode()}")
                assert answer.status_code == 200, answer.content

            return send

        get("/api/v1/catalogue")(asks[0])  # imports
        _report("HTTP API", cold(get("/api/v1/catalogue"), asks))
        get("/")(asks[0])
        _report("page", cold(get("/"), asks))
    if asked.profile:
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
        cold(ask, asks)
        profile.disable()
        import pstats

        pstats.Stats(profile).sort_stats("tottime").print_stats(14)
    # What one more release costs those who search: the next search reads what changed.
    one = next(entries(dice, words, 1, 1, organisation.pk))
    write, _ = _timed(lambda: services.put([one], quiet=True))
    then, _ = _timed(lambda: search.search(search.Query(), ANONYMOUS))
    print(f"one release put: {write:.1f} ms; the search after it: {then:.1f} ms")
    return 0


def vocabulary(dice: random.Random, size: int) -> list[str]:
    """Return that many different words that can be spoken."""
    found: dict[str, None] = {}
    while len(found) < size:
        found["".join(dice.choice(LETTERS) + dice.choice(VOWELS) for _ in range(dice.randint(2, 5)))] = None
    return list(found)


def zipf(dice: random.Random, values: list[str]) -> str:
    """Return one of the values, the first ones far more often than the last ones."""
    return values[min(int(len(values) ** dice.random()) - 1, len(values) - 1)]


def entries(dice: random.Random, words: list[str], apps: int, releases: int, organisation: UUID) -> Iterator[Any]:
    """Yield the releases of that many applications."""
    from appstore.catalog.entries import Entry

    providers = [f"{w} {v}".title() for w, v in zip(words[100:900], words[900:1700], strict=True)]
    categories = list(CATEGORIES)
    offered = [f"{w}-service" for w in words[300:380]]
    licences = [*LICENCES, *(f"LicenseRef-{w}" for w in words[:20])]
    stores = [("", ""), *((f"{n:064x}", f"Partner {n}") for n in range(1, 5))]
    start = datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(apps):
        origin, origin_name = stores[0] if dice.random() < 0.6 else dice.choice(stores)
        name = f"{zipf(dice, words)} {dice.choice(words)} {number}"
        provider = zipf(dice, providers)
        common = {
            "app_key": f"{origin}/acme/{provider}/{name}",
            "name": name.title(),
            "provider": provider,
            "origin": origin,
            "origin_name": origin_name,
            "organisation_id": None if origin else organisation,
            "description": " ".join(zipf(dice, words) for _ in range(dice.randint(8, 25))),
            "text": " ".join(zipf(dice, words) for _ in range(dice.randint(80, 400))),
            "category": zipf(dice, categories),
            "keywords": tuple(zipf(dice, words) for _ in range(dice.randint(1, 6))),
            "architectures": dice.choice([("x86_64",), ("x86_64", "arm64"), ()]),
            "services": tuple(zipf(dice, offered) for _ in range(dice.randint(0, 4))),
            "licences": (zipf(dice, licences),),
            "certification": dice.choice(["", "", "basic", "gold"]),
            "signature": dice.choice(["trusted", "trusted", "unknown", "unsigned"]),
            "state": "published",
            "size": dice.randint(10_000, 10_000_000),
        }
        for version in range(releases):
            last = version == releases - 1
            yield Entry(
                key=f"remote:{number}:{version}",
                version=f"1.{version}.{dice.randint(0, 20)}",
                published_at=start + timedelta(minutes=dice.randint(0, 900_000)),
                visibility="organisation" if not origin and last and dice.random() < 1 / 18 else "public",
                **common,
            )


def questions(dice: random.Random, words: list[str], count: int) -> Iterator[Any]:
    """Yield query strings as people make them."""
    from django.http import QueryDict

    picks = [
        ("category", ["Video analytics", "Caching", "IoT"]), ("certification", ["basic", "gold", "none"]),
        ("licence", ["Apache-2.0", "MIT"]), ("signature", ["trusted"]), ("architecture", ["ARM64", "x86-64"]),
        ("store", ["here"]),
    ]  # fmt: skip
    for number in range(count):
        asked = QueryDict(mutable=True)
        kind = number % 6
        if kind == 1:
            asked["q"] = zipf(dice, words[:300])
        elif kind == 2:
            asked["q"] = f"{zipf(dice, words[:300])} {zipf(dice, words)}"
        elif kind == 3:
            asked["q"] = zipf(dice, words)[: dice.randint(1, 3)]
        elif kind == 4:
            word = list(dice.choice(words[:2000]))
            word[dice.randrange(len(word))] = dice.choice("xyzq")
            asked["q"] = "".join(word)
        elif kind == 5:
            asked["q"] = dice.choice(words)
        for facet, values in dice.sample(picks, dice.choice([0, 0, 1, 2, 3])):
            asked.setlist(facet, dice.sample(values, dice.randint(1, len(values))))
        if dice.random() < 0.3:
            asked["sort"] = dice.choice(["newest", "name", "downloads", "rating"])
        if dice.random() < 0.2:
            asked["page"] = str(dice.randint(1, 20))
        yield asked


def _timed(deed: Callable[[], Any]) -> tuple[float, float]:
    """Return the milliseconds that passed, and those that this process spent computing."""
    began, spent = time.perf_counter(), time.process_time()
    deed()
    return (time.perf_counter() - began) * 1000, (time.process_time() - spent) * 1000


def _report(what: str, times: list[tuple[float, float]]) -> None:
    passed, spent = ([pair[side] for pair in times] for side in (0, 1))
    ranked, computed = statistics.quantiles(passed, n=100), statistics.quantiles(spent, n=100)
    print(
        f"{what:24} n={len(times):4}  p50 {ranked[49]:6.1f} ms  p95 {ranked[94]:6.1f} ms  longest {max(passed):6.1f} ms"
        f"   processor of this process: p50 {computed[49]:5.1f}  p95 {computed[94]:5.1f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
