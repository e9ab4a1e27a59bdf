"""`log_timing(costs=True)`: what each policy of the plan cost, measured only where it is asked for."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from flask import Flask, Request, Response

from flask_guard import Guard, Middleware, cors, limit, log_timing, middleware, require_api_key, secure_headers
from tests.access_log.logged import Records
from tests.clock import Clock
from tests.conftest import MakeApp


@pytest.fixture
def slow(clock: Clock) -> Middleware:
    """Return a policy that takes 10 ms before the view, and 20 ms after it."""

    @middleware
    def slow(request: Request) -> Generator[None, Response, None]:
        clock.advance(10)
        yield
        clock.advance(20)

    return slow


def test_cost_of_each_policy_is_logged_before_the_view_and_on_the_response(
    app: Flask, records: Records, clock: Clock, slow: Middleware
) -> None:
    Guard(app, policies=[log_timing(costs=True), slow, secure_headers])
    app.add_url_rule("/", "index", lambda: clock.advance(50) or "hello")  # type: ignore[func-returns-value]

    app.test_client().get("/")

    costs = records()[0].costs
    assert set(costs) == {"log_timing", "secure_headers", "slow"}
    assert set(costs["secure_headers"]) == {"leave"}
    assert costs["slow"] == {"enter": 10_000, "leave": 20_000}


def test_policy_that_denies_has_its_cost_and_those_behind_it_only_that_of_the_response(
    make_app: MakeApp, records: Records, slow: Middleware
) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    Guard(app, policies=[log_timing(costs=True), require_api_key, slow])
    app.add_url_rule("/", "index", lambda: "hello")

    assert app.test_client().get("/").status_code == 401

    costs = records()[0].costs
    assert "enter" in costs["require_api_key"]
    assert "enter" not in costs["slow"]


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_all_does_what_it_does_unmeasured(make_app: MakeApp, records: Records, mode: Any) -> None:
    answers = []
    for measured in (False, True):
        app = make_app(GUARD_API_KEYS={"ci": "secret"}, GUARD_MODES={"limit": mode})
        policies = (limit("2/hour"), limit("3/day", by=lambda: "all"), cors(origins="*"), secure_headers)
        Guard(app, policies=[log_timing(costs=measured), *policies])
        app.add_url_rule("/", "index", lambda: "hello")
        responses = [app.test_client().get("/", headers={"X-Request-ID": "the-id"}) for _ in range(3)]
        for each in responses:
            each.headers.pop("Retry-After", None)  # it has a jitter
        answers.append([(each.status, each.headers.to_wsgi_list(), each.data) for each in responses])

    assert answers[0] == answers[1]
    assert [hasattr(record, "costs") for record in records()] == [False] * 3 + [True] * 3


def test_costs_of_requests_do_not_add_up(app: Flask, records: Records, slow: Middleware) -> None:
    Guard(app, policies=[log_timing(costs=True), slow])
    app.add_url_rule("/", "index", lambda: "hello")

    for _ in range(3):
        app.test_client().get("/")

    assert [record.costs["slow"]["enter"] for record in records()] == [10_000] * 3


def test_plan_is_the_same_where_nobody_asks(make_app: MakeApp, slow: Middleware) -> None:
    plans = []
    for costs in (False, True):
        app = make_app()
        app.add_url_rule("/", "index", lambda: "hello")
        plans.append(Guard(app, policies=[log_timing(costs=costs), slow]).plan_for("index"))

    unmeasured, measured = plans
    assert not any("costs" in call.__module__ for call in (*unmeasured.enter, *unmeasured.leave))
    assert all("costs" in call.__module__ for call in (*measured.enter, *measured.leave))
