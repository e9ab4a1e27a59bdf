"""The SQLite storage among several processes: exact, kept across restarts, and safe at forks."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from flask_guard.rate_limits.storage import Charge, SQLiteStorage

from .hammer import Hammers, budget_of, hammers, in_a_child

pytestmark = pytest.mark.slow

shared = pytest.mark.xdist_group("hammers")
ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'limits.db'}?timeout=30"  # how fast it is, is not tested


def charge(algorithm: str = "fixed-window", amount: int = 100) -> list[Charge]:
    return [(budget_of(algorithm, amount), "client", 1, 1)]


@shared
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("amount", [1, 500])
def test_exactly_the_amount_passes_among_processes_and_threads(
    four_processes: Hammers, uri: str, algorithm: str, amount: int
) -> None:
    assert four_processes(uri, algorithm, amount, threads=16, each=20) == (amount, 4 * 16 * 20)


@shared
def test_processes_that_all_write_wait_for_each_other_and_none_gives_up(four_processes: Hammers, uri: str) -> None:
    passed, asked = four_processes(uri, "fixed-window", 10**9, threads=16, each=50)

    assert passed == asked


@pytest.mark.slow
def test_what_was_counted_outlives_the_processes(uri: str) -> None:
    passed = []
    for _ in range(2):
        with hammers(2) as two_processes:
            passed.append([two_processes(uri, each, 100, threads=1, each=30)[0] for each in ALGORITHMS])

    assert passed == [[60] * len(ALGORITHMS), [40] * len(ALGORITHMS)]


def test_a_process_that_is_killed_leaves_no_lock_behind(uri: str, tmp_path: Path) -> None:
    storage = SQLiteStorage(uri)
    storage.take(charge())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(tmp_path / "limits.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM guard_limits_1")
        os.write(writing, b"locked")
        signal.pause()
        os._exit(0)
    os.read(reading, 6)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert storage.take(charge())[1][0].remaining == 98


def test_a_storage_that_was_used_before_a_fork_counts_on_both_sides(uri: str) -> None:
    storage = SQLiteStorage(uri)
    storage.take(charge())

    assert in_a_child(lambda: storage.take(charge())[1][0].remaining == 98)
    assert storage.take(charge())[1][0].remaining == 97


def open_files(folder: Path) -> list[str]:
    """Return the files in `folder` that this process has open."""
    opened = [str(path.resolve()) for path in Path("/proc/self/fd").iterdir()]
    return [path for path in opened if path.startswith(str(folder))]


def test_no_connection_is_inherited(uri: str, tmp_path: Path) -> None:
    storage = SQLiteStorage(uri)
    storage.take(charge())

    assert open_files(tmp_path)
    assert in_a_child(lambda: not open_files(tmp_path))


def test_a_fork_amid_threads_that_write_leaves_a_child_that_counts(uri: str) -> None:
    storage = SQLiteStorage(uri)
    stop = threading.Event()
    passed: list[int] = []

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += storage.take(charge(amount=10**9))[0]
        passed.append(count)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = [in_a_child(lambda: all(storage.take(charge(amount=10**9))[0] for _ in range(20))) for _ in range(10)]
    stop.set()
    for thread in threads:
        thread.join()

    assert children == [True] * 10
    assert storage.take(charge(amount=10**9))[1][0].remaining == 10**9 - sum(passed) - 10 * 20 - 1


def test_a_file_that_is_first_used_while_a_fork_is_prepared_is_not_inherited(tmp_path: Path, uri: str) -> None:
    sweeps: list[threading.Thread] = []

    def sweep_once() -> None:
        if not sweeps:
            sweeps.append(threading.Thread(target=storage.sweep))
            sweeps[0].start()
            sweeps[0].join(0.3)

    os.register_at_fork(before=sweep_once)  # Python calls this one last, as it is the first to be registered
    storage = SQLiteStorage(uri)
    storage.take(charge())

    assert in_a_child(lambda: not open_files(tmp_path) and storage.take(charge())[0])
    sweeps[0].join()


def test_a_fork_that_python_does_not_see_is_noticed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    storage = SQLiteStorage(uri)
    storage.take(charge())

    inherited = storage._file._connection

    def counts() -> bool:
        remaining = [storage.take(charge())[1][0].remaining for _ in range(2)]
        return remaining == [98, 97] and storage._file._connection is not inherited

    assert inherited is not None
    assert in_a_child(counts)
    assert storage.take(charge())[1][0].remaining == 96
