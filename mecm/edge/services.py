"""The verbs of the edge link: wish for something on a node, and decide who may speak as that node."""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.accounts.access import SYSTEM
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid
from core.frames import SPEC_BYTES, canonical, spec_digest
from core.words import say
from mecm.edge import ca
from mecm.edge.doorbell import ring_on_commit
from mecm.edge.models import DesiredObject, EnrolmentToken, NodeCert, NodeSync, fresh_epoch

if TYPE_CHECKING:
    from mecm.nodes.models import Node

TOKEN_LIFE = timedelta(hours=1)
HEARTBEAT = 15
#: What a node that has forgotten a thing, or never heard of it, must know to remove it. Nothing else of a spec travels
#: with its deletion, or stays in it here: values may be secret.
REMOVAL = ("appInstanceId", "name", "namespace", "chart", "gracefulTerminationTimeout")


@transaction.atomic
def put(node: Node, kind: str, key: str, *, generation: int, spec: dict[str, Any]) -> DesiredObject:
    """Wish that `kind`/`key` is as `spec` on the node; the same wish again changes nothing.

    Part of the caller's transaction: when that rolls back, no revision was used.
    """
    if len(canonical(spec)) > SPEC_BYTES:
        raise Invalid(
            say(
                "The spec of {kind} {key} has more than {spec_bytes} bytes; larger content travels as a blob",
                kind=kind,
                key=key,
                spec_bytes=SPEC_BYTES,
            )
        )
    digest = spec_digest(spec)
    sync = _locked(node)
    present = DesiredObject.objects.filter(node=node, kind=kind, key=key).first()
    if present and (present.generation, present.sha256, present.deleted) == (generation, digest, False):
        return present
    return _write(sync, kind, key, generation=generation, spec=spec, sha256=digest, deleted=False)


@transaction.atomic
def delete(node: Node, kind: str, key: str, *, generation: int | None = None) -> DesiredObject | None:
    """Wish that `kind`/`key` goes from the node; returns the tombstone, or None when it was never wished for.

    The node reports its end for `generation` (else for the generation of the last wish).
    """
    sync = _locked(node)
    present = DesiredObject.objects.filter(node=node, kind=kind, key=key).first()
    if present is None or present.deleted:
        return present
    generation = present.generation if generation is None else generation
    spec = {name: present.spec[name] for name in REMOVAL if name in present.spec}
    return _write(sync, kind, key, generation=generation, spec=spec, sha256=spec_digest(spec), deleted=True)


def _locked(node: Node) -> NodeSync:
    """Return the node's row, locked until the caller's transaction ends.

    The UPDATE takes the row lock on PostgreSQL and the write lock on SQLite, so that two writers cannot
    commit their revisions in the wrong order; a bare sequence would let a reader pass the lower one for ever.
    """
    if not NodeSync.objects.filter(pk=node.pk).update(last_rev=F("last_rev")):
        NodeSync.objects.get_or_create(node=node)
    return NodeSync.objects.select_for_update().get(pk=node.pk)


def _write(sync: NodeSync, kind: str, key: str, **fields: Any) -> DesiredObject:
    rev = sync.last_rev + 1
    NodeSync.objects.filter(pk=sync.pk).update(last_rev=rev)
    wanted, _ = DesiredObject.objects.update_or_create(
        node_id=sync.pk, kind=kind, key=key, defaults={**fields, "rev": rev}
    )
    ring_on_commit()
    return wanted


def new_epoch() -> int:
    """Begin a new life of the database after a restore: every node takes a snapshot. Returns how many nodes."""
    count = 0
    for sync in NodeSync.objects.all():
        count += NodeSync.objects.filter(pk=sync.pk).update(epoch=fresh_epoch(), acked_rev=0)
    ring_on_commit()
    return count


