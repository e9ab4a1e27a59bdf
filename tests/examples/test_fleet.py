"""`python -m examples.fleet` tells the truth, and leaves nothing running however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from examples.fleet import LIMIT

from ..conftest import is_listening, required_program
from ..readme import ROOT

MARK = "FLEET_OF_TEST"
"""The variable by which the processes of a test are known."""

pytestmark = pytest.mark.slow


def _hear_interrupts() -> None:
    """Let Ctrl-C interrupt, also where the tests run in the background of a shell, which keeps it from them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """The example as a user runs it, and all that it starts."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self._folder = folder
        self._mark = f"{MARK}={uuid4().hex}"
        name, _, value = self._mark.partition("=")
        variables = {**os.environ, "TMPDIR": str(folder), name: value, **environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.fleet"],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_hear_interrupts,
        )
        self.text = ""

    def read_until(self, text: str) -> None:
        """Read what it prints, up to the line that has `text` in it."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.text += line
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}, but: {self.text}")

    def wait_for_its_folder(self, folder: Path) -> None:
        """Wait until it has made its temporary folder, and so is about to start the first process."""
        deadline = time.monotonic() + 20
        while not list(folder.iterdir()):
            assert self.process.poll() is None, self.finish()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def finish(self) -> tuple[int, str]:
        """Return its exit status and all that it printed."""
        rest, _ = self.process.communicate(timeout=60)
        self.text += rest
        return self.process.returncode, self.text

    def left(self) -> list[str]:
        """Return the command lines of its processes that are running."""
        return [
            (each / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            for each in Path("/proc").glob("[0-9]*")
            if self._is_ours(each)
        ]

    def _is_ours(self, process: Path) -> bool:
        try:
            marked = self._mark.encode() in (process / "environ").read_bytes().split(b"\0")
            return marked or str(self._folder) in str((process / "cwd").readlink())  # Redis overwrites its environ
        except OSError:  # it has ended, or is somebody else's
            return False


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[Run]:
    """Run the example; interrupt it if the test fails."""
    started = Run(folder, **environ)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.send_signal(signal.SIGINT)
            started.finish()


def nothing_is_left(run: Run, folder: Path) -> bool:
    """Return whether its processes have ended, its ports are closed and its files gone."""
    ports = [int(port) for line in run.text.splitlines() if "gunicorns of" in line for port in re.findall(r"\d+", line)]
    return run.left() == [] and list(folder.iterdir()) == [] and not any(map(is_listening, ports))


@pytest.fixture(autouse=True)
def needs_redis() -> None:
    required_program("redis-server", "redis-server")


def test_it_shows_one_limit_kept_by_all_and_a_site_that_outlives_its_redis(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.read_until("ports")
        seen = run.left()
        status, text = run.finish()

    assert status == 0, text
    assert sum("redis-server" in each for each in seen) == 1
    assert sum("gunicorn" in each for each in seen) >= 2
    sums = re.findall(r"let through: (\d+) \+ (\d+) = (\d+); the limit is (\d+)", text)
    assert [(int(a) + int(b), int(total), int(limit)) for a, b, total, limit in sums] == [(LIMIT, LIMIT, LIMIT)] * 2
    alone = re.search(r"the site stays up\. (.*)\n.*counts locally: ([\d +]+)", text)
    assert alone
    assert set(re.findall(r"x (\d+)", alone[1])) <= {"200", "429"}
    assert all(1 <= int(each) <= LIMIT for each in alone[2].split("+"))
    assert re.search(r"the limit store is down \(ConnectionError: .*once for each worker", text)
    assert re.search(r"the limit store is back .*once for each worker", text)
    assert "Traceback" not in text
    assert nothing_is_left(run, tmp_path)


@pytest.mark.parametrize(
    ("after", "number"),
    [
        pytest.param(0.0, signal.SIGINT, id="as it begins"),
        pytest.param(0.4, signal.SIGTERM, id="as servers start"),
        pytest.param("ports", signal.SIGINT, id="while it drives them"),
        pytest.param("killed", signal.SIGTERM, id="while Redis is down"),
        pytest.param("started again", signal.SIGINT, id="while Redis comes back"),
    ],
)
def test_interrupted_it_stops_all_that_it_has_started(
    tmp_path: Path, after: str | float, number: signal.Signals
) -> None:
    with running(tmp_path) as run:
        if isinstance(after, str):
            run.read_until(after)
        else:
            run.wait_for_its_folder(tmp_path)
            time.sleep(after)
        run.process.send_signal(number)
        status, text = run.finish()

    assert status == (130 if number is signal.SIGINT else 143)
    assert "Traceback" not in text
    assert nothing_is_left(run, tmp_path)


def test_a_server_that_does_not_start_is_told_and_the_others_are_stopped(tmp_path: Path) -> None:
    with running(tmp_path, FLASK_RATELIMIT_STRATEGY="nonsense") as run:
        status, text = run.finish()

    assert status == 1
    assert re.search(r"gunicorn-\d+ did not start", text)
    assert "RATELIMIT_STRATEGY must be one of" in text
    assert nothing_is_left(run, tmp_path)


def test_without_redis_server_it_says_what_to_install(tmp_path: Path) -> None:
    with running(tmp_path, PATH=str(tmp_path)) as run:
        status, text = run.finish()

    assert status == 1
    assert text.splitlines() == ["redis-server is not installed: apt-get install redis-server, or brew install redis"]
