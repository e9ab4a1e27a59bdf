"""Policies on class-based views: on the class, in its `decorators`, on one method, and in subclasses."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from flask import Flask, Request, Response
from flask.views import MethodView, View

from flask_guard import Guard, exempt, limit, middleware, protect, require_api_key, secure_headers
from tests.cases import together


@middleware
def stamp(request: Request, *, value: str = "yes") -> Generator[None, Response, None]:
    response = yield
    response.headers.add("X-Stamp", value)


class Both(MethodView):
    """A view with two methods, to subclass."""

    def get(self) -> str:
        return "got"

    def post(self) -> str:
        return "posted"


def statuses(app: Flask, *methods: str) -> list[int]:
    """Return the status of a request with each of `methods` to /a."""
    return [app.test_client().open("/a", method=method).status_code for method in methods]


def test_policy_on_one_method_guards_that_method_only(app: Flask) -> None:
    class Thing(Both):
        @require_api_key
        def post(self) -> str:
            return "posted"

    guard = Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "HEAD", "POST", "OPTIONS") == [200, 200, 401, 200]
    assert [len(guard.plan_for("a", method).policies) for method in ("GET", "HEAD", "POST")] == [0, 0, 1]


def test_policy_on_get_guards_head_too(app: Flask) -> None:
    class Thing(Both):
        @require_api_key
        def get(self) -> str:
            return "got"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "HEAD", "POST") == [401, 401, 200]


def test_head_of_its_own_is_not_guarded_by_get(app: Flask) -> None:
    class Thing(Both):
        @require_api_key
        def get(self) -> str:
            return "got"

        def head(self) -> str:
            return ""

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "HEAD") == [401, 200]


def test_limit_on_get_counts_head_and_get_together_and_nothing_else(app: Flask) -> None:
    class Thing(Both):
        @limit("2/hour")
        def get(self) -> str:
            return "got"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "HEAD", "GET", "HEAD", "POST") == [200, 200, 429, 429, 200]


def test_same_policy_on_two_methods_counts_each_apart(app: Flask) -> None:
    once = limit("1/hour")

    class Thing(MethodView):
        @once
        def get(self) -> str:
            return "got"

        @once
        def post(self) -> str:
            return "posted"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "POST", "GET", "POST") == [200, 200, 429, 429]


def test_one_function_as_two_methods_has_the_policies_of_each(app: Flask) -> None:
    def answer(self: Any) -> str:
        return "answered"

    class Thing(MethodView):
        get = answer
        post = require_api_key(answer)

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "POST") == [200, 401]


def test_policy_on_dispatch_request_guards_every_method(app: Flask) -> None:
    class Thing(View):
        methods = {"GET", "POST"}  # noqa: RUF012

        @require_api_key
        def dispatch_request(self) -> str:
            return "dispatched"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    assert statuses(app, "GET", "HEAD", "POST") == [401, 401, 401]


def test_one_class_under_two_names_is_guarded_under_both(app: Flask) -> None:
    cls: type[MethodView] = require_api_key(type("Thing", (Both,), {}))
    Guard(app)
    app.add_url_rule("/a", view_func=cls.as_view("a"))
    app.add_url_rule("/b", view_func=cls.as_view("b"))

    assert [app.test_client().get(path).status_code for path in ("/a", "/b")] == [401, 401]


def test_unguarded_base_class_stays_unguarded(app: Flask) -> None:
    cls: type[MethodView] = require_api_key(type("Thing", (Both,), {}))
    Guard(app)
    app.add_url_rule("/a", view_func=cls.as_view("a"))
    app.add_url_rule("/base", view_func=Both.as_view("base"))

    assert app.test_client().get("/base").status_code == 200


def test_arguments_of_as_view_reach_the_class(app: Flask) -> None:
    @stamp
    class Thing(MethodView):
        def __init__(self, greeting: str, *, to: str) -> None:
            self.answer = f"{greeting} {to}"

        def get(self) -> str:
            return self.answer

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a", "hello", to="world"))

    response = app.test_client().get("/a")

    assert response.get_data(as_text=True) == "hello world"
    assert response.headers["X-Stamp"] == "yes"


def test_async_methods_are_served(app: Flask) -> None:
    @stamp
    class Thing(MethodView):
        @secure_headers
        async def get(self) -> str:
            return "got"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    headers = app.test_client().get("/a").headers

    assert headers["X-Stamp"] == "yes"
    assert headers["X-Content-Type-Options"] == "nosniff"


# Subclasses --------------------------------------------------------------------------------------------------------


class Decorated:
    """Bodies of subclasses that try to shake a guard off."""

    PLAIN: dict[str, Any] = {}  # noqa: RUF012
    OWN_METHODS: dict[str, Any] = {"get": lambda self: "overridden"}  # noqa: RUF012
    OWN_DECORATORS: dict[str, Any] = {"decorators": [lambda view: view]}  # noqa: RUF012
    NO_DECORATORS: dict[str, Any] = {"decorators": []}  # noqa: RUF012
    HIDING: dict[str, Any] = {"decorators": [lambda view: lambda *args, **kwargs: view(*args, **kwargs)]}  # noqa: RUF012


@together("body", ["PLAIN", "OWN_METHODS", "OWN_DECORATORS", "NO_DECORATORS", "HIDING"])
@together("generations", [1, 2])
@together("has_guard", [True, False])
def test_subclass_of_a_guarded_class_stays_guarded(app: Flask, body: str, generations: int, has_guard: bool) -> None:
    cls: type[MethodView] = require_api_key(type("Base", (Both,), {}))
    for _ in range(generations):
        cls = type("Sub", (cls,), dict(getattr(Decorated, body)))
    if has_guard:
        Guard(app)
    app.add_url_rule("/a", view_func=cls.as_view("a"))

    assert statuses(app, "GET", "POST") == ([401, 401] if has_guard else [500, 500])


def test_subclass_stays_guarded_if_the_policy_comes_after_it(app: Flask) -> None:
    base: type[MethodView] = type("Base", (Both,), {})
    sub: type[MethodView] = type("Sub", (base,), {})
    require_api_key(base)
    Guard(app)
    app.add_url_rule("/a", view_func=sub.as_view("a"))

    assert statuses(app, "GET", "POST") == [401, 401]


def test_class_stays_guarded_if_the_policy_comes_after_as_view(app: Flask) -> None:
    cls: type[MethodView] = type("Thing", (Both,), {})
    app.add_url_rule("/a", view_func=cls.as_view("a"))
    require_api_key(cls)
    Guard(app)

    assert statuses(app, "GET") == [401]


def test_subclass_inherits_the_policies_of_methods_that_it_does_not_override(app: Flask) -> None:
    class Base(MethodView):
        @require_api_key
        def get(self) -> str:
            return "got"

        @require_api_key
        def post(self) -> str:
            return "posted"

    class Sub(Base):
        def post(self) -> str:
            return "posted by the subclass"

    Guard(app)
    app.add_url_rule("/a", view_func=Sub.as_view("a"))

    assert statuses(app, "GET", "POST") == [401, 200]


def test_override_that_calls_a_guarded_method_is_refused_unless_it_is_guarded_by_it(app: Flask) -> None:
    class Base(MethodView):
        @require_api_key
        def get(self) -> str:
            return "got"

    class Sub(Base):
        def get(self) -> str:
            return super().get()

    Guard(app)
    app.add_url_rule("/a", view_func=Sub.as_view("a"))

    assert statuses(app, "GET") == [500]


def test_nearer_policy_of_a_subclass_wins_and_the_rest_is_inherited(app: Flask) -> None:
    base: type[MethodView] = protect(type("Base", (Both,), {}), stamp(value="base"), secure_headers)
    sub: type[MethodView] = stamp(value="sub")(type("Sub", (base,), {}))
    Guard(app)
    app.add_url_rule("/a", view_func=sub.as_view("a"))
    app.add_url_rule("/base", view_func=base.as_view("base"))

    sub_headers, base_headers = (app.test_client().get(path).headers for path in ("/a", "/base"))

    assert sub_headers.getlist("X-Stamp") == ["sub"]
    assert base_headers.getlist("X-Stamp") == ["base"]
    assert sub_headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_subclass_may_be_exempt_and_its_base_is_not(app: Flask) -> None:
    base: type[MethodView] = require_api_key(type("Base", (Both,), {}))
    sub: type[MethodView] = exempt(require_api_key)(type("Sub", (base,), {}))
    Guard(app)
    app.add_url_rule("/a", view_func=sub.as_view("a"))
    app.add_url_rule("/base", view_func=base.as_view("base"))

    assert [app.test_client().get(path).status_code for path in ("/a", "/base")] == [200, 401]
