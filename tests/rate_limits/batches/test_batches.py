"""`limit(batch=…)`: workers take units ahead; what is let through, refused, and told to the client."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from flask import Flask

from flask_guard import Guard, limit, protect
from flask_guard.core.app_state import AppState
from flask_guard.rate_limits.storage import Backend, pools
from tests.conftest import MakeApp
from tests.storage_clock import Clock

from .asking import allowed, eventually, rests, until_refused, used
from .conftest import LONG, Serve

pytestmark = pytest.mark.slow

only_redis = pytest.mark.parametrize("uri", ["redis"], indirect=True)
only_sqlite = pytest.mark.parametrize("uri", ["sqlite"], indirect=True)
in_batches = limit("1000/day", batch=50)


def script_calls(redis_url: str) -> int:
    """Return the number of scripts that the server has run since the last time."""
    with redis.Redis.from_url(redis_url.partition("?")[0]) as client:
        calls: dict[str, Any] = client.info("commandstats")
        client.config_resetstat()
    return int(calls.get("cmdstat_evalsha", {"calls": 0})["calls"])


@only_redis
def test_a_worker_asks_the_storage_once_for_a_batch(make_worker: Serve, redis_url: str) -> None:
    worker = make_worker(limit("10000/day", batch=50))
    assert allowed(worker, 1 + 2 + 4 + 8 + 16 + 32) == 63  # each batch is twice as large as the last one
    script_calls(redis_url)

    assert allowed(worker, 500) == 500
    assert script_calls(redis_url) == 10


@only_redis
def test_clients_that_ask_once_cost_one_call_each(make_worker: Serve, redis_url: str) -> None:
    worker = make_worker(limit("10000/day", batch=50, by=lambda request: request.headers["X-Client"]))
    allowed(worker, 1, **{"X-Client": "warm"})
    script_calls(redis_url)

    for number in range(10):
        assert allowed(worker, 1, **{"X-Client": str(number)}) == 1
    assert script_calls(redis_url) == 10


def test_the_fields_of_one_worker_tell_the_rest_exactly(make_worker: Serve) -> None:
    worker = make_worker(limit("400/day", batch=50))

    assert [rests(worker)[0] for _ in range(401)] == [*range(399, -1, -1), 0]
    assert worker.get("/").status_code == 429


def test_the_older_fields_tell_the_same(make_worker: Serve) -> None:
    worker = make_worker(limit("400/day", batch=50), GUARD_RATELIMIT_HEADERS="legacy")

    responses = [worker.get("/") for _ in range(100)]

    assert [each.headers["X-RateLimit-Remaining"] for each in responses] == [str(399 - n) for n in range(100)]
    resets = [int(each.headers["X-RateLimit-Reset"]) for each in responses]
    assert max(resets) - min(resets) <= 1
    assert 0 < resets[0] - time.time() < 86_401


def test_the_rest_is_overstated_by_no_more_than_others_took_since_the_last_call(make_worker: Serve) -> None:
    one, other = make_worker(in_batches), make_worker(in_batches)
    taken_by = [0, 0]
    for _ in range(40):
        for number, worker in enumerate((one, other)):
            taken_by[number] += 7
            assert allowed(worker, 6) == 6
            told, real = rests(worker)[0], 1000 - sum(taken_by)
            assert real - 50 <= told <= real + 50  # a batch of the other, which takes as many


def test_the_last_units_are_taken_one_at_a_time(make_worker: Serve) -> None:
    one, other = make_worker(limit("100/day", batch=50)), make_worker(limit("100/day", batch=50))
    passed = 0
    while passed < 85:
        passed += allowed(one, 1) + allowed(other, 1)
    held = used(one.application) - passed
    assert held <= 4

    passed += allowed(one, held) + allowed(other, held)
    while used(one.application) < 100:
        passed += allowed(one, 1)
        assert used(one.application) == passed
    assert (passed, until_refused(one), until_refused(other)) == (100, 0, 0)


def test_an_even_load_of_as_many_requests_as_there_are_units_passes(make_worker: Serve) -> None:
    workers = [make_worker(in_batches) for _ in range(8)]

    passed = sum(allowed(worker, 5) for _ in range(25) for worker in workers)

    assert 950 <= passed <= 1000


def test_units_that_a_worker_does_not_spend_come_back_when_the_lease_is_over(make_worker: Serve, lease: Clock) -> None:
    idle, busy = make_worker(limit("300/day", batch=50)), make_worker(limit("300/day", batch=50))
    passed = allowed(idle, 40)
    assert (passed_by_busy := until_refused(busy)) < 260

    lease.advance(LONG + 1)
    assert eventually(lambda: used(idle.application) < 300)
    assert passed + passed_by_busy + until_refused(busy) == 300
    assert until_refused(idle) == 0


def test_a_real_lease_is_over_after_a_second(make_worker: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "LEASE", 1.0)
    worker = make_worker(in_batches)
    assert allowed(worker, 20) == 20

    began = time.monotonic()
    assert eventually(lambda: used(worker.application) == 20)
    assert time.monotonic() - began < 10


def test_threads_share_what_their_worker_holds(make_worker: Serve) -> None:
    worker = make_worker(in_batches)

    def ask(_number: int) -> int:
        return until_refused(worker.application.test_client())

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1000


@only_sqlite
def test_a_unit_is_not_spent_after_the_window_that_it_was_taken_from(make_worker: Serve, lease: Clock) -> None:
    first, worker = make_worker(limit("400/minute", batch=50)), make_worker(limit("400/minute", batch=50))
    assert allowed(first, 1) == 1
    lease.advance(50)
    assert allowed(worker, 40) == 40
    assert used(worker.application) > 41  # some are held, by a lease that would last for longer than the window

    lease.advance(11)
    assert rests(worker) == [399]
    assert until_refused(worker) == 399


@only_sqlite
def test_a_unit_goes_back_only_into_the_window_that_it_was_taken_from(make_worker: Serve, lease: Clock) -> None:
    idle, busy = make_worker(limit("400/minute", batch=50)), make_worker(limit("400/minute", batch=50))
    assert allowed(idle, 40) == 40
    held = used(idle.application) - 40
    assert held

    lease.advance(61)
    assert until_refused(busy) == 400
    assert_nothing_comes_back(idle, 400)
    assert until_refused(busy) == 0


@only_redis
def test_a_unit_is_not_spent_after_its_window_on_redis(make_worker: Serve) -> None:
    worker = make_worker(limit("400/second", batch=50))
    allowed(worker, 40)

    time.sleep(1.1)
    assert rests(worker) == [399]


def assert_nothing_comes_back(worker: Any, expected: int) -> None:
    """Let the worker give back what it holds, and assert that the storage has not taken it."""
    backend = AppState.of(worker.application).service(Backend)
    backend.batched.give_all_back()  # type: ignore[attr-defined]
    assert used(worker.application) == expected


def test_units_of_before_a_reset_do_not_come_back_after_it(make_worker: Serve) -> None:
    idle, busy = make_worker(limit("300/day", batch=50)), make_worker(limit("300/day", batch=50))
    allowed(idle, 40)

    busy.application.extensions["guard"].guard.reset()
    assert until_refused(busy) == 300
    assert_nothing_comes_back(idle, 300)


def test_a_reset_forgets_what_the_process_holds(make_worker: Serve) -> None:
    worker = make_worker(in_batches)
    allowed(worker, 40)

    worker.application.extensions["guard"].guard.reset()
    assert rests(worker) == [999]
    assert until_refused(worker) == 999


def test_so_many_clients_are_served_in_batches_and_others_one_at_a_time(
    make_worker: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MOST_POOLS", 2)
    worker = make_worker(limit("1000/day", batch=50, by=lambda request: request.headers["X-Client"]))

    held = []
    for client in "abcd":
        before = used(worker.application)
        assert allowed(worker, 20, **{"X-Client": client}) == 20
        held.append(used(worker.application) - before - 20)

    assert held[0] > 0
    assert held[1] > 0
    assert held[2:] == [0, 0]


def test_a_storage_that_fails_stops_no_request_for_which_units_are_held(
    make_app: MakeApp, lease: Clock, tmp_path: Any
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"sqlite:///{tmp_path}/limits.db?timeout=0.1")
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", limit("1000/day", batch=50, on_store_error="deny")))
    client = app.test_client()
    assert allowed(client, 40) == 40
    held = used(app) - 40

    backend = AppState.of(app).service(Backend)
    backend.storage._file.close()  # type: ignore[union-attr]
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / "limits.db").mkdir()
    statuses = [client.get("/").status_code for _ in range(held + 2)]

    assert statuses == [200] * held + [503, 503]


def test_units_that_cannot_be_given_back_stop_no_later_batch(
    make_worker: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker(limit("9000/day", batch=50))
    assert allowed(worker, 40) == 40
    counter: Any = AppState.of(worker.application).service(Backend).batched

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(counter._lender, "take_back", fail)
        with pytest.raises(MemoryError):
            counter.give_all_back()

    before = used(worker.application)
    assert allowed(worker, 40) == 40
    assert used(worker.application) > before + 40


def test_in_memory_it_changes_nothing(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/", "view", limit("100/day", batch=50)(lambda: ""))
    client = app.test_client()

    assert [rests(client)[0] for _ in range(101)] == [*range(99, -1, -1), 0]
