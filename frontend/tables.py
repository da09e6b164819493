"""Which columns the lists of the portal have as files. Names are those of the API where it has them.

No column is a secret: keys, tokens, sealed values and certificates stay where they are.
"""

from __future__ import annotations

from frontend.download import Table, columns

NODES = Table(
    "nodes",
    columns(
        "id", "name", "state", "engine", "link", "labels", "latitude", "longitude", "cpu_millis", "memory_bytes",
        "storage_bytes", "deployed", "cpu_taken", "memory_taken", "storage_taken", "simulated", "agent_version",
        "enrolled_at", "last_seen_at", organisation="organisation.slug",
    ),
)  # fmt: skip
DEPLOYMENTS = Table(
    "deployments",
    columns(
        "id", "name", "namespace", "state", "wish", "reason", "message", "generation", "observed_generation",
        "cpu_millis", "memory_bytes", "storage_bytes", "created_at", "updated_at", "reported_at",
        organisation="organisation.slug", node="node.name", application="package.name", version="package.version",
        provider="package.provider", package="package_id",
    ),
)  # fmt: skip
PACKAGES = Table(
    "packages",
    columns(
        "id", "name", "version", "provider", "state", "state_reason", "visibility", "format", "filename", "size", "sha256",
        "created_at", "checked_at", "published_at", organisation="organisation.slug",
    ),
)  # fmt: skip
FINDINGS = Table("findings", columns("level", "code", "place", "line", "message", "remedy"))
OPERATIONS = Table(
    "operations",
    columns(
        "id", "kind", "target", "state", "percent", "note", "attempts", "requested_by", "created_at", "started_at",
        "finished_at", problem=lambda row: (row.problem or {}).get("detail", ""),
    ),
)  # fmt: skip
ROLLOUTS = Table(
    "rollouts",
    columns(
        "id", "title", "name", "state", "why", "wave", "wave_count", "created_at", "started_at", "finished_at",
        organisation="organisation.slug", application="package.name", version="package.version",
        created_by="created_by.username",
    ),
)  # fmt: skip
ROLLOUT_NODES = Table(
    "rollout-nodes",
    columns(
        "name", "wave", "action", "state", "reason", "message", "attempts", "before", "generation", "began_at",
        "settled_at", node="node.name", node_id="node_id", deployment="deployment_id",
    ),
)  # fmt: skip
SITES = Table(
    "sites",
    columns(
        "id", "name", "kind", "labels", "latitude", "longitude", "radius_m", "nodes", organisation="organisation.slug"
    ),
)
BACKUPS = Table(
    "backups",
    columns("id", "made_at", "made_by", "file", "sha256", "size", "rows", "blobs", "keys", "proved_at", "problem"),
)
TRAFFIC_RULES = Table(
    "traffic-rules",
    columns(
        "name", "app", "active", "in_force", "enforcement", "reason", "problem", id="rule.id", priority="rule.priority",
        action="rule.action",
    ),
)  # fmt: skip
PARTNERS = Table(
    "partners",
    columns("id", "name", "url", "store_id", "kind", "state", "confirmed_at", "they_confirmed_at", "heard_at", "offered",
            "unsent"),
)  # fmt: skip
AGREEMENTS = Table(
    "agreements",
    columns("version", "state", "proposed_by_us", "digest", "reason", "created_at", "settled_at", "expires_at"),
)
OFFERS = Table(
    "offers",
    columns("ref", "name", "provider", "version", "state", "sha256", "size", "seen_at", package="package_id"),
)
OUR_RELEASES = Table(
    "our-releases",
    columns("id", "name", "provider", "version", "state", "visibility", "granted", "sha256", "size", "published_at"),
)
RECOMMENDATIONS = Table(
    "recommendations",
    columns("id", "incoming", "name", "provider", "version", "state", "note", "reason", "sha256", "created_at",
            "answered_at"),
)  # fmt: skip
CERTIFICATIONS = Table(
    "certifications",
    columns(
        "id", "state", "verdict", "level", "problem", "sha256", "created_at", "started_at", "finished_at",
        application="package.name", version="package.version", package="package_id", requested_by="requested_by.username",
    ),
)  # fmt: skip
LABS = Table("labs", columns("id", "name", "owner", "key_id", "added_at", "expires_at", "revoked_at", "revoked_reason"))
REVIEWS = Table(
    "reviews",
    columns(
        "id", "state", "by_store", "submitted_at", "decided_at", "decision", organisation="organisation.slug",
        application="package.name", version="package.version", package="package_id",
        submitted_by="submitted_by.username", decided_by="decided_by.username",
        reasons=lambda row: "; ".join(str(each.get("words", "")) for each in row.reasons),
    ),
)  # fmt: skip
RECALLS = Table(
    "recalls",
    columns("id", "severity", "action", "reason", "advice", "origin", "serial", "issued_by", "issued_at", "lifted_by",
            "lifted_at", "lift_reason"),
)  # fmt: skip
ANCHORS = Table(
    "trust-anchors",
    columns(
        "id", "name", "purpose", "subject", "fingerprint", "is_authority", "not_before", "not_after", "note", "added_by",
        "created_at", "expires_at", "revoked_at", "revoked_reason",
    ),
)  # fmt: skip
SIGNERS = Table(
    "signer-certificates",
    columns("id", "subject", "serial", "fingerprint", "issued_by", "created_at", "not_after", "revoked_at",
            "revoked_reason", organisation="organisation.slug"),
)  # fmt: skip
PUBLISHERS = Table(
    "publishers",
    columns("id", "provider", "method", "domain", "state", "problem", "created_at", "verified_at", "expires_at",
            organisation="organisation.slug"),
)  # fmt: skip
DELIVERIES = Table(
    "deliveries",
    columns("id", "event", "state", "attempts", "status", "note", "milliseconds", "created_at", "finished_at"),
)
COMPONENTS = Table("components", columns("kind", "name", "version", "licence", "purl", "place"))
MEMBERS = Table("members", columns("username", "email", "last_login", "is_active"))
WEBHOOKS = Table("webhooks", columns("id", "name", "url", "events", "everything", "active", "created_at"))
RECALL_PLACES = Table(
    "recall-places",
    columns(
        "standing", "what", "linked", "dark_since", "serial", deployment="target.deployment.name",
        deployment_id="target.deployment_id", node="target.deployment.node.name", package="target.package",
        organisation="target.organisation.slug",
    ),
)  # fmt: skip
RULES = Table(
    "rules",
    columns(
        "rule_id", "kind", "app", "source", "state", "enforcement", "outcome", "reason", "packets", "octets", "rule",
        deployment="deployment.pk",
    ),
)  # fmt: skip
