"""Wherever a decorator is written, it holds: above or below the route, among other people's decorators, in loops."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest
from flask import Flask, Request, Response, request

from flask_guard import Guard, cors, exempt, limit, middleware, protect, require_api_key, secure_headers
from tests.conftest import MakeApp

F = TypeVar("F", bound=Callable[..., Any])


@middleware
def stamp(request: Request, *, value: str = "yes") -> Generator[None, Response, None]:
    response = yield
    response.headers.add("X-Stamp", value)


def stamps(app: Flask, path: str = "/a") -> list[str]:
    """Return what the stamps in force at `path` wrote, innermost first."""
    response = app.test_client().get(path)
    assert response.status_code == 200
    return response.headers.getlist("X-Stamp")


# Above and below the route ---------------------------------------------------------------------------------------


def test_decorator_below_the_route_holds(app: Flask) -> None:
    Guard(app)

    @app.get("/a")
    @stamp
    def view() -> str:
        return "a"

    assert stamps(app) == ["yes"]


def test_decorator_above_the_route_holds(app: Flask) -> None:
    Guard(app)

    @stamp
    @app.get("/a")
    def view() -> str:
        return "a"

    assert stamps(app) == ["yes"]


def test_decorators_on_both_sides_of_the_route_all_hold(app: Flask) -> None:
    guard = Guard(app)

    @secure_headers
    @limit("9/minute")
    @app.get("/a")
    @stamp
    @cors(origins="*")
    def view() -> str:
        return "a"

    kinds = [placed.policy.name for placed in guard.plan_for("view").policies]
    assert kinds == ["cors", "secure_headers", "limit", "stamp"]
    assert app.test_client().get("/a").status_code == 200


def test_decorator_between_two_routes_of_one_view_holds_on_both(app: Flask) -> None:
    Guard(app)

    @app.get("/a", endpoint="a")
    @stamp
    @app.get("/b", endpoint="b")
    def view() -> str:
        return request.path

    assert [stamps(app, path) for path in ("/a", "/b")] == [["yes"], ["yes"]]


def bare_view() -> str:
    return "served"


@pytest.mark.parametrize("order", [(True, False), (False, True), (True, False, True, False)])
@pytest.mark.parametrize("late", [False, True])
def test_factory_that_decorates_a_view_or_not_makes_guarded_and_open_apps(
    make_app: MakeApp, order: tuple[bool, ...], late: bool
) -> None:
    apps = []
    for is_guarded in order:
        app = make_app()
        if not late:
            Guard(app)
        app.add_url_rule("/a", "a", require_api_key(bare_view) if is_guarded else bare_view)
        if late:
            Guard(app)
        apps.append(app)

    assert [app.test_client().get("/a").status_code for app in apps] == [401 if each else 200 for each in order]


def unchanged(view: F) -> F:
    return view


def test_factory_with_conditional_decorators_makes_guarded_and_open_apps(make_app: MakeApp) -> None:
    def create_app(is_guarded: bool) -> Flask:
        app = make_app()
        Guard(app)

        @app.get("/a")
        @(require_api_key if is_guarded else unchanged)  # type: ignore[untyped-decorator]
        def view() -> str:
            return "served"

        return app

    apps = [create_app(is_guarded) for is_guarded in (True, False, True, False)]

    assert [app.test_client().get("/a").status_code for app in apps] == [401, 200, 401, 200]


def test_decorator_above_all_routes_of_one_view_holds_on_each(app: Flask) -> None:
    Guard(app)

    @stamp
    @app.get("/a")
    @app.get("/b", endpoint="b")
    def view() -> str:
        return request.path

    assert [stamps(app, path) for path in ("/a", "/b")] == [["yes"], ["yes"]]


def test_bound_method_decorated_above_the_route_is_guarded(app: Flask) -> None:
    class Orders:
        def index(self) -> str:
            return "orders"

    Guard(app)

    require_api_key(app.get("/a")(Orders().index))

    assert app.test_client().get("/a").status_code == 401


def test_bound_method_decorated_below_the_route_is_guarded(app: Flask) -> None:
    class Orders:
        def index(self) -> str:
            return "orders"

    Guard(app)
    app.get("/a")(stamp(Orders().index))

    assert stamps(app) == ["yes"]


def test_protect_returns_what_to_register(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/a", "a", protect(lambda: "a", stamp(value="x"), secure_headers))

    assert stamps(app) == ["x"]


def test_shim_looks_like_the_view(app: Flask) -> None:
    @limit("1/minute")
    @stamp
    def view(item: int) -> str:
        """Say which item it is."""
        return f"{item}"

    assert (view.__name__, view.__doc__) == ("view", "Say which item it is.")


def test_url_values_reach_the_view_and_its_answer_the_client(app: Flask) -> None:
    Guard(app)

    @app.get("/a/<int:number>/<name>")
    @stamp
    def view(number: int, *, name: str) -> tuple[dict[str, Any], int]:
        return {"number": number, "name": name}, 202

    response = app.test_client().get("/a/7/tea")

    assert (response.status_code, response.get_json()) == (202, {"number": 7, "name": "tea"})


# One function, several registrations -------------------------------------------------------------------------------


def test_one_function_on_two_endpoints_has_the_policies_of_each(app: Flask) -> None:
    def view() -> str:
        return "view"

    guard = Guard(app)
    app.add_url_rule("/keyed", "keyed", require_api_key(view))
    app.add_url_rule("/limited", "limited", limit("1/hour")(stamp(view)))
    app.add_url_rule("/open", "open", view)
    client = app.test_client()

    plans = {each: [p.policy.name for p in guard.plan_for(each).policies] for each in ("keyed", "limited", "open")}

    assert plans == {"keyed": ["require_api_key"], "limited": ["limit", "stamp"], "open": []}
    assert [client.get(f"/{each}").status_code for each in plans] == [401, 200, 200]
    assert [client.get(f"/{each}").status_code for each in plans] == [401, 429, 200]


def test_views_made_in_a_loop_have_each_their_own_policy_and_budget(app: Flask) -> None:
    def make(name: str) -> Callable[[], str]:
        @limit(f"{len(name)}/hour")
        @stamp(value=name)
        def view() -> str:
            return name

        return view

    Guard(app)
    names = ["a", "bb", "ccc"]
    for name in names:
        app.add_url_rule(f"/{name}", name, make(name))
    client = app.test_client()

    served = {name: [client.get(f"/{name}").status_code for _ in range(4)].count(200) for name in names}

    assert served == {"a": 1, "bb": 2, "ccc": 3}


def test_views_decorated_above_the_route_in_a_loop_have_each_their_own_policy(app: Flask) -> None:
    def make(name: str) -> Callable[[], str]:
        return lambda: name

    Guard(app)
    for name in ("a", "b"):
        stamp(value=name)(app.get(f"/{name}", endpoint=name)(make(name)))

    assert [stamps(app, f"/{name}") for name in ("a", "b")] == [["a"], ["b"]]


# Exemptions in the wrong place -------------------------------------------------------------------------------------


def test_exemption_above_the_route_leaves_the_view_guarded(app: Flask) -> None:
    Guard(app, policies=[require_api_key])

    @exempt(require_api_key)
    @app.get("/a")
    def view() -> str:
        return "a"

    assert app.test_client().get("/a").status_code == 401


def test_exemption_above_the_route_does_not_undo_policies_below_it(app: Flask) -> None:
    guard = Guard(app, policies=[require_api_key])

    @exempt(require_api_key)
    @app.get("/a")
    @stamp
    def view() -> str:
        return "a"

    assert [placed.policy.name for placed in guard.plan_for("view").policies] == ["require_api_key", "stamp"]


# Async views, and views that call views ----------------------------------------------------------------------------


def test_async_view_is_served_below_and_above_the_route(app: Flask) -> None:
    Guard(app)

    @app.get("/a")
    @stamp
    async def below() -> str:
        return "a"

    @stamp
    @app.get("/b")
    async def above() -> str:
        return "b"

    assert [stamps(app, path) for path in ("/a", "/b")] == [["yes"], ["yes"]]


def test_guarded_view_may_call_itself_and_be_called_by_wrappers_of_it(app: Flask) -> None:
    Guard(app)

    @app.get("/a/<int:count>")
    @stamp
    def view(count: int) -> str:
        return "end" if count == 0 else view(count - 1)

    assert app.test_client().get("/a/3").get_data(as_text=True) == "end"
