"""`limit(…).hit()`, `.peek()` and `with limit(…):` inside a view."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.test import TestResponse

from flask_guard import Denied, Guard, Limit, LimitExceeded, limit, protect, request_denied, request_would_be_denied
from tests.cases import together
from tests.ids import shown

from ..conftest import MakeApp, free_port
from .structured_fields import fields, is_jittered, whole

EXPORTS = limit("2/day", shared="exports")
ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


def serve(app: Flask, view: Callable[[], Any], **guard: Any) -> FlaskClient:
    """Guard `app` with one view, and return a client."""
    Guard(app, **guard)
    app.add_url_rule("/", "view", view, methods=["GET", "POST"])
    return app.test_client()


def hitting(policy: Limit, **options: Any) -> Callable[[], str]:
    """Return a view that counts."""

    def view() -> str:
        policy.hit(**options)
        return "done"

    return view


def statuses(client: FlaskClient, count: int, path: str = "/", **request: Any) -> list[int]:
    return [client.open(path, **request).status_code for _ in range(count)]


# hit() -----------------------------------------------------------------------------------------------------------


def block(policy: Limit) -> Callable[[], str]:
    def view() -> str:
        with policy as status:
            assert status.allowed
        return "done"

    return view


@pytest.mark.parametrize("use", [hitting, block], ids=["hit()", "with"])
def test_past_the_limit_the_rest_of_the_view_does_not_run(
    app: Flask, use: Callable[[Limit], Callable[[], str]]
) -> None:
    client = serve(app, use(EXPORTS))

    answers = [client.get("/") for _ in range(3)]

    assert [each.text for each in answers[:2]] == ["done"] * 2
    assert answers[2].status_code == 429
    assert json.loads(answers[2].text)["violated-policies"] == ["exports-2-per-day"]
    (now,) = fields(answers[2])[1]
    assert is_jittered(answers[2].headers["Retry-After"], whole(now, "t"))
    assert [whole(fields(each)[1][0], "r") for each in answers] == [1, 0, 0]


def test_hit_says_where_the_client_stands(app: Flask) -> None:
    def view() -> dict[str, Any]:
        status = limit("5/minute; 3/day").hit()
        return {"allowed": bool(status), "remaining": status.remaining, "reset": status.reset, "rate": status.rate}

    status = serve(app, view).get("/").get_json()

    assert status == {"allowed": True, "remaining": 2, "reset": 86400, "rate": "3 per 1 day"}


def test_a_view_may_answer_the_refusal_itself(app: Flask) -> None:
    def view() -> str:
        try:
            EXPORTS.hit()
        except LimitExceeded as error:
            return f"queued: {error.reason}"
        return "done"

    client = serve(app, view)

    assert [client.get("/").text for _ in range(3)] == ["done", "done", "queued: exceeded"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hit_counts_as_many_as_its_cost(app: Flask, algorithm: Any) -> None:
    policy = limit("10/day", shared="exports", cost=2, algorithm=algorithm)

    def view() -> str:
        policy.hit(cost=request.args.get("cost", type=int))
        return "done"

    client = serve(app, view)

    paths = ["/?cost=7", "/?cost=4", "/", "/?cost=2", "/?cost=1", "/?cost=1"]
    assert [client.get(path).status_code for path in paths] == [200, 429, 200, 429, 200, 429]


@together("algorithm", ALGORITHMS)
@together("cost", [0, -1, -(10**20)])
def test_no_cost_of_a_hit_gives_anything_back(app: Flask, cost: int, algorithm: Any) -> None:
    policy = limit("2/day", shared="exports", algorithm=algorithm)
    app.add_url_rule("/back", "back", hitting(policy, cost=cost))
    client = serve(app, hitting(policy))

    assert statuses(client, 1) + statuses(client, 3, "/back") + statuses(client, 1) == [200] * 5
    assert statuses(client, 1) == [429]


@pytest.mark.parametrize("cost", [0, -1])
def test_a_hit_that_costs_nothing_is_denied_once_the_budget_is_used_up(app: Flask, cost: int) -> None:
    policy = limit("1/day", shared="exports")
    app.add_url_rule("/free", "free", hitting(policy, cost=cost))
    client = serve(app, hitting(policy))

    assert statuses(client, 1, "/free") + statuses(client, 1) + statuses(client, 2, "/free") == [200, 200, 429, 429]


@pytest.mark.parametrize("cost", ["1", 1.5, True, float("nan"), [1]], ids=shown)
def test_a_cost_that_is_no_whole_number_is_counted_for_nobody(app: Flask, cost: Any) -> None:
    assert statuses(serve(app, hitting(EXPORTS, cost=cost)), 1) == [500]


def test_unshared_each_endpoint_has_a_budget_of_its_own_and_the_decorator_another(app: Flask) -> None:
    policy = limit("2/day")
    app.add_url_rule("/other", "other", hitting(policy))
    client = serve(app, protect(hitting(policy), limit("2/day")))

    assert statuses(client, 2) + statuses(client, 2, "/other") == [200] * 4
    assert statuses(client, 1) + statuses(client, 1, "/other") == [429] * 2


def test_shared_with_a_decorator_it_draws_on_that_budget(app: Flask) -> None:
    app.add_url_rule("/decorated", "decorated", EXPORTS(lambda: ""))
    client = serve(app, hitting(EXPORTS))

    assert statuses(client, 1) + statuses(client, 2, "/decorated") + statuses(client, 1) == [200, 200, 429, 429]


def test_each_budget_is_in_the_fields_once_however_often_it_is_hit(app: Flask) -> None:
    policy = limit("5/day", shared="exports")

    def view() -> str:
        policy.hit()
        policy.hit(cost=2)
        return "done"

    client = serve(app, view, policies=[policy, limit("9/minute")])

    answers = [client.get("/") for _ in range(2)]

    left = [{item[0]: whole(item, "r") for item in fields(each)[1]} for each in answers]
    assert left == [{"exports-5-per-day": 1, "9-per-minute": 8}, {"exports-5-per-day": 0, "9-per-minute": 7}]
    assert [len(fields(each)[1]) for each in answers] == [2, 2]
    assert answers[1].status_code == 429


def test_who_is_counted_is_as_for_the_decorator(app: Flask) -> None:
    client = serve(app, lambda: hitting(limit("1/day", by=lambda: request.args["who"]))())

    assert statuses(client, 2, "/?who=a") + statuses(client, 1, "/?who=b") == [200, 429, 200]


@pytest.mark.parametrize("policy", [limit("1/day", methods=["GET"]), limit("1/day", when=lambda r: r.method != "POST")])
def test_methods_and_when_say_what_is_counted(app: Flask, policy: Limit) -> None:
    client = serve(app, hitting(policy))

    assert statuses(client, 3, method="POST") == [200] * 3
    assert [*statuses(client, 1, method="HEAD"), *statuses(client, 1)] == [200, 429]
    assert "RateLimit" not in client.post("/").headers


def test_a_rate_may_be_that_of_the_request(app: Flask) -> None:
    client = serve(app, hitting(limit(lambda: request.args["rate"], by="address")))

    assert statuses(client, 2, "/?rate=1/day") + statuses(client, 3, "/?rate=2/day") == [200, 429, 200, 200, 429]


# peek() ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_peek_tells_and_does_not_count(app: Flask, algorithm: Any) -> None:
    policy = limit("2/day", shared="exports", algorithm=algorithm)
    app.add_url_rule("/left", "left", lambda: f"{bool(policy.peek())} {policy.peek().remaining}")
    client = serve(app, hitting(policy))

    told = []
    for _ in range(3):
        told.append(client.get("/left").text)
        client.get("/")

    assert told == ["True 2", "True 1", "False 0"]
    assert "RateLimit" not in client.get("/left").headers


def test_peek_says_whether_the_cost_fits(app: Flask) -> None:
    policy = limit("3/day", shared="exports", cost=2)
    app.add_url_rule("/fits", "fits", lambda: str(policy.peek().allowed))
    client = serve(app, hitting(policy))

    assert [client.get(path).text for path in ("/fits", "/", "/fits")] == ["True", "done", "False"]


# Where it can be called ------------------------------------------------------------------------------------------


def test_async_views_can_count(app: Flask) -> None:
    async def view() -> str:
        with EXPORTS:
            return str(EXPORTS.peek().remaining)

    client = serve(app, view)

    answers = [client.get("/") for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert [whole(fields(each)[1][0], "r") for each in answers] == [1, 0, 0]


def test_methods_of_a_class_can_count(app: Flask) -> None:
    class Orders(MethodView):
        def get(self) -> str:
            return hitting(limit("1/day"))()

    Guard(app)
    app.add_url_rule("/", view_func=Orders.as_view("orders"))

    assert statuses(app.test_client(), 2) == [200, 429]


def test_hooks_can_count_even_those_before_the_guard(app: Flask) -> None:
    @app.before_request
    def count() -> None:
        EXPORTS.hit()

    assert statuses(serve(app, lambda: ""), 3) == [200, 200, 429]


# Signals, the log and shadow mode --------------------------------------------------------------------------------


def observed(client: FlaskClient, app: Flask, count: int) -> tuple[list[TestResponse], list[str], list[str]]:
    """Return the answers to requests, and the reasons of the denials that the signals told."""
    denied: list[str] = []
    would: list[str] = []

    def listen(_sender: object, denial: Denied, **_: object) -> None:
        denied.append(f"{denial.policy} {denial.reason}")

    def listen_in_shadow(_sender: object, denial: Denied, **_: object) -> None:
        would.append(f"{denial.policy} {denial.reason}")

    with request_denied.connected_to(listen, app), request_would_be_denied.connected_to(listen_in_shadow, app):
        return [client.get("/") for _ in range(count)], denied, would


def test_a_refusal_is_logged_and_signalled(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="flask_guard")

    _, denied, would = observed(serve(app, hitting(EXPORTS)), app, 3)

    assert (denied, would) == (["limit exceeded"], [])
    assert "GET / denied by limit (exceeded)" in caplog.messages


@pytest.mark.parametrize(("mode", "config"), [("report", {}), (None, {"GUARD_MODES": {"limit": "report"}})])
def test_in_shadow_hit_only_says_that_it_would_refuse(make_app: MakeApp, mode: Any, config: dict[str, Any]) -> None:
    app, policy = make_app(**config), EXPORTS(mode=mode)
    client = serve(app, lambda: str(policy.hit().allowed))

    answers, denied, would = observed(client, app, 4)

    assert [each.text for each in answers] == ["True", "True", "False", "False"]
    assert (denied, would) == ([], ["limit exceeded"] * 2)


@pytest.mark.parametrize("on_error", ["local", "allow", "deny"])
def test_without_its_storage_it_does_what_on_store_error_says(make_app: MakeApp, on_error: Any) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")
    policy = EXPORTS(on_store_error=on_error)
    app.add_url_rule("/left", "left", lambda: re.sub(r"reset=\d+", "", repr(policy.peek())))
    client = serve(app, hitting(policy))

    answers = statuses(client, 3)

    assert answers == {"local": [200, 200, 429], "allow": [200] * 3, "deny": [503] * 3}[on_error]
    left = client.get("/left")
    assert left.status_code == (503 if on_error == "deny" else 200)
    assert ("allowed=False" in left.text) == (on_error == "local")


@pytest.mark.parametrize(("mode", "status"), [("report", 200), ("enforce", 503)])
def test_peek_reports_and_signals_as_hit_does(make_app: MakeApp, mode: Any, status: int) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")
    policy = EXPORTS(on_store_error="deny", mode=mode)
    client = serve(app, lambda: str(policy.peek().allowed))

    (answer,), denied, would = observed(client, app, 1)

    assert answer.status_code == status
    assert {"report": would, "enforce": denied}[mode] == denied + would == ["limit store"]
