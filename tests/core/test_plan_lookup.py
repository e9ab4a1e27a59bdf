"""Which plan a request gets where that is not simply the plan of its endpoint and method."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator

import pytest
from flask import Blueprint, Flask, Request, Response, request
from flask.views import MethodView
from werkzeug.routing import Rule

from flask_guard import Guard, Phase, cors, limit, middleware, protect, require_api_key, secure_headers
from flask_guard.core.app_state import AppState

ORIGIN = "https://app.example.com"


@middleware
def stamp(request: Request, *, value: str) -> Generator[None, Response, None]:
    response = yield
    response.headers["X-Stamp"] = value


@middleware
def extra(request: Request) -> Generator[None, Response, None]:
    response = yield
    response.headers["X-Extra"] = "yes"


# Preflights --------------------------------------------------------------------------------------------------------


def two_views_on_one_path(app: Flask, *methods: str) -> None:
    """Serve GET and POST /a by two views, each with its own cors, registered in the order of `methods`."""
    max_age = {"GET": 1, "POST": 2}
    for method in methods:
        view = protect(lambda: "a", cors(origins=ORIGIN, max_age=max_age[method]), require_api_key)
        app.add_url_rule("/a", method, view, methods=[method])


@pytest.mark.parametrize(("method", "max_age"), [("GET", "1"), ("HEAD", "1"), ("POST", "2"), ("post", "2")])
@pytest.mark.parametrize("order", [("GET", "POST"), ("POST", "GET")])
def test_preflight_gets_the_policies_of_the_view_that_it_is_about(
    app: Flask, method: str, max_age: str, order: tuple[str, ...]
) -> None:
    Guard(app)
    two_views_on_one_path(app, *order)

    response = app.test_client().options("/a", headers={"Origin": ORIGIN, "Access-Control-Request-Method": method})

    assert response.status_code == 204
    assert response.headers["Access-Control-Max-Age"] == max_age
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_preflight_for_a_method_that_the_path_lacks_allows_nothing(app: Flask) -> None:
    Guard(app)
    two_views_on_one_path(app, "GET", "POST")

    response = app.test_client().options("/a", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "DELETE"})

    assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]
    assert "Origin" in response.headers["Vary"]


def test_preflight_gets_the_policies_of_a_rule_that_does_not_take_options(app: Flask) -> None:
    Guard(app)
    any_path, one_path = cors(origins=ORIGIN, max_age=1), cors(origins=ORIGIN, max_age=2)
    app.add_url_rule("/<path>", "any", any_path(lambda path: path), methods=["GET", "POST"])
    app.add_url_rule("/a", "a", one_path(lambda: "a"), methods=["POST"], provide_automatic_options=False)

    def max_age(path: str, method: str) -> str:
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": method}
        return app.test_client().options(path, headers=headers).headers["Access-Control-Max-Age"]

    assert [max_age(path, "POST") for path in ("/b", "/a", "/b", "/a")] == ["1", "2", "1", "2"]
    assert [max_age(path, "GET") for path in ("/a", "/b")] == ["1", "1"]


def test_preflight_gets_the_policies_of_its_path(app: Flask) -> None:
    Guard(app, policies=[cors(origins=ORIGIN, max_age=1)])
    protect(app, cors(origins=ORIGIN, max_age=2), under="/inner")
    app.add_url_rule("/<path:path>", "any", lambda path: path)
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}

    answers = [app.test_client().options(path, headers=headers) for path in ("/a", "/inner/a", "/a", "/inner/a")]

    assert [answer.headers["Access-Control-Max-Age"] for answer in answers] == ["1", "2", "1", "2"]


def test_preflight_while_a_policy_is_switched_off_is_answered_without_it(app: Flask) -> None:
    guard = Guard(app)
    app.add_url_rule("/a", "a", cors(origins=ORIGIN)(lambda: "a"))
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}

    def is_allowed() -> bool:
        return "Access-Control-Allow-Origin" in app.test_client().options("/a", headers=headers).headers

    before = is_allowed()
    with guard.disabled(cors):
        meanwhile = is_allowed()

    assert (before, meanwhile, is_allowed()) == (True, False, True)


@pytest.mark.parametrize("headers", [{}, {"Access-Control-Request-Method": "GET"}])
def test_options_that_flask_answers_is_not_asked_for_a_key(app: Flask, headers: dict[str, str]) -> None:
    Guard(app)
    app.add_url_rule("/a", "a", require_api_key(lambda: "a"))

    response = app.test_client().options("/a", headers=headers)

    assert (response.status_code, response.get_data()) == (200, b"")


@pytest.mark.parametrize("headers", [{}, {"Access-Control-Request-Method": "OPTIONS"}])
def test_options_that_a_view_answers_is_asked_for_a_key_and_counted(app: Flask, headers: dict[str, str]) -> None:
    Guard(app)
    view = protect(lambda: "a", require_api_key(optional=True), limit("1/hour"))
    app.add_url_rule("/a", "a", view, methods=["GET", "OPTIONS"], provide_automatic_options=False)
    client = app.test_client()

    assert client.options("/a", headers={**headers, "X-API-Key": "wrong"}).status_code == 401
    assert client.options("/a", headers=headers).status_code == 429


@pytest.mark.parametrize("has_cors", [True, False])
@pytest.mark.parametrize("own_options", [True, False])
@pytest.mark.parametrize("shared", [None, "everything"])
def test_preflights_are_counted_only_where_they_run_a_view(
    app: Flask, has_cors: bool, own_options: bool, shared: str | None
) -> None:
    Guard(app, policies=[cors(origins=ORIGIN)] if has_cors else [])
    methods = ["GET", "OPTIONS"] if own_options else ["GET"]
    app.add_url_rule("/a", "a", limit("1/hour", shared=shared)(lambda: "a"), methods=methods)
    client = app.test_client()
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}

    preflights = [client.options("/a", headers=headers).status_code for _ in range(3)]

    if own_options and not has_cors:  # else announcing a method would be a way to run the view without limit
        assert preflights == [200, 429, 429]
    else:
        assert preflights == [204 if has_cors else 200] * 3
        assert [client.get("/a").status_code for _ in range(2)] == [200, 429]


def test_automatic_options_are_not_counted_either(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/a", "a", limit("1/hour")(lambda: "a"))
    client = app.test_client()

    assert [client.options("/a").status_code for _ in range(3)] == [200, 200, 200]
    assert [client.get("/a").status_code for _ in range(2)] == [200, 429]


def test_options_view_of_ones_own_has_its_policies_where_no_cors_answers(app: Flask) -> None:
    class Thing(MethodView):
        @stamp(value="get")
        def get(self) -> str:
            return "got"

        @stamp(value="options")
        def options(self) -> str:
            return "mine"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))

    plain = app.test_client().options("/a")
    preflight = app.test_client().options("/a", headers={"Access-Control-Request-Method": "GET"})

    assert [plain.get_data(as_text=True), preflight.get_data(as_text=True)] == ["mine", "mine"]
    assert [plain.headers["X-Stamp"], preflight.headers["X-Stamp"]] == ["options", "options"]


# 405 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE", "NONSENSE"])
def test_405_gets_the_plan_of_an_endpoint_that_the_path_has(app: Flask, method: str) -> None:
    Guard(app, policies=[stamp(value="app")])
    api = protect(Blueprint("api", __name__, url_prefix="/api"), stamp(value="api"))
    api.add_url_rule("/b", "b", protect(lambda: "b", extra), methods=["POST"])
    app.register_blueprint(api)

    response = app.test_client().open("/api/b", method=method)

    assert response.status_code == 405
    assert (response.headers["X-Stamp"], response.headers["X-Extra"]) == ("api", "yes")


def test_405_of_what_needs_a_key_is_a_401_without_one(app: Flask) -> None:
    Guard(app, keys={"one": "a key for tests"})
    app.add_url_rule("/a", "a", require_api_key(lambda: "a"))
    client = app.test_client()

    statuses = [client.delete("/a", headers=headers).status_code for headers in ({}, {"X-API-Key": "a key for tests"})]

    assert statuses == [401, 405]


# What answers preflights -------------------------------------------------------------------------------------------


def test_middleware_in_the_phase_of_cors_that_does_not_answer_leaves_an_options_view_guarded(app: Flask) -> None:
    @middleware(phase=Phase.CORS)
    def looking_on(request: Request) -> None: ...

    Guard(app)
    outer = protect(Blueprint("outer", __name__), require_api_key)
    outer.add_url_rule("/a", "options", lambda: "secret", methods=["OPTIONS"], provide_automatic_options=False)
    app.register_blueprint(outer)
    app.add_url_rule("/a", "get", looking_on(lambda: "a"), methods=["GET"], provide_automatic_options=False)

    response = app.test_client().options("/a", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"})

    assert response.status_code == 401


@pytest.mark.slow
def test_methods_that_clients_invent_keep_a_bounded_number_of_plans(app: Flask) -> None:
    Guard(app, policies=[secure_headers])
    app.url_map.add(Rule("/any", endpoint="any"))
    app.view_functions["any"] = lambda: "any"
    client = app.test_client()

    for number in range(300):
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": f"INVENTED{number}"}
        assert client.options("/any", headers=headers).headers["X-Content-Type-Options"] == "nosniff"
        assert client.open("/any", method=f"MADEUP{number}").headers["X-Content-Type-Options"] == "nosniff"

    assert len(app.extensions["guard"].plans) < 150


@pytest.mark.slow
def test_limit_on_an_unusual_method_holds_however_many_others_clients_invent(app: Flask) -> None:
    Guard(app)
    app.url_map.add(Rule("/any", endpoint="any"))
    app.view_functions["any"] = limit("1/hour", methods=["PROPFIND"])(lambda: "any")
    client = app.test_client()
    for number in range(200):
        client.open("/any", method=f"MADEUP{number}")

    assert [client.open("/any", method="PROPFIND").status_code for _ in range(2)] == [200, 429]


# Redirects that routing makes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/orders", "/api//orders/", "/api/old", "/api/older"])
@pytest.mark.parametrize(("method", "stamped"), [("GET", "get"), ("POST", "post")])
def test_redirect_gets_the_plan_of_the_endpoint_that_it_leads_to(
    app: Flask, path: str, method: str, stamped: str
) -> None:
    api = Blueprint("api", __name__, url_prefix="/api")
    api.add_url_rule("/orders/", "read", stamp(value="get")(lambda: "read"), methods=["GET"])
    api.add_url_rule("/orders/", "write", stamp(value="post")(lambda: "wrote"), methods=["POST"])
    api.add_url_rule("/old", "old", lambda: "never", methods=["GET", "POST", "DELETE"], redirect_to="/api/orders")
    api.add_url_rule("/older", "older", lambda: "never", methods=["GET", "POST", "DELETE"], redirect_to="/api/old")
    app.register_blueprint(api)
    Guard(app, policies=[stamp(value="app")])

    response = app.test_client().open(path, method=method)

    assert (response.status_code, response.headers["X-Stamp"]) == (308, stamped)


@pytest.mark.parametrize(
    "to",
    ["https://elsewhere.example/", "//elsewhere.example/api/", "/api/loop", "/nowhere", "mailto:a@b.c"],
)
def test_redirect_that_leads_to_no_endpoint_gets_the_plan_of_its_scope(app: Flask, to: str) -> None:
    api = protect(Blueprint("api", __name__, url_prefix="/api"), stamp(value="api"))
    api.add_url_rule("/loop", "loop", stamp(value="view")(lambda: "never"), redirect_to=to)
    api.add_url_rule("/", "index", stamp(value="index")(lambda: "index"))
    app.register_blueprint(api)
    Guard(app)

    response = app.test_client().get("/api/loop")

    assert (response.status_code, response.headers["X-Stamp"]) == (308, "api")


def test_request_that_is_redirected_counts_as_one_to_the_endpoint(app: Flask) -> None:
    app.add_url_rule("/orders/", "orders", limit("2/hour")(lambda: "orders"))
    Guard(app)
    client = app.test_client()

    assert [client.get("/orders").status_code for _ in range(3)] == [308, 308, 429]
    assert client.get("/orders/").status_code == 429


# OPTIONS that a decorator answers ------------------------------------------------------------------------------------


def test_options_that_a_concern_says_are_answered_for_the_view_are_not_the_views(app: Flask) -> None:
    def answers_options(view: Callable[[], str]) -> Callable[[], str]:
        @functools.wraps(view)
        def answering() -> str:
            return "" if request.method == "OPTIONS" else view()

        return answering

    guard = Guard(app)
    AppState.of(app).answer_options += (lambda state, view: view.__code__.co_name == "answering",)
    app.add_url_rule("/a", "a", answers_options(require_api_key(lambda: "a")), methods=["GET", "OPTIONS"])
    app.add_url_rule("/b", "b", require_api_key(lambda: "b"), methods=["GET", "OPTIONS"])
    client = app.test_client()

    assert [client.options(path).status_code for path in ("/a", "/b")] == [200, 401]
    assert "require_api_key" not in guard.plan_for("a", "OPTIONS").names
    assert "require_api_key" in guard.plan_for("b", "OPTIONS").names
