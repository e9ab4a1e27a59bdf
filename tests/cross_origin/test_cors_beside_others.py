"""`cors` beside Flask-CORS, Flask-RESTX, Flask-RESTful and headers by hand: the nearest to the view decides."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flask_cors
import flask_restful  # type: ignore[import-untyped]
import flask_restful.utils.cors  # type: ignore[import-untyped]
import flask_restx  # type: ignore[import-untyped]
import flask_restx.cors  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask, Response, abort, request
from flask.views import MethodView
from werkzeug.test import TestResponse

from flask_guard import Guard, compose, cors, exempt, limit, protect, require_api_key
from tests.cases import together
from tests.conftest import MakeApp

pytestmark = pytest.mark.slow

OURS = "https://ours.example"
THEIRS = "https://theirs.example"
EVIL = "https://evil.example.net"
SCOPES = ("app", "path", "outer", "inner", "view")


def allowed(response: TestResponse) -> str | None:
    """Return the one origin that `response` allows, or None."""
    values = response.headers.getlist("Access-Control-Allow-Origin")
    assert len(values) <= 1
    return values[0] if values else None


def get(app: Flask, origin: str, path: str = "/outer/inner/") -> TestResponse:
    return app.test_client().get(path, headers={"Origin": origin})


def preflight(app: Flask, origin: str, path: str = "/outer/inner/", method: str = "GET") -> TestResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return app.test_client().options(path, headers=headers)


def broken() -> str:
    raise ZeroDivisionError("broken on purpose")


VIEWS: dict[str, Callable[[], Any]] = {"200": lambda: "hello", "403": lambda: abort(403), "500": broken}


def by_flask_cors(target: Any) -> Any:
    if isinstance(target, (Flask, Blueprint)):
        flask_cors.CORS(target, origins=[THEIRS])
        return target
    return flask_cors.cross_origin(origins=[THEIRS])(target)


def by_hand(target: Any) -> Any:
    def allow_theirs(response: Response) -> Response:
        if request.headers.get("Origin") == THEIRS:
            response.headers.add("Access-Control-Allow-Origin", THEIRS)
        return response

    if isinstance(target, (Flask, Blueprint)):
        target.after_request(allow_theirs)
        return target

    @functools.wraps(target)
    def view() -> Response:
        return allow_theirs(Response(target()))

    return view


def put_together(
    ours: str, theirs: str, by: Callable[[Any], Any], view: Callable[[], Any], *, guard_first: bool
) -> Flask:
    """Return an app with a view in two blueprints; `cors` and others stand on the scopes `ours` and `theirs`."""
    app = Flask("tests")
    outer, inner = Blueprint("outer", __name__, url_prefix="/outer"), Blueprint("inner", __name__, url_prefix="/inner")
    policy = cors(origins=OURS)
    targets: dict[str, Any] = {"app": app, "outer": outer, "inner": inner, "view": view}
    if guard_first:
        Guard(app)
    targets[theirs] = by(targets[theirs])
    if ours == "path":
        protect(app, policy, under="/outer/inner")
    else:
        targets[ours] = policy(targets[ours])
    inner.add_url_rule("/", "view", targets["view"])
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    if not guard_first:
        Guard(app)
    return app


every_ours = pytest.mark.parametrize("ours", SCOPES)
every_theirs = pytest.mark.parametrize("theirs", [scope for scope in SCOPES if scope != "path"])
both_orders = pytest.mark.parametrize("guard_first", [True, False], ids=["guard first", "guard last"])


@every_ours
@every_theirs
@both_orders
@together("status", VIEWS)
def test_nearest_decides_beside_flask_cors(ours: str, theirs: str, status: str, guard_first: bool) -> None:
    app = put_together(ours, theirs, by_flask_cors, VIEWS[status], guard_first=guard_first)
    is_ours = SCOPES.index(ours) >= SCOPES.index(theirs)

    responses = {origin: get(app, origin) for origin in (OURS, THEIRS, EVIL)}

    assert {each.status_code for each in responses.values()} == {int(status)}
    if theirs == "view" and not is_ours and status != "200":
        expected = {}  # the decorator of Flask-CORS forgets the headers of errors; a farther policy does not widen that
    else:
        expected = {OURS: OURS} if is_ours else {THEIRS: THEIRS}
    assert {origin: allowed(each) for origin, each in responses.items()} == {
        origin: expected.get(origin) for origin in responses
    }


@every_ours
@every_theirs
@both_orders
def test_nearest_answers_preflights_beside_flask_cors(ours: str, theirs: str, guard_first: bool) -> None:
    app = put_together(ours, theirs, by_flask_cors, VIEWS["200"], guard_first=guard_first)
    nearest = OURS if SCOPES.index(ours) >= SCOPES.index(theirs) else THEIRS

    answers = {origin: preflight(app, origin) for origin in (OURS, THEIRS, EVIL)}

    assert {origin for origin, each in answers.items() if allowed(each)} == {nearest}
    assert {each.status_code for each in answers.values()} <= {200, 204}


@every_ours
@every_theirs
@both_orders
def test_nearest_decides_beside_headers_by_hand(ours: str, theirs: str, guard_first: bool) -> None:
    app = put_together(ours, theirs, by_hand, VIEWS["200"], guard_first=guard_first)
    is_inner = ours == "view" or theirs == "app"  # a hook of a blueprint looks like the view

    assert allowed(get(app, THEIRS)) == (None if is_inner else THEIRS)
    assert allowed(get(app, OURS)) == OURS
    assert "Origin" in get(app, OURS).vary
    assert "Origin" in get(app, THEIRS).vary


@both_orders
@pytest.mark.parametrize("ours", SCOPES[:4])
def test_view_that_allows_everybody_by_hand_is_not_narrowed_by_an_outer_policy(ours: str, guard_first: bool) -> None:
    def view() -> Response:
        return Response("hello", headers={"Access-Control-Allow-Origin": "*"})

    app = put_together(ours, "app", lambda target: target, view, guard_first=guard_first)

    assert [allowed(get(app, origin)) for origin in (OURS, EVIL)] == ["*", "*"]
    assert "Access-Control-Allow-Credentials" not in get(app, OURS).headers


@both_orders
def test_hook_of_the_app_cannot_change_what_the_nearest_said(app: Flask, guard_first: bool) -> None:
    def open_up(response: Response) -> Response:
        response.headers.add("Access-Control-Allow-Origin", "*")
        response.headers["Access-Control-Allow-Credentials"] = "true"
        return response

    app.add_url_rule("/ours", "ours", cors(origins=OURS)(lambda: "hello"))
    app.add_url_rule("/theirs", "theirs", lambda: ("hello", {"Access-Control-Allow-Origin": THEIRS}))
    if not guard_first:
        app.after_request(open_up)
    Guard(app, policies=[cors(origins=OURS)])
    if guard_first:
        app.after_request(open_up)

    assert [allowed(get(app, origin, "/ours")) for origin in (OURS, EVIL)] == [OURS, None]
    assert [allowed(get(app, origin, "/theirs")) for origin in (OURS, THEIRS)] == [THEIRS, THEIRS]
    assert "Access-Control-Allow-Credentials" not in get(app, OURS, "/ours").headers


def test_decorator_of_flask_cors_that_is_hidden_decides_all_the_same(app: Flask) -> None:
    def opaque(view: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: view()

    app.add_url_rule("/", "index", opaque(flask_cors.cross_origin(origins=[THEIRS])(lambda: "hello")))
    Guard(app, policies=[cors(origins=OURS)])

    assert [allowed(get(app, origin, "/")) for origin in (OURS, THEIRS)] == [None, THEIRS]


def test_response_that_a_view_keeps_is_answered_anew_each_time(app: Flask) -> None:
    kept = Response("the same each time")
    app.add_url_rule("/", "index", lambda: kept)
    Guard(app, policies=[cors(origins=[OURS, THEIRS])])

    assert [allowed(get(app, origin, "/")) for origin in (OURS, THEIRS, EVIL)] == [OURS, THEIRS, None]


def test_exempt_view_is_left_to_flask_cors(app: Flask) -> None:
    app.add_url_rule("/", "index", exempt(cors)(lambda: "hello"))
    flask_cors.CORS(app, origins=[THEIRS])
    Guard(app, policies=[cors(origins=OURS)])

    assert [allowed(get(app, origin, "/")) for origin in (OURS, THEIRS)] == [None, THEIRS]


def test_two_views_on_one_path_are_each_left_to_what_is_nearest(app: Flask) -> None:
    app.add_url_rule("/", "read", flask_cors.cross_origin(origins=[THEIRS])(lambda: "read"), methods=["GET"])
    app.add_url_rule("/", "write", lambda: "wrote", methods=["POST"])
    Guard(app, policies=[cors(origins=OURS)])

    assert {allowed(preflight(app, origin, "/", "POST")) for origin in (OURS, THEIRS)} == {OURS, None}
    assert {allowed(preflight(app, origin, "/", "GET")) for origin in (OURS, THEIRS)} == {None, THEIRS}


# Class-based views -------------------------------------------------------------------------------------------------


def restx(app: Flask, *decorators: Any) -> None:
    class Orders(flask_restx.Resource):  # type: ignore[misc]
        @flask_restx.cors.crossdomain(origin=THEIRS)  # type: ignore[untyped-decorator]
        def get(self) -> dict[str, str]:
            return {"hello": "world"}

    flask_restx.Api(app).add_resource(Orders, "/orders")


def restful_on_the_api(app: Flask) -> None:
    class Orders(flask_restful.Resource):  # type: ignore[misc]
        def get(self) -> dict[str, str]:
            return {"hello": "world"}

    decorators = [flask_restful.utils.cors.crossdomain(origin=THEIRS)]
    flask_restful.Api(app, decorators=decorators).add_resource(Orders, "/orders")


def restful_on_the_class(app: Flask) -> None:
    class Orders(flask_restful.Resource):  # type: ignore[misc]
        decorators = [flask_restful.utils.cors.crossdomain(origin=THEIRS)]  # noqa: RUF012

        def get(self) -> dict[str, str]:
            return {"hello": "world"}

    flask_restful.Api(app).add_resource(Orders, "/orders")


@pytest.mark.parametrize("register", [restx, restful_on_the_api, restful_on_the_class])
def test_decorators_of_flask_restx_and_flask_restful_decide(app: Flask, register: Callable[[Flask], None]) -> None:
    register(app)
    Guard(app, policies=[cors(origins=OURS)])

    assert [allowed(get(app, origin, "/orders")) for origin in (OURS, THEIRS)] == [THEIRS, THEIRS]
    assert allowed(preflight(app, OURS, "/orders")) != OURS


def test_decorator_of_flask_cors_around_the_methods_of_a_resource_decides(app: Flask) -> None:
    class Orders(flask_restful.Resource):  # type: ignore[misc]
        method_decorators = [flask_cors.cross_origin(origins=[THEIRS], automatic_options=False)]  # noqa: RUF012

        def get(self) -> dict[str, str]:
            return {"hello": "world"}

    flask_restful.Api(app).add_resource(Orders, "/orders")
    Guard(app, policies=[cors(origins=OURS)])

    assert [allowed(get(app, origin, "/orders")) for origin in (OURS, THEIRS)] == [None, THEIRS]


def test_method_of_a_class_that_another_decorates_is_left_to_that(app: Flask) -> None:
    @cors(origins=OURS)
    class Index(MethodView):
        @flask_cors.cross_origin(origins=[THEIRS])
        def get(self) -> str:
            return "read"

        def post(self) -> str:
            return "wrote"

    app.add_url_rule("/", view_func=Index.as_view("index"))
    Guard(app)

    assert [allowed(get(app, origin, "/")) for origin in (OURS, THEIRS)] == [None, THEIRS]
    assert allowed(app.test_client().post("/", headers={"Origin": OURS})) == OURS


# Preflights that others answer, beside what needs credentials ------------------------------------------------------


@pytest.fixture
def keyed(make_app: MakeApp) -> Flask:
    """Return an app with keys, on which every request counts."""
    return make_app(GUARD_API_KEYS={"ci": "the secret of ci"})


KEY = {"X-API-Key": "the secret of ci"}
needs_key = compose(require_api_key, limit("2/hour"))


@both_orders
def test_preflights_that_an_app_wide_flask_cors_answers_need_no_key(keyed: Flask, guard_first: bool) -> None:
    if guard_first:
        Guard(keyed)
    flask_cors.CORS(keyed, origins=[THEIRS])
    if not guard_first:
        Guard(keyed)
    keyed.add_url_rule("/", "index", needs_key(lambda: "hello"), methods=["GET", "POST"])

    answers = [preflight(keyed, THEIRS, "/", "POST") for _ in range(3)]
    actual = keyed.test_client().post("/", headers={"Origin": THEIRS, **KEY})
    refused = keyed.test_client().post("/", headers={"Origin": THEIRS})

    assert [(each.status_code, allowed(each)) for each in answers] == [(200, THEIRS)] * 3
    assert (actual.status_code, allowed(actual)) == (200, THEIRS)
    assert (refused.status_code, allowed(refused)) == (401, THEIRS)


def key_inside(view: Any) -> Any:
    return flask_cors.cross_origin(origins=[THEIRS])(needs_key(view))


def key_outside(view: Any) -> Any:
    return needs_key(flask_cors.cross_origin(origins=[THEIRS])(view))


def key_on_the_blueprint(view: Any) -> Any:
    return flask_cors.cross_origin(origins=[THEIRS])(view)


@both_orders
@pytest.mark.parametrize("decorate", [key_inside, key_outside, key_on_the_blueprint])
def test_preflights_that_a_decorator_of_flask_cors_answers_need_no_key(
    keyed: Flask, decorate: Callable[[Any], Any], guard_first: bool
) -> None:
    blueprint = Blueprint("api", __name__)
    if decorate is key_on_the_blueprint:
        protect(blueprint, needs_key)
    if guard_first:
        Guard(keyed)
    blueprint.add_url_rule("/", "index", decorate(lambda: "hello"), methods=["GET", "POST"])
    keyed.register_blueprint(blueprint)
    if not guard_first:
        Guard(keyed)

    answers = [preflight(keyed, THEIRS, "/", "POST") for _ in range(3)]
    actual = keyed.test_client().post("/", headers={"Origin": THEIRS, **KEY})

    assert [(each.status_code, each.data, allowed(each)) for each in answers] == [(200, b"", THEIRS)] * 3
    assert (actual.status_code, allowed(actual)) == (200, THEIRS)
    assert keyed.test_client().post("/").status_code == 401


def leaves_options_to_the_view(view: Any) -> Any:
    return flask_cors.cross_origin(origins=[THEIRS], automatic_options=False)(view)


def stands_inside_another_decorator(view: Any) -> Any:
    decorated = flask_cors.cross_origin(origins=[THEIRS])(view)

    @functools.wraps(decorated)
    def another() -> Any:
        return decorated()

    return another


@pytest.mark.parametrize("decorate", [leaves_options_to_the_view, stands_inside_another_decorator])
def test_options_that_run_more_than_a_decorator_of_flask_cors_need_the_key(
    keyed: Flask, decorate: Callable[[Any], Any]
) -> None:
    Guard(keyed)
    keyed.add_url_rule("/", "index", require_api_key(decorate(lambda: "hello")), methods=["GET", "OPTIONS"])

    assert preflight(keyed, THEIRS, "/").status_code == 401
    assert keyed.test_client().options("/", headers=KEY).status_code == 200


def test_options_left_to_views_by_the_configuration_of_flask_cors_need_the_key(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"}, CORS_AUTOMATIC_OPTIONS=False)
    Guard(app)
    view = require_api_key(flask_cors.cross_origin(origins=[THEIRS])(lambda: "hello"))
    app.add_url_rule("/", "index", view, methods=["GET", "OPTIONS"])

    assert preflight(app, THEIRS, "/").status_code == 401


@pytest.mark.parametrize("package", [flask_restx, flask_restful])
def test_decorators_of_flask_restx_and_flask_restful_answer_options_without_a_key(keyed: Flask, package: Any) -> None:
    decorator = {flask_restx: flask_restx.cors, flask_restful: flask_restful.utils.cors}[package].crossdomain
    Guard(keyed)
    view = require_api_key(decorator(origin=THEIRS)(lambda: "hello"))
    keyed.add_url_rule("/", "index", view, methods=["GET", "OPTIONS"])

    assert (preflight(keyed, THEIRS, "/").status_code, allowed(preflight(keyed, THEIRS, "/"))) == (200, THEIRS)
    assert get(keyed, THEIRS, "/").status_code == 401
