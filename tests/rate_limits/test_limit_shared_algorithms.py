"""`limit`: one shared budget is counted in one way; what a storage cannot do is said when the app is set up."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_guard import ConfigError, Guard, Limit, limit, protect
from tests.cases import together

from ..conftest import MakeApp


def test_one_shared_budget_with_two_algorithms_is_refused(app: Flask) -> None:
    app.add_url_rule("/a", "a", limit("3/minute", shared="x", algorithm="fixed-window")(lambda: ""))
    app.add_url_rule("/b", "b", limit("3/minute", shared="x", algorithm="moving-window")(lambda: ""))

    with pytest.raises(ConfigError, match=r"limit\(shared='x'\) is counted by .* here and by .* elsewhere"):
        Guard(app)


def add(app: Flask, name: str, policy: Limit, where: str) -> None:
    """Add a view to which `policy` applies, from one of the places where a limit can stand."""
    if where == "view":
        app.add_url_rule(f"/{name}", name, policy(lambda: ""))
    elif where == "method":

        class Orders(MethodView):
            @policy
            def get(self) -> str:
                return ""

        app.add_url_rule(f"/{name}", view_func=Orders.as_view(name))
    elif where == "inside":
        app.add_url_rule(f"/{name}", name, lambda: str(policy.hit().remaining))
    else:
        blueprint = protect(Blueprint(name, name), policy)
        blueprint.add_url_rule(f"/{name}", "view", lambda: "")
        app.register_blueprint(blueprint)


PLACES = ["view", "method", "blueprint", "inside"]
FIXED, MOVING = limit("9/minute", shared="x"), limit("9/minute", shared="x", algorithm="moving-window")


@pytest.mark.slow
@together("second", PLACES)
@together("first", PLACES)
@together("guard", ["before", "between", "after"])
@together("swapped", [False, True])
def test_two_algorithms_are_refused_in_whatever_order_they_are_met(
    app: Flask, first: str, second: str, guard: str, swapped: bool
) -> None:
    def build() -> None:
        if guard == "before":
            Guard(app)
        add(app, "a", MOVING if swapped else FIXED, first)
        if guard == "between":
            Guard(app)
        add(app, "b", FIXED if swapped else MOVING, second)
        if guard == "after":
            Guard(app)
        client = app.test_client()
        app.testing = True
        for path in ("/a", "/b", "/a"):
            client.get(path)

    with pytest.raises(ConfigError, match=r"limit\(shared='x'\) is counted by .* here and by .* elsewhere"):
        build()


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_strategy_of_a_limiter_is_that_of_limits_that_name_none(app: Flask, order: str) -> None:
    limiter = Limiter(get_remote_address, storage_uri="memory://", strategy="moving-window")
    if order == "before":
        limiter.init_app(app)
    Guard(app)
    for name, policy in (("a", FIXED), ("b", MOVING)):
        add(app, name, policy, "view")
    if order == "after":
        limiter.init_app(app)
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/a", "/b")] == [200, 200]


@pytest.mark.parametrize("strategy", [None, "moving-window"])
def test_the_strategy_of_the_app_may_be_named(make_app: MakeApp, strategy: Any) -> None:
    app = make_app(**({"RATELIMIT_STRATEGY": strategy} if strategy else {}))
    named: Any = strategy or "fixed-window"
    app.add_url_rule("/a", "a", limit("2/minute", shared="x", algorithm=named)(lambda: ""))
    app.add_url_rule("/b", "b", limit("2/minute", shared="x")(lambda: ""))
    Guard(app)
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/a", "/b", "/a")] == [200, 200, 429]


def test_places_of_requests_are_free_although_the_teardown_of_the_app_fails(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", limit.concurrent(1)))

    @app.teardown_request
    def fail(_error: BaseException | None) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            app.test_client().get("/")
    app.teardown_request_funcs.clear()
    assert app.test_client().get("/").status_code == 200
