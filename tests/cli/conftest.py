"""The command line in this process, against the application in this process: no server, no waiting."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from cli.main import app
from cli.wiring import World
from tests.frontend.conftest import make_node, make_package, run_by_acme  # noqa: F401  (the world of the pages)

_PROGRAM = typer.main.get_command(app)


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Terminal:
    """Somebody's terminal: an environment, and time that passes only while a command sleeps."""

    environ: dict[str, str]
    transport: httpx.BaseTransport
    #: What happens in the world while a command sleeps.
    meanwhile: Callable[[], Any] = lambda: None
    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    stdin: str = ""

    def __call__(self, *words: Any, stdin: str = "") -> Ended:
        out, err = io.StringIO(), io.StringIO()
        world = World(
            environ=self.environ,
            stdin=io.StringIO(stdin),
            stdout=out,
            stderr=err,
            transport=self.transport,
            sleep=self.sleep,
            clock=lambda: self.now,
        )
        with redirect_stderr(err), redirect_stdout(out), pytest.raises(SystemExit) as end:
            _PROGRAM.main([str(word) for word in words], prog_name="breakwater", obj=world)
        code = end.value.code
        return Ended(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())

    def json(self, *words: Any, code: int = 0) -> Any:
        """Run a command and return the document that it prints."""
        ended = self(*words, "--output", "json")
        assert ended.code == code, f"{words} ended with {ended.code}: {ended.err}"
        return ended.json

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.meanwhile()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal of somebody who is not signed in, at the centre of this process."""
    from django.core.signals import request_finished, request_started
    from django.core.wsgi import get_wsgi_application
    from django.db import close_old_connections

    application = get_wsgi_application()

    def without_streams(environ: Any, start_response: Any) -> Any:
        # Streams need a server of their own kind, and time; `test_news.py` has one.
        if environ["PATH_INFO"].endswith("/stream"):
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [b""]
        return application(environ, start_response)

    transport = httpx.WSGITransport(without_streams)
    # As Django's own test client does: the test and the requests share one connection.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield Terminal({"XDG_CONFIG_HOME": str(tmp_path / "config")}, transport)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def signed_in(terminal: Terminal, admin: Any, actor: Any) -> Terminal:
    """The terminal of the administrator of `acme`."""
    from core.accounts import services

    _, secret = services.issue_token(admin, name="terminal", actor=actor)
    terminal.environ["BREAKWATER_TOKEN"] = secret
    return terminal
