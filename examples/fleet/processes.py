"""The processes of the fleet: started on loopback, and stopped when the ``with`` block around them ends."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .driver import get

STARTS_WITHIN = 20
STOPS_WITHIN = 10
"""Seconds."""

PATIENCE = 2
"""Seconds after which a Redis that does not answer counts as down. The default of 0.25 is too short for a laptop that
runs the clients, the servers and Redis together.
"""


class Fleet:
    """All running processes, stopped when the ``with`` block ends.

    :param folder: the folder of the logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            for process in self._running:
                process.terminate()
            for process in self._running:
                try:
                    process.wait(STOPS_WITHIN)
                except subprocess.TimeoutExpired:
                    self._kill_all_of(process)

    def start_redis(self, port: int) -> subprocess.Popen[bytes]:
        """Start a Redis that keeps nothing on disk."""
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        return self._start("redis", ["redis-server", *options], lambda: is_listening(port))

    def start_gunicorn(self, port: int, redis_port: int) -> subprocess.Popen[bytes]:
        """Start a gunicorn of two workers, which count their limits in the Redis at `redis_port`."""
        options = ["--workers", "2", "--threads", "8", "--bind", f"127.0.0.1:{port}", "examples.fleet.app:app"]
        uri = f"redis://127.0.0.1:{redis_port}/0?socket_timeout={PATIENCE}&socket_connect_timeout={PATIENCE}"
        where = {"FLASK_RATELIMIT_STORAGE_URI": uri}
        command = [sys.executable, "-m", "gunicorn", *options]
        return self._start(f"gunicorn-{port}", command, lambda: is_serving(port), **where)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one process without a clean shutdown."""
        with uninterrupted():
            self._kill_all_of(process)
            self._running.remove(process)

    def logged(self, text: str) -> list[str]:
        """Return the lines that contain `text` in the logs of all gunicorns."""
        logs = [each.read_text(errors="replace") for each in sorted(self._folder.glob("gunicorn-*.log"))]
        return [line for log in logs for line in log.splitlines() if text in line]

    def _start(
        self, name: str, command: list[str], ready: Callable[[], bool], **environ: str
    ) -> subprocess.Popen[bytes]:
        log = self._folder / f"{name}.log"
        with log.open("ab") as output, uninterrupted():
            # in a new session, so that Ctrl-C reaches this program only, which stops the others in order
            process = subprocess.Popen(  # noqa: S603  # no part of the command comes from outside
                command, stdout=output, stderr=output, env={**os.environ, **environ}, start_new_session=True
            )
            self._running.append(process)
        wait_until(lambda: process.poll() is not None or ready(), name)
        if process.poll() is not None:
            raise RuntimeError(f"{name} did not start:\n{log.read_text(errors='replace')[-6000:]}")
        return process

    def _kill_all_of(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)  # the process leads a group that contains its workers
        process.wait()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block ends, so that what it has started or made is known."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def wait_until(ready: Callable[[], bool], what: str, seconds: float = STARTS_WITHIN) -> None:
    """Wait until `ready` returns true.

    :raises RuntimeError: if `ready` stays false for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not ready after {seconds:g} s")
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Return free TCP ports of the loopback interface."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def is_listening(port: int) -> bool:
    """Return whether a process accepts connections on a port of the loopback interface."""
    with socket.socket() as client:
        client.settimeout(0.2)
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_serving(port: int) -> bool:
    """Return whether a server answers. gunicorn listens before its workers have imported the app."""
    try:
        return get(port, "/health").status == 200
    except (OSError, http.client.HTTPException):
        return False
