"""`limit(batch=…)` beside the other options of a limit, and beside other policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from blinker import NamedSignal
from flask import abort, request
from limits import parse

from flask_guard import ban, limit, protect, request_denied, request_would_be_denied
from flask_guard.audit.explain import explain
from flask_guard.audit.rehearsal import Asked
from flask_guard.core.app_state import AppState
from flask_guard.rate_limits.admin import forget, holdings
from flask_guard.rate_limits.storage import Backend, rate_budget
from tests.storage_clock import Clock

from .asking import allowed, eventually, rests, until_refused, used
from .conftest import LONG, Serve

pytestmark = pytest.mark.slow

in_batches = limit("1000/day", batch=50)


def charged(worker: Any, lease: Clock, expected: int) -> bool:
    """Return whether so many units are charged in the end, when nothing is held any more."""
    lease.advance(LONG + 1)
    return eventually(lambda: used(worker.application) == expected)


def test_a_cost_takes_several_units_of_a_batch(make_worker: Serve, lease: Clock) -> None:
    one, other = make_worker(limit("300/day", batch=50, cost=7)), make_worker(limit("300/day", batch=50, cost=7))
    passed = allowed(one, 20) + until_refused(other) + until_refused(one)

    lease.advance(LONG + 1)
    assert eventually(lambda: used(one.application) == 7 * passed)
    passed += until_refused(one)
    assert passed == 300 // 7


def test_a_callable_tells_the_cost(make_worker: Serve, lease: Clock) -> None:
    worker = make_worker(limit("1000/day", batch=50, cost=lambda request: int(request.headers["X-Cost"])))

    for cost in (1, 30, 0, 60, 2, 1, 9, 100, 1):
        assert allowed(worker, 3, **{"X-Cost": str(cost)}) == 3
    assert charged(worker, lease, 3 * 204)


def test_a_request_that_costs_more_than_a_batch_does_not_enlarge_the_next_one(make_worker: Serve, lease: Clock) -> None:
    worker = make_worker(limit("100000/day", batch=10, cost=lambda request: int(request.headers["X-Cost"])))
    assert allowed(worker, 20, **{"X-Cost": "1"}) == 20
    assert used(worker.application) > 20  # some units are held, so the large request borrows as well
    assert allowed(worker, 1, **{"X-Cost": "3000"}) == 1

    lease.advance(LONG * 0.75)  # too late for a larger batch than the last one
    assert allowed(worker, 1, **{"X-Cost": "1"}) == 1
    assert 0 < used(worker.application) - 3021 < 10


def test_several_limits_are_charged_together_or_not_at_all(make_worker: Serve, lease: Clock) -> None:
    worker = make_worker(limit("900/day", batch=50), limit("100/hour"))

    assert until_refused(worker) == 100
    assert allowed(worker, 20) == 0
    assert rests(worker) == [800, 0]
    assert charged(worker, lease, 200)


@pytest.mark.parametrize("first", ["900/day", "90/hour"])
def test_several_rates_in_batches_are_charged_together_or_not_at_all(
    make_worker: Serve, lease: Clock, first: str
) -> None:
    second = {"900/day": "90/hour", "90/hour": "900/day"}[first]
    worker = make_worker(limit(f"{first}; {second}", batch=40))

    assert [min(rests(worker)) for _ in range(90)] == [*range(89, -1, -1)]
    assert allowed(worker, 20) == 0
    assert charged(worker, lease, 180)


def test_two_rates_ask_together(make_worker: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(limit("9000/day; 5000/hour", batch=50))
    assert allowed(worker, 1) == 1
    backend = AppState.of(worker.application).service(Backend)
    lend, wishes = backend.batched._lender.lend, []  # type: ignore[attr-defined]
    monkeypatch.setattr(
        backend.batched._lender,  # type: ignore[attr-defined]
        "lend",
        lambda asks, holder: wishes.append(len(asks)) or lend(asks, holder),  # type: ignore[func-returns-value]
    )

    assert allowed(worker, 162) == 162
    assert wishes == [2] * 7


def test_only_what_the_response_deserves_is_charged(make_worker: Serve, lease: Clock) -> None:
    failing = limit("200/day", batch=20, deduct_when=lambda response: response.status_code == 401)
    worker = make_worker(failing, view=lambda: abort(401) if "X-Fails" in request.headers else "")

    statuses = []
    for _ in range(150):
        statuses += [worker.get("/", headers={"X-Fails": "1"}).status_code, worker.get("/").status_code]
    assert statuses == [401, 200] * 150
    assert charged(worker, lease, 150)
    assert [worker.get("/", headers={"X-Fails": "1"}).status_code for _ in range(51)] == [401] * 50 + [429]
    assert worker.get("/").status_code == 429


def test_a_callable_tells_the_rate(make_worker: Serve, lease: Clock) -> None:
    rates = {"a": "300/day", "b": "40/day"}
    by_client = limit(
        lambda request: rates[request.headers["X-Client"]],
        by=lambda request: request.headers["X-Client"],
        batch=50,
    )
    worker, other = make_worker(by_client), make_worker(by_client)

    assert allowed(worker, 400, **{"X-Client": "a"}) + allowed(other, 400, **{"X-Client": "a"}) == 300
    assert allowed(worker, 50, **{"X-Client": "b"}) + allowed(other, 50, **{"X-Client": "b"}) == 40


def test_requests_that_are_not_limited_take_nothing(make_worker: Serve) -> None:
    worker = make_worker(limit("100/day", batch=50, methods="POST"))
    some = make_worker(limit("100/day", batch=50, when=lambda request: "X-Counts" in request.headers))

    assert allowed(worker, 20) == allowed(some, 20) == 20
    assert used(worker.application) == 0


def test_a_shared_budget_is_one_in_batches_and_without(make_worker: Serve) -> None:
    one, other = make_worker(limit("500/day", shared="all", batch=50)), make_worker(limit("500/day", shared="all"))

    assert allowed(one, 100) + until_refused(other) + until_refused(one) == 500


def test_a_shared_budget_is_told_of_as_each_limit_says(make_worker: Serve) -> None:
    worker = make_worker(limit("500/day", shared="all", batch=50))
    silent = limit("500/day", shared="all", batch=50, headers=False)
    worker.application.add_url_rule("/silent", "silent", protect(lambda: "", silent))

    told = ["RateLimit" in worker.get(path).headers for _ in range(20) for path in ("/silent", "/")]

    assert told == [False, True] * 20


def test_views_count_in_batches(make_worker: Serve, lease: Clock) -> None:
    inside = limit("300/day", shared="exports", batch=50)

    def view() -> Any:
        if request.method == "POST":
            return {"left": inside.peek().remaining}
        return {"left": inside.hit(cost=2).remaining}

    worker = make_worker(view=view)

    assert [worker.get("/").get_json()["left"] for _ in range(100)] == [*range(298, 98, -2)]
    assert [worker.post("/").get_json()["left"] for _ in range(10)] == [100] * 10
    assert until_refused(worker) == 50
    assert charged(worker, lease, 300)


@pytest.mark.parametrize(
    ("mode", "signal", "passed"), [("report", request_would_be_denied, 120), ("enforce", request_denied, 100)]
)
def test_each_refusal_is_signalled(make_worker: Serve, mode: Any, signal: NamedSignal, passed: int) -> None:
    worker = make_worker(limit("100/day", batch=50, mode=mode))
    refused = []

    def note(_sender: object, **_: object) -> None:
        refused.append(1)

    with signal.connected_to(note):
        assert allowed(worker, 120) == passed
    assert len(refused) == 20


def test_a_rehearsal_charges_and_borrows_nothing(make_worker: Serve) -> None:
    worker = make_worker(in_batches)
    allowed(worker, 20)
    before = used(worker.application), rests(worker)[0]

    for _ in range(30):
        (policy,) = explain(worker.application, Asked("GET", "/", ()))["policies"]
        assert (policy["name"], policy["verdict"]) == ("limit", "allowed")

    assert (used(worker.application), rests(worker)[0]) == (before[0], before[1] - 1)


def test_support_resets_a_client_within_a_lease(make_worker: Serve, lease: Clock) -> None:
    worker, tool = make_worker(limit("300/day", batch=50)), make_worker(limit("300/day", batch=50))
    until_refused(worker)

    backend = AppState.of(tool.application).service(Backend)
    forget(backend, holdings(backend, "127.0.0.1"))
    assert until_refused(worker) == 300


def test_a_ban_is_asked_for_in_the_same_step(make_worker: Serve) -> None:
    worker = make_worker(limit("100/day", batch=50), ban(after="3/hour", on=429))

    statuses = [worker.get("/").status_code for _ in range(110)]
    assert statuses == [200] * 100 + [429] * 10
    assert "refused" in worker.get("/").get_json()["detail"]


def test_places_are_taken_in_the_same_step_and_given_back(make_worker: Serve, lease: Clock) -> None:
    worker = make_worker(in_batches, limit.concurrent(1))

    assert allowed(worker, 100) == 100
    assert charged(worker, lease, 100)


@pytest.mark.parametrize("uri", ["sqlite"], indirect=True)
def test_what_a_refusal_puts_back_is_not_spent_in_a_later_window(
    make_worker: Serve, lease: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker(in_batches)
    allowed(worker, 1)
    counter: Any = AppState.of(worker.application).service(Backend).batched
    minute = replace(rate_budget(parse("400/minute"), "minute"), batch=50)
    one, both = [(minute, "a", 1, 1)], [(minute, "a", 1, 1), (rate_budget(parse("60/hour"), "hour"), "a", 1, 1)]
    assert all(counter.take(both)[0] for _ in range(60))
    take = counter._counter.take

    def take_late(charges: Any, token: str = "") -> Any:
        monkeypatch.setattr(counter._counter, "take", take)
        answer = take(charges, token)
        lease.advance(61)
        assert all(counter.take(one)[0] for _ in range(40))  # by another thread, in the next window
        return answer

    monkeypatch.setattr(counter._counter, "take", take_late)
    assert not counter.take(both)[0]
    assert sum(counter.take(one)[0] for _ in range(500)) == 360
