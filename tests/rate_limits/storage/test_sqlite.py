"""The SQLite storage of one process: its URI, its files, and how it keeps them small."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from limits import parse
from limits.storage import storage_from_string

from flask_guard import ConfigError, Guard, limit
from flask_guard.rate_limits.storage import Budget, Charge, SQLiteStorage, rate_budget
from tests.cases import together
from tests.conftest import MakeApp
from tests.storage_clock import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limits.db"


@pytest.fixture
def storage(path: Path) -> SQLiteStorage:
    return SQLiteStorage(f"sqlite:///{path}")


def a_rate(rate: str = "100/day", algorithm: str = "fixed-window") -> Budget:
    return rate_budget(parse(rate), "scope", algorithm)


def charge(rate: str = "100/day", who: str = "client", algorithm: str = "fixed-window") -> list[Charge]:
    return [(a_rate(rate, algorithm), who, 1, 1)]


def rows(path: Path) -> int:
    """Return how many clients have a row in the file."""
    connection = sqlite3.connect(path)
    try:
        count: int = connection.execute("SELECT count(*) FROM guard_limits_1 WHERE key != ''").fetchone()[0]
        return count
    finally:
        connection.close()


def eventually(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Return whether `true` returns true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# The URI ---------------------------------------------------------------------------------------------------------


def test_three_slashes_begin_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = [storage_from_string(uri) for uri in ("sqlite:///a b.db", f"sqlite:///{tmp_path}/absolute.db?timeout=0.5")]
    monkeypatch.chdir("/")

    for storage in made:
        assert isinstance(storage, SQLiteStorage)
        assert storage.take(charge())[0]

    assert {path.name for path in tmp_path.iterdir() if path.suffix == ".db"} == {"a b.db", "absolute.db"}


REFUSED = {
    "sqlite://": "path",
    "sqlite:///": "alone",
    "sqlite:///:memory:": "alone",
    "sqlite:///file::memory:?cache=shared": "path of a file",
    "sqlite:///x.db?mode=memory": "'mode'",
    "sqlite:///x.db?timeuot=1": "write 'timeout'",
    "sqlite:///x.db?timeout=0": "timeout",
    "sqlite:///x.db?timeout=nan": "timeout",
    "sqlite:///x.db?timeout=soon": "timeout",
    "sqlite:///x.db?timeout=1000": "timeout",
    "sqlite://host/x.db": "no host",
}


@together(("uri", "message"), REFUSED.items())
def test_a_uri_that_cannot_be_meant_is_refused_at_init_app(make_app: MakeApp, uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Guard(make_app(RATELIMIT_STORAGE_URI=uri), policies=[limit("5/minute")])


@pytest.mark.parametrize(
    "options", [{"nonsense": 1}, {"timeout": -1}, {"timeout": True, "pragma": "x"}, {"timeout": []}]
)
def test_an_option_that_cannot_be_meant_is_refused_at_init_app(
    make_app: MakeApp, path: Path, options: dict[str, Any]
) -> None:
    config = {"RATELIMIT_STORAGE_URI": f"sqlite:///{path}", "RATELIMIT_STORAGE_OPTIONS": options}

    with pytest.raises(ConfigError, match=r"SQLite limits|timeout"):
        Guard(make_app(**config), policies=[limit("5/minute")])
    assert not path.exists()


# The files -------------------------------------------------------------------------------------------------------


def test_its_files_are_for_the_eyes_of_their_owner(storage: SQLiteStorage, path: Path) -> None:
    storage.take(charge())

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}

    assert modes == {"limits.db": 0o600, "limits.db-wal": 0o600, "limits.db-shm": 0o600}


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640])
def test_a_file_that_others_could_use_is_theirs_no_more(storage: SQLiteStorage, path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)

    storage.take(charge())

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("dangling", [True, False])
@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_a_link_is_refused_and_nothing_is_written_where_it_leads(path: Path, ending: str, dangling: bool) -> None:
    target = path.with_name("target")
    if not dangling:
        target.write_bytes(b"")
    if ending:
        path.touch()
    path.with_name(path.name + ending).symlink_to(target)

    with pytest.raises(sqlite3.Error, match="symbolic link: name the file itself"):
        SQLiteStorage(f"sqlite:///{path}").take(charge())

    assert not target.exists() if dangling else target.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, 12345)

    with pytest.raises(sqlite3.Error, match="belongs to the user with the id 12345"):
        SQLiteStorage(f"sqlite:///{path}").take(charge())


def test_a_file_that_is_replaced_by_a_link_is_left(storage: SQLiteStorage, path: Path, clock: Clock) -> None:
    storage.take(charge())
    for each in list(path.parent.iterdir()):
        each.unlink()
    path.symlink_to(path.with_name("target"))

    clock.advance(1)

    with pytest.raises(sqlite3.Error, match="symbolic link"):
        storage.take(charge())


def test_an_app_counts_in_its_process_while_the_file_is_unsafe(
    make_app: MakeApp, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.symlink_to(path.with_name("target"))
    app = make_app(RATELIMIT_STORAGE_URI=f"sqlite:///{path}")
    Guard(app, policies=[limit("2/day")])
    app.add_url_rule("/", "view", lambda: "")

    assert [app.test_client().get("/").status_code for _ in range(3)] == [200, 200, 429]
    assert "is a symbolic link: name the file itself, or remove the link" in caplog.text


def test_nothing_is_opened_before_the_first_request(storage: SQLiteStorage, path: Path) -> None:
    assert not path.exists()


def test_a_power_cut_corrupts_nothing(storage: SQLiteStorage, path: Path) -> None:
    storage.take(charge())
    connection = sqlite3.connect(path)

    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()

    assert mode == "wal"
    assert storage._file.read(lambda execute, now: execute("PRAGMA synchronous").fetchall()) == [(1,)]  # NORMAL


@pytest.mark.parametrize("value", ["nonsense", b"odd", 7, None, 1.5, "1 2 3 4"])
@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_a_row_that_makes_no_sense_counts_as_none(
    storage: SQLiteStorage, path: Path, algorithm: str, value: object
) -> None:
    storage.take(charge(algorithm=algorithm))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE guard_limits_1 SET state = ?", (value,))
    connection.close()

    assert storage.take(charge(algorithm=algorithm))[1][0].remaining == 99


# The clock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_a_clock_that_jumps_back_neither_locks_out_nor_hands_out_a_window(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    now = time.time()
    clock = [now]
    monkeypatch.setattr("flask_guard.rate_limits.storage.sqlite_file.time", lambda: clock[0])
    charges = charge("4/minute", algorithm=algorithm)
    used_up = [storage.take(charges)[0] for _ in range(5)]

    clock[0] = now - 3600
    at_once = [storage.take(charges)[0] for _ in range(3)]
    passed = []
    for second in range(1, 122, 5):  # it never stops asking
        clock[0] = now - 3600 + second
        passed.append(storage.take(charges)[0])

    assert (used_up, at_once) == ([True] * 4 + [False], [False] * 3)
    assert 4 <= sum(passed) <= 8


# Tidying up ------------------------------------------------------------------------------------------------------


def test_a_sweep_drops_what_has_ended_and_nothing_else(storage: SQLiteStorage, path: Path, clock: Clock) -> None:
    for number in range(450):
        storage.take(charge("5/hour", f"short {number}"))
    for number in range(5):
        storage.take(charge("5/day", f"long {number}"))
    clock.advance(3600)

    assert storage.sweep() == 450
    assert rows(path) == 5
    assert storage.take(charge("5/day", "long 0"))[1][0].remaining == 3


def test_what_has_ended_is_swept_by_itself_off_the_request_path(
    storage: SQLiteStorage, path: Path, clock: Clock
) -> None:
    for number in range(300):
        storage.take(charge("5/minute", f"client {number}"))
    clock.advance(61)

    storage.take(charge())

    assert eventually(lambda: rows(path) == 1)


def test_one_process_sweeps_for_all(storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[SQLiteStorage] = []
    monkeypatch.setattr(SQLiteStorage, "sweep", lambda self: swept.append(self))
    storages = [storage, SQLiteStorage(f"sqlite:///{path}")]

    for each in storages:
        monkeypatch.setattr(each, "_next_tidying", 0.0)
        each.take(charge())
        assert each._tidier is not None
        each._tidier.join(10)

    assert swept == [storage]


@pytest.mark.slow
def test_the_log_beside_the_file_stays_small(storage: SQLiteStorage, path: Path) -> None:
    for number in range(20_000):
        storage.take(charge("1000000/day", f"client {number % 50}"))

    assert path.with_name("limits.db-wal").stat().st_size < 16 * 2**20


def test_at_most_one_thread_tidies_up(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_guard.rate_limits.storage.sqlite.TIDY_AFTER", 1)
    most = 0
    for number in range(300):
        storage.take(charge(who=str(number)))
        most = max(most, sum(each.name == "flask-guard-sqlite" for each in threading.enumerate()))

    assert most == 1
