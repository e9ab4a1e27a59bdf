"""An SQLite file that fails: the site stays up, and counts in the file again as soon as that works."""

from __future__ import annotations

import logging
import resource
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from limits import parse

from flask_guard import Guard, limit
from flask_guard.rate_limits.storage import Charge, SQLiteStorage, rate_budget
from flask_guard.rate_limits.storage.counter import Changes
from flask_guard.rate_limits.storage.table import table_key
from tests.conftest import MakeApp
from tests.storage_clock import Clock

from .hammer import Hammers, in_a_child

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "limits.db"


@pytest.fixture
def client(make_app: MakeApp, path: Path) -> FlaskClient:
    path.parent.mkdir()
    app = make_app(RATELIMIT_STORAGE_URI=f"sqlite:///{path}?timeout=0.3")
    Guard(app, policies=[limit("3/day")])
    app.add_url_rule("/", "view", lambda: "served")
    return app.test_client()


def charge(who: str = "client") -> list[Charge]:
    return [(rate_budget(parse("100/day"), "scope"), who, 1, 1)]


def statuses(client: FlaskClient, count: int) -> list[int]:
    return [client.get("/").status_code for _ in range(count)]


def wait_until_back(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> bool:
    """Return whether the store is found to be back within 5 s, while requests come."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        client.get("/missing")
        client.get("/")
        if any("store is back" in record.message for record in caplog.records):
            return True
        time.sleep(0.05)
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file for a ``with`` block, as a worker does that hangs."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_folder_that_is_not_there_means_counting_in_the_process_until_it_is(
    client: FlaskClient, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.rmdir()

    assert statuses(client, 4) == [200, 200, 200, 429]
    assert [record.levelno for record in caplog.records if "is down" in record.message] == [logging.ERROR]
    assert f"unable to open database file '{path}'" in caplog.text

    path.parent.mkdir()

    assert wait_until_back(client, caplog)
    assert 200 in statuses(client, 1)
    assert path.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which not even root may make files")
def test_a_folder_that_may_not_be_written_to_means_counting_in_the_process(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_STORAGE_URI="sqlite:////proc/limits.db")
    Guard(app, policies=[limit("3/day")])
    app.add_url_rule("/", "view", lambda: "served")

    assert statuses(app.test_client(), 4) == [200, 200, 200, 429]


def test_a_full_disk_is_an_error_until_there_is_room(tmp_path: Path) -> None:
    storage = SQLiteStorage(f"sqlite:///{tmp_path / 'limits.db'}")

    def use_up(storage: SQLiteStorage) -> None:
        for number in range(5000):
            storage.take(charge(str(number)))

    def fails_and_recovers() -> bool:
        storage.take(charge())
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        with pytest.raises(sqlite3.Error):
            use_up(storage)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return storage.take(charge())[1][0].remaining == 98

    assert in_a_child(fails_and_recovers)


@pytest.mark.parametrize("content", [b"this is no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_means_counting_in_the_process_until_it_is_deleted(
    client: FlaskClient, path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path.write_bytes(content)

    assert statuses(client, 4) == [200, 200, 200, 429]
    assert path.read_bytes() == content

    path.unlink()

    assert wait_until_back(client, caplog)
    assert path.read_bytes().startswith(b"SQLite format 3\0")


def test_a_file_that_becomes_corrupt_while_in_use_is_no_500(client: FlaskClient, path: Path) -> None:
    client.get("/")
    for each in path.parent.iterdir():
        if not each.name.endswith("-shm"):  # which is mapped into memory: to cut it off is the end of a process
            each.write_bytes(b"\xff" * each.stat().st_size)

    assert set(statuses(client, 6)) == {200, 429}


def test_who_holds_the_lock_for_long_holds_up_one_request(
    client: FlaskClient, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/")
    asked = []
    take = SQLiteStorage.take

    def noting(storage: SQLiteStorage, *arguments: Any) -> Any:
        asked.append(threading.current_thread().name)
        return take(storage, *arguments)

    monkeypatch.setattr(SQLiteStorage, "take", noting)
    with locked(path):
        statuses(client, 5)
        waited = asked.count("MainThread")

    assert waited == 1
    assert wait_until_back(client, caplog)


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = SQLiteStorage(f"sqlite:///{tmp_path / 'limits.db'}")
    budget = rate_budget(parse("5/day"), "scope")
    storage.take([(budget, "client", 1, 1)])

    def fail(states: object, now: float) -> tuple[None, Changes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.update([table_key(budget, "client")], fail)

    assert storage.take([(budget, "client", 1, 1)])[1][0].remaining == 3


@pytest.mark.parametrize("beside", [True, False], ids=["with -wal and -shm", "alone"])
def test_a_file_that_is_deleted_is_made_anew_within_a_second(tmp_path: Path, clock: Clock, beside: bool) -> None:
    path = tmp_path / "limits.db"
    storages = [SQLiteStorage(f"sqlite:///{path}") for _ in range(2)]
    for storage in storages:
        storage.take(charge())

    for each in list(tmp_path.iterdir()):
        if beside or each == path:
            each.unlink()
    clock.advance(1)

    assert [storage.take(charge())[1][0].remaining for storage in storages] == [99, 98]
    assert path.exists()


@pytest.mark.xdist_group("hammers")
@pytest.mark.parametrize("beside", [True, False], ids=["with -wal and -shm", "alone"])
def test_a_file_that_is_deleted_while_another_process_idles_is_made_anew(
    four_processes: Hammers, tmp_path: Path, beside: bool
) -> None:
    path = tmp_path / "limits.db"
    uri = f"sqlite:///{path}?timeout=30"
    idle = SQLiteStorage(uri)
    for number in range(50):
        idle.take(charge(str(number)))

    for each in list(tmp_path.iterdir()):
        if beside or each == path:
            each.unlink()
    passed, _ = four_processes(uri, "fixed-window", 100, threads=4, each=30)

    assert passed == 100
    assert idle.take(charge())[0]


def test_the_storage_says_whether_it_is_there(tmp_path: Path) -> None:
    missing = tmp_path / "folder"
    storage = SQLiteStorage(f"sqlite:///{missing}/limits.db")
    before = storage.check()

    missing.mkdir()

    assert (before, storage.check()) == (False, True)
