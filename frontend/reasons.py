"""The reasons of placement in the language of the page; the API tells them in English."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

from core.spoken import in_language
from mecm.deployments.placement import Reason

#: A sentence for each code whose facts are known. In English it is what placement says itself, which a test holds.
SENTENCES = {
    "name-taken": gettext_lazy("there is a release named %(name)s on %(node)s already"),
    "name-given-up": gettext_lazy(
        "a release named %(name)s was given up on %(node)s, and its late removal would hit this one; "
        "take another name until %(node)s has confirmed that it is gone"
    ),
    "app-class": gettext_lazy("is an application of class %(class)s; %(node)s runs containers"),
    "architecture": gettext_lazy("needs %(need)s, %(node)s is %(has)s"),
    "unreachable": gettext_lazy("%(node)s has no kubeconfig, so its cluster cannot be reached"),
    "cpu": gettext_lazy("does not fit: needs %(need)s CPU, %(free)s free"),
    "memory": gettext_lazy("does not fit: needs %(need)s memory, %(free)s free"),
    "storage": gettext_lazy("does not fit: needs %(need)s storage, %(free)s free"),
    "shut-out": gettext_lazy("the identity of %(node)s was revoked; it must join again before it starts anything"),
    "services-unknown": gettext_lazy("the MEP of %(node)s has not told which services it has"),
    "service-absent": gettext_lazy("needs the service %(service)s, which no application on %(node)s offers now"),
}
_NEW = gettext_lazy("%(node)s has never connected; it will start the application when it does")
_AWAY = gettext_lazy("%(node)s is offline; it will start the application when it is back")
_NO_MEP = gettext_lazy("names services or rules, and no MEP was set for %(node)s")
_NO_IDENTITY = gettext_lazy("no MEP was set for %(node)s, so the application gets no identity there")


def words(reason: Reason) -> str:
    """Return the reason for people; what we have no sentence for is what placement says."""
    if not reason.facts:
        return str(in_language(reason.message))
    sentence = SENTENCES.get(reason.code)
    if reason.code == "not-online":
        sentence = {"new": _NEW, "offline": _AWAY}.get(reason.facts.get("state", ""))
    elif reason.code == "no-mep":
        sentence = _NO_MEP if "needs" in reason.facts else _NO_IDENTITY
    return str(sentence % reason.facts) if sentence is not None else str(in_language(reason.message))
