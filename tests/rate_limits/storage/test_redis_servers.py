"""Redis in all its forms: over a unix socket, as Valkey, behind a sentinel, as a cluster."""

from __future__ import annotations

from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from limits import parse
from limits.storage import RedisStorage

from flask_guard.rate_limits.storage import Budget, Charge, ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.redis import RedisCounter
from tests.conftest import free_port
from tests.rate_limits.storage.redis_servers import RunServer, sentinel_for, storage_at, valkey

pytestmark = pytest.mark.slow

IN_CLUSTER = pytest.param("cluster", marks=(pytest.mark.slow, pytest.mark.xdist_group("cluster")))
ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]
CLIENT = "127.0.0.1"


@pytest.fixture
def cluster_uri(redis_cluster: tuple[str, Popen[bytes]]) -> str:
    """Return the URI of a cluster."""
    return redis_cluster[0]


@pytest.fixture
def sentinel_uri(run_server: RunServer, tmp_path: Path) -> str:
    """Return the URI of a server that a sentinel watches."""
    port = free_port()
    run_server(port, "--save", "")
    return sentinel_for(run_server, tmp_path, port)


@pytest.fixture
def unix_uri(run_server: RunServer, tmp_path: Path) -> str:
    """Return the URI of a server that listens on a unix socket."""
    path = tmp_path / "socket"
    run_server(free_port(), "--save", "", "--unixsocket", str(path))
    return f"redis+unix://{path}"


@pytest.fixture(params=["redis", "unix", "sentinel", IN_CLUSTER])
def redis_uri(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url" if request.param == "redis" else f"{request.param}_uri"))


@pytest.fixture(params=["redis", "valkey"])
def uri(request: pytest.FixtureRequest, redis_uri: str) -> str:
    """Return the URI of each form of server, by each client library."""
    return redis_uri if request.param == "redis" else valkey(redis_uri)


def all_kinds() -> list[Budget]:
    rates = [rate_budget(parse(f"{number}/hour"), "scope", name) for number, name in enumerate(ALGORITHMS, 3)]
    return [*rates, concurrency_budget(4, 60, "scope"), ban_budget(60, "scope")]


# Every form --------------------------------------------------------------------------------------------------------


def test_it_counts_releases_bans_finds_and_clears(uri: str) -> None:
    counter = RedisCounter(storage_at(uri))
    *budgets, ban = all_kinds()
    charges: list[Charge] = [*((budget, CLIENT, 1, 1) for budget in budgets), (ban, CLIENT, 1, 0)]

    taken = [counter.take(charges, f"token {number}") for number in range(5)]
    counter.release([(budgets[-1], CLIENT, 1, 1)], "token 0")
    counter.ban(ban, CLIENT)
    standings = counter.take(charges)[1]
    found = list(counter.find())
    for budget, who in found:
        counter.forget(budget, who)

    assert [each for each, _ in taken] == [True] * 3 + [False] * 2
    assert [each.remaining for each in standings] == [0, 1, 2, 3, 2, 0]
    assert {budget.key_for(who) for budget, who in found} == {each.key_for(CLIENT) for each in (*budgets, ban)}
    assert counter.take(charges)[0]


def test_a_server_that_has_restarted_is_told_the_script_again(uri: str) -> None:
    storage = storage_at(uri)
    counter, client = RedisCounter(storage), storage.get_connection()
    charges: list[Charge] = [(rate_budget(parse("2/minute"), "scope"), CLIENT, 1, 1)]
    counter.take(charges)

    client.script_flush()  # type: ignore[attr-defined]

    assert [counter.take(charges)[0] for _ in range(2)] == [True, False]


# A cluster ---------------------------------------------------------------------------------------------------------


def script_calls(counter: RedisCounter, charges: list[Charge], storage: RedisStorage) -> tuple[bool, int]:
    client: Any = storage.get_connection()
    counter.take([(charges[0][0], "somebody else", 1, 0)])  # so that the script is known
    client.config_resetstat()
    taken = counter.take(charges)[0]
    return taken, int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_keys_that_share_a_slot_cost_one_call(cluster_uri: str) -> None:
    storage = storage_at(cluster_uri, key_prefix=f"{{{uuid4().hex}}}")
    charges: list[Charge] = [(budget, CLIENT, 1, 1) for budget in all_kinds()]

    assert script_calls(RedisCounter(storage), charges, storage) == (True, 1)


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_keys_in_several_slots_are_tested_and_then_charged(cluster_uri: str) -> None:
    storage = storage_at(cluster_uri)
    counter = RedisCounter(storage)
    wide, narrow = (rate_budget(parse(rate), "scope") for rate in ("100/hour", "2/hour"))
    charges: list[Charge] = [(wide, CLIENT, 1, 1), (narrow, CLIENT, 1, 1)]

    assert script_calls(counter, charges, storage) == (True, 4)
    assert script_calls(counter, charges, storage) == (True, 4)
    assert script_calls(counter, charges, storage) == (False, 2)
    assert [each.remaining for each in counter.take(charges)[1]] == [98, 0]


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_the_clients_of_a_cluster_try_once(cluster_uri: str) -> None:
    client: Any = storage_at(cluster_uri).get_connection()
    of_valkey: Any = storage_at(valkey(cluster_uri)).get_connection()

    assert client.retry.get_retries() == 0
    assert of_valkey.cluster_error_retry_attempts == 0
