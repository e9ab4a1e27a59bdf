"""What the tests of stored keys share: a real PostgreSQL, and a store of each kind."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flask_guard.keys import RedisKeys, SQLKeys, StoredKeys

from ..conftest import free_port, wait_for
from .clock import Clock

MakeStore = Callable[..., StoredKeys]

DEBIAN = "/usr/lib/postgresql"
IN_POSTGRES = pytest.mark.xdist_group("postgres")
"""The mark of tests that share a PostgreSQL, which takes long to start."""


class Postgres:
    """A PostgreSQL that nobody else uses, which a test can stop, freeze and start again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user)
        self._port = free_port()
        self.url = f"postgresql+psycopg://guard:hunter2@127.0.0.1:{self._port}/postgres"
        options = ["-D", str(self._data), "-U", "guard", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._popen("initdb", *options).wait()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._process is None:
            loopback = ["-h", "127.0.0.1", "-p", str(self._port), "-c", "unix_socket_directories=", "-c", "fsync=off"]
            self._process = self._popen("postgres", "-D", str(self._data), *loopback)
            ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
            wait_for(lambda: subprocess.run(ready, check=False).returncode == 0, self._process)

    def stop(self) -> None:
        """End it, and all connections to it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # the others wait for clients
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it so that it accepts connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        for each in (pid, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)

    def _popen(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        who: dict[str, Any] = {}
        if self._user:
            who = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}
        command = [str(self._programs / program), *options]
        return subprocess.Popen(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **who
        )


def postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs; without it, skip here and fail in CI."""
    folders = [each.parent for each in Path(DEBIAN).glob("*/bin/postgres")]
    if found := shutil.which("postgres"):
        folders = [Path(found).resolve().parent]
    if not folders:
        message = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return max(folders, key=lambda each: [int(part) for part in each.parts if part.isdigit()])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a real PostgreSQL that nobody else uses, running."""
    programs = postgres_programs()
    with tempfile.TemporaryDirectory() as folder:  # where a user who is not root gets to, unlike pytest's own
        server = Postgres(programs, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(params=["sqlite", "redis", pytest.param("postgresql", marks=[pytest.mark.slow, IN_POSTGRES])])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Return a function that opens a store of each kind: always the same one, which nobody else uses."""
    unique, patient = uuid4().hex, {"timeout": 30.0}  # on however busy a machine
    made: list[StoredKeys] = []

    def make(**options: Any) -> StoredKeys:
        made.append(open_store(options))
        return made[-1]

    def open_store(options: dict[str, Any]) -> StoredKeys:
        if request.param == "redis":
            return RedisKeys(request.getfixturevalue("redis_url"), **{"prefix": f"{{{unique}}}:", **patient, **options})
        if request.param == "sqlite":
            return SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}", **{**patient, **options})
        postgres: Postgres = request.getfixturevalue("postgres")
        return SQLKeys(postgres.url, **{"table": f"keys_{unique}", **patient, **options})

    yield make
    for each in made:
        each.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of keys, to be moved forward."""
    return Clock(monkeypatch)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'keys.sqlite'}"
