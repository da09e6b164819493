"""Long work of packages."""

from __future__ import annotations

import logging

from appstore.packages import blobs, checking, services
from appstore.packages.checking import Verdict
from appstore.packages.models import Package
from core.accounts.access import SYSTEM
from core.errors import BreakwaterError, Unavailable
from core.findings import Finding, Level
from core.operations import services as operations
from core.operations.models import LostLease, Operation
from core.words import say

logger = logging.getLogger("breakwater.packages")


@operations.handles(services.CHECK, lease=120)
def check_package(operation: Operation) -> None:
    """Read and verify one package, store its chart and images, write down the verdict. Twice is once."""
    package = Package.objects.filter(pk=operation.payload["package"]).first()
    if package is None or package.fixed:
        operation.progress(100, say("nothing to do: the package is gone, released or in review"))
        return
    operation.progress(5, say("opening"))

    def tell(percent: int, note: str) -> None:
        if operation.cancelled():
            raise operations.Cancelled
        operation.progress(percent, note)

    try:
        verdict = checking.examine(blobs.path_of(package.sha256), tell)
    except (BreakwaterError, operations.Cancelled, LostLease):
        raise
    except (OSError, MemoryError) as problem:
        raise Unavailable(say("The store of files does not work at the moment; the check is tried again")) from problem
    except Exception:
        # Whatever a hostile file makes our readers do is a finding, so that the package is refused, not stuck.
        logger.exception("the check of package %s crashed", package.pk)
        message = say("The check itself failed on this package; the log of the server says where")
        verdict = Verdict([Finding(Level.ERROR, "check-crashed", "", message, say("Tell the operator of this store"))])
    recorded = services.record_check(package.pk, verdict, actor=SYSTEM)
    operation.progress(100, say("gone meanwhile") if recorded is None else str(recorded.state))
