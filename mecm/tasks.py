"""What Celery calls; each task only opens the door to a service."""

from __future__ import annotations

from celery import shared_task

from appstore.federation import serials, sync
from appstore.packages import resumable
from appstore.packages import services as packages
from appstore.trust import authority, publishers
from core.operations import services as operations
from core.sign_in import services as sign_in
from mecm.fleet import figures
from mecm.fleet import services as fleet

#: How much more a worker does for one ring. Brokers hand out messages slower than rows are done.
BATCH = 20


@shared_task(name="operations.run")
def run_operation(operation_id: str) -> None:
    """Do one operation, unless somebody else has it, and then what else is due: a message is only a doorbell."""
    operations.run(operation_id)
    operations.run_due(limit=BATCH)


@shared_task(name="operations.sweep")
def sweep_operations() -> None:
    """Give the work of dead workers to living ones."""
    operations.sweep()


@shared_task(name="packages.collect_garbage")
def collect_package_garbage() -> None:
    """Drop uploads that nobody went on with, and stored files that nothing names any more."""
    resumable.sweep()
    packages.collect_garbage()


@shared_task(name="federation.follow")
def follow_partners() -> None:
    """Ask for a sync of every partner store whose time has come."""
    sync.request_due()


@shared_task(name="federation.build")
def build_feeds() -> None:
    """Bring the feeds up to date and sign them anew before they expire."""
    serials.request_build(settle=0)


@shared_task(name="trust.look_again")
def look_at_trust_again() -> None:
    """Look at old publisher proofs again, and publish our revocation list anew before it ends."""
    publishers.recheck_due()
    authority.refresh_due()


@shared_task(name="fleet.sweep")
def sweep_alarms() -> None:
    """Raise and clear alarms, and take this minute's figures."""
    fleet.sweep()
    figures.take()
    figures.take_nodes()


@shared_task(name="fleet.roll_up")
def roll_up_figures() -> None:
    """Make hours of minutes, and forget what is old."""
    figures.roll_up()
    fleet.forget_old()


@shared_task(name="sign_in.drop_expired")
def drop_ended_sessions() -> None:
    """Drop the rows of sessions that have ended."""
    sign_in.drop_expired()
