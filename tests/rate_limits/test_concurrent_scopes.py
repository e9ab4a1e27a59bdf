"""`limit.concurrent`: scopes, exemption, shadow mode, and ``with`` blocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Blueprint, Flask, Response
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.test import TestResponse

from flask_guard import (
    ConcurrencyLimit,
    Denied,
    Guard,
    LimitExceeded,
    Policy,
    exempt,
    limit,
    protect,
    request_would_be_denied,
)

from ..conftest import MakeApp, free_port


def endless() -> Response:
    """Answer with a body that is under way until the response is closed."""
    return Response(iter(["one ", "two"]))


def at_once(client: FlaskClient, *paths: str, method: str = "GET") -> list[int]:
    """Return the statuses of requests none of which is finished before the last has begun."""
    with ExitStack() as stack:
        answers: list[TestResponse] = []
        for path in paths:
            answers.append(client.open(path, method=method))
            stack.callback(answers[-1].close)
        return [each.status_code for each in answers]


def serve(app: Flask, views: dict[str, list[Policy]], **guard: Any) -> FlaskClient:
    """Guard `app` with a view for each path, which has the policies given, and return a client."""
    Guard(app, **guard)
    for path, own in views.items():

        def view() -> Response:
            return endless()

        app.add_url_rule(path, path.strip("/") or "root", protect(view, *own) if own else view)
    return app.test_client()


# Scopes ----------------------------------------------------------------------------------------------------------


def test_unshared_it_is_a_default_for_each_endpoint_and_the_nearest_wins(app: Flask) -> None:
    client = serve(app, {"/a": [], "/b": [], "/c": [limit.concurrent(2)]}, policies=[limit.concurrent(1)])

    assert at_once(client, "/a", "/a", "/b", "/c", "/c", "/c") == [200, 429, 200, 200, 200, 429]


def test_shared_it_is_one_number_for_all_that_is_under_it(app: Flask) -> None:
    everything = limit.concurrent(2, shared="everything")
    client = serve(app, {"/a": [], "/b": [], "/c": [limit.concurrent(1)]}, policies=[everything])

    assert at_once(client, "/a", "/b", "/a", "/c") == [200, 200, 429, 429]
    assert at_once(client, "/c", "/c", "/a") == [200, 429, 200]


def test_it_goes_on_blueprints_and_methods_of_classes(app: Flask) -> None:
    class Reports(MethodView):
        @limit.concurrent(1)
        def get(self) -> Response:
            return endless()

        def post(self) -> Response:
            return endless()

    blueprint = protect(Blueprint("api", __name__, url_prefix="/api"), limit.concurrent(2))
    blueprint.add_url_rule("/reports", view_func=Reports.as_view("reports"))
    Guard(app)
    app.register_blueprint(blueprint)
    client = app.test_client()

    assert at_once(client, "/api/reports", "/api/reports") == [200, 429]
    assert at_once(client, *["/api/reports"] * 3, method="POST") == [200, 200, 429]


def test_limits_of_rates_neither_replace_it_nor_exempt_from_it(app: Flask) -> None:
    client = serve(app, {"/a": [limit("50/day")]}, policies=[limit.concurrent(1)])
    app.add_url_rule("/b", "b", exempt(limit)(endless))
    app.add_url_rule("/c", "c", exempt(limit.concurrent)(endless))

    assert at_once(client, "/a", "/a", "/b", "/b", "/c", "/c") == [200, 429, 200, 429, 200, 200]


def test_an_exemption_from_it_leaves_the_limits_of_rates(app: Flask) -> None:
    Guard(app, policies=[limit.concurrent(1), limit("1/day")])
    app.add_url_rule("/", "view", exempt(limit.concurrent)(endless))

    assert at_once(app.test_client(), "/", "/") == [200, 429]


def test_methods_and_when_say_what_is_counted(app: Flask) -> None:
    Guard(app)
    for path, policy in {
        "/posts": limit.concurrent(1, methods=["POST"]),
        "/when": limit.concurrent(1, when=lambda request: request.method == "POST"),
    }.items():

        def view() -> Response:
            return endless()

        app.add_url_rule(path, path[1:], policy(view), methods=["GET", "POST"])
    client = app.test_client()

    for path in ("/posts", "/when"):
        assert at_once(client, path, path) == [200, 200]
        assert at_once(client, path, path, method="POST") == [200, 429]


def test_several_on_one_target_add_up(app: Flask) -> None:
    client = serve(app, {"/": [limit.concurrent(3), limit.concurrent(1, by=lambda request: request.args.get("who"))]})

    assert at_once(client, "/?who=a", "/?who=a", "/?who=b", "/?who=c", "/?who=d") == [200, 429, 200, 200, 429]


@pytest.mark.parametrize(
    ("mode", "config"), [("report", {}), (None, {"GUARD_MODES": {"limit.concurrent": "report"}})], ids=["own", "config"]
)
def test_in_shadow_everybody_is_let_through(make_app: MakeApp, mode: Any, config: dict[str, Any]) -> None:
    app, told = make_app(**config), list[str]()

    def listen(_sender: object, denial: Denied, **_: object) -> None:
        told.append(denial.policy)

    client = serve(app, {"/": [limit.concurrent(1, mode=mode)]})

    with request_would_be_denied.connected_to(listen, app):
        assert at_once(client, "/", "/", "/") == [200] * 3
    assert told == ["limit.concurrent"] * 2


@pytest.mark.parametrize("on_error", ["local", "allow", "deny"])
def test_without_its_storage_it_does_what_on_store_error_says(make_app: MakeApp, on_error: Any) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")
    client = serve(app, {"/": [limit.concurrent(1, on_store_error=on_error)]})

    expected = {"local": [200, 429], "allow": [200, 200], "deny": [503, 503]}[on_error]
    assert [at_once(client, "/", "/") for _ in range(2)] == [expected] * 2


# with ------------------------------------------------------------------------------------------------------------


PLACES = limit.concurrent(1, shared="places")


def in_a_block(app: Flask, policy: ConcurrencyLimit, **options: Any) -> Callable[[], list[Any]]:
    """Return a function that asks, while `policy` holds a place, within and after its block, for another."""
    seen: list[Any] = []

    def view() -> str:
        with policy as status:
            seen.append(status.allowed)
            seen.append(app.test_client().get("/other").status_code)
        seen.append(app.test_client().get("/other").status_code)
        return ""

    def other() -> str:
        with PLACES:
            return ""

    app.add_url_rule("/", "view", view)
    app.add_url_rule("/other", "other", other)
    Guard(app, **options)

    def ask() -> list[Any]:
        app.test_client().get("/")
        return seen

    return ask


def test_a_block_holds_a_place_until_it_ends(app: Flask) -> None:
    assert in_a_block(app, PLACES)() == [True, 429, 200]


@pytest.mark.parametrize(
    "inner",
    [
        limit.concurrent(5, shared="inner"),
        limit.concurrent(5, shared="inner", when=lambda: False),
        limit.concurrent(5, shared="inner", methods=["POST"]),
        PLACES(mode="report"),
    ],
    ids=["takes one", "when", "methods", "in shadow"],
)
def test_an_inner_block_gives_back_its_own_place_and_no_other(app: Flask, inner: ConcurrencyLimit) -> None:
    seen = []

    def view() -> str:
        with inner:
            pass
        seen.append(app.test_client().get("/other").status_code)
        return ""

    def other() -> str:
        with PLACES:
            return ""

    app.add_url_rule("/", "view", PLACES(view))
    app.add_url_rule("/other", "other", other)
    Guard(app)

    assert [app.test_client().get("/").status_code for _ in range(2)] == [200, 200]
    assert seen == [429, 429]


def test_a_block_that_raises_gives_its_place_back(app: Flask) -> None:
    def view() -> str:
        with PLACES:
            raise ZeroDivisionError

    app.add_url_rule("/", "view", view)
    Guard(app)

    assert [app.test_client().get("/").status_code for _ in range(3)] == [500] * 3


def test_a_block_within_the_block_of_the_last_place_is_refused(app: Flask) -> None:
    def view() -> str:
        with PLACES:
            try:
                with PLACES:
                    return "never"
            except LimitExceeded:
                return str(app.test_client().get("/other").status_code)

    app.add_url_rule("/", "view", view)
    app.add_url_rule("/other", "other", PLACES(lambda: ""))
    Guard(app)
    client = app.test_client()

    assert [client.get("/").text for _ in range(2)] == ["429", "429"]
    assert client.get("/other").status_code == 200
