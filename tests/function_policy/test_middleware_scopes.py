"""`@middleware` has options, phases, scopes, an order and exemptions like any built-in policy."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import pytest
from flask import Blueprint, Flask, Request, Response
from flask.views import MethodView

from flask_guard import (
    ConfigError,
    Guard,
    Middleware,
    Phase,
    compose,
    exempt,
    limit,
    middleware,
    protect,
    require_api_key,
)
from tests.conftest import MakeApp

Around: TypeAlias = Generator[None, Response, Any]


@middleware
def mark(request: Request, *, text: str = "default", header: str = "X-Mark") -> Around:
    response = yield
    response.headers.add(header, text)


@middleware
def needy(request: Request, *, text: str) -> Around:
    response = yield
    response.headers["X-Needy"] = text


def noting(name: str, phase: Phase = Phase.CUSTOM) -> Middleware:
    """Return a middleware that appends its name to the headers X-In and X-Out on its way in and out."""

    @middleware(phase=phase)
    def note(request: Request) -> Around:
        notes: list[str] = request.environ.setdefault("tests.notes", [])
        notes.append(name)
        response = yield
        response.headers["X-In"] = " ".join(notes)
        response.headers["X-Out"] = f"{response.headers.get('X-Out', '')} {name}".strip()

    return note


def marks(app: Flask, path: str = "/", method: str = "GET") -> list[str]:
    return app.test_client().open(path, method=method).headers.getlist("X-Mark")


def serve(app: Flask, view: Callable[..., Any]) -> Flask:
    app.add_url_rule("/", "index", view)
    Guard(app)
    return app


def hello() -> Callable[[], str]:
    """Return a new view: decorating a function leaves marks on it."""
    return lambda: "hello"


# Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(mark, "default"), (mark(), "default"), (mark(text="a"), "a"), (mark(text="a")(text="b"), "b")],
)
def test_keyword_only_parameters_are_options(app: Flask, policy: Middleware, expected: str) -> None:
    assert marks(serve(app, policy(hello()))) == [expected]


def test_options_add_up(app: Flask) -> None:
    serve(app, mark(text="a")(header="X-Other")(hello()))

    assert app.test_client().get("/").headers["X-Other"] == "a"


def test_unknown_option_is_a_type_error_with_a_hint() -> None:
    with pytest.raises(TypeError, match=r"mark\(\) has no option 'txt'; did you mean 'text'\?"):
        mark(txt="a")


@pytest.mark.parametrize("arguments", [("a",), ("a", "b"), (print, "b"), (7,)])
def test_positional_arguments_are_a_type_error(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="keyword"):
        mark(*arguments)


def test_missing_option_is_refused_where_the_policy_is_written() -> None:
    with pytest.raises(ConfigError, match=r"needy needs the option 'text': @needy\(text=…\)"):
        needy(hello())


def test_missing_option_of_an_app_wide_policy_is_refused_by_guard(app: Flask) -> None:
    with pytest.raises(ConfigError, match="needs the option 'text'"):
        Guard(app, policies=[needy])


def test_option_that_was_missing_may_be_given(app: Flask) -> None:
    serve(app, needy(text="given")(hello()))

    assert app.test_client().get("/").headers["X-Needy"] == "given"


SIGNATURES: dict[str, Any] = {
    "no request": lambda: None,
    "request by keyword only": eval("lambda *, request: None"),  # noqa: S307
    "two positional": lambda request, other: None,
    "option that is not keyword-only": lambda request, option=1: None,
    "any arguments": lambda request, *rest: None,
    "any keywords": lambda request, **options: None,
}


@pytest.mark.parametrize("function", SIGNATURES.values(), ids=SIGNATURES)
def test_function_that_cannot_be_a_middleware_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=r"def .*\(request, \*, option=default\)"):
        middleware(function)


@pytest.mark.parametrize("thing", [MethodView, "text", 7])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(ConfigError, match="@middleware goes on a function"):
        middleware(thing)


@pytest.mark.parametrize("phase", ["LIMIT", 50, None])
def test_what_is_no_phase_is_refused(phase: Any) -> None:
    with pytest.raises(ConfigError, match=r"Phase\.LIMIT"):
        middleware(phase=phase)(lambda request: None)


# Order -----------------------------------------------------------------------------------------------------------


def test_outer_scope_comes_first_in_and_last_out(app: Flask) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    inner.add_url_rule("/", "index", noting("view-a")(noting("view-b")(hello())))
    protect(inner, noting("inner-a"), noting("inner-b"))
    protect(outer, noting("outer"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    Guard(app, policies=[noting("app")])

    headers = app.test_client().get("/").headers

    order = ["app", "outer", "inner-a", "inner-b", "view-a", "view-b"]
    assert headers["X-In"].split() == order
    assert headers["X-Out"].split() == order[::-1]


def test_phase_goes_before_scope_and_line(app: Flask) -> None:
    phases = list(Phase)
    view: Callable[..., Any] = hello()
    for phase in phases:
        view = noting(phase.name, phase)(view)
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[noting("app-wide")])

    headers = app.test_client().get("/").headers

    order = [*(phase.name for phase in phases if phase is not Phase.CUSTOM), "app-wide", "CUSTOM"]
    assert headers["X-In"].split() == order
    assert headers["X-Out"].split() == order[::-1]


@pytest.mark.parametrize(("phase", "runs"), [(Phase.PRECONDITION, True), (Phase.QUOTA, False), (Phase.CUSTOM, False)])
def test_phase_places_it_among_the_built_in_policies(make_app: MakeApp, phase: Phase, runs: bool) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    serve(app, noting("it", phase)(require_api_key(limit("9/hour")(hello()))))

    response = app.test_client().get("/")

    assert response.status_code == 401
    assert response.headers.get("X-In") == ("it" if runs else None)


def test_plan_shows_it_under_its_name(app: Flask) -> None:
    app.add_url_rule("/", "index", mark(text="a")(hello()))
    guard = Guard(app)

    (placed,) = guard.plan_for("index").policies

    assert (placed.policy.name, repr(placed.policy)) == ("mark", "mark(text='a')")
    assert "test_middleware_scopes.py:" in placed.site


# Scopes ----------------------------------------------------------------------------------------------------------


def test_app_blueprint_class_and_method_take_it(app: Flask) -> None:
    @mark(text="class")
    class Things(MethodView):
        def get(self) -> str:
            return "read"

        @mark(text="method")
        def post(self) -> str:
            return "wrote"

    blueprint = mark(text="blueprint")(Blueprint("shop", __name__, url_prefix="/shop"))
    blueprint.add_url_rule("/", "index", hello())
    blueprint.add_url_rule("/things", view_func=Things.as_view("things"))
    app.register_blueprint(blueprint)
    app.add_url_rule("/", "index", hello())
    Guard(app, policies=[mark(text="app")])

    assert marks(app) == ["app"]
    assert marks(app, "/nowhere") == ["app"]
    assert marks(app, "/shop/") == ["blueprint"]
    assert marks(app, "/shop/nowhere") == ["blueprint"]
    assert marks(app, "/shop/things") == ["class"]
    assert marks(app, "/shop/things", "POST") == ["method"]


@pytest.mark.parametrize("named", [mark, mark(text="anything"), compose(limit, mark)])
def test_exemption_removes_it(app: Flask, named: Any) -> None:
    app.add_url_rule("/", "index", exempt(named)(hello()))
    app.add_url_rule("/other", "other", exempt(needy)(hello()))
    Guard(app, policies=[mark])

    assert marks(app) == []
    assert marks(app, "/other") == ["default"]


@pytest.mark.parametrize(
    "apply",
    [
        lambda app: mark(text="a")(mark(hello())),
        lambda app: protect(Blueprint("shop", __name__), mark, mark(text="a")),
        lambda app: Guard(app, policies=[mark, mark(text="a")]),
        lambda app: mark(mark(text="a")(type("Things", (MethodView,), {}))),
    ],
    ids=["view", "blueprint", "app", "class"],
)
def test_twice_on_one_target_is_refused(app: Flask, apply: Callable[[Flask], Any]) -> None:
    with pytest.raises(ConfigError, match="one target takes one mark"):
        apply(app)


def test_functions_of_one_name_are_different_kinds(app: Flask) -> None:
    app.add_url_rule("/", "index", noting("second")(hello()))
    Guard(app, policies=[noting("first")])

    assert app.test_client().get("/").headers["X-In"] == "first second"


def test_apps_keep_their_own(make_app: MakeApp) -> None:
    blueprint = Blueprint("shop", __name__)
    blueprint.add_url_rule("/", "index", hello())
    blueprint.add_url_rule("/near", "near", mark(text="view")(hello()))
    apps = [make_app(), make_app(), make_app()]
    for each, policies in zip(apps, ([mark(text="first")], [mark(text="second")], []), strict=True):
        each.register_blueprint(blueprint)
        Guard(each, policies=policies)

    assert [marks(each) for each in apps] == [["first"], ["second"], []]
    assert [marks(each, "/near") for each in apps] == [["view"]] * 3
