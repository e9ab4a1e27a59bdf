"""A limit lets through exactly what it says, however many workers count: on SQLite and on Redis, under gunicorn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from .exactness import ALGORITHMS, LIMIT, ROOMY, Server, remaining, serving

WORKERS = 4
REPETITIONS = 5
REQUESTS = 10 * LIMIT

by_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a storage for several workers, which is patient: how fast it is, is not what is tested."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('limits')}/limits.db?timeout=10"
    redis_url: str = request.getfixturevalue("redis_url")
    return f"{redis_url}?socket_timeout=10&socket_connect_timeout=10"


@pytest.fixture(scope="module")
def server(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("gunicorn"), uri, WORKERS) as started:
        yield started


@by_algorithm
def test_of_ten_times_as_many_requests_at_once_exactly_the_limit_passes(server: Server, algorithm: str) -> None:
    served_by = Counter[int]()

    for repetition in range(REPETITIONS):
        outcome = server.drive(f"/{algorithm}", f"client {repetition}", REQUESTS)
        assert outcome.statuses == {200: LIMIT, 429: REQUESTS - LIMIT}
        assert remaining(outcome.refusal) == [0]
        served_by += outcome.by_worker

    assert len(served_by) == WORKERS
    assert "the limit store" not in server.log.read_text()


@by_algorithm
def test_where_the_second_limit_is_used_up_the_first_is_not_charged(server: Server, algorithm: str) -> None:
    outcome = server.drive(f"/{algorithm}/two", "client", REQUESTS)

    status, _, standing = server.get(f"/{algorithm}/two", "client")

    assert outcome.statuses == {200: LIMIT, 429: REQUESTS - LIMIT}
    assert (status, remaining(standing)) == (429, [ROOMY - LIMIT, 0])


@by_algorithm
def test_clients_that_come_at_once_do_not_charge_each_other(server: Server, algorithm: str) -> None:
    server.drive(f"/{algorithm}", "greedy", REQUESTS)

    assert server.drive(f"/{algorithm}", "modest", LIMIT - 1).statuses == {200: LIMIT - 1}
