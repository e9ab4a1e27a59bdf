"""The connections to Redis that are kept ready: as many as are wanted, and none that somebody else uses."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import parse
from limits.storage import RedisStorage

from flask_guard import Guard, limit
from flask_guard.rate_limits.storage import Charge, rate_budget
from flask_guard.rate_limits.storage.redis import RedisCounter
from tests.conftest import free_port, patient
from tests.rate_limits.storage.hammer import in_a_child
from tests.rate_limits.storage.redis_servers import RunServer, storage_at, valkey

CHARGES: list[Charge] = [(rate_budget(parse("9999/minute"), "scope"), "127.0.0.1", 1, 1)]


@pytest.fixture
def storage(redis_url: str) -> RedisStorage:
    """Return a storage in which nothing is counted yet."""
    return storage_at(redis_url.partition("?")[0])


def take_at_once(counter: RedisCounter, client: Any, threads: int) -> list[bool]:
    """Return whether charges were made that were all on their way at the same time, each on its connection."""
    client.execute_command("CLIENT", "PAUSE", 100, "ALL")
    start = threading.Barrier(threads)

    def take(_number: int) -> bool:
        start.wait()
        return counter.take(CHARGES)[0]

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(take, range(threads)))


@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_a_server_that_was_replaced_under_its_name_is_left(run_server: RunServer, tmp_path: Path, library: str) -> None:
    old, new, name = tmp_path / "old", tmp_path / "new", tmp_path / "primary"
    for path in (old, new):
        run_server(free_port(), "--save", "", "--unixsocket", str(path))
    name.symlink_to(old)
    uri = patient(f"redis+unix://{name}")
    storage = storage_at(valkey(uri) if library == "valkey" else uri)
    counter, client = RedisCounter(storage), storage.get_connection()
    take_at_once(counter, client, 4)
    client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))  # type: ignore[attr-defined]
    name.unlink()
    name.symlink_to(new)

    with pytest.raises(storage.base_exceptions):
        counter.take(CHARGES)

    assert counter.take(CHARGES)[0]


PATIENT = {"socket_timeout": 20, "socket_connect_timeout": 20}
"""Options of a storage that waits for a busy machine."""

WITHOUT_HIREDIS = """
import sys
sys.modules["hiredis"] = None
from flask import Flask
from flask_guard import Guard, limit
app = Flask("tests")
app.config.update(RATELIMIT_STORAGE_URI=sys.argv[1], RATELIMIT_KEY_PREFIX=sys.argv[2], GUARD_LIMIT_SLOW_MS=None)
Guard(app)
app.add_url_rule("/", "view", limit("2/hour")(lambda: "served"))
print([app.test_client().get("/").status_code for _ in range(3)])
"""


@pytest.mark.slow
def test_a_client_that_is_all_python_counts_too(redis_url: str) -> None:
    program = [sys.executable, "-c", WITHOUT_HIREDIS, redis_url, uuid4().hex]

    ended = subprocess.run(program, capture_output=True, text=True, check=False)

    assert ended.stdout == "[200, 200, 429]\n", ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_as_many_as_ask_at_once_have_one_each(redis_url: str, library: str) -> None:
    storage = storage_at(valkey(redis_url) if library == "valkey" else redis_url, **PATIENT)
    counter = RedisCounter(storage)

    assert take_at_once(counter, storage.get_connection(), 120) == [True] * 120


def test_what_was_told_to_have_few_leaves_them_to_others(app: Flask, redis_url: str) -> None:
    limiter = Limiter(get_remote_address, app=app, storage_uri=redis_url, storage_options={"max_connections": 1})
    Guard(app)
    app.add_url_rule("/", "view", limiter.limit("9999/minute")(limit("9999/minute")(lambda: "")))
    client = app.test_client()

    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 200]


def test_a_child_has_connections_of_its_own(redis_url: str) -> None:
    storage = storage_at(redis_url, **PATIENT)
    counter, client = RedisCounter(storage), cast("Any", storage.get_connection())
    counter.take(CHARGES)
    made = client.info("stats")["total_connections_received"]

    def counts_on_another_connection() -> bool:
        remaining = counter.take(CHARGES)[1][0].remaining
        return bool(remaining == 9997 and client.info("stats")["total_connections_received"] == made + 2)

    assert in_a_child(counts_on_another_connection)
    assert counter.take(CHARGES)[1][0].remaining == 9996


def test_a_new_connection_is_made_where_no_thread_can_be_started(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert RedisCounter(storage).take(CHARGES)[0]


def test_an_answer_that_comes_too_late_is_nobody_elses(storage: RedisStorage) -> None:
    counter, client = RedisCounter(storage), cast("Any", storage.get_connection())
    budget = CHARGES[0][0]
    for _ in range(5):
        counter.take([(budget, "slow", 1, 1)])
    client.execute_command("CLIENT", "PAUSE", 400, "ALL")

    with pytest.raises(storage.base_exceptions):
        counter.take([(budget, "slow", 1, 1)])
    time.sleep(0.3)

    assert counter.take([(budget, "another", 1, 1)])[1][0].remaining == 9998


def test_a_thread_that_is_interrupted_leaves_no_answer_behind(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter, pool = RedisCounter(storage), cast("Any", storage.get_connection()).connection_pool
    budget = CHARGES[0][0]
    counter.take([(budget, "interrupted", 5, 5)])

    with monkeypatch.context() as patch:
        patch.setattr(pool.connection_class, "read_response", interrupt)
        with pytest.raises(SystemExit):
            counter.take([(budget, "interrupted", 1, 1)])

    assert counter.take([(budget, "another", 1, 1)])[1][0].remaining == 9998
    assert len(pool._in_use_connections) == 1


def interrupt(*_arguments: object, **_options: object) -> None:
    """Do as a server's worker does that is told to stop."""
    raise SystemExit
