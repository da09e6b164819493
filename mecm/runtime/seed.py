"""Demo content for an empty installation; everything is made by the same services that people use."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import transaction

from appstore.packages import services as packages
from appstore.packages.models import Package
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation, Role, User
from core.operations import services as operations
from mecm.nodes import services as nodes
from mecm.nodes.models import Node

ORGANISATION = "demo"
_CHUNK = 1 << 20


def demo_accounts(file: Path) -> list[dict[str, str]]:
    """Make one account for each role, unless there are people already; passwords are written to `file`, for us only."""
    if User.objects.exists():
        return read_accounts(file)
    made = []
    with transaction.atomic():
        organisation = accounts.found_organisation(slug=ORGANISATION, name="Demo operator", actor=SYSTEM)
        for role in Role.values:
            password = secrets.token_urlsafe(12)
            user = accounts.create_user(username=role, password=password, actor=SYSTEM)
            accounts.grant(user, organisation, role, actor=SYSTEM)
            made.append({"username": role, "password": password, "role": role, "organisation": organisation.slug})
        _write_privately(file, json.dumps({"url": settings.PUBLIC_URL, "accounts": made}, indent=2) + "\n")
    return made


def read_accounts(file: Path) -> list[dict[str, str]]:
    """Return the demo accounts as written before; none where somebody has put the file away."""
    try:
        return list(json.loads(file.read_text())["accounts"])
    except (OSError, ValueError, KeyError):
        return []


def local_node(engine: str) -> Node | None:
    """Return the node of this machine; it is registered on the first start, and only for the demo organisation."""
    organisation = Organisation.objects.filter(slug=ORGANISATION).first()
    if organisation is None:
        return None
    present = Node.objects.filter(organisation=organisation, name=settings.UP.node_name).first()
    if present:
        if present.engine != engine:
            Node.objects.filter(pk=present.pk).update(engine=engine)
            present.engine = engine
        return present
    latitude, longitude = settings.UP.node_place
    return nodes.register(
        actor=SYSTEM,
        organisation=organisation,
        name=settings.UP.node_name,
        engine=engine,
        labels={"site": "this machine"},
        latitude=latitude,
        longitude=longitude,
    )


def demo_packages(files: Iterable[Path], say: Callable[[str], None]) -> int:
    """Upload, check and publish the samples, unless the store holds packages already; return how many were published."""
    admin = User.objects.filter(username=Role.ADMIN).first()
    organisation = Organisation.objects.filter(slug=ORGANISATION).first()
    if admin is None or organisation is None or Package.objects.exists():
        return 0
    actor, published = Actor(admin), 0
    for file in files:
        package = packages.receive(_chunks(file), actor=actor, organisation=organisation, filename=file.name)
        operations.run_due(kinds=["package.check"])
        package.refresh_from_db()
        if package.state != Package.State.CHECKED:
            say(f"{file.name} is {package.state}, so it is not published; its page says why")
            continue
        # The platform's own samples need no second pair of eyes.
        packages.publish(package, actor=SYSTEM)
        published += 1
    return published


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk


def _write_privately(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    fresh.replace(file)
