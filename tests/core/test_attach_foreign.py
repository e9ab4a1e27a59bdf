"""Other people's decorators: with functools.wraps they change nothing, and without it they open nothing."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import pytest
from flask import Flask, Request, Response, current_app, views

from flask_guard import Guard, exempt, limit, middleware, require_api_key, secure_headers
from tests.cases import together

View: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=View)


@middleware
def stamp(request: Request) -> Generator[None, Response, None]:
    response = yield
    response.headers.add("X-Stamp", "yes")


def faithful(view: F) -> F:
    """Decorate as functools.wraps makes it easy to: the view's answer in capitals."""

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return str(current_app.ensure_sync(view)(*args, **kwargs)).upper()

    return wrapper  # type: ignore[return-value]


def hiding(view: View) -> View:
    """Decorate as many decorators do, without functools.wraps: what the view carries is lost."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


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


# Other people's decorators, with functools.wraps ------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(lambda route, view: route(faithful(stamp(view))), id="above the policy"),
        pytest.param(lambda route, view: route(stamp(faithful(view))), id="below the policy"),
        pytest.param(lambda route, view: route(faithful(faithful(stamp(faithful(view))))), id="on both sides"),
        pytest.param(lambda route, view: stamp(route(faithful(view))), id="below the route, policy above it"),
        pytest.param(lambda route, view: faithful(stamp(route(faithful(view)))), id="above and below"),
        pytest.param(lambda route, view: stamp(faithful(route(faithful(view)))), id="between policy and route"),
    ],
)
@together("is_async", [False, True])
def test_foreign_decorator_anywhere_changes_nothing(
    app: Flask, wire: Callable[[Callable[..., Any], Callable[..., Any]], Any], is_async: bool
) -> None:
    def view() -> str:
        return "served"

    async def view_async() -> str:
        return "served"

    Guard(app)
    wire(app.get("/a"), view_async if is_async else view)

    response = app.test_client().get("/a")

    assert response.headers.getlist("X-Stamp") == ["yes"]
    assert response.get_data(as_text=True) == "SERVED"


@pytest.mark.parametrize("above", [True, False])
def test_foreign_decorator_that_awaits_the_view_may_stand_above_and_below_a_policy(app: Flask, above: bool) -> None:
    def awaiting(view: F) -> F:
        @functools.wraps(view)
        async def wrapper() -> Any:
            return str(await view()).upper()

        return wrapper  # type: ignore[return-value]

    async def view() -> str:
        return "served"

    Guard(app)
    app.add_url_rule("/a", "a", awaiting(stamp(view)) if above else stamp(awaiting(view)))

    response = app.test_client().get("/a")

    assert response.get_data(as_text=True) == "SERVED"
    assert response.headers.getlist("X-Stamp") == ["yes"]


def test_foreign_decorator_between_two_policies_hides_neither(app: Flask) -> None:
    guard = Guard(app)
    app.add_url_rule("/a", "a", limit("9/minute")(faithful(require_api_key(faithful(stamp(lambda: "a"))))))

    kinds = [placed.policy.name for placed in guard.plan_for("a").policies]

    assert kinds == ["limit", "require_api_key", "stamp"]
    assert app.test_client().get("/a").status_code == 401


def test_route_may_stand_above_policies_and_foreign_decorators_below_it(app: Flask) -> None:
    Guard(app)

    @stamp
    @app.get("/a")
    @faithful
    @secure_headers
    def view() -> str:
        return "served"

    response = app.test_client().get("/a")

    assert response.get_data(as_text=True) == "SERVED"
    assert response.headers.getlist("X-Stamp") == ["yes"]
    assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]


# Without functools.wraps -----------------------------------------------------------------------------------


class Calling:
    """A wrapper that is an object, with what it wraps in an attribute."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.view(*args, **kwargs)


class CallingWithSlots(Calling):
    __slots__ = ("view",)


def naming(view: View) -> View:
    """Decorate without functools.wraps, by a wrapper that names the parameters of the view."""

    def wrapper(first: int = 1, *, second: int = 2) -> Any:
        return view()

    return wrapper


OPAQUE = [hiding, naming, Calling, CallingWithSlots, functools.partial, lambda view: hiding(naming(Calling(view)))]
opaque = pytest.mark.parametrize("wrap", OPAQUE, ids=["*args", "named", "object", "slots", "partial", "several"])


def hidden_in_a_class(app: Flask, view: View, wrap: Callable[[View], View]) -> None:
    class Served(views.MethodView):
        get = wrap(require_api_key(lambda _self=None: view()))

    Served.methods = {"GET"}
    app.add_url_rule("/a", view_func=Served.as_view("a"))


