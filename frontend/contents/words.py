"""Sentences of the store about a package in the reader's language: they are stored, and told by the API, in English.

What is not known here stays as it is: rights inside the cluster (`rbac`) are made of too many parts.
"""

from __future__ import annotations

import re
from functools import lru_cache

from django.utils.translation import gettext, gettext_noop

#: As `appstore.contents.permissions` writes them; a test reads that file and finds each of its sentences here.
SENTENCES = (
    gettext_noop("uses the network of the host: it sees the host's traffic and takes its ports"),
    gettext_noop("sees all processes of the host and may signal them"),
    gettext_noop("shares memory and semaphores with processes of the host"),
    gettext_noop("brings a new kind of object for the whole cluster"),
    gettext_noop("brings a %(value)s, which belongs to the whole cluster"),
    gettext_noop("puts an object into the namespace %(value)s, which is not its own"),
    gettext_noop("defines a further network of the node for its pods"),
    gettext_noop("opens a port on every node of the cluster (%(value)s)"),
    gettext_noop("asks for an address outside of the cluster (%(value)s)"),
    gettext_noop("takes traffic for the addresses %(value)s from the nodes"),
    gettext_noop("lets its containers see each other's processes"),
    gettext_noop("changes the kernel setting %(value)s"),
    gettext_noop("claims the priority %(value)s: others are stopped to make room for it"),
    gettext_noop("joins further networks of the node: %(value)s"),
    gettext_noop("uses the device %(value)s of the host"),
    gettext_noop("talks to the container engine of the host (%(value)s): whoever does so owns the host"),
    gettext_noop("reads the whole file system of the host"),
    gettext_noop("reads and writes the whole file system of the host"),
    gettext_noop("reads the folder %(value)s of the host"),
    gettext_noop("reads and writes the folder %(value)s of the host"),
    gettext_noop("gets a token for the Kubernetes API, as %(value)s"),
    gettext_noop("gets a token for %(value)s"),
    gettext_noop("runs privileged: it may do everything that the host may"),
    gettext_noop("may everything that root may do"),
    gettext_noop("may mount file systems and do nearly everything that root may do"),
    gettext_noop("may change the network of its pod or host: addresses, routes, firewall"),
    gettext_noop("may send and read raw packets, also with a forged sender"),
    gettext_noop("may look into and change other processes"),
    gettext_noop("may load code into the kernel of the host"),
    gettext_noop("may reach devices and memory of the host directly"),
    gettext_noop("may set the clock of the host"),
    gettext_noop("may take CPU time from others (priority, real time)"),
    gettext_noop("may restart the host"),
    gettext_noop("may lock memory so that it is never swapped out"),
    gettext_noop("may load programs into the kernel (BPF)"),
    gettext_noop("may observe the whole kernel"),
    gettext_noop("may read every file, whatever its rights"),
    gettext_noop("may use the capability %(value)s"),
    gettext_noop("lets its processes gain more rights than they started with"),
    gettext_noop("runs as root (user 0)"),
    gettext_noop("sees the parts of /proc that containers are kept from"),
    gettext_noop("takes the port %(value)s of the host"),
    gettext_noop("takes %(value)s of memory in huge pages, which others then do not have"),
    gettext_noop("uses a block device as %(value)s"),
    gettext_noop("uses %(amount)s of the devices %(value)s"),
    gettext_noop("turns off a guard of the kernel around containers (%(value)s)"),
    gettext_noop("asks to be left behind when the application is removed (helm.sh/resource-policy: keep)"),
    gettext_noop("does work of its own, beside the application"),
    gettext_noop("brings a %(value)s, which is no definition"),
    gettext_noop(
        "holds a Helm hook that is not made with the chart's own values; what it would ask for is not listed here"
    ),
)
#: What may stand before a sentence: where it was found.
HEADS = (
    gettext_noop("in a test that runs only when somebody asks for it: %(sentence)s"),
    gettext_noop("in crds/, made before everything else and never removed: %(sentence)s"),
    gettext_noop("in crds/, made before everything else: %(sentence)s"),
)
#: The head of hooks, which run at these moments (`engines.helm.hooks`).
IN_HOOK = gettext_noop("in a hook that runs %(moments)s: %(sentence)s")
MOMENTS = (
    gettext_noop("before installation"),
    gettext_noop("after installation"),
    gettext_noop("before an update"),
    gettext_noop("after an update"),
    gettext_noop("before going back"),
    gettext_noop("after going back"),
    gettext_noop("before removal"),
    gettext_noop("after removal"),
    gettext_noop("only when somebody runs its tests"),
)
KINDS = {
    "added": gettext_noop("added"),
    "changed": gettext_noop("changed"),
    "deprecated": gettext_noop("deprecated"),
    "removed": gettext_noop("removed"),
    "fixed": gettext_noop("fixed"),
    "security": gettext_noop("security"),
}
#: Between two moments; here so that other languages may say it their way.
_AND = gettext_noop(" and ")
_HOOK = re.compile(IN_HOOK.replace("%(moments)s", "([a-z ]+?)").removesuffix("%(sentence)s"))
_HOLE = re.compile(r"%\\\((\w+)\\\)s")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return each sentence as a pattern; those without a hole and the longer ones first, since they say more."""

    def hole(found: re.Match[str]) -> str:
        return f"(?P<{found[1]}>.+)"

    order = sorted(SENTENCES, key=lambda each: ("%(" in each, -len(each)))
    return [(re.compile(_HOLE.sub(hole, re.escape(each)), re.DOTALL), each) for each in order]


def spoken(words: str) -> str:
    """Return a sentence about a permission in the present language, or as it is."""
    for head in HEADS:
        before = head % {"sentence": ""}
        if words.startswith(before):
            return gettext(head) % {"sentence": spoken(words[len(before) :])}
    hook = _HOOK.match(words)
    if hook and all(each in MOMENTS for each in hook[1].split(_AND)):
        moments = gettext(_AND).join(gettext(each) for each in hook[1].split(_AND))
        return gettext(IN_HOOK) % {"moments": moments, "sentence": spoken(words[hook.end() :])}
    for pattern, sentence in _patterns():
        found = pattern.fullmatch(words)
        if found:
            return gettext(sentence) % found.groupdict() if found.groupdict() else gettext(sentence)
    return words


def kind_of_change(kind: str) -> str:
    """Return the word for a kind of change (Keep a Changelog) in the present language, or as it is."""
    return gettext(KINDS[kind]) if kind in KINDS else kind
