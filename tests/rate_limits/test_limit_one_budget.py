"""`limit`: several limits that draw on one budget in one request, and limits beside others in shadow."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_guard import Guard, ban, limit, protect, require_api_key

from ..conftest import MakeApp

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_limits_with_one_budget_add_up(app: Flask, algorithm: Any) -> None:
    Guard(app)
    api = Blueprint("api", "api")
    protect(api, limit("30/minute", shared="api", algorithm=algorithm))
    api.add_url_rule("/", "view", limit("30/minute", shared="api", cost=10, algorithm=algorithm)(lambda: ""))
    app.register_blueprint(api)
    client = app.test_client()

    answers = [client.get("/") for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert [each.headers["RateLimit"].partition(";t=")[0] for each in answers] == [
        '"api-30-per-minute";r=19',
        '"api-30-per-minute";r=8',
        '"api-30-per-minute";r=8',
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_ways_to_the_same_client_of_one_budget_add_up(make_app: MakeApp, algorithm: Any) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
    Guard(app, policies=[require_api_key(optional=True)])
    shared: dict[str, Any] = {"shared": "all", "algorithm": algorithm}
    limits = [limit("3/minute", by="api_key", **shared), limit("3/minute", by="principal", **shared)]
    app.add_url_rule("/", "view", protect(lambda: "", *limits))
    client = app.test_client()

    assert [client.get("/").status_code for _ in range(3)] == [200, 429, 429]


def test_a_limit_in_shadow_does_not_part_those_that_are_enforced(app: Flask) -> None:
    Guard(app)
    limits = [limit("9/minute"), limit("100/hour", mode="report"), limit("1/day")]
    app.add_url_rule("/", "view", protect(lambda: "", *limits))
    client = app.test_client()

    answers = [client.get("/") for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 429, 429]
    assert '"9-per-minute";r=8;' in answers[-1].headers["RateLimit"]


@pytest.mark.parametrize("after", ["3/minute", "3/minute; 3/minute"])
def test_a_rate_that_is_written_twice_counts_once_towards_a_ban(app: Flask, after: str) -> None:
    Guard(app, policies=[ban(after=after, on=[404])])
    client = app.test_client()

    assert [client.get("/nowhere").status_code for _ in range(4)] == [404, 404, 404, 429]
