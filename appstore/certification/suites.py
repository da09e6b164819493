"""Which checks there are, what they say about themselves, and the suites that are made of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from appstore.certification.checks import Place, registry
from appstore.certification.contract import Kind
from appstore.certification.models import Suite
from appstore.certification.running.runner import describe
from appstore.certification.verdicts import digest_of
from core.errors import Invalid, Missing
from core.words import say

logger = logging.getLogger("breakwater.certification")

Described = dict[str, Any]

_lock = threading.Lock()
_known: tuple[Any, dict[str, Described], dict[str, str]] | None = None


def places() -> dict[str, Place]:
    """Return where the code of each check is; imports none."""
    return registry.places(Path(folder) for folder in settings.CHECKS)


def known() -> dict[str, Described]:
    """Return what each check says about itself; asked in a process of its own, and again when a file has changed."""
    return _ask()[1]


def broken() -> dict[str, str]:
    """Return the checks that cannot be loaded, with the reason."""
    return _ask()[2]


def _ask() -> tuple[Any, dict[str, Described], dict[str, str]]:
    global _known
    found = places()
    stamp = (tuple(found.values()), tuple(_changed(place) for place in found.values()))
    with _lock:
        if _known is None or _known[0] != stamp:
            told, wrong = {}, {}
            for name, ended in describe(found).items():
                if ended.described is None:
                    wrong[name] = ended.result.note
                elif ended.described.get("name") != name:
                    wrong[name] = f"It calls itself {ended.described.get('name')}, and its file {name}"
                else:
                    told[name] = dict(ended.described)
            for name, why in wrong.items():
                logger.warning("the check %s cannot be loaded: %s", name, why)
            _known = (stamp, dict(sorted(told.items())), wrong)
        return _known


def _changed(place: Place) -> float:
    """Return when the file of a check was changed, for those whose file is known without importing anything."""
    path = place.file
    if not path and place.module.startswith(f"{registry_package()}."):
        path = str(Path(__file__).parent / "checks" / f"{place.module.rpartition('.')[2]}.py")
    try:
        return os.stat(path).st_mtime if path else 0.0  # noqa: PTH116  (an empty path is no file)
    except OSError:
        return 0.0


def registry_package() -> str:
    """Return the package that holds the built-in checks."""
    return f"{__package__}.checks"


#: Name, title, and which checks belong to it: by rule, so that a new check is in without another word.
BUILTIN: Final[tuple[tuple[str, str, Callable[[Described], bool]], ...]] = (
    (
        "static-basic",
        say("Packaging and security, from the files alone"),
        lambda check: check["kind"] == Kind.STATIC and check["group"] in ("packaging", "security"),
    ),
    ("static-full", say("Everything that the files alone show"), lambda check: check["kind"] == Kind.STATIC),
    ("live", say("The application at work on a sandbox node"), lambda check: check["kind"] == Kind.LIVE),
    ("manual", say("What only people can judge"), lambda check: check["kind"] == Kind.MANUAL),
)


def ensure_builtin() -> None:
    """Make the built-in suites, and the next version of each whose checks have changed; one query when none has."""
    checks = known()
    present: dict[str, tuple[int, str]] = {}
    rows = Suite.objects.filter(name__in=[name for name, _, _ in BUILTIN]).order_by("version")
    for name, version, present_digest in rows.values_list("name", "version", "digest"):
        present[name] = (version, present_digest)
    missing = []
    for name, title, belongs in BUILTIN:
        entries = [entry(check, {}) for check in checks.values() if belongs(check)]
        version, old = present.get(name, (0, ""))
        wanted = digest(entries)
        if entries and wanted != old:
            missing.append(
                Suite(name=name, title=title, version=version + 1, checks=entries, digest=wanted, builtin=True)
            )
    if missing:
        # Another process that makes the same version at this moment makes it of the same checks.
        Suite.objects.bulk_create(missing, ignore_conflicts=True)


def newest(name: str) -> Suite:
    """Return the newest version of a suite; `Missing` when there is none of that name."""
    suite = Suite.objects.filter(name=name).order_by("-version").first()
    if suite is None:
        raise Missing(say("There is no suite {name}", name=repr(name)))
    return suite


def all_newest() -> list[Suite]:
    """Return the newest version of every suite."""
    found: dict[str, Suite] = {}
    for suite in Suite.objects.order_by("name", "-version"):
        found.setdefault(suite.name, suite)
    return list(found.values())


def make(name: str, title: str, chosen: Mapping[str, Mapping[str, Any]]) -> Suite:
    """Return the suite of these checks (name to options), a new version unless it is the newest one already."""
    checks = known()
    unknown = sorted(set(chosen) - set(checks))
    if unknown:
        raise Invalid(say("There is no check {unknown}", unknown=", ".join(unknown)), field="checks")
    if any(name == builtin for builtin, _, _ in BUILTIN):
        raise Invalid(
            say("{name} is made from the checks themselves; give yours another name", name=name), field="name"
        )
    return _ensure(name, title, [entry(checks[each], chosen[each]) for each in sorted(chosen)], builtin=False)


def entry(check: Described, options: Mapping[str, Any]) -> Described:
    """Return what a suite keeps of a check, with every option set; `Invalid` for an option or value that it has not."""
    return {**check, "chosen": settle(check, options)}


def settle(check: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of the check with its value; `Invalid` names one that does not exist or does not fit."""
    declared = {option["name"]: option for option in check["options"]}
    for name, value in options.items():
        where = f"{check['name']}.{name}"
        if name not in declared:
            raise Invalid(
                say("The check {check_name} has no option {name}", check_name=check["name"], name=name), field=where
            )
        option = declared[name]
        default = option["default"]
        if option["choices"] and value not in option["choices"]:
            raise Invalid(
                say("{where} must be one of {choices}", where=where, choices=", ".join(map(str, option["choices"]))),
                field=where,
            )
        number = isinstance(default, int | float) and not isinstance(default, bool)
        fits = isinstance(value, int | float) if number else isinstance(value, type(default))
        if default is not None and (not fits or (number and isinstance(value, bool))):
            raise Invalid(say("{where} must be like {default}", where=where, default=repr(default)), field=where)
    return {name: options.get(name, option["default"]) for name, option in declared.items()}


def digest(checks: Iterable[Mapping[str, Any]]) -> str:
    """Return the SHA-256 over everything that makes a suite another one."""
    return digest_of([[each["name"], each["version"], each["digest"], each["chosen"]] for each in checks])


def _ensure(name: str, title: str, checks: list[Described], *, builtin: bool) -> Suite:
    wanted = digest(checks)
    for _ in range(3):
        newest = Suite.objects.filter(name=name).order_by("-version").first()
        if newest is not None and newest.digest == wanted:
            return newest
        version = (Suite.objects.filter(name=name).aggregate(top=Max("version"))["top"] or 0) + 1
        try:
            with transaction.atomic():
                return Suite.objects.create(
                    name=name, title=title, version=version, checks=checks, digest=wanted, builtin=builtin
                )
        except IntegrityError:  # another process made that version; look again
            continue
    raise Invalid(say("The suite {name} is being changed by somebody else; try again", name=name), field="name")
