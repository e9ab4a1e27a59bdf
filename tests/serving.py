"""Real servers for tests: how each is started, and stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import free_port, is_listening, stop, wait_for

ROOT = Path(__file__).parent.parent
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical")
UWSGI = ("uwsgi", "--http-socket", "127.0.0.1:{port}", "--master", "--die-on-term", "--virtualenv", sys.prefix)


def uwsgi() -> str:
    """Return the path of uWSGI, this environment's own first. Without it, skip here and fail in CI."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("uwsgi", path=path)
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("uWSGI is not installed: pip install pyuwsgi")
    return program


def lines_in(file: Path) -> list[str]:
    """Return the lines of a file to which a server may be writing one more."""
    return file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines() if file.exists() else []


@dataclass
class Serving:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def get(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()


@contextlib.contextmanager
def serving(command: Sequence[str], cwd: Path = ROOT, **environ: str) -> Iterator[Serving]:
    """Run a server, a module of Python or uWSGI, for a block: ``{port}`` in its `command` is the port.

    The tests that share a server belong into one process: mark them with :func:`pytest.mark.xdist_group`.
    """
    port = free_port()
    program = [uwsgi()] if command[0] == "uwsgi" else [sys.executable, "-m", command[0]]
    process = subprocess.Popen(
        [*program, *(word.format(port=port) for word in command[1:])],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: is_listening(port), process, 60)
        yield Serving(port, process)
    finally:
        stop(process)
