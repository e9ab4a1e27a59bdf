"""What the tests of a failing store share: a real Redis, the ways in which it fails, and who listens."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from flask_guard.signals import store_available, store_unavailable

from ...conftest import free_port, is_listening, required_program, stop, wait_for

FAULTS = ("killed", "hanging", "out of memory", "read-only replica", "replica of nobody")
PATIENCE = "?socket_timeout=1&socket_connect_timeout=1"
"""Seconds for an answer, which a busy machine keeps: several times as many as by default."""

RECOVERY = 5.0
"""Seconds within which a store that is back is used again."""


class RedisServer:
    """A Redis that nobody else uses, with ways to break and to mend it."""

    def __init__(self, folder: Path) -> None:
        self._program = required_program("redis-server", "redis-server")
        self._folder = folder
        self.port = free_port()
        self.uri = f"redis://127.0.0.1:{self.port}/0"
        self.storage_uri = self.uri + PATIENCE
        self._main: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        self.process = self._run(self.port)

    def kill(self) -> None:
        """End it without a goodbye."""
        self.process.kill()
        self.process.wait()

    def restart_empty(self) -> None:
        """Kill it, and start it again with nothing in it."""
        self.kill()
        self.start()

    def break_down(self, fault: str) -> None:
        """Bring a fault about."""
        if fault == "killed":
            self.kill()
        elif fault == "hanging":
            os.kill(self.process.pid, signal.SIGSTOP)
        elif fault == "out of memory":
            self.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
            self.command("CONFIG", "SET", "maxmemory", "1")
        elif fault == "read-only replica":
            self._follow()
        else:
            self.command("REPLICAOF", "127.0.0.1", str(free_port()))

    def mend(self, fault: str) -> None:
        """Undo a fault."""
        if fault == "killed":
            self.start()
        elif fault == "hanging":
            os.kill(self.process.pid, signal.SIGCONT)
        elif fault == "out of memory":
            self.command("CONFIG", "SET", "maxmemory", "0")
        else:
            self.command("REPLICAOF", "NO", "ONE")

    def close(self) -> None:
        """Stop it, in whatever state it is."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
        stop(self.process)
        if self._main is not None:
            stop(self._main)

    def command(self, *words: str) -> Any:
        """Return the answer to a command."""
        with redis.Redis.from_url(self.uri, decode_responses=True) as client:
            return client.execute_command(*words)

    def calls(self) -> dict[str, int]:
        """Return how many times each command was called, also from a script, since the server or they were reset."""
        with redis.Redis.from_url(self.uri, decode_responses=True) as client:
            stats: dict[str, dict[str, int]] = client.info("commandstats")
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}

    def _follow(self) -> None:
        """Make it a replica, in step with a main server."""
        port = free_port()
        self._main = self._run(port)
        self.command("REPLICAOF", "127.0.0.1", str(port))
        wait_for(lambda: "master_link_status:up" in self._replication(), self.process)

    def _replication(self) -> str:
        with redis.Redis.from_url(self.uri) as client:
            return "".join(f"{key}:{value}\n" for key, value in client.info("replication").items())

    def _run(self, port: int) -> subprocess.Popen[bytes]:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        process = subprocess.Popen(
            [self._program, *options, "--repl-diskless-sync-delay", "0"], stdout=subprocess.DEVNULL
        )
        wait_for(lambda: is_listening(port), process)
        return process


class Reports:
    """What an app has said about its store: the messages of the log, and the signals."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.signals: list[str] = []
        self.senders: set[object] = set()

    @property
    def log(self) -> list[tuple[int, str]]:
        """Return the level and the message of each line about the store."""
        lines = [(each.levelno, each.getMessage()) for each in self._caplog.records if each.name == "flask_guard"]
        return [(level, text) for level, text in lines if "limit store" in text]

    @property
    def downs(self) -> int:
        """Return how many times the log says that the store is down."""
        return sum(level == logging.ERROR and "is down" in text for level, text in self.log)

    @property
    def ups(self) -> int:
        """Return how many times it says that the store is back."""
        return sum(level == logging.WARNING and "is back" in text for level, text in self.log)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of signals for a ``with`` block."""

        def down(sender: Flask, error: Exception) -> None:
            assert isinstance(error, Exception)
            self.signals.append("down")
            self.senders.add(sender)

        def up(sender: Flask) -> None:
            self.signals.append("up")
            self.senders.add(sender)

        with store_unavailable.connected_to(down), store_available.connected_to(up):
            yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a Redis that a test may break."""
    made = RedisServer(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Iterator[Reports]:
    """Return what is said about the store during the test."""
    made = Reports(caplog)
    with made.listening():
        yield made


def seconds_until_back(client: FlaskClient, reports: Reports, times: int = 1) -> float:
    """Send requests until it was said so many times that the store is back; return the seconds that this took."""
    return seconds_until(lambda: client.get("/").status_code != 500 and reports.ups >= times)


def seconds_until(happened: Callable[[], bool], most: float = RECOVERY) -> float:
    """Return the seconds until `happened` returns true; fail after `most`."""
    start = time.monotonic()
    while not happened():
        assert time.monotonic() - start < most, f"not within {most:g} s"
        time.sleep(0.02)
    return time.monotonic() - start
