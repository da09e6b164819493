"""Waiting for long work: ask again and again, tell what changes, and end with a number that scripts understand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cli.errors import TIMED_OUT, Refused, Stop
from cli.news import News
from cli.wiring import Session

#: Nobody notices half a second; after a minute of waiting nobody notices three.
_FIRST, _SLOWEST, _GROWTH = 0.5, 3.0, 1.05
#: The centre may be restarted while somebody waits.
_PATIENCE = 30.0


def follow(
    session: Session,
    look: Callable[[], Any],
    over: Callable[[Any], bool],
    *,
    timeout: float,
    tell: Callable[[Any], str],
    what: str,
    stream: str = "",
    ids: Mapping[str, Any] | None = None,
) -> Any:
    """Return the first document that is `over`; changes of what `tell` says go to stderr. Exit code 3 after `timeout`.

    `stream` is the path of server-sent events that say when to look again; without one, or where it does not get
    through, we look now and then. A server that does not answer for a while is asked again: what is waited for goes on
    without us.
    """
    news = News(session, stream, ids)
    try:
        return _follow(session, look, over, news, timeout=timeout, tell=tell, what=what)
    finally:
        news.close()


def _follow(
    session: Session,
    look: Callable[[], Any],
    over: Callable[[Any], bool],
    news: News,
    *,
    timeout: float,
    tell: Callable[[Any], str],
    what: str,
) -> Any:
    ends, pause, last, silent_since = session.deadline(timeout), _FIRST, "", None
    while True:
        try:
            seen = look()
            silent_since = None
        except Stop as problem:
            status = problem.status if isinstance(problem, Refused) else 503
            now = session.world.clock()
            silent_since = now if silent_since is None else silent_since
            if (status < 500 and status != 429) or now - silent_since > _PATIENCE:
                raise
            seen = None
        if seen is not None:
            said = tell(seen)
            if said != last:
                session.printer.tell(said, "dim")
                last = said
            if over(seen):
                return seen
        if session.world.clock() >= ends:
            raise Stop(f"{what} took longer than {timeout:g} seconds; it goes on without us.", TIMED_OUT, seen)
        if news.wait(ends - session.world.clock()):
            continue
        session.world.sleep(min(pause, max(0.05, ends - session.world.clock())))
        pause = min(pause * _GROWTH, _SLOWEST)


def operation(session: Session, pk: str, timeout: float) -> Any:
    """Wait until an operation is over and return it; the caller judges it."""
    return follow(
        session,
        lambda: session.get("/operations/{id}", {"id": pk}),
        lambda seen: seen["state"] not in ("pending", "running"),
        timeout=timeout,
        tell=lambda seen: f"{seen['kind']}: {seen['state']} {seen['percent']}% {seen['note']}".rstrip(),
        what="The operation",
        stream="/operations/{id}/stream",
        ids={"id": pk},
    )
