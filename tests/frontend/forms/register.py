"""Every form of the portal that asks something: where it stands, what is right in it, and what is wrong beyond its kind.

A form is known by the name of the view that it is sent to. What a control must refuse by its kind (empty, too long, control
characters, no number, out of range, no choice) is made by `bad.py`; here stands what only this form knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.frontend.forms import worlds

Typed = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """What is known of one form."""

    #: The page that it stands on; by default the form's own address.
    page: str = ""
    #: The view that it is sent to, where two forms are sent to the same one.
    of: str = ""
    #: What a person types over what the page shows, so that it is accepted. A function gets the world.
    good: Typed | Callable[[worlds.World], Typed] = field(default_factory=dict)
    #: More bad values, by field, each sent while the rest is right, since a service may refuse it; None leaves it out.
    bad: Mapping[str, list[Any]] = field(default_factory=dict)
    #: What is wrong together, with the fields beside which it is said; with none, it is said above the form.
    whole: tuple[tuple[Typed, tuple[str, ...]], ...] = ()
    #: Fields whose control goes when something else is wrong; theirs are sent one at a time, too.
    apart: tuple[str, ...] = ()
    #: Fields that must be filled in although the control does not say so.
    must: tuple[str, ...] = ()
    #: Fields whose text never comes back.
    secret: tuple[str, ...] = ()
    #: Makes the world in which the form is shown, and returns who sees it where.
    stands: Callable[[worlds.World], worlds.Place] | None = None
    #: Where a good post ends: 302 on a page, 200 where something is shown this once.
    ends: int = 302
    #: Whether the page that it leads to says by itself what was done.
    quiet: bool = False
    #: Why no good post is made here: it needs something live.
    live: str = ""
    #: What else tells this form from others with the same address: a field that it must have.
    having: str = ""


REASON = {"reason": "Because of the tide"}
PEM = ["no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
SITE = {"name": "Quay 9", "kind": "edge", "latitude": "53.5", "longitude": "9.9"}
SITE_BAD = {
    "area": ['{"type": "Point", "coordinates": [1, 2]}', "[" * 3000],
    "labels": ["no equals sign"],
    "latitude": ["x"],
}
NODE_BAD = {"name": ["\u200fx"], "labels": ["no equals sign"]}
WEBHOOK_BAD: dict[str, list[Any]] = {
    "url": ["no address", "ftp://hooks.example/x", "javascript:alert(1)"],
    "events": [[], None],
}
PROVIDER = {
    "name": "Crew", "slug": "crew", "issuer": "https://id.example.org", "client_id": "b", "scopes": "openid",
    "groups_claim": "groups",
}  # fmt: skip
PROVIDER_BAD = {"rules": ["nonsense", "a = nobody : admin"], "scopes": ["profile"]}
#: Values of a chart, in the fields that its schema makes, and as YAML.
VALUES_BAD: dict[str, list[Any]] = {"v/replicas": ["many", "1.5"], "v/cpu": ["\x7f"]}
VALUES_YAML = tuple(
    ({"values-view": "yaml", "values": text}, ("values",)) for text in ("- a list", "[" * 3000, "replicas: many")
)
RULE_BAD: dict[str, list[Any]] = {
    "src": ["no address"],
    "src_ports": ["70000", "x"],
    "dst": ["10.0.0.0/99"],
    "dst_ports": ["x"],
    "more": ["{", "[1]", '{"a": 1}', "[" * 3000],
    "to": ["", "no address"],
    "to_second": ["192.0.2.10"],
    "targets": ["{", "[1]"],
}

FORMS: dict[str, Case] = {
    "abort-rollout": Case("rollout", having="rollback"),
    "acknowledge-alarms": Case("alarm", good={"note": "On it"}),
    "add-anchor": Case("trust", good=lambda world: {"certificate": worlds.anchor()}, bad={"certificate": PEM}),
    "add-application": Case(
        good=worlds.totp_code, ends=200, bad={"code": ["000000", "x"]}, stands=worlds.without_application
    ),
    "add-crl": Case(
        "trust", live="a list of an authority that is trusted: tests/frontend/test_trust.py", bad={"crl": PEM}
    ),
    "add-distrust": Case("trust", good={"fingerprint": "cd" * 32, **REASON}, bad={"fingerprint": ["xy", "ab" * 31]}),
    "add-passkey": Case(live="an authenticator answers: tests/browser/test_sign_in.py", bad={}, must=("name",)),
    "annotate": Case("package-life", good={"notes": "Mind the gap"}),
    "answer-recommendation": Case(good=REASON, stands=worlds.recommended, having="reason"),
    "answer-review": Case(good={"text": "Thank you"}, stands=worlds.reviewed),
    "approve-review": Case(good=REASON, stands=worlds.reviewer),
    "certification-labs": Case(
        good=lambda world: {"name": "Quay lab", "public_pem": worlds.public_key()},
        bad={"public_pem": PEM, "expires_at": ["2001-01-01T00:00"]},
    ),
    "certification-profile": Case(
        good={"valid_days": "30"}, bad={"options": ["{", "[1]", '"x"'], "values": ["{", "[1]"], "suites": [["none"]]}
    ),
    "certification-suites": Case(
        good=lambda world: {"name": "quay", "title": "Quay", "checks": ["chart-renders"]},
        bad={"name": ["Not a slug!"], "checks": [[], ["no-such"]]},
        must=("checks",),
    ),
    "change-node": Case(good={"name": "berth-9"}, bad=NODE_BAD),
    "change-rule": Case(good={"priority": "7", "preview": None}, bad=RULE_BAD, whole=(({"dst": ""}, ("everything",)),)),
    "change-password": Case(
        good={"old": "correct horse battery", "new": "a tide table of old", "again": "a tide table of old"},
        bad={"old": ["wrong"], "again": ["different"]},
        whole=(
            ({"new": "short", "again": "short"}, ("new",)),
            ({"new": "1234567890", "again": "1234567890"}, ("new",)),
        ),
        secret=("old", "new", "again"),
    ),
    "change-provider": Case(
        good={key: value for key, value in PROVIDER.items() if key not in ("slug", "issuer")},
        bad=PROVIDER_BAD,
        secret=("secret",),
        live="the provider must answer",
    ),
    "change-site": Case(good=SITE, bad=SITE_BAD),
    "claim-publisher": Case(
        "trust-publishers", good={"provider": "Quay Apps", "method": "key"}, bad={"provider": ["\u202e" * 200]}
    ),
    "confirm-partner": Case(
        live="the partner is told: tests/appstore/federation",
        good=worlds.their_fingerprint,
        stands=worlds.introduced,
        bad={"fingerprint": ["xy", "00" * 32], "compared": [None]},
    ),
    "connect-site": Case("site", good={"target": "Mast South"}, stands=worlds.second_mast, bad={"target": ["nowhere"]}),
    "decide-check": Case(
        good={"q-contact": "24 h", "verdict": "passed"},
        bad={"verdict": [None]},
        stands=worlds.decider,
        must=("q-contact",),
    ),
    "decide-device": Case(stands=worlds.device, ends=200),
    "decline-agreement": Case(good=REASON, stands=worlds.proposed),
    "decline-review": Case(good=REASON, stands=worlds.reviewer),
    "deploy": Case(
        quiet=True,
        good=lambda world: {"node": str(world["nodes"].pk), "name": "second"},
        bad={"name": ["Not A Name!"], **VALUES_BAD},
        whole=VALUES_YAML,
        apart=("node",),
    ),
    "deprecate": Case("package-life", good=REASON),
    "develop": Case(
        quiet=True,
        good={"minutes": "5", "values": "replicas: 2"},
        bad={"values": ["a: [", "- a list", "[" * 3000]},
        stands=worlds.free_sandbox,
    ),
    "distrust-lab": Case("certification-labs", good=REASON),
    "end-agreement": Case("agreement-version", good=REASON),
    "end-anchor": Case("trust", good={"expires": "2099-01-31"}),
    "end-partner": Case("partner", good=REASON),
    "enrol-at-sign-in": Case(good=worlds.totp_code, ends=200, bad={"code": ["000000", "x"]}, stands=worlds.must_enrol),
    "follow-store": Case(
        "meet-partner",
        good={"url": "https://192.0.2.9", "name": "Old store"},
        live="the store must answer",
        bad={"url": ["no address", "ftp://x"]},
    ),
    "hide-review": Case(good=REASON, stands=worlds.reviewed, having="reason"),
    "identity-providers": Case(
        good=PROVIDER,
        bad={**PROVIDER_BAD, "issuer": ["no address"], "slug": ["Not A Slug!"]},
        secret=("secret",),
        live="the provider must answer",
    ),
    "import-kubeconfig": Case(
        stands=worlds.direct_node,
        secret=("text",),
        live="a cluster must answer: tests/frontend/test_nodes.py",
        bad={"text": ["a: [", "- list", "apiVersion: v1\nkind: Config\n"]},
    ),
    "import-sites": Case(
        "sites",
        good=lambda world: {"file": worlds.upload('{"type": "FeatureCollection", "features": []}')},
        bad={
            "file": [None, worlds.Upload("{"), worlds.Upload("[1]"), worlds.Upload(b"\xff\xfe\x00"), worlds.Upload("")]
        },
    ),
    "invitation": Case(
        quiet=True,
        good={"username": "newcomer", "password": "a tide table of old"},
        having="username",
        bad={"username": ["admin", "no good name!"], "password": ["short"]},
        secret=("password",),
        stands=worlds.visitor_invited,
    ),
    "issue-certificate": Case(
        "trust-authority", good={"organisation": "acme"}, bad={"organisation": ["nobody"], "csr": PEM}
    ),
    "lift-recall": Case("recall", good=REASON),
    "make-rollout": Case(
        quiet=True,
        good={"kind": "nodes", "name": "hello", "waves": "1, rest", "preview": None, "keep": None},
        bad={
            "name": ["Not A Name!"],
            "labels": ["no equals sign"],
            "nodes": ["nowhere"],
            "area": ["x", "1, 2", "999, 0, 0, 0"],
            "waves": ["x", "200%", "-1"],
            **VALUES_BAD,
        },
        whole=VALUES_YAML,
    ),
    "meet-partner": Case(
        good={"url": "https://192.0.2.9"},
        live="a store must answer: tests/appstore/federation",
        bad={"url": ["no address", "ftp://x"]},
    ),
    "members": Case(good={"email": "mate@example.net", "role": "viewer"}, ends=200),
    "new-node": Case(
        quiet=True,
        good={"name": "quay-9", "engine": "memory", "link": "agent"},
        bad={**NODE_BAD, "name": ["Not A Name!", "berth-7"]},
    ),
    "new-dns-rule": Case(
        of="new-rule",
        stands=worlds.new_dns_rule,
        good={"rule_id": "quay", "name": "quay.example", "address": "192.0.2.9", "preview": None},
        bad={"rule_id": ["a b/c"], "name": ["no name!"], "address": ["192.0.2", "nowhere"]},
    ),
    "new-rule": Case(
        good={"rule_id": "quay", "dst": "192.0.2.0/24", "preview": None},
        bad={"rule_id": ["tr-1"], **RULE_BAD},
        whole=(({"dst": ""}, ("everything",)), ({"action": "DROP"}, ("to",))),
    ),
    "new-site": Case(quiet=True, good=SITE, bad={**SITE_BAD, "name": ["Quay 7"]}),
    "partner-agreement": Case(
        good={"out-agreed": "on", "in-agreed": "on"},
        stands=worlds.editing,
        bad={"expires": ["2001-01-01"]},
        live="the partner is told: tests/appstore/federation",
    ),
    "place-node": Case("site", good={"node": "berth-8"}, bad={"node": ["nowhere"]}, stands=worlds.second_node),
    "profile": Case(good={"name": "deploys"}, ends=200),
    "prove-publisher": Case(
        "trust-publishers",
        bad={"signature": ["", "no PEM"]},
        having="signature",
        live="a signature of a trusted key: tests/appstore/trust",
    ),
    "publish": Case(good={"visibility": "organisation"}, stands=worlds.checked),
    "quarantine": Case("package-life", good=REASON),
    "recall-package": Case("package-life", good=REASON),
    "recommend": Case("partner-ours", good={"note": "Try it"}, having="note"),
    "recover-member": Case(good=REASON, stands=worlds.secured_member),
    "refuse-partner": Case(good=REASON, stands=worlds.introduced),
    "revoke-anchor": Case("trust", good=REASON),
    "revoke-certificate": Case("package-certification", good=REASON),
    "revoke-signer": Case("trust-authority"),
    "second-factor": Case(quiet=True, good=worlds.recovery_code, bad={"code": ["000000", "x"]}, stands=worlds.half_way),
    "set-member-roles": Case("member", good={"roles": ["viewer"]}, bad={"roles": [[], ["no-such"]]}, must=("roles",)),
    "set-mep": Case(
        good={"url": "https://192.0.2.9:8443", "token": "s3cret"},
        stands=worlds.direct_node,
        secret=("token",),
        bad={"url": ["no address", "ftp://x", "file:///etc/passwd"], "ca": PEM},
    ),
    "set-release-policy": Case("reviews", good={"review": "off", "freeze_days": "7"}),
    "set-sign-in-policy": Case("members", good={"roles": ["viewer"]}),
    "set-trust-policy": Case("trust"),
    "show-to": Case("package-life", good={"visibility": "organisation"}, having="visibility"),
    "sign-in": Case(
        quiet=True,
        good={"username": "admin", "password": "correct horse battery"},
        stands=worlds.visitor,
        whole=(({"password": "wrong, but a sentence"}, ()), ({"username": "nobody"}, ())),
        secret=("password",),
    ),
    "sign-package": Case(stands=worlds.signable),
    "start-certification": Case(quiet=True, bad={"suites": [[], ["no-such"]]}, must=("suites",)),
    "suspend-partner": Case("partner", good=REASON),
    "tell-link": Case("site", good={"state": "up"}),
    "undeprecate": Case(good=REASON, stands=worlds.deprecated),
    "unquarantine": Case(good=REASON, stands=worlds.quarantined),
    "unyank": Case(good=REASON, stands=worlds.yanked),
    "upgrade": Case(quiet=True, good={"v/replicas": "3", "preview": None}, bad=VALUES_BAD, whole=VALUES_YAML),
    "upload": Case(
        quiet=True,
        good=lambda world: {"file": worlds.package_file()},
        bad={"file": [None, worlds.Upload("")]},
    ),
    "webhook": Case(
        good={"name": "chat", "url": "https://hooks.example/in", "events": ["release"]},
        bad=WEBHOOK_BAD,
        must=("events",),
    ),
    "webhooks": Case(
        good={"name": "night", "url": "https://hooks.example/in", "events": ["release"]},
        bad=WEBHOOK_BAD,
        must=("events",),
        ends=200,
    ),
    "write-review": Case(good={"rating": "4", "title": "Fine"}, stands=worlds.customer, bad={"rating": [None]}),
    "yank": Case("package-life", good=REASON),
}

#: Selects that lead somewhere else at once. Nothing is typed; what is no choice is a page that says so, or changes nothing.
SWITCHES = {"choose-language", "choose-organisation"}
#: Buttons that do something that is easily done again, or changes nothing but a list of one's own: they need not ask.
AT_ONCE = {
    "acknowledge-alarms", "answer-recommendation", "approve-review", "cancel-operation", "check", "choose-language",
    "connect-identity", "create-authority", "deliver-to-partner", "disconnect-identity", "disconnect-site",
    "cancel-upload", "end-sandbox-test", "prolong-sandbox-test", "switch-rule",
    "end-session", "end-sessions", "favour-app", "follow-app", "grant-release", "hide-review", "import-offer",
    "inspect-package", "invitation", "join-node", "passkey-answer", "ping-webhook", "probe-node", "prove-publisher",
    "read-notices", "refresh-crl", "renew-invitation", "renew-recovery-codes", "replan-rollout", "report-review",
    "resend-webhook", "resume-partner", "retry-operation", "rollback", "set-sandbox", "show-to", "sign-out",
    "sync-partner", "take-node-away", "unfollow", "withdraw-invitation",
}  # fmt: skip
#: Buttons that ask first, in a dialog that says what follows.
ASK_FIRST = {
    "abandon-deployment", "accept-agreement", "cancel-certification", "change-store-key", "confirm-publisher", "discard",
    "disconnect-provider", "pause-rollout", "remove-application", "remove-deployment", "remove-distrust",
    "remove-member", "remove-node", "remove-orphan", "remove-passkey", "remove-site", "remove-webhook", "reset-rule",
    "resume-rollout",
    "retract-review", "retry-rollout", "revoke-node", "revoke-token", "roll-back-rollout", "start-rollout",
    "withdraw-publisher", "write-review",
}  # fmt: skip
