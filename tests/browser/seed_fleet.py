"""Sites, rollouts, alarms, figures and invitations for the pictures of all pages.

The walks of the tests start from an empty fleet, so this comes on top of the seeded centre, and only when asked:
`python -m tests.browser.seed_fleet` with `BREAKWATER_VAR` set. It prints ids by the first step of their address.
"""

from __future__ import annotations

import json
import math
import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")
django.setup()

from django.utils import timezone  # noqa: E402

from appstore.packages.models import Package  # noqa: E402
from core.accounts.access import Actor  # noqa: E402
from core.accounts.models import Organisation, User  # noqa: E402
from core.sign_in import invitations  # noqa: E402
from mecm.backup.models import Backup  # noqa: E402
from mecm.deployments import services as deployments  # noqa: E402
from mecm.fleet import figures  # noqa: E402
from mecm.fleet import services as fleet  # noqa: E402
from mecm.fleet.models import Alarm, NodeSample, Sample  # noqa: E402
from mecm.nodes.models import Node  # noqa: E402
from mecm.rollouts import services as rollouts  # noqa: E402
from mecm.rollouts import stepping  # noqa: E402
from mecm.rollouts.models import places_of  # noqa: E402
from mecm.sites import services as sites  # noqa: E402

NOW = timezone.now().replace(second=0, microsecond=0)


def main() -> None:
    """Add to the seeded centre and print the ids."""
    organisation = Organisation.objects.get(slug="harbour")
    actor = Actor(User.objects.get(username="harbour-admin"))
    told = {
        "sites": _sites(organisation, actor),
        "rollouts": _rollouts(organisation, actor),
        "members": User.objects.get(username="vera").pk,
        "alarms": _alarms(organisation),
    }
    _samples()
    invitations.invite(organisation, role="operator", email="night-shift@quay.example", actor=actor)
    link = invitations.invite(organisation, role="viewer", actor=actor).link
    print(json.dumps({"objects": {step: str(pk) for step, pk in told.items()}, "invitation": urlsplit(link).path}))


def _sites(organisation: Organisation, actor: Actor) -> Any:
    made = {}
    for name, kind, latitude, longitude, radius in (
        ("Hamburg quay", "edge", 53.55, 9.99, 2500),
        ("Rotterdam Maasvlakte", "edge", 51.92, 4.48, 4000),
        ("Helsinki west harbour", "edge", 60.17, 24.94, None),
    ):
        made[name] = sites.add_site(
            actor=actor, organisation=organisation, name=name, kind=kind, latitude=latitude, longitude=longitude,
            radius_m=radius, labels={"region": name.split()[0].lower()},
        )  # fmt: skip
    hamburg = made["Hamburg quay"]
    for node, site in (("hamburg-port", hamburg), ("rotterdam-maas", made["Rotterdam Maasvlakte"])):
        sites.place_node(Node.objects.get(name=node), site, actor=actor)
    sites.connect(hamburg, made["Rotterdam Maasvlakte"], actor=actor, state="up")
    sites.connect(hamburg, made["Helsinki west harbour"], actor=actor, state="down", note="Fibre cut at the lock")
    return hamburg.pk


def _rollouts(organisation: Organisation, actor: Actor) -> Any:
    def plan(package: str, title: str, **rules: Any) -> Any:
        return rollouts.create(
            actor=actor, organisation=organisation, package=Package.objects.get(name=package, state="published"),
            title=title, waves=["1", "50%", "rest"], **rules,
        )  # fmt: skip

    plan("Berth Cache", "Caches for the autumn", name="autumn-cache")
    under_way = rollouts.start(plan("Tide Sensor Hub", "Tide sensors everywhere", name="tide-hub"), actor=actor)
    for _ in range(2):
        stepping.step(under_way.pk)
    held = rollouts.start(plan("Berth Cache", "Caches for the spring", name="spring-cache"), actor=actor)
    for _ in range(2):
        stepping.step(held.pk)
    for place in places_of(held).filter(state="going").select_related("deployment"):
        deployments.observe(
            place.deployment.pk, place.deployment.generation, {"state": "failed", "reason": "ImagePullBackOff"}
        )
    for _ in range(2):
        stepping.step(held.pk)
    return under_way.pk


def _alarms(organisation: Organisation) -> Any:
    fleet.sweep()
    return Alarm.objects.get(source_kind="rollout").pk


def _node_samples() -> None:
    hamburg = Node.objects.get(name="hamburg-port")
    rows = []
    for resolution, step, many in (("five", 5, 288), ("hour", 60, 168)):
        for back in range(many):
            gone = 60 <= back < 75
            rows.append(NodeSample(
                node=hamburg, resolution=resolution, at=NOW - timedelta(minutes=NOW.minute % 5 + back * step),
                online=not gone, heard=0 if gone else 100, silence=(75 - back) * 60 * step if gone else 4 + back % 7,
                deployments=3, not_ready=1 + (back % 40 < 6), failed=1, cpu_millis=8000,
                cpu_taken=2500 + round(900 * math.sin(back / 25)), memory_bytes=16 << 30,
                memory_taken=(5 << 30) + round((1 << 30) * math.cos(back / 40)),
            ))  # fmt: skip
    NodeSample.objects.bulk_create(rows)


def _samples() -> None:
    _node_samples()
    for organisation in Organisation.objects.all():
        rows = []
        for back in range(1, 1440, 4):
            wave = math.sin(back / 90)
            values = {
                "nodes.online": 6 + round(wave), "nodes.offline": 2 - round(wave), "nodes.degraded": 1,
                "deployments.ready": 4, "deployments.failed": 1 + (back % 300 < 60), "deployments.progressing": 1,
                "alarms.critical": int(wave > 0.5), "alarms.major": 2, "alarms.minor": 3, "alarms.warning": 0,
                "apply.p50": 4 + wave, "apply.p95": 12 + 5 * wave,
            }  # fmt: skip
            rows.append(
                Sample(organisation=organisation, resolution="minute", at=NOW - timedelta(minutes=back), figures=values)
            )
        Sample.objects.bulk_create(rows, ignore_conflicts=True)
    Backup.objects.create(
        made_at=NOW, made_by="root on the server", file="/safe/place/centre.backup", sha256="0" * 64,
        size=734_003_200, rows=48_211, blobs=112, keys=True, proved_at=NOW, proved_by="root on the server",
    )  # fmt: skip
    figures.take()


if __name__ == "__main__":
    main()
