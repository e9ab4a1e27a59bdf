"""What all tests share: apps, a real Redis, and checks that no test leaves anything behind."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
from flask import Flask, has_app_context, has_request_context
from hypothesis import settings
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

from .forked import Forks
from .ids import shown
from .run_log import SecretFinder

MakeApp = Callable[..., Flask]

settings.register_profile("patient", deadline=None, max_examples=50)  # how long an example takes depends on the machine
settings.load_profile("patient")


def pytest_make_parametrize_id(config: pytest.Config, val: object) -> str | None:
    """Name text and numbers as `shown` does; the rest as pytest does."""
    return shown(val) if isinstance(val, (str, bytes, int, float)) else None


def pytest_configure() -> None:
    """Let all processes share compiled modules, as each would compile the package and rewrite the tests for itself."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all modules and tests again and again."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> list[str]:
    """Return the optional programs that are there: tests of the others are skipped, or fail where CI is set."""
    programs = {"redis-server": "Redis", "chromium": "Chromium", "gunicorn": "gunicorn"}
    found = [name for program, name in programs.items() if shutil.which(program)]
    found += ["PostgreSQL"] if any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) else []
    return [f"services found: {', '.join(found) or 'none'}"]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes ``-n auto`` starts: two a core, as many of the slow tests wait for a server."""
    return (1 if config.getoption("markexpr") == "not slow" else 2) * (os.cpu_count() or 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> WholeFiles | None:
    """Return a scheduler that hands out whole files where all tests are quick: asking for each takes longer."""
    return WholeFiles(config, log) if config.getoption("markexpr") == "not slow" else None


class WholeFiles(LoadGroupScheduling):  # type: ignore[misc]
    """Keeps the tests of a group together, and else those of a file."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return nodeid.partition("::")[0] if scope == nodeid else scope


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that are marked as serial in one process, one after the other."""
    for item in items:
        if item.get_closest_marker("serial"):
            item.add_marker(pytest.mark.xdist_group("serial"))


@pytest.fixture(scope="session")
def run_log() -> Iterator[SecretFinder]:
    """Look for secrets in every record of the run, those that nobody else listens to included."""
    finder, logger = SecretFinder(), logging.getLogger("flask_guard")
    logging.getLogger().addHandler(finder)
    logger.setLevel(logging.DEBUG)
    yield finder
    logger.setLevel(logging.NOTSET)
    logging.getLogger().removeHandler(finder)


@pytest.fixture
def make_app() -> MakeApp:
    """Return a function that makes an app; its keyword arguments are config keys."""

    def make(**config: Any) -> Flask:
        app = Flask("tests")
        app.config.update({"SECRET_KEY": "a secret key for tests", **config})
        return app

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Return an app with the default configuration."""
    return make_app()


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on, another one each time."""
    return next(filter(is_free, server_ports()))


@functools.cache
def server_ports() -> Iterator[int]:
    """Return the ports for servers of this process of the tests, beginning anywhere.

    They lie below those that systems give to outgoing connections: none of these takes a port before its server does.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(12_000 + process, 22_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    first = SystemRandom().randrange(len(ports))
    return itertools.cycle((*ports[first:], *ports[:first]))


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of the loopback interface."""
    with socket.socket() as listener, contextlib.suppress(OSError):
        listener.bind(("127.0.0.1", port))
        return True
    return False


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Wait until `ready` returns true; fail at once if `process` ends."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.args!r} was not ready after {seconds} s")
        time.sleep(0.02)


def is_listening(port: int) -> bool:
    """Return whether something accepts connections on `port` of the loopback interface."""
    with socket.socket() as client:
        client.settimeout(0.2)
        return client.connect_ex(("127.0.0.1", port)) == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the one process that a test started."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def required_program(name: str, package: str) -> str:
    """Return the path of a program; without it, skip here and fail in CI."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Return what starts programs. Tests that use it belong into one process: mark them with its group."""
    started = Forks()
    yield started
    started.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a real Redis that nobody else uses."""
    program = required_program("redis-server", "redis-server")
    folder: Path = tmp_path_factory.mktemp("redis")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop(process)


def patient(redis_url: str) -> str:
    """Return the URL of a limit storage whose timeouts a busy machine keeps, for tests that are not about time."""
    return f"{redis_url}?socket_timeout=20&socket_connect_timeout=20"


@pytest.fixture(autouse=True)
def nothing_left(run_log: SecretFinder) -> Iterator[None]:
    """Fail a test that has logged a secret, or leaves a Flask context or a thread behind.

    With a context that is left, the next test would work by accident.
    """
    before = set(threading.enumerate())
    yield
    found, run_log.found = run_log.found, []
    assert found == []
    assert not has_app_context()
    assert not has_request_context()
    assert threads_left(before) == []


def threads_left(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that run and did not before, after a while, in which they may be about to end.

    Limits' short-lived timers and the pools of asgiref do not count. Those pools have the names that Python gives, and
    live as long as the traceback of an exception refers to them.
    """
    left = [each for each in threading.enumerate() if each not in before and not isinstance(each, threading.Timer)]
    left = [each for each in left if not each.name.startswith("ThreadPoolExecutor-")]
    for thread in left:
        while thread.ident is None:  # it is being started, and cannot be joined yet
            time.sleep(0.01)
        with contextlib.suppress(RuntimeError):  # as long as it has an ident, and has not said that it started
            thread.join(2)
    return [each for each in left if each.is_alive()]
