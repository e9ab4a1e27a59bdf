"""However many workers draw on a budget in batches, whatever kills them: never more than the budget is let through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import pytest

from flask_guard import Guard
from tests.conftest import MakeApp, free_port, is_listening, stop, wait_for
from tests.readme import ROOT

from .asking import used
from .fleet import TEXT, Fleet, Job

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("batches")]

BUDGET = 1000
APP = "tests.rate_limits.batches.fleet:create_app()"
MakeJob = Callable[..., Job]


def counted_in(*cases: tuple[str, int]) -> pytest.MarkDecorator:
    """Run a test with storages and batches."""
    return pytest.mark.parametrize(("uri", "batch"), cases, indirect=["uri"])


only_redis = pytest.mark.parametrize("uri", ["redis"], indirect=True)


@pytest.fixture
def job(uri: str, tmp_path: Path) -> MakeJob:
    """Return a function that makes jobs of workers that count together."""

    def make(batch: int, rate: str = f"{BUDGET}/day", **options: object) -> Job:
        return Job(uri, uuid4().hex, f"{tmp_path}/ledger", rate, batch, **options)  # type: ignore[arg-type]

    return make


@counted_in(("redis", 1), ("redis", 50), ("redis", 500), ("sqlite", 50))
def test_all_of_a_budget_is_let_through_and_no_more(workers: Fleet, job: MakeJob, batch: int) -> None:
    assert workers(job(batch)) == BUDGET


def test_a_lease_that_is_over_all_the_time_loses_nothing_and_lends_nothing_twice(workers: Fleet, job: MakeJob) -> None:
    assert workers(job(50, lease=0.01)) == BUDGET


@counted_in(("redis", 5), ("redis", 50), ("redis", 500), ("sqlite", 50))
def test_workers_that_are_killed_lose_what_they_hold_and_no_more(workers: Fleet, job: MakeJob, batch: int) -> None:
    kills, seed = 8, int.from_bytes(os.urandom(4), "big")

    passed = workers(job(batch, kills=kills, seed=seed, lease=60 if seed % 2 else 0.01))

    assert BUDGET - kills * min(batch, BUDGET // 16) <= passed <= BUDGET, f"with the seed {seed}"


@only_redis
@pytest.mark.parametrize("kills", [0, 4])
def test_clocks_of_machines_that_differ_do_not_matter(workers: Fleet, job: MakeJob, kills: int) -> None:
    passed = workers(job(50, skews=(0.0, 86_400.0, -7.0, -500.0), kills=kills))

    assert BUDGET - kills * 50 <= passed <= BUDGET


def test_a_cost_of_several_units_is_let_through_as_often_as_it_fits(workers: Fleet, job: MakeJob) -> None:
    passed = workers(job(50, cost=7))

    assert BUDGET - 8 * 7 <= 7 * passed <= BUDGET  # a worker may hold fewer than seven


def test_a_child_does_not_spend_what_its_parent_holds(workers: Fleet, job: MakeJob) -> None:
    assert workers(job(50, workers=2, forks=40)) == BUDGET


def test_what_a_worker_holds_at_its_end_goes_back(workers: Fleet, job: MakeJob, make_app: MakeApp) -> None:
    made = job(50, workers=2, asks=40)

    assert workers(made) == 80
    app = make_app(RATELIMIT_STORAGE_URI=made.uri, RATELIMIT_KEY_PREFIX=made.prefix)
    Guard(app)
    assert used(app) == 80


@only_redis
def test_each_window_lets_its_budget_through_and_no_unit_of_the_last_one(workers: Fleet, job: MakeJob) -> None:
    """A window begins with a request, and no earlier than the last one ended: so many began in the time at most."""
    began = time.monotonic()
    passed = workers(job(20, rate="200/second", seconds=3.2))
    windows = int(time.monotonic() - began) + 1

    assert 200 <= passed <= windows * 200


@only_redis
def test_a_gunicorn_gives_back_what_its_workers_hold(job: MakeJob, make_app: MakeApp, tmp_path: Path) -> None:
    made, port = job(50), free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}", APP]
    environment = {**os.environ, "FLEET_JOB": json.dumps(asdict(made))}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: is_listening(port), process)
        for _ in range(60):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
                assert response.read() == TEXT.encode()
        app = make_app(RATELIMIT_STORAGE_URI=made.uri, RATELIMIT_KEY_PREFIX=made.prefix)
        Guard(app)
        assert used(app) > 60
    finally:
        stop(process)

    assert used(app) == 60


@only_redis
def test_greenlets_share_what_their_worker_holds(job: MakeJob) -> None:
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, json, sys\n"
        "from tests.rate_limits.batches.asking import until_refused\n"
        "from tests.rate_limits.batches.fleet import Job, make_client\n"
        "app = make_client(Job(**json.loads(sys.argv[1]))).application\n"
        "jobs = [gevent.spawn(until_refused, app.test_client()) for _ in range(50)]\n"
        "print(sum(each.get() for each in gevent.joinall(jobs)))\n"
    )

    answer = subprocess.check_output([sys.executable, "-c", program, json.dumps(asdict(job(50)))], cwd=ROOT, text=True)

    assert int(answer) == BUDGET
