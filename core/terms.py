"""Words that stand as facts in sentences: states, deeds and kinds of work, which services and the database write as values.

A value is known by the name of its fact, `say("{name} is {state}", state=package.state)`, and so also in a sentence that
was stored years ago. In English it stays the value; other languages have the word that pages show for it. A name, or a
state of MEC 011 such as ACTIVE, is no word and is not here.
"""

from __future__ import annotations

from collections.abc import Mapping


def gettext_noop(text: str) -> str:
    """Mark a text for the catalogue; Django's own asks for settings, and the tools and engines have none."""
    return text


#: A state, of whatever is spoken of; the words are those of the portal.
STATES = {
    "aborted": gettext_noop("aborted"),
    "absent": gettext_noop("absent"),
    "accepted": gettext_noop("accepted"),
    "active": gettext_noop("active"),
    "applied": gettext_noop("applied"),
    "approved": gettext_noop("approved"),
    "cancelled": gettext_noop("cancelled"),
    "checked": gettext_noop("checked"),
    "declined": gettext_noop("declined"),
    "degraded": gettext_noop("degraded"),
    "delivered": gettext_noop("delivered"),
    "deprecated": gettext_noop("deprecated"),
    "done": gettext_noop("done"),
    "down": gettext_noop("down"),
    "draft": gettext_noop("being checked"),
    "ended": gettext_noop("ended"),
    "enrolled": gettext_noop("enrolled"),
    "failed": gettext_noop("failed"),
    "finished": gettext_noop("finished"),
    "in-review": gettext_noop("in review"),
    "lapsed": gettext_noop("lapsed"),
    "new": gettext_noop("not enrolled"),
    "offline": gettext_noop("offline"),
    "online": gettext_noop("online"),
    "open": gettext_noop("open"),
    "paused": gettext_noop("paused"),
    "pending": gettext_noop("waiting"),
    "planned": gettext_noop("planned"),
    "progressing": gettext_noop("in progress"),
    "proposed": gettext_noop("proposed"),
    "proved": gettext_noop("proved"),
    "published": gettext_noop("published"),
    "quarantined": gettext_noop("quarantined"),
    "ready": gettext_noop("ready"),
    "recalled": gettext_noop("recalled"),
    "rejected": gettext_noop("rejected"),
    "removed": gettext_noop("removed"),
    "removing": gettext_noop("being removed"),
    "retracted": gettext_noop("retracted"),
    "running": gettext_noop("running"),
    "stopping": gettext_noop("stopping"),
    "succeeded": gettext_noop("succeeded"),
    "superseded": gettext_noop("superseded"),
    "suspended": gettext_noop("suspended"),
    "up": gettext_noop("up"),
    "verified": gettext_noop("verified"),
    "withdrawn": gettext_noop("withdrawn"),
    "yanked": gettext_noop("yanked"),
}
#: A kind of operation, or of rule.
KINDS = {
    "catalog.deliver": gettext_noop("Send a webhook"),
    "catalog.rebuild": gettext_noop("Rebuild the catalogue"),
    "catalog.tell": gettext_noop("Tell followers"),
    "certification.run": gettext_noop("Certify a package"),
    "contents.inspect": gettext_noop("Look into a package"),
    "deployment.apply": gettext_noop("Apply a deployment"),
    "deployment.observe": gettext_noop("Look at a deployment"),
    "edgegallery.list": gettext_noop("Read the list of an EdgeGallery store"),
    "edgegallery.pull": gettext_noop("Fetch a package from an EdgeGallery store"),
    "federation.deliver": gettext_noop("Deliver messages to a partner"),
    "federation.feed": gettext_noop("Make the feeds for partners"),
    "federation.import": gettext_noop("Fetch a release from a partner"),
    "federation.sync": gettext_noop("Follow a partner store"),
    "node.probe": gettext_noop("Test the connection"),
    "node.watch": gettext_noop("Look at a node"),
    "package.check": gettext_noop("Check a package"),
    "package.sign": gettext_noop("Sign a package"),
    "publisher.recheck": gettext_noop("Look at a publisher's proof again"),
    "recalls.renew": gettext_noop("Sign the recall list anew"),
    "recalls.spread": gettext_noop("Give the nodes the recall list"),
    "rollout.step": gettext_noop("Go on with a rollout"),
    "traffic": gettext_noop("traffic"),
    "trial.close": gettext_noop("Clear a trial away"),
}
#: What somebody wants to do to a package, or to the state of a partner store.
DEEDS = {
    "approve": gettext_noop("approve"),
    "decline": gettext_noop("decline"),
    "deprecate": gettext_noop("deprecate"),
    "discard": gettext_noop("discard"),
    "end": gettext_noop("end"),
    "fail": gettext_noop("fail"),
    "pass": gettext_noop("pass"),
    "publish": gettext_noop("publish"),
    "quarantine": gettext_noop("quarantine"),
    "recall": gettext_noop("recall"),
    "refuse": gettext_noop("refuse"),
    "resume": gettext_noop("resume"),
    "retract": gettext_noop("retract"),
    "submit": gettext_noop("submit"),
    "suspend": gettext_noop("suspend"),
    "undeprecate": gettext_noop("undeprecate"),
    "unquarantine": gettext_noop("unquarantine"),
    "unrecall": gettext_noop("unrecall"),
    "unyank": gettext_noop("unyank"),
    "yank": gettext_noop("yank"),
}
#: name of a fact -> its value -> the text that is translated
TERMS: Mapping[str, Mapping[str, str]] = {
    "state": STATES,
    "kind": KINDS,
    "deed": DEEDS,
    "event": DEEDS,
    # What stands where there is no fact.
    "late": {"silence": gettext_noop("silence")},
    "names": {"none": gettext_noop("none")},
    "problem": {"it does not fit to the content": gettext_noop("it does not fit to the content")},
    "reason": {"no reason is known": gettext_noop("no reason is known")},
    "strerror": {"the connection broke": gettext_noop("the connection broke")},
    "verb": {"Restarted": gettext_noop("has restarted"), "Started": gettext_noop("has started")},
    "version": {"missing": gettext_noop("missing")},
    "wanted": {"nothing": gettext_noop("nothing")},
}


def term(name: str, value: str) -> str:
    """Return the text to translate for the value of a fact of that name; empty when the value is no word of ours."""
    return TERMS.get(name, {}).get(value, "")
