"""A Redis that hangs, is gone or writes nothing: what that costs, and which options decide it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from limits import parse
from limits.storage import RedisStorage

from flask_guard.rate_limits.storage import Charge, rate_budget
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_connections import default_options
from tests.conftest import free_port, stop
from tests.rate_limits.storage.redis_servers import (
    RunServer,
    cluster,
    hanging,
    sentinel_for,
    storage_at,
    valkey,
)

pytestmark = pytest.mark.slow

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]
CLIENT = "127.0.0.1"


def fails(counter: RedisCounter, storage: RedisStorage) -> bool:
    """Return whether a charge fails with an error of the storage's."""
    with pytest.raises((storage.base_exceptions, OSError)):  # type: ignore[arg-type]
        counter.take([(rate_budget(parse("2/minute"), "scope"), CLIENT, 1, 1)])
    return True


@pytest.mark.parametrize("library", ["redis", "valkey"])
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("form", ["one server", "unix socket", "sentinel"])
def test_a_server_that_hangs_is_waited_for_once(
    run_server: RunServer, tmp_path: Path, timeouts: list[str], form: str, library: str, connected: bool
) -> None:
    port, path = free_port(), tmp_path / "socket"
    process = run_server(port, "--save", "", "--unixsocket", str(path))
    uri = {"one server": f"redis://127.0.0.1:{port}/0", "unix socket": f"redis+unix://{path}"}.get(form)
    uri = uri or sentinel_for(run_server, tmp_path, port)
    storage = storage_at(valkey(uri) if library == "valkey" else uri)
    counter = RedisCounter(storage)
    charges: list[Charge] = [(rate_budget(parse("9/minute"), "scope"), CLIENT, 1, 1)]
    if connected:
        counter.take(charges)

    with hanging(process):
        assert fails(counter, storage)
    waited = len(timeouts)

    assert waited == 1 or (waited == 0 and not connected)  # the thread that connects has its own timeout
    assert counter.take(charges)[0]


def test_a_server_that_is_gone_is_not_waited_for(run_server: RunServer, timeouts: list[str]) -> None:
    port = free_port()
    process = run_server(port, "--save", "")
    storage = storage_at(f"redis://127.0.0.1:{port}/0")
    counter = RedisCounter(storage)
    counter.take([(rate_budget(parse("2/minute"), "scope"), CLIENT, 1, 1)])
    stop(process)

    assert fails(counter, storage)
    assert timeouts == []


@pytest.mark.parametrize("fault", ["out of memory", "read only"])
def test_a_server_that_writes_nothing_fails_and_charges_none(run_server: RunServer, fault: str) -> None:
    port = free_port()
    run_server(port, "--save", "")
    storage = storage_at(f"redis://127.0.0.1:{port}/0")
    counter, client = RedisCounter(storage), storage.get_connection()
    budgets = [rate_budget(parse("9/minute"), "scope", name) for name in ALGORITHMS]
    charges: list[Charge] = [(budget, f"{CLIENT} {budget.algorithm.code}", 1, 1) for budget in budgets]
    counter.take(charges)
    run: Any = client.execute_command  # type: ignore[attr-defined]
    run(*("CONFIG SET maxmemory 1" if fault == "out of memory" else f"REPLICAOF 127.0.0.1 {free_port()}").split())

    assert fails(counter, storage)
    run(*("CONFIG SET maxmemory 0" if fault == "out of memory" else "REPLICAOF NO ONE").split())

    assert [each.remaining for each in counter.take([(*each[:3], 0) for each in charges])[1]] == [8] * len(ALGORITHMS)


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_a_cluster_that_hangs_is_waited_for_twice_at_most(
    redis_cluster: tuple[str, Popen[bytes]], timeouts: list[str], library: str
) -> None:
    uri, process = redis_cluster
    storage = storage_at(uri if library == "redis" else valkey(uri))
    counter, charges = RedisCounter(storage), [(rate_budget(parse("9/minute"), "scope"), CLIENT, 1, 1)]
    counter.take(charges)

    with hanging(process):
        assert fails(counter, storage)
    waited = len(timeouts)

    assert waited <= 2  # redis-py also asks the nodes anew which slots they have
    assert counter.take(charges)[0]


@pytest.mark.slow
def test_a_cluster_that_has_lost_its_slots_fails_and_is_not_waited_for(tmp_path: Path, timeouts: list[str]) -> None:
    import redis

    with cluster(tmp_path) as (uri, _):
        storages = [storage_at(uri), storage_at(valkey(uri))]
        counters = [RedisCounter(storage) for storage in storages]
        with redis.Redis.from_url(uri.replace("redis+cluster", "redis")) as node:
            node.execute_command("CLUSTER", "DELSLOTSRANGE", 0, 16383)

        assert [fails(*each) for each in zip(counters, storages, strict=True)] == [True, True]
        assert timeouts == []


# The options -------------------------------------------------------------------------------------------------------


def test_other_storages_have_no_defaults() -> None:
    for uri in ("memory://", "memcached://127.0.0.1:1", "mongodb://127.0.0.1", "sqlite:///limits.db", "nonsense"):
        assert default_options(uri) == {}


@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_what_the_uri_says_comes_before_the_defaults(library: str) -> None:
    storage = storage_at(f"{library}://127.0.0.1:1/0?socket_timeout=1.5")

    connection = storage.get_connection().connection_pool.make_connection()  # type: ignore[attr-defined]

    assert (connection.socket_timeout, connection.socket_connect_timeout) == (1.5, 0.2)


@pytest.mark.parametrize("library", ["redis", "valkey"])
@pytest.mark.parametrize("where", ["uri", "options"])
def test_what_is_said_about_trying_again_is_done(
    run_server: RunServer, timeouts: list[str], where: str, library: str
) -> None:
    port = free_port()
    process = run_server(port, "--save", "")
    uri = f"{library}://127.0.0.1:{port}/0"
    storage = storage_at(f"{uri}?retry_on_timeout=yes") if where == "uri" else storage_at(uri, retry_on_timeout=True)
    counter = RedisCounter(storage)
    counter.take([(rate_budget(parse("2/minute"), "scope"), CLIENT, 1, 1)])

    with hanging(process):
        assert fails(counter, storage)

    assert len(timeouts) == 2


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster", "valkey+sentinel", "valkey+cluster"])
def test_without_the_client_library_it_is_up_to_limits_to_say_so(scheme: str) -> None:
    code = (
        "import sys; sys.modules.update(redis=None, valkey=None)\n"
        "from flask_guard.rate_limits.storage.redis_connections import default_options\n"
        f"assert default_options({scheme!r} + '://127.0.0.1:1')['socket_timeout'] == 0.2"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
