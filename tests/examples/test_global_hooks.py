"""`examples/global_hooks.py` prints, under real servers, what its docstring says."""

from __future__ import annotations

import ast
import http.client
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..conftest import free_port, is_listening, stop, wait_for
from ..readme import ROOT

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "global_hooks.py"
SERVERS = {
    "flask": ["flask", "--app", "examples.global_hooks", "run", "--port", "{port}"],
    "gunicorn": ["gunicorn", "--bind", "127.0.0.1:{port}", "examples.global_hooks:app"],
    "gunicorn gthread": ["gunicorn", "--threads", "2", "--bind", "127.0.0.1:{port}", "examples.global_hooks:app"],
}


def documented() -> list[tuple[str, list[str]]]:
    """Return each command of the docstring, and what the app prints for it."""
    text = ast.get_docstring(ast.parse(EXAMPLE.read_text(encoding="utf-8"))) or ""
    _, *shown = text.split("\n    $ ")
    blocks = [block.partition("\n\n")[0].splitlines() for block in shown]
    return [(command, [line.removeprefix("    ") for line in lines]) for command, *lines in blocks]


class Server:
    """A server that runs the example, and what it has printed so far."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.port = free_port()
        self._printed = folder / "printed"
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "WERKZEUG_"))}
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(word.format(port=self.port) for word in command)],
                cwd=ROOT,
                env=environ,
                stdout=printed,
                stderr=subprocess.DEVNULL,
            )

    def lines(self) -> list[str]:
        """Return what the app has printed, without what the server says of itself."""
        lines = self._printed.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.startswith(" *")]

    def send(self, command: str) -> int:
        """Send what the ``curl`` of `command` would send; return the status."""
        _, url, *options = shlex.split(command)
        headers = dict(value.split(": ") for option, value in zip(options[::2], options[1::2], strict=True))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", urlsplit(url).path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Return a running server."""
    server = Server(SERVERS[request.param], tmp_path)
    try:
        wait_for(lambda: is_listening(server.port), server.process)
        yield server
    finally:
        stop(server.process)


def test_everything_runs_in_the_order_that_the_docstring_shows(server: Server) -> None:
    statuses = []
    for command, expected in documented():
        before = len(server.lines())
        statuses.append(server.send(command))
        deadline = time.monotonic() + 10
        while len(server.lines()) < before + len(expected) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # time for what should not come

        assert server.lines()[before:] == expected

    assert statuses == [200, 401]
