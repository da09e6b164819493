"""Long work of contents."""

from __future__ import annotations

import logging

from appstore.contents import services
from appstore.contents.reading import Inside
from appstore.packages import states
from appstore.packages.models import Package
from core.errors import BreakwaterError, Unavailable
from core.operations import services as operations
from core.operations.models import LostLease, Operation
from core.words import say

logger = logging.getLogger("breakwater.contents")


@operations.handles(services.INSPECT, lease=120)
def inspect_package(operation: Operation) -> None:
    """Look into one package and write down what is there. Twice is once."""
    package = Package.objects.filter(pk=operation.payload["package"]).first()
    if package is None or package.state in (states.DRAFT, states.REJECTED):
        operation.progress(100, say("nothing to do: the package is gone or was rejected"))
        return

    def tell(percent: int, note: str) -> None:
        if operation.cancelled():
            raise operations.Cancelled
        operation.progress(percent, note)

    try:
        contents = services.inspect(package, tell)
    except (BreakwaterError, operations.Cancelled, LostLease):
        raise
    except (OSError, MemoryError) as problem:
        raise Unavailable(say("The store of files does not work at the moment; it is tried again")) from problem
    except Exception:
        # Whatever a hostile file makes our readers do is said on the page; the release must not wait for it for ever.
        logger.exception("the inspection of package %s crashed", package.pk)
        found = Inside()
        found.facts.problems = ["The reader itself failed on this package; the log of the server says where"]
        contents = services.record(package, found)
    operation.progress(100, say("gone meanwhile") if contents is None else say("read"))
