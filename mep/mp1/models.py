"""What the MEP knows: app instances, their services, subscriptions and rules, and what must still be sent."""

from __future__ import annotations

import uuid

from django.db import connection, models

from mep.mp1.states import AppState, Enforcement, RuleOrigin, RuleState, ServiceState, Severity


def new_id() -> str:
    """Return an identifier of 32 characters, the most that MEC 016 allows for one."""
    return uuid.uuid4().hex


class Counter(models.Model):
    """A version per subject, raised in the same transaction as the change it announces.

    Readers in every process learn from SQLite's `PRAGMA data_version` that something was committed and
    from these rows what; unlike a counter beside the database it cannot miss a commit or outlive a crash.
    """

    name = models.CharField(primary_key=True, max_length=20)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"

    @staticmethod
    def bump(name: str) -> int:
        """Raise the counter `name` and return its new value."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO mp1_counter (name, value) VALUES (%s, 1)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                [name],
            )
            return int(cursor.fetchone()[0])


class App(models.Model):
    """One app instance with its identity; the row goes when the app is discarded."""

    id = models.CharField(primary_key=True, max_length=64, help_text="appInstanceId")
    name = models.CharField(max_length=255)
    provider = models.CharField(max_length=255, blank=True)
    app_d_id = models.CharField(max_length=255, blank=True)
    soft_version = models.CharField(max_length=64, blank=True)
    d_version = models.CharField(max_length=64, blank=True)
    namespace = models.CharField(max_length=255, blank=True)
    declared = models.JSONField(default=dict, help_text="services required, optional and produced, from the AppD")
    described = models.JSONField(
        null=True, help_text="traffic and DNS rules of the AppD by id; null: provisioned before these were kept"
    )
    registration = models.JSONField(null=True, help_text="AppInfo as registered on Mp1, MEC 011 V3.1.1 7.1.2.6")
    client_id = models.CharField(max_length=128, unique=True)
    secret = models.BinaryField(help_text="the client secret, sealed")
    state = models.CharField(max_length=12, choices=AppState.choices(), default=AppState.PROVISIONED)
    action = models.CharField(max_length=12, blank=True, help_text="operationAction of the termination under way")
    deadline = models.FloatField(null=True, help_text="epoch seconds at which the termination under way is over")
    confirmed_at = models.FloatField(
        null=True, help_text="epoch seconds at which the app confirmed its last termination; null: it did not"
    )
    provisioned_at = models.FloatField()
    ready_at = models.FloatField(null=True)
    certificate = models.CharField(
        max_length=43, blank=True, help_text="x5t#S256 of the client certificate that this app must show (RFC 8705)"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state=AppState.TERMINATING) ^ models.Q(deadline__isnull=True),
                name="a_termination_under_way_has_a_deadline",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


class Service(models.Model):
    """One service instance, MEC 011 8.1.2.2 (ServiceInfo)."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, help_text="serInstanceId")
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="services")
    name = models.CharField(max_length=255, db_index=True)
    version = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=ServiceState.choices())
    category = models.JSONField(null=True)
    transport = models.JSONField()
    serializer = models.CharField(max_length=20)
    scope = models.CharField(max_length=20)
    consumed_local_only = models.BooleanField()
    interval = models.PositiveIntegerField(null=True, help_text="seconds between heartbeats; null: none are expected")
    beat_at = models.FloatField(null=True, help_text="epoch seconds of the last heartbeat, or of the registration")
    due_at = models.FloatField(null=True, db_index=True, help_text="epoch seconds after which a heartbeat is missed")
    revision = models.BigIntegerField(db_index=True, help_text="value of the counter `services` at the last change")
    created_at = models.FloatField()

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


class Subscription(models.Model):
    """One subscription and the state of its deliveries."""

    AVAILABILITY = "SerAvailabilityNotificationSubscription"
    TERMINATION = "AppTerminationNotificationSubscription"

    id = models.CharField(primary_key=True, max_length=32, default=new_id)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="subscriptions")
    kind = models.CharField(max_length=60, choices=[(AVAILABILITY, AVAILABILITY), (TERMINATION, TERMINATION)])
    callback = models.CharField(max_length=2000, blank=True, help_text="empty: delivered over a WebSocket only")
    websocket = models.BooleanField(default=False, help_text="the app fetches over a WebSocket (MEC 009 6.12)")
    criteria = models.JSONField(default=dict, help_text="filteringCriteria")
    root = models.CharField(max_length=300, help_text="API root under which the subscriber knows us; for links")
    created_at = models.FloatField()
    failures = models.PositiveIntegerField(default=0, help_text="deliveries that failed in a row")
    next_try_at = models.FloatField(default=0, db_index=True)
    delivered = models.PositiveIntegerField(default=0)
    dropped = models.PositiveIntegerField(default=0, help_text="notifications given up")
    last_error = models.CharField(max_length=300, blank=True)
    room = models.IntegerField(default=0, help_text="notifications that may come before the waiting ones are counted")

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Interest(models.Model):
    """What an availability subscription listens for, so that a change looks at those alone that may want it.

    `key` is cut to its column: it finds candidates, `subscriptions.matches` decides.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="interests")
    key = models.CharField(max_length=270, db_index=True, help_text="name=, id= or category= something; or *")

    def __str__(self) -> str:
        return self.key


class Notice(models.Model):
    """One notification in the outbox; the oldest of a subscription goes first, and goes alone."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="notices")
    tag = models.CharField(
        max_length=64, default=new_id, help_text="the same at every try; subscribers drop repetitions"
    )
    body = models.JSONField()
    created_at = models.FloatField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["subscription", "tag"], name="one_notice_per_tag")]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"notice {self.tag}"