def hidden_in_class_decorators(app: Flask, view: View, wrap: Callable[[View], View]) -> None:
    class Served(views.MethodView):
        def get(self) -> Any:
            return view()

    Served.decorators = [require_api_key, wrap]
    app.add_url_rule("/a", view_func=Served.as_view("a"))


def hidden_from_the_route(app: Flask, view: View, wrap: Callable[[View], View]) -> None:
    app.add_url_rule("/a", "a", wrap(require_api_key(view)))


def hidden_between_two_policies(app: Flask, view: View, wrap: Callable[[View], View]) -> None:
    app.add_url_rule("/a", "a", limit("9/minute")(wrap(require_api_key(view))))


def above_the_route_and_the_wrapper(app: Flask, view: View, wrap: Callable[[View], View]) -> None:
    require_api_key(wrap(app.get("/a", endpoint="a")(view)))


def above_a_route_that_registers_a_wrapper(app: Flask, view: View, wrap: Callable[[View], View]) -> None:
    def route(view: View) -> View:
        app.add_url_rule("/a", "a", wrap(view))
        return view

    require_api_key(route(view))


@opaque
@pytest.mark.parametrize(
    "wire",
    [
        hidden_from_the_route,
        hidden_between_two_policies,
        hidden_in_a_class,
        hidden_in_class_decorators,
        above_the_route_and_the_wrapper,
        above_a_route_that_registers_a_wrapper,
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_policy_that_a_wrapper_hides_guards_the_view(
    app: Flask, view: View, served: list[str], wire: Callable[..., None], wrap: Callable[[View], View], late: bool
) -> None:
    if not late:
        Guard(app)
    wire(app, view, wrap)
    if late:
        Guard(app)

    assert app.test_client().get("/a").status_code == 401
    assert served == []


VIEWS: dict[str, View] = {}


def keeping_elsewhere(view: View) -> View:
    """Decorate by a wrapper that does not hold what it wraps: it finds that by name."""
    VIEWS["view"] = view
    return lambda: VIEWS["view"]()


def test_policy_below_a_wrapper_that_cannot_be_looked_through_is_refused(
    app: Flask, caplog: pytest.LogCaptureFixture, served: list[str]
) -> None:
    Guard(app)

    @app.get("/a")
    @keeping_elsewhere
    @require_api_key
    def view() -> str:
        served.append("served")
        return "served"

    response = app.test_client().get("/a")

    assert (response.status_code, served) == (500, [])
    assert f"require_api_key at {__file__}:" in refusal(caplog)
    assert "@functools.wraps(view)" in refusal(caplog)


def test_policy_above_a_wrapper_that_cannot_be_looked_through_is_refused(
    app: Flask, caplog: pytest.LogCaptureFixture, served: list[str]
) -> None:
    Guard(app)

    @require_api_key
    @keeping_elsewhere
    @app.get("/a")
    def view() -> str:
        served.append("served")
        return "served"

    statuses = [app.test_client().get("/a").status_code for _ in range(2)]

    assert (statuses, served) == ([500, 500], [])
    (line,) = {r.getMessage() for r in caplog.records if r.levelname == "ERROR" and r.name == "flask_guard"}
    assert f"require_api_key at {__file__}:" in line
    assert "@functools.wraps(view)" in line


def test_wrapper_of_another_view_does_not_take_its_policies(app: Flask) -> None:
    Guard(app)
    orders: View = require_api_key(lambda: "orders")
    app.add_url_rule("/orders", "orders", orders)
    app.add_url_rule("/", "index", lambda: {"documented": orders.__name__})

    assert [app.test_client().get(path).status_code for path in ("/orders", "/")] == [401, 200]


def test_policy_above_a_decorator_that_hides_the_view_guards_it(app: Flask, view: View, served: list[str]) -> None:
    Guard(app)
    app.add_url_rule("/a", "a", require_api_key(hiding(view)))

    assert app.test_client().get("/a").status_code == 401
    assert served == []


def test_policy_above_the_route_and_above_a_decorator_that_hides_it_is_not_skipped(
    app: Flask, view: View, served: list[str]
) -> None:
    Guard(app)
    require_api_key(hiding(app.get("/a")(view)))

    response = app.test_client().get("/a")

    assert response.status_code in (401, 500)
    assert served == []


def test_hidden_exemption_leaves_the_view_guarded(app: Flask) -> None:
    Guard(app, policies=[require_api_key])
    app.add_url_rule("/a", "a", hiding(exempt(require_api_key)(lambda: "served")))

    assert app.test_client().get("/a").status_code == 401
