"""Fixtures of the tests of storages: servers, and the number of times that a client waits for one in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from .hammer import Hammers, hammers
from .redis_servers import RunServer, cluster, running


@pytest.fixture
def run_server(tmp_path: Path) -> Iterator[RunServer]:
    """Return what runs servers until the end of the test."""
    with ExitStack() as stack:
        yield lambda port, *options: stack.enter_context(running(port, tmp_path, *options))


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Popen[bytes]]]:
    """Return the URI and the process of a cluster of one node. Its tests are of one group: it takes long to start."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="session")
def four_processes() -> Iterator[Hammers]:
    """Return four processes that hammer a storage together. Their tests are of one group, to share them."""
    with hammers(4) as made:
        yield made


@pytest.fixture
def timeouts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the client libraries add the name of the connection whenever an answer is overdue."""
    import redis
    import valkey

    overdue: list[str] = []
    for library in (redis, valkey):
        connection: Any = library.connection.AbstractConnection
        late: Any = library.exceptions.TimeoutError

        def read(
            self: Any, *arguments: Any, read: Any = connection.read_response, late: Any = late, **given: Any
        ) -> Any:
            try:
                return read(self, *arguments, **given)
            except late:
                overdue.append(type(self).__name__)
                raise

        monkeypatch.setattr(connection, "read_response", read)
    return overdue
