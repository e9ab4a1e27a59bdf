"""Order is a property of the policy, not of the line on which it stands."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import permutations
from typing import Any

import pytest
from flask import Blueprint, Flask, Request, Response
from flask.views import MethodView, View

from flask_guard import (
    ConfigError,
    Guard,
    Middleware,
    Phase,
    compose,
    cors,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from tests.cases import together


@middleware
def custom(request: Request) -> None: ...


ONE_OF_EACH_PHASE = (
    log_timing,
    cors(origins="https://app.example.com"),
    secure_headers,
    limit("1/minute"),
    require_api_key,
    limit("1/hour", by="api_key"),
    custom,
)
"""In the order in which they act."""


def tracer(trace: list[str], name: str, phase: Phase = Phase.CUSTOM) -> Middleware:
    """Return a middleware that notes in `trace` when it acts."""

    def around(request: Request) -> Generator[None, Response, None]:
        trace.append(name)
        yield
        trace.append(f"/{name}")

    return middleware(phase=phase)(around)


@pytest.mark.slow
def test_permutations_of_decorators_give_the_same_plan(app: Flask) -> None:
    guard = Guard(app)
    policies = [placed for placed in ONE_OF_EACH_PHASE if placed != limit("1/hour", by="api_key")]
    orders = list(permutations(policies))
    for number, order in enumerate(orders):
        view: Callable[[], str] = lambda: "view"  # noqa: E731
        for policy in order:
            view = policy(view)
        app.add_url_rule(f"/{number}", str(number), view)

    plans = {tuple(placed.policy for placed in guard.plan_for(str(n)).policies) for n in range(len(orders))}

    assert len(orders) == 720
    assert plans == {tuple(policies)}


@pytest.mark.parametrize("step", [1, -1])
def test_phases_come_in_the_order_of_the_design(app: Flask, step: int) -> None:
    guard = Guard(app, policies=ONE_OF_EACH_PHASE[::step])
    app.add_url_rule("/a", "a", lambda: "a")

    placed = guard.plan_for("a").policies

    assert [each.policy for each in placed] == list(ONE_OF_EACH_PHASE)
    assert [each.policy.phase.name for each in placed] == [
        "OBSERVE",
        "CORS",
        "HEADERS",
        "LIMIT",
        "AUTHENTICATE",
        "QUOTA",
        "CUSTOM",
    ]


def test_a_nearer_scope_of_an_earlier_phase_still_acts_first(app: Flask) -> None:
    guard = Guard(app, policies=[custom, require_api_key])
    app.add_url_rule("/a", "a", limit("1/minute")(log_timing(lambda: "a")))

    policies = [placed.policy for placed in guard.plan_for("a").policies]

    assert policies == [log_timing, limit("1/minute"), require_api_key, custom]


@pytest.mark.parametrize("phase", list(Phase))
def test_middleware_acts_in_the_phase_that_it_names(app: Flask, phase: Phase) -> None:
    trace: list[str] = []
    others = [tracer(trace, each.name, each) for each in reversed(Phase) if each is not phase]
    Guard(app, policies=[*others, tracer(trace, phase.name, phase)])
    app.add_url_rule("/a", "a", lambda: "a")

    app.test_client().get("/a")

    names = [each.name for each in sorted(Phase)]
    assert trace == [*names, *(f"/{name}" for name in reversed(names))]


def test_unknown_phase_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"Phase\.LIMIT"):
        middleware(phase=50)(lambda request: None)  # type: ignore[call-overload]


# Within a phase --------------------------------------------------------------------------------------------------


def test_outer_scope_acts_first_and_leaves_last(app: Flask) -> None:
    trace: list[str] = []
    names = ["app", "outer", "inner", "base", "class", "decorators", "method"]
    by = {name: tracer(trace, name) for name in names}
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)

    @by["base"]
    class Base(MethodView):
        pass

    @by["class"]
    class Thing(Base):
        @by["method"]
        def get(self) -> str:
            trace.append("view")
            return "got"

    Thing.decorators = [by["decorators"]]
    inner.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    outer.register_blueprint(by["inner"](inner))
    app.register_blueprint(by["outer"](outer))
    Guard(app, policies=[by["app"]])

    app.test_client().get("/thing")

    assert trace == [*names, "view", *(f"/{name}" for name in reversed(names))]


def test_base_class_is_outside_its_subclass_wherever_the_two_are_written(app: Flask) -> None:
    trace: list[str] = []

    class Library:
        @tracer(trace, "base")
        class Base(View):
            def dispatch_request(self) -> str:
                return "view"

    derived: type[View] = type("Derived", (Library.Base,), {})
    app.add_url_rule("/a", view_func=tracer(trace, "derived")(derived).as_view("a"))
    Guard(app)

    app.test_client().get("/a")

    assert trace == ["base", "derived", "/derived", "/base"]


def stacked(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    app.get("/a")(a(b(c(view))))


def above_the_route(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    a(b(c(app.get("/a")(view))))


def around_the_route(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    a(b(app.get("/a")(c(view))))


def by_protect(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    app.get("/a")(protect(view, a, b, c))


def by_compose(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    app.get("/a")(compose(a, compose(b, c))(view))


def on_a_blueprint(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    api = protect(Blueprint("api", __name__), a, b, c)
    api.get("/a")(view)
    app.register_blueprint(api)


def on_a_blueprint_one_by_one(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Any) -> None:
    api = Blueprint("api", __name__)
    for each in (a, b, c):
        protect(api, each)
    api.get("/a")(view)
    app.register_blueprint(api)


def on_a_class(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    @a
    @b
    @c
    class Thing(View):
        def dispatch_request(self) -> str:
            return view()

    app.add_url_rule("/a", view_func=Thing.as_view("a"))


def on_a_method(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    class Thing(MethodView):
        @a
        @b
        @c
        def get(self) -> str:
            return view()

    app.add_url_rule("/a", view_func=Thing.as_view("a"))


def on_the_app(app: Flask, a: Middleware, b: Middleware, c: Middleware, view: Callable[[], str]) -> None:
    protect(app, a, b, c)
    app.get("/a")(view)


@together(
    "write",
    [
        stacked,
        above_the_route,
        around_the_route,
        by_protect,
        by_compose,
        on_a_blueprint,
        on_a_blueprint_one_by_one,
        on_a_class,
        on_a_method,
        on_the_app,
    ],
)
def test_within_a_scope_they_act_as_written(app: Flask, write: Callable[..., None]) -> None:
    trace: list[str] = []
    write(app, tracer(trace, "a"), tracer(trace, "b"), tracer(trace, "c"), lambda: "view")
    Guard(app)

    app.test_client().get("/a")

    assert trace == ["a", "b", "c", "/c", "/b", "/a"]


def test_guard_policies_act_as_listed_and_before_what_protect_adds_later(app: Flask) -> None:
    trace: list[str] = []
    Guard(app, policies=[tracer(trace, "a"), tracer(trace, "b")])
    protect(app, tracer(trace, "c"))

    app.test_client().get("/nowhere")

    assert trace == ["a", "b", "c", "/c", "/b", "/a"]


def test_a_refusal_leaves_only_through_what_was_entered(app: Flask) -> None:
    trace: list[str] = []
    Guard(app, policies=[tracer(trace, "inner"), require_api_key, tracer(trace, "outer", Phase.CORS)])
    app.add_url_rule("/a", "a", lambda: "a")

    response = app.test_client().get("/a")

    assert response.status_code == 401
    assert trace == ["outer", "/outer"]
