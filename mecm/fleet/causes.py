"""What is wrong, read from what the centre knows already: each source of alarms is one or two queries, for all tenants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, Max, OuterRef
from django.utils.translation import gettext_noop as _

from appstore.federation.models import PeerSync
from appstore.releases.models import Recall
from core.accounts import services as accounts
from core.accounts.access import SYSTEM
from core.errors import Missing
from core.operations.models import Operation
from mecm.deployments.models import Deployment, DeploymentRevision
from mecm.edge.models import NodeCert
from mecm.fleet.models import Severity
from mecm.fleet.plan import Trouble
from mecm.fleet.words import say
from mecm.nodes.models import Node, silence_limit
from mecm.recalls import services as recalls
from mecm.recalls.models import Target
from mecm.recalls.progress import Standing

#: Source kinds.
NODE, DEPLOYMENT, OPERATION, PARTNER, RECALL, MEP = "node", "deployment", "operation", "partner", "recall", "mep"
SOURCES = {
    NODE: _("node"), DEPLOYMENT: _("deployment"), OPERATION: _("long work"), PARTNER: _("partner store"),
    RECALL: _("recall"), MEP: _("MEC platform of a node"), "rollout": _("rollout"),
}  # fmt: skip

OFFLINE, CERTIFICATE = "node-offline", "certificate-ends"
FAILED, NOT_READY = "deployment-failed", "deployment-not-ready"
WORK_FAILED = "operation-failed"
UNREACHABLE, LYING = "partner-unreachable", "partner-not-believed"
RECALL_DARK = "recall-dark-nodes"
#: Probable causes in words; those that a node's own platform tells are its own.
CAUSES = {
    OFFLINE: _("node offline"), CERTIFICATE: _("certificate about to end"), FAILED: _("deployment failed"),
    NOT_READY: _("deployment not ready"), WORK_FAILED: _("long work failed"),
    UNREACHABLE: _("partner store cannot be reached"), LYING: _("partner store not believed"),
    RECALL_DARK: _("recall not confirmed by dark nodes"), "rollout-stopped": _("rollout stopped"),
}  # fmt: skip
#: The causes that the sweep raises, and clears as soon as it does not find them any more.
SWEPT = (OFFLINE, CERTIFICATE, FAILED, NOT_READY, WORK_FAILED, UNREACHABLE, LYING, RECALL_DARK)

#: Certificates live 90 days and are renewed long before their end: at these the renewal has been failing for weeks.
CERTIFICATE_MINOR, CERTIFICATE_MAJOR = timedelta(days=14), timedelta(days=3)
#: How long a wish may take before somebody should look.
SLOW = timedelta(minutes=10)
#: Work that failed longer ago is no news any more.
WORK_REMEMBERED = timedelta(days=7)
#: So many syncs in a row fail before a partner counts as unreachable; the pause between them doubles.
UNREACHABLE_AFTER = 3
#: Alarms of one node's platform that are taken over.
MOST_OF_A_MEP = 100
#: Work whose failure shows at what it works on, which has an alarm of its own.
SEEN_ELSEWHERE = ("deployment.apply", "deployment.observe", "node.watch", "federation.sync", "federation.deliver")


def everything(now: datetime) -> list[Trouble]:
    """Return what is wrong now, in all organisations."""
    return [
        *_silent_nodes(now),
        *_ending_certificates(now),
        *_failed_deployments(),
        *_slow_deployments(now),
        *_failed_work(now),
        *_partners(),
        *_dark_recalls(now),
    ]


def _silent_nodes(now: datetime) -> Iterator[Trouble]:
    running = Deployment.objects.present().filter(node=OuterRef("pk"))
    rows = Node.objects.filter(last_seen_at__lt=now - silence_limit()).annotate(busy=Exists(running))
    for pk, organisation, name, link, seen, busy in rows.values_list(
        "pk", "organisation_id", "name", "link", "last_seen_at", "busy"
    ):
        look = say(
            _("Look at its power and its network, then at its agent. It goes on with its last wish meanwhile.")
            if link == Node.Link.AGENT
            else _("Test the connection on the node's page; its cluster or the imported kubeconfig may have changed.")
        )
        text = (
            _("%(name)s has been silent since %(seen)s UTC, and applications are deployed there.")
            if busy
            else _("%(name)s has been silent since %(seen)s UTC.")
        )
        yield Trouble(
            organisation, NODE, str(pk), OFFLINE, Severity.CRITICAL if busy else Severity.MAJOR,
            say(text, name=name, seen=f"{seen:%Y-%m-%d %H:%M}"), look, name, pk,
        )  # fmt: skip


def _ending_certificates(now: datetime) -> Iterator[Trouble]:
    rows = (
        NodeCert.objects.filter(revoked_at=None, node__link=Node.Link.AGENT)
        .values("node_id", "node__organisation_id", "node__name")
        .annotate(ends=Max("not_after"))
        .filter(ends__lt=now + CERTIFICATE_MINOR)
        .order_by()
    )
    for row in rows:
        ends, name, over = row["ends"], row["node__name"], row["ends"] <= now
        severity = Severity.MAJOR if ends < now + CERTIFICATE_MAJOR else Severity.MINOR
        yield Trouble(
            row["node__organisation_id"], NODE, str(row["node_id"]), CERTIFICATE,
            Severity.CRITICAL if over else severity,
            say(
                _("The certificate of %(name)s ended on %(ends)s UTC and was not renewed.")
                if over
                else _("The certificate of %(name)s ends on %(ends)s UTC and was not renewed."),
                name=name,
                ends=f"{ends:%Y-%m-%d %H:%M}",
            ),
            say(
                _("Make a new join string on the node's page and start its agent with it.")
                if over
                else _(
                    "An agent renews by itself while it is linked: see that the node is online and that its clock is right."
                )
            ),
            name, row["node_id"],
        )  # fmt: skip


def _failed_deployments() -> Iterator[Trouble]:
    rows = Deployment.objects.ordinary().filter(state=Deployment.State.FAILED).order_by()
    columns = ("pk", "organisation_id", "name", "reason", "message", "node_id", "node__name")
    for pk, organisation, name, reason, message, node, node_name in rows.values_list(*columns):
        why = message or reason or "no reason was given"
        yield Trouble(
            organisation, DEPLOYMENT, str(pk), FAILED, Severity.MAJOR,
            say(_("%(name)s failed on %(node)s: %(why)s"), name=name, node=node_name, why=why),
            say(_("Read its events and logs; then change its values, or go back to the revision that worked.")),
            name, node,
        )  # fmt: skip


def _slow_deployments(now: datetime) -> Iterator[Trouble]:
    """What is not as wished for long; on a silent node that is no news of its own."""
    rows = (
        DeploymentRevision.objects.filter(
            generation=F("deployment__generation"),
            created_at__lt=now - SLOW,
            deployment__state__in=[
                Deployment.State.PENDING,
                Deployment.State.PROGRESSING,
                Deployment.State.REMOVING,
            ],
            deployment__in=Deployment.objects.ordinary(),
            deployment__node__last_seen_at__gte=now - silence_limit(),
        )
        .order_by()
        .values_list(
            "deployment_id", "deployment__organisation_id", "deployment__name", "deployment__state",
            "deployment__reason", "deployment__message", "deployment__node_id", "deployment__node__name", "created_at",
        )
    )  # fmt: skip
    for pk, organisation, name, state, reason, message, node, node_name, asked in rows:
        why = message or reason
        going = state == Deployment.State.REMOVING
        text = (
            _("%(name)s on %(node)s is still not removed, as asked at %(asked)s UTC%(why)s")
            if going
            else _("%(name)s on %(node)s is still not ready, as asked at %(asked)s UTC%(why)s")
        )
        yield Trouble(
            organisation, DEPLOYMENT, str(pk), NOT_READY, Severity.WARNING if going else Severity.MINOR,
            say(text, name=name, node=node_name, asked=f"{asked:%Y-%m-%d %H:%M}", why=f": {why}" if why else "."),
            say(_("Read its events: an image that cannot be fetched, a failing probe and missing room are the usual reasons.")),
            name, node,
        )  # fmt: skip


def _failed_work(now: datetime) -> Iterator[Trouble]:
    """The last work of a kind on a target failed for good; asking again, or newer work, takes the alarm away."""
    later = Operation.objects.filter(
        target=OuterRef("target"), kind=OuterRef("kind"), created_at__gt=OuterRef("created_at")
    )
    rows = (
        Operation.objects.filter(state=Operation.State.FAILED, finished_at__gte=now - WORK_REMEMBERED)
        .exclude(kind__in=SEEN_ELSEWHERE)
        .exclude(Exists(later))
        .order_by()
        .values_list("kind", "target", "organisation_id", "problem")
    )
    found = list(rows)
    ours = _operator() if any(row[2] is None for row in found) else None
    for kind, target, organisation, problem in found:
        organisation = organisation or ours
        if organisation is None:
            continue
        told = problem if isinstance(problem, dict) else {}
        yield Trouble(
            organisation, OPERATION, f"{kind} {target}", WORK_FAILED, Severity.MINOR,
            say(
                _("%(kind)s failed: %(why)s"),
                kind=kind,
                why=told.get("detail") or told.get("title") or "no reason was given",
            ),
            say(_("Mend what the reason names, then ask for it again on the page of operations.")),
            kind,
        )  # fmt: skip


def _partners() -> Iterator[Trouble]:
    rows = (
        PeerSync.objects.filter(peer__state="active")
        .exclude(problem=None)
        .values_list("peer_id", "peer__organisation_id", "peer__name", "problem", "failures", "synced_at")
    )
    for pk, organisation, name, problem, failures, synced in rows:
        told = problem if isinstance(problem, dict) else {}
        why = told.get("detail") or "no reason was given"
        last = f"{synced:%Y-%m-%d %H:%M} UTC" if synced else "–"
        if told.get("retryable"):
            if failures >= UNREACHABLE_AFTER:
                yield Trouble(
                    organisation, PARTNER, str(pk), UNREACHABLE, Severity.MINOR,
                    say(_("%(name)s cannot be reached: %(why)s"), name=name, why=why),
                    say(_("Last sync that worked: %(last)s. We go on trying; ask its operator when it stays away."), last=last),
                    name,
                )  # fmt: skip
        elif told.get("code") != "conflict":  # no agreement in force is a decision, not trouble
            yield Trouble(
                organisation, PARTNER, str(pk), LYING, Severity.MAJOR,
                say(_("What %(name)s says is not believed: %(why)s"), name=name, why=why),
                say(
                    _(
                        "Last sync that worked: %(last)s. Nothing of it was taken over. Talk to its operator over another "
                        "line, and suspend it meanwhile."
                    ),
                    last=last,
                ),
                name,
            )  # fmt: skip


def _dark_recalls(now: datetime) -> Iterator[Trouble]:
    silent = Target.objects.filter(recall=OuterRef("pk"), node__last_seen_at__lt=now - silence_limit())
    open_ones = Recall.objects.active().filter(Exists(silent)).prefetch_related("packages")
    for report in recalls.reports(list(open_ones), SYSTEM):
        dark: dict[UUID, set[str]] = defaultdict(set)
        for place in report.places:
            if place.standing is Standing.DARK:
                dark[place.target.organisation_id].add(place.target.node.name)
        for organisation, nodes in dark.items():
            some = ", ".join(sorted(nodes)[:5]) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")
            what = ", ".join(str(each) for each in report.recall.packages.all())[:200]
            yield Trouble(
                organisation, RECALL, str(report.recall.pk), RECALL_DARK, Severity.CRITICAL,
                say(
                    _("What was recalled (%(what)s) may still run where nobody can see it: %(nodes)s."),
                    what=what,
                    nodes=some,
                ),
                say(_("Bring these nodes back, or stop them by hand; they hear of the recall as soon as they are linked.")),
                what,
            )  # fmt: skip


def of_a_mep(node_id: UUID, organisation_id: UUID, node_name: str, told: Any) -> list[Trouble]:
    """Return what a node's platform says is wrong; it is the node's word, so every part of it is judged and cut."""
    found = []
    for row in told[:MOST_OF_A_MEP] if isinstance(told, list) else []:
        if not isinstance(row, dict) or row.get("severity") not in Severity.values:
            continue
        kind, subject, text = (_text(row.get(name)) for name in ("kind", "subject", "text"))
        if kind:
            found.append(
                Trouble(
                    organisation_id,
                    MEP,
                    f"{node_id} {subject}"[:300],
                    kind[:80],
                    str(row["severity"]),
                    say(_("%(node)s says: %(text)s"), node=node_name, text=text or kind),
                    say(_("Look at the console of the node itself.")),
                    node_name,
                    node_id,
                )
            )
    return found


def _text(value: Any) -> str:
    return value.replace("\x00", "")[:500] if isinstance(value, str) else ""


def _operator() -> UUID | None:
    try:
        return accounts.operator().pk
    except Missing:
        return None