class Alarm(models.Model):
    """Something that a person has to know: one row per kind and subject, raised again it is the same row.

    The shape follows X.733 as far as an edge node needs it; cleared ones are kept for a while.
    """

    kind = models.CharField(max_length=60, help_text="for example notification-given-up")
    subject = models.CharField(max_length=255, help_text="what it is about, for example subscription=<id>")
    severity = models.CharField(max_length=8, choices=Severity.choices())
    text = models.CharField(max_length=500)
    count = models.PositiveIntegerField(default=1, help_text="how often it was raised since it was last cleared")
    raised_at = models.FloatField()
    updated_at = models.FloatField()
    cleared_at = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "subject"], name="one_alarm_per_kind_and_subject")]
        ordering = ["-updated_at"]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class Rule(models.Model):
    """What traffic and DNS rules share: an owner, an id within it, a state, and whether the app chose that state."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="%(class)ss")
    rule_id = models.CharField(max_length=255)
    state = models.CharField(max_length=8, choices=RuleState.choices(), default=RuleState.INACTIVE)
    origin = models.CharField(
        max_length=10, choices=RuleOrigin.choices(), default=RuleOrigin.DESCRIPTOR, help_text="who made the rule"
    )
    chosen = models.BooleanField(
        default=False, help_text="the app itself set the state, so getting ready does not change it"
    )
    revision = models.BigIntegerField(default=0)
    enforcement = models.CharField(max_length=10, choices=Enforcement.choices(), default=Enforcement.PENDING)
    reason = models.CharField(max_length=500, blank=True, help_text="why it is not in force")

    class Meta:
        abstract = True


class TrafficRule(Rule):
    """MEC 011 7.1.5.2 (TrafficRule); `body` holds the members beside id and state."""

    body = models.JSONField()
    packets = models.BigIntegerField(default=0, help_text="what the user plane counted since the rule was put")
    octets = models.BigIntegerField(default=0)
    counted_at = models.FloatField(null=True, help_text="epoch seconds of that count; null: none yet")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "rule_id"], name="one_traffic_rule_per_id_and_app")]
        ordering = ["app_id", "rule_id"]

    def __str__(self) -> str:
        return f"{self.app_id}/{self.rule_id}"


class DnsRule(Rule):
    """MEC 011 7.1.5.3 (DnsRule)."""

    domain_name = models.CharField(max_length=255, db_index=True)
    family = models.CharField(max_length=5, choices=[("IP_V4", "IP_V4"), ("IP_V6", "IP_V6")])
    address = models.CharField(max_length=45)
    ttl = models.PositiveIntegerField(null=True)
    scope = models.CharField(
        max_length=64, blank=True, help_text="the DNS scope that gets this answer; empty: everybody"
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "rule_id"], name="one_dns_rule_per_id_and_app")]
        ordering = ["app_id", "rule_id"]

    def __str__(self) -> str:
        return f"{self.app_id}/{self.rule_id}"


class RuleWish(models.Model):
    """What the centre wants of one app instance's rules; kept before the app comes and after it went."""

    id = models.CharField(primary_key=True, max_length=64, help_text="appInstanceId")
    generation = models.BigIntegerField()
    spec = models.JSONField(help_text="by kind and rule id: rule, state, made")
    outcomes = models.JSONField(default=list, help_text="what became of each: applied, refused or lost, and why")

    def __str__(self) -> str:
        return f"rules of {self.id} at {self.generation}"


class SigningKey(models.Model):
    """One key that signs, or signed, access tokens."""

    kid = models.CharField(primary_key=True, max_length=32, default=new_id)
    private = models.BinaryField(help_text="PKCS#8 PEM, sealed")
    public = models.JSONField(help_text="the public JWK")
    created_at = models.FloatField()
    signing = models.BooleanField(default=True, help_text="the one key that new tokens are signed with")
    verify_until = models.FloatField(
        null=True, help_text="epoch seconds at which the last token of a retired key has expired"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["signing"], condition=models.Q(signing=True), name="one_key_signs_at_a_time"
            ),
            models.CheckConstraint(
                condition=models.Q(signing=True) ^ models.Q(verify_until__isnull=False),
                name="a_retired_key_ends_some_day",
            ),
        ]

    def __str__(self) -> str:
        return self.kid
