"""A view whose policies did not run is not served: a 500, and a log line that says what to write, and where."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from flask import Blueprint, Flask, views

from flask_guard import Guard, NotGuarded, limit, protect, require_api_key
from tests.conftest import MakeApp

View: TypeAlias = Callable[..., Any]


@pytest.fixture
def served() -> list[str]:
    """Return the list in which the view notes that it ran."""
    return []


@pytest.fixture
def view(served: list[str]) -> View:
    """Return a view that must not run."""

    def view() -> str:
        served.append("served")
        return "served"

    return view


def refusal(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one line by which a view was refused."""
    errors = [r.getMessage() for r in caplog.records if r.name == "flask_guard" and r.levelno == logging.ERROR]
    lines = [message for message in errors if "was not served" in message]
    assert len(lines) == 1
    return lines[0]


# No Guard --------------------------------------------------------------------------------------------------------


def guarded_view(app: Flask, view: View) -> None:
    app.add_url_rule("/a", "a", require_api_key(view))


def guarded_view_above_the_route_too(app: Flask, view: View) -> None:
    app.add_url_rule("/a", "a", limit("1/minute")(require_api_key(view)))


def guarded_class(app: Flask, view: View) -> None:
    @require_api_key
    class Served(views.View):
        def dispatch_request(self) -> Any:
            return view()

    app.add_url_rule("/a", view_func=Served.as_view("a"))


def guarded_method(app: Flask, view: View) -> None:
    class Served(views.MethodView):
        @require_api_key
        def get(self) -> Any:
            return view()

    app.add_url_rule("/a", view_func=Served.as_view("a"))


def guarded_by_class_decorators(app: Flask, view: View) -> None:
    class Served(views.MethodView):
        def get(self) -> Any:
            return view()

    Served.decorators = [require_api_key]
    app.add_url_rule("/a", view_func=Served.as_view("a"))


def guarded_blueprint(app: Flask, view: View) -> None:
    api = protect(Blueprint("api", __name__), require_api_key)
    api.add_url_rule("/a", "a", view)
    app.register_blueprint(api)


def below_a_guarded_blueprint(app: Flask, view: View) -> None:
    inner = Blueprint("inner", __name__)
    inner.add_url_rule("/a", "a", view)
    api = protect(Blueprint("api", __name__), require_api_key)
    api.register_blueprint(inner)
    app.register_blueprint(api)


def guarded_app(app: Flask, view: View) -> None:
    app.add_url_rule("/a", "a", view)
    protect(app, require_api_key)


@pytest.mark.parametrize(
    "wire",
    [
        guarded_view,
        guarded_view_above_the_route_too,
        guarded_class,
        guarded_method,
        guarded_by_class_decorators,
        guarded_blueprint,
        below_a_guarded_blueprint,
        guarded_app,
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_a_guard_nothing_that_is_guarded_is_served(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    view: View,
    served: list[str],
    wire: Callable[[Flask, View], None],
    method: str,
) -> None:
    wire(app, view)

    response = app.test_client().open("/a", method=method)

    assert response.status_code == 500
    assert served == []
    assert "call Guard(app)" in refusal(caplog)
    assert f"require_api_key at {__file__}:" in refusal(caplog)


@pytest.mark.parametrize(("wire", "named"), [(guarded_blueprint, "blueprint 'api'"), (guarded_app, "app '")])
def test_refusal_says_whether_a_blueprint_or_an_app_has_the_policy(
    app: Flask, caplog: pytest.LogCaptureFixture, view: View, wire: Callable[[Flask, View], None], named: str
) -> None:
    wire(app, view)

    app.test_client().get("/a")

    assert refusal(caplog).startswith(named)


def test_guard_on_another_app_does_not_count(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    guarded, forgotten = make_app(), make_app()
    view = require_api_key(lambda: "served")
    Guard(guarded)
    for each in (guarded, forgotten):
        each.add_url_rule("/a", "a", view)

    assert guarded.test_client().get("/a").status_code == 401
    assert forgotten.test_client().get("/a").status_code == 500


def test_refusal_is_an_exception_for_those_who_test_with_propagation(app: Flask) -> None:
    app.testing = True
    guarded_view(app, lambda: "served")

    with pytest.raises(NotGuarded, match=r"call Guard\(app\)"):
        app.test_client().get("/a")


# Calls that go past the app --------------------------------------------------------------------------------------


def test_guarded_view_called_from_an_unguarded_one_is_refused(
    app: Flask, caplog: pytest.LogCaptureFixture, view: View, served: list[str]
) -> None:
    Guard(app)
    inner: View = require_api_key(view)
    app.add_url_rule("/inner", "inner", inner)
    app.add_url_rule("/outer", "outer", lambda: inner())

    assert app.test_client().get("/outer").status_code == 500
    assert served == []
    assert "was not served" in refusal(caplog)


def test_guarded_view_called_from_a_hook_before_the_guard_is_refused(app: Flask, view: View, served: list[str]) -> None:
    inner: View = require_api_key(view)
    app.before_request(lambda: inner())
    Guard(app)
    app.add_url_rule("/inner", "inner", inner)

    assert app.test_client().get("/inner").status_code == 500
    assert served == []


def test_guarded_view_called_outside_a_request_is_refused(view: View, served: list[str]) -> None:
    with pytest.raises(NotGuarded, match="outside a request"):
        require_api_key(view)()
    assert served == []


def test_callable_object_is_refused_like_a_function(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    class Greeter:
        def __call__(self) -> str:
            return "served"

    app.add_url_rule("/a", "a", require_api_key(Greeter()))

    assert app.test_client().get("/a").status_code == 500
    assert "call Guard(app)" in refusal(caplog)
