"""Redis servers for tests: single ones, with a sentinel, as a cluster; and hanging ones."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from limits.storage import RedisStorage, storage_from_string

from flask_guard.rate_limits.storage.redis_connections import default_options
from tests.conftest import free_port, is_free, is_listening, required_program, stop, wait_for

RunServer = Callable[..., "subprocess.Popen[bytes]"]


@contextmanager
def running(port: int, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on `port` for a ``with`` block."""
    program = required_program("redis-server", "redis-server")
    common = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen([program, *options, *common], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), process)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        stop(process)


@contextmanager
def cluster(folder: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a cluster of one node for a ``with`` block; give its URI."""
    import redis

    port = port or cluster_port()
    with running(port, folder, "--save", "", "--cluster-enabled", "yes") as process, redis.Redis(port=port) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 20
        while b"cluster_state:ok" not in node.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{port}", process


def cluster_port() -> int:
    """Return a free port for a node of a cluster, which has a second one, 10,000 above."""
    while not is_free((port := free_port()) + 10_000):
        pass
    return port


@contextmanager
def hanging(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a server for a ``with`` block, so that it accepts and answers nothing."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def sentinel_for(run_server: RunServer, tmp_path: Path, port: int) -> str:
    """Run a sentinel that watches the server on `port`; return the URI."""
    watching, configuration = free_port(), tmp_path / "sentinel.conf"
    configuration.write_text(f"sentinel monitor service 127.0.0.1 {port} 1\n")
    run_server(watching, str(configuration), "--sentinel")
    return f"redis+sentinel://127.0.0.1:{watching}/service"


def valkey(uri: str) -> str:
    """Return `uri` with the client library of Valkey."""
    return uri.replace("redis", "valkey", 1)


def storage_at(uri: str, **options: Any) -> RedisStorage:
    """Return the storage at `uri` in which nothing is counted yet, with the options that an app gets."""
    storage: Any = storage_from_string(uri, **{"key_prefix": uuid4().hex, **default_options(uri), **options})
    assert isinstance(storage, RedisStorage)
    return storage
