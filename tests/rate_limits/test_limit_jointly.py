"""`limit`: all limits of a request that act next to each other are charged in one step, or none is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Blueprint, Flask, Request, request
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_guard import Guard, Policy, ban, limit, middleware, protect, require_api_key
from tests.cases import together

from ..conftest import MakeApp
from .structured_fields import fields, whole

pytestmark = pytest.mark.slow

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter"]
KEY = {"X-API-Key": "secret"}


def who() -> str:
    return request.args.get("who", "me")


def limited(app: Flask, *policies: Policy, around: tuple[Policy, ...] = ()) -> FlaskClient:
    """Guard `app` by `around`, with one view that has `policies`, and return a client."""
    Guard(app, policies=around)
    app.add_url_rule("/", "view", protect(lambda: "", *policies))
    return app.test_client()


def remaining(client: FlaskClient, **request: Any) -> tuple[int, dict[str, int]]:
    """Return the status of a request, and what is left by the name of each limit."""
    response = client.get("/", **request)
    return response.status_code, {item[0]: whole(item, "r") for item in fields(response)[1]}


WIDE, NARROW = limit("9/day"), limit("2/hour")
NEIGHBOURS: dict[str, Callable[[Flask], FlaskClient]] = {
    "rates of one limit": lambda app: limited(app, limit("9/day; 2/hour")),
    "limits of one view": lambda app: limited(app, WIDE, NARROW),
    "the narrow one first": lambda app: limited(app, NARROW, WIDE),
    "app and view": lambda app: limited(app, NARROW, around=(limit("9/day", shared="all"),)),
    "view and app": lambda app: limited(app, WIDE, around=(limit("2/hour", shared="all"),)),
    "address and callable": lambda app: limited(app, WIDE, limit("2/hour", by=who)),
    "callable and address": lambda app: limited(app, limit("9/day", by=who), NARROW),
    "fixed and dynamic": lambda app: limited(app, limit("9/day", lambda: "2/hour", by="address")),
    "other algorithms": lambda app: limited(app, limit("9/day", algorithm="moving-window"), NARROW),
    "with a ban between": lambda app: limited(app, WIDE, ban(after="50/minute"), NARROW),
    "by key, after authentication": lambda app: limited(
        app, limit("9/day", by="api_key"), limit("2/hour", by=who), around=(require_api_key,)
    ),
    "in shadow": lambda app: limited(app, limit("9/day", mode="report"), limit("2/hour", mode="report")),
}


@together("neighbours", NEIGHBOURS)
@together("strategy", ALGORITHMS)
def test_a_limit_is_not_charged_for_what_its_neighbour_refuses(
    make_app: MakeApp, strategy: str, neighbours: str
) -> None:
    client = NEIGHBOURS[neighbours](make_app(RATELIMIT_STRATEGY=strategy, GUARD_API_KEYS={"ci": "secret"}))

    answers = [remaining(client, headers=KEY) for _ in range(5)]

    statuses = [status for status, _ in answers]
    wide = [next(left for name, left in now.items() if "9-per-day" in name) for _, now in answers]
    narrow = [next(left for name, left in now.items() if "2-per-hour" in name) for _, now in answers]
    assert statuses == ([200] * 5 if neighbours == "in shadow" else [200, 200, 429, 429, 429])
    assert (wide, narrow) == ([8, 7, 7, 7, 7], [1, 0, 0, 0, 0])


def test_a_limit_by_key_acts_after_authentication_and_so_in_a_step_of_its_own(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    client = limited(app, WIDE, limit("2/hour", by="api_key"), require_api_key)

    answers = [remaining(client, headers=KEY) for _ in range(4)]

    assert [status for status, _ in answers] == [200, 200, 429, 429]
    assert [now["9-per-day"] for _, now in answers] == [8, 7, 6, 5]
    assert remaining(client, headers={"X-API-Key": "bad"}) == (401, {"9-per-day": 4})


def test_a_limit_in_shadow_neither_refuses_for_its_neighbours_nor_is_charged_for_what_they_refuse(app: Flask) -> None:
    client = limited(app, limit("1/hour", mode="report"), limit("3/day"))

    answers = [remaining(client) for _ in range(5)]

    assert [status for status, _ in answers] == [200, 200, 200, 429, 429]
    assert [now["3-per-day"] for _, now in answers] == [2, 1, 0, 0, 0]


def test_what_stands_between_two_limits_acts_between_them(app: Flask) -> None:
    from flask_guard import Phase

    @middleware(phase=Phase.LIMIT)
    def between(request: Request) -> tuple[str, int] | None:
        return ("between", 418) if "stop" in request.args else None

    client = limited(app, limit("9/day"), between, limit("2/hour", by=who))

    assert [client.get("/?stop").status_code for _ in range(3)] == [418] * 3
    assert remaining(client)[1] == {"9-per-day": 5, "2-per-hour": 1}


@pytest.mark.parametrize("strategy", ALGORITHMS)
def test_sixteen_threads_are_let_through_exactly_as_often_as_the_narrowest_limit_says(
    make_app: MakeApp, strategy: str
) -> None:
    app = make_app(RATELIMIT_STRATEGY=strategy)
    Guard(app, policies=[limit("500/day", shared="all"), limit("900/day", by=who, shared="who")])
    app.add_url_rule("/", "view", lambda: "")
    app.add_url_rule("/narrow", "narrow", limit("100/day")(lambda: ""))
    together = threading.Barrier(16)

    def worker(number: int) -> list[tuple[str, int]]:
        client, path = app.test_client(), "/narrow" if number % 2 else "/"
        together.wait()
        return [(path, client.get(path).status_code) for _ in range(75)]

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(answer for each in pool.map(worker, range(16)) for answer in each)

    assert answers["/narrow", 200] == 100
    assert answers["/", 200] == 400
    assert answers["/narrow", 429] + answers["/", 429] == 16 * 75 - 500


def test_an_ill_fated_request_is_charged_to_no_limit_of_nested_scopes(app: Flask) -> None:
    class Orders(MethodView):
        @limit("1/day", by=who)
        def get(self) -> str:
            return ""

    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    protect(outer, limit("7/day", shared="outer"))
    protect(inner, limit("6/day", shared="inner"))
    inner.add_url_rule("/", view_func=Orders.as_view("orders"))
    outer.register_blueprint(inner)
    Guard(app, policies=[limit("8/day", shared="app")])
    app.register_blueprint(outer)
    client = app.test_client()

    answers = [remaining(client, query_string={"who": name}) for name in ("a", "a", "a", "b")]

    assert [status for status, _ in answers] == [200, 429, 429, 200]
    assert answers[-1][1] == {"app-8-per-day": 6, "outer-7-per-day": 5, "inner-6-per-day": 4, "1-per-day": 0}