@transaction.atomic
def join_string(node: Node, *, actor: Any) -> tuple[str, datetime]:
    """Return the text that a new edge machine joins with, and when it expires. It is shown once and kept hashed.

    `mec1.<base64url of our address>.<SHA-256 of our CA's key>.<secret>`: the agent checks the CA before it
    sends the secret.
    """
    if node.link != "agent":
        raise Conflict(say("Node {name} is reached directly; no agent joins it.", name=node.name))
    secret = secrets.token_urlsafe(32)
    expires = timezone.now() + TOKEN_LIFE
    EnrolmentToken.objects.filter(node=node, expires_at__lt=timezone.now()).delete()
    EnrolmentToken.objects.create(sha256=_hashed(secret), node=node, expires_at=expires)
    audit.record(actor, "node.enrolment_token", node, expires_at=expires.isoformat())
    host = base64.urlsafe_b64encode(str(settings.PUBLIC_URL).encode()).decode().rstrip("=")
    return f"mec1.{host}.{ca.authority().spki_sha256}.{secret}", expires


@transaction.atomic
def enrol(*, token: str, csr_pem: str, agent_version: str = "") -> dict[str, Any]:
    """Spend a join string's secret and return the node's identity: id, certificate chain and addresses.

    The CSR proves that the agent holds its key; which names it asks for does not matter.
    """
    request = ca.read_csr(csr_pem)
    digest = _hashed(token)
    # One conditional UPDATE: of two machines with one join string, one gets in.
    spent = EnrolmentToken.objects.filter(sha256=digest, uses__lt=F("max_uses"), expires_at__gt=timezone.now()).update(
        uses=F("uses") + 1
    )
    known = EnrolmentToken.objects.select_related("node").filter(sha256=digest).first()
    if known is None:
        raise Denied(say("This join string is not known here; ask for a new one."))
    if not spent:
        why = say("has expired") if known.expires_at <= timezone.now() else say("was used already")
        raise Denied(say("This join string {why}; ask for a new one.", why=why))
    node = known.node
    # A machine that joins again replaces the one that held this node before.
    NodeCert.objects.filter(node=node, revoked_at=None).update(revoked_at=timezone.now())
    NodeSync.objects.get_or_create(node=node)
    chain = _issue(node, request)
    type(node).objects.filter(pk=node.pk).update(enrolled_at=timezone.now(), agent_version=agent_version[:60])
    audit.record(SYSTEM, "node.enrolled", node, agent_version=agent_version[:60])
    ring_on_commit()
    return {
        "node_id": str(node.pk),
        "cert_chain": chain,
        "ca_bundle": ca.authority().pem,
        "sync_url": sync_url(),
        "heartbeat_s": HEARTBEAT,
    }


@transaction.atomic
def renew(node: Node, *, csr_pem: str) -> dict[str, Any]:
    """Return a fresh certificate for a new key; the old one serves until the new one is first used."""
    chain = _issue(node, ca.read_csr(csr_pem))
    audit.record(SYSTEM, "node.certificate_renewed", node)
    return {"node_id": str(node.pk), "cert_chain": chain, "ca_bundle": ca.authority().pem, "sync_url": sync_url()}


@transaction.atomic
def revoke(node: Node, *, actor: Any) -> int:
    """Take the node's identity away; a live link closes within seconds. Returns how many certificates fell."""
    count = NodeCert.objects.filter(node=node, revoked_at=None).update(revoked_at=timezone.now())
    EnrolmentToken.objects.filter(node=node).delete()
    audit.record(actor, "node.revoked", node, certificates=count)
    ring_on_commit()
    return count


def sync_url() -> str:
    """Return the address of the WebSocket that agents dial."""
    return str(settings.PUBLIC_URL).rstrip("/").replace("http", "ws", 1) + "/api/v1/edge/sync"


def _issue(node: Node, request: ca.Request) -> str:
    issued = ca.authority().sign(request, node_id=str(node.pk))
    NodeCert.objects.create(serial=issued.serial, node=node, certificate=issued.pem, not_after=issued.not_after)
    return issued.pem + ca.authority().pem


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
