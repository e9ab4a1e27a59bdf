"""Workers that draw on one budget in batches: processes that are forked, killed and replaced.

``python -m tests.rate_limits.batches.fleet`` imports the package once, says "ready", and runs a job for each line of
JSON. Each request that is let through adds a byte to a ledger, a file that outlives the worker.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_guard import Guard, limit
from flask_guard.rate_limits.storage import batches, pools
from tests.storage_clock import CLOCKS

TEXT = "served"


@dataclass
class Job:
    """What a fleet does.

    :ivar ledger: the path of the file that gets a byte for each request that is let through.
    :ivar asks: the requests of each worker; 0 for as many as it takes until one is refused.
    :ivar skews: the seconds by which the clocks of each machine are ahead. The workers are on these in turn.
    :ivar kills: the workers that are killed, each after some more requests, and replaced.
    :ivar lease: the seconds of a lease.
    :ivar seconds: how long workers go on although they are refused.
    :ivar forks: the requests after which each worker forks a child that goes on, too.
    """

    uri: str
    prefix: str
    ledger: str
    rate: str
    batch: int
    workers: int = 8
    asks: int = 0
    skews: tuple[float, ...] = (0.0,)
    kills: int = 0
    seed: int = 0
    lease: float = 60.0
    seconds: float = 0.0
    cost: int = 1
    forks: int = 0


def make_client(job: Job) -> FlaskClient:
    """Return a client of an app whose one view is limited, and keeps the ledger."""
    app = Flask("fleet")
    app.config.update(
        RATELIMIT_STORAGE_URI=job.uri, RATELIMIT_KEY_PREFIX=job.prefix, GUARD_LIMIT_SLOW_MS=None, SECRET_KEY="tests"
    )
    Guard(app)
    ledger = os.open(job.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def view() -> str:
        os.write(ledger, b"x")
        return TEXT

    app.add_url_rule("/", "view", limit(job.rate, batch=job.batch, cost=job.cost)(view))
    return app.test_client()


def create_app() -> Flask:
    """Return the app of a gunicorn. Its job is in ``FLEET_JOB``."""
    job = Job(**json.loads(os.environ["FLEET_JOB"]))
    pools.LEASE = job.lease
    return make_client(job).application


def work(job: Job, client: FlaskClient, machine: int) -> None:
    """Ask, until the job is done."""
    set_clocks(job.skews[machine % len(job.skews)])
    pools.LEASE, batches.PAUSE = job.lease, min(batches.PAUSE, job.lease)
    deadline = time.monotonic() + job.seconds
    asked = 0
    child = None
    for _ in range(job.forks):
        client.get("/")
    if job.forks:
        child = os.fork()
    while not job.asks or asked < job.asks:
        asked += 1
        if client.get("/").status_code != 200 and not job.asks:
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
    if child:
        assert os.waitpid(child, 0)[1] == 0


def set_clocks(ahead: float) -> None:
    """Set the clocks of this process, those that nobody sets included."""
    if ahead:
        for name in (*CLOCKS, "flask_guard.rate_limits.fields:time", "flask_guard.rate_limits.storage.counter:time"):
            module, _, attribute = name.partition(":")
            real = getattr(import_module(module), attribute)
            setattr(import_module(module), attribute, lambda real=real: real() + ahead)


def start(job: Job, client: FlaskClient, machine: int) -> int:
    """Fork a worker; return its process id. At its end it does what a process does, but for what costs time."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        status = 1
        try:
            work(job, client, machine)
            atexit._run_exitfuncs()
            status = 0
        except Exception:  # noqa: BLE001  # the parent is told of it
            traceback.print_exc()
        os._exit(status)
    return child


def run(job: Job) -> int:
    """Run workers, and kill some of them; return how many requests were let through."""
    chosen = random.Random(job.seed)  # noqa: S311
    ledger = Path(job.ledger)
    client = make_client(job)
    gc.freeze()
    alive = {start(job, client, machine): machine for machine in range(job.workers)}
    kills, due = 0, chosen.randrange(1, 200)
    while alive:
        if kills < job.kills and ledger.stat().st_size >= due:
            victim = chosen.choice(sorted(alive))
            os.kill(victim, signal.SIGKILL)
            kills, due = kills + 1, due + chosen.randrange(1, 200)
            os.waitpid(victim, 0)
            machine = alive.pop(victim)
            alive[start(job, client, machine)] = machine
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            assert status == 0, status
            del alive[done]
        else:
            time.sleep(0.001)
    return ledger.stat().st_size


class Fleet:
    """A process that runs jobs."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.rate_limits.batches.fleet"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, job: Job) -> int:
        """Run a job; return how many requests were let through."""
        print(json.dumps(asdict(job)), file=self._process.stdin, flush=True)
        passed: int = json.loads(self.read())
        return passed

    def read(self) -> str:
        """Return the next line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def stop(self) -> None:
        """End it. Its workers have ended with their job."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Run a fleet for a ``with`` block."""
    made = Fleet()
    try:
        assert made.read() == "ready\n"
        yield made
    finally:
        made.stop()


def main() -> None:
    """Run jobs."""
    print("ready", flush=True)
    for line in sys.stdin:
        values: dict[str, Any] = json.loads(line)
        print(json.dumps(run(Job(**values))), flush=True)


if __name__ == "__main__":
    main()
