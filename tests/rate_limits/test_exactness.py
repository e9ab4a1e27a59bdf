"""A limit lets through exactly what it says, however many workers count: on SQLite and on Redis, under gunicorn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from .exactness import ALGORITHMS, LIMIT, ROOMY, STEADY, Server, remaining, serving

pytestmark = [pytest.mark.slow, pytest.mark.serial]

WORKERS = 4
REQUESTS = 10 * LIMIT

by_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a storage for several workers, which is patient: how fast it is, is not tested."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('limits')}/limits.db?timeout=10"
    redis_url: str = request.getfixturevalue("redis_url")
    return redis_url


@pytest.fixture(scope="module")
def server(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("gunicorn"), uri, WORKERS) as started:
        yield started


@by_algorithm
def test_of_ten_times_as_many_requests_at_once_exactly_the_limit_passes(server: Server, algorithm: str) -> None:
    served_by = Counter[int]()

    for repetition in range(10):  # until all workers have served, which they mostly have at once
        outcome = server.drive(f"/{algorithm}", f"client {repetition}", REQUESTS)
        assert outcome.statuses == {200: LIMIT, 429: REQUESTS - LIMIT}
        assert remaining(outcome.refusal) == [0]
        served_by += outcome.by_worker
        if repetition and len(served_by) == WORKERS:
            break

    assert len(served_by) == WORKERS
    assert "the limit store" not in server.log.read_text()


@by_algorithm
def test_where_the_second_limit_is_used_up_the_first_is_not_charged(server: Server, algorithm: str) -> None:
    outcome = server.drive(f"/{algorithm}/two", "client", 4 * LIMIT)

    status, _, standing = server.get(f"/{algorithm}/two", "client")

    assert outcome.statuses == {200: LIMIT, 429: 3 * LIMIT}
    assert (status, remaining(standing)) == (429, [ROOMY - LIMIT, 0])


def test_a_bucket_that_fills_meanwhile_lets_through_what_it_was_filled_with(server: Server) -> None:
    began = time.monotonic()
    outcomes = [server.drive("/steady", "client", REQUESTS) for _ in range(3)]
    seconds = time.monotonic() - began

    passed = sum(each.statuses[200] for each in outcomes)
    assert sum(sum(each.statuses.values()) for each in outcomes) == 3 * REQUESTS
    assert LIMIT < passed <= LIMIT + STEADY * seconds


def test_clients_that_come_at_once_do_not_charge_each_other(server: Server) -> None:
    server.drive(f"/{ALGORITHMS[0]}", "greedy", 2 * LIMIT)

    assert server.drive(f"/{ALGORITHMS[0]}", "modest", LIMIT - 1).statuses == {200: LIMIT - 1}
