"""What workers have counted outlives them where they count together; where each counts alone, each says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from .exactness import ALGORITHMS, CONNECTIONS, LIMIT, Server, remaining, serving

pytestmark = [pytest.mark.slow, pytest.mark.serial]

USED = LIMIT - 5


def restart(server: Server) -> None:
    """Stop it, and start another."""
    server.stop()
    server.start()


@pytest.fixture(params=["sqlite", "redis"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URI of a storage for several workers."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/limits.db?timeout=10"
    return str(request.getfixturevalue("redis_url"))


def test_counts_outlive_the_workers(tmp_path: Path, uri: str) -> None:
    client = uuid4().hex
    with serving(tmp_path, uri, 2) as server:
        for algorithm in ALGORITHMS:
            assert server.drive(f"/{algorithm}", client, USED).statuses == {200: USED}
        for number, again in enumerate((Server.reload, restart), 1):
            before = server.workers()

            again(server)

            assert not server.workers() & before
            for algorithm in ALGORITHMS:
                status, _, standing = server.get(f"/{algorithm}", client)
                assert (status, remaining(standing)) == (200, [LIMIT - USED - number])


def test_in_memory_each_worker_counts_alone_and_says_once_what_to_write_instead(tmp_path: Path) -> None:
    let_through = Counter[int]()
    with serving(tmp_path, "memory://", 2) as server:
        for number in range(10):  # until both workers have had requests, which they nearly always have at once
            let_through += (outcome := server.drive("/fixed-window", f"client {number}", 10 * LIMIT)).by_worker
            assert max(outcome.by_worker.values()) == LIMIT
            if len(let_through) == 2:
                break
        log = server.log.read_text()

    assert len(let_through) == 2
    warnings = [line for line in log.splitlines() if "each counts alone" in line]
    assert len(warnings) == 2
    assert all("sqlite:////" in line and "redis://" in line for line in warnings)


def test_a_single_worker_that_counts_in_memory_has_nothing_to_say(tmp_path: Path) -> None:
    with serving(tmp_path, "memory://", 1) as server:
        outcome = server.drive("/fixed-window", "client", CONNECTIONS)
        log = server.log.read_text()

    assert outcome.statuses == {200: LIMIT, 429: CONNECTIONS - LIMIT}
    assert "each counts alone" not in log
