"""The CORS headers of actual responses: on errors too, once each, and whatever else writes such headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import flask_cors
import pytest
from flask import Blueprint, Flask, Response, abort
from werkzeug.test import TestResponse

from flask_guard import (
    Guard,
    Policy,
    Step,
    Target,
    cors,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
)
from tests.conftest import MakeApp

APP = "https://app.example.com"
EVIL = "https://evil.example.net"


def get(app: Flask, path: str = "/", origin: str = APP, **headers: str) -> TestResponse:
    return app.test_client().get(path, headers={"Origin": origin, **headers})


def cors_headers(response: TestResponse) -> dict[str, list[str]]:
    own = [name for name, _ in response.headers if name.startswith("Access-Control-")]
    return {name: response.headers.getlist(name) for name in own}


# Errors ----------------------------------------------------------------------------------------------------------


def broken() -> str:
    raise ZeroDivisionError("broken on purpose")


@pytest.fixture
def api(make_app: MakeApp) -> Flask:
    """Return an app with a guarded blueprint that answers with every kind of error."""
    app = make_app(GUARD_API_KEYS={"ci": {"hash": f"sha256:{'0' * 64}"}})
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    protect(blueprint, cors(origins=APP, credentials=True, expose_headers=["RateLimit"]))
    blueprint.add_url_rule("/401", "unauthenticated", require_api_key(lambda: "secret"))
    blueprint.add_url_rule("/403", "forbidden", lambda: abort(403))
    blueprint.add_url_rule("/429", "limited", limit("1/hour")(lambda: "once"))
    blueprint.add_url_rule("/500", "broken", broken)
    blueprint.add_url_rule("/405", "posted", lambda: "posted", methods=["POST"])
    app.register_blueprint(blueprint)
    Guard(app)
    return app


@pytest.mark.parametrize("status", [401, 403, 404, 405, 429, 500])
@pytest.mark.parametrize("handled", [False, True], ids=["by default", "by an error handler"])
def test_errors_carry_the_headers_that_let_the_page_read_them(api: Flask, status: int, handled: bool) -> None:
    if handled:
        api.register_error_handler(status, lambda _error: ({"error": status}, status))
    if status == 429:
        get(api, "/api/429")

    response = get(api, f"/api/{status}")

    limited = ["RateLimit, RateLimit-Policy, Retry-After"]
    assert response.status_code == status
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": [APP],
        "Access-Control-Allow-Credentials": ["true"],
        "Access-Control-Expose-Headers": limited if status == 429 else ["RateLimit"],
    }
    assert "Origin" in response.vary


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_errors_vary_for_those_who_are_not_let_in(api: Flask, status: int) -> None:
    response = get(api, f"/api/{status}", EVIL)

    assert cors_headers(response) == {}
    assert "Origin" in response.vary


def test_earlier_hook_that_answers_gets_the_headers(make_app: MakeApp) -> None:
    app = make_app()
    app.before_request(lambda: ("closed for repairs", 503))
    app.add_url_rule("/", "index", cors(origins=APP)(lambda: "hello"))
    Guard(app)

    response = get(app)

    assert response.status_code == 503
    assert response.headers["Access-Control-Allow-Origin"] == APP


# Views -----------------------------------------------------------------------------------------------------------


def test_async_view_is_served(app: Flask) -> None:
    @app.get("/")
    @cors(origins=APP)
    async def index() -> str:
        await asyncio.sleep(0)
        return "hello"

    Guard(app)

    response = get(app)

    assert (response.status_code, response.text) == (200, "hello")
    assert response.headers["Access-Control-Allow-Origin"] == APP


def test_credentials_name_the_origin(app: Flask) -> None:
    app.add_url_rule("/", "index", cors(origins=[APP, "https://b.example"], credentials=True)(lambda: "hello"))
    Guard(app)

    assert cors_headers(get(app)) == {
        "Access-Control-Allow-Origin": [APP],
        "Access-Control-Allow-Credentials": ["true"],
    }
    assert cors_headers(get(app, origin=EVIL)) == {}
    assert cors_headers(get(app, origin="*")) == {}


@pytest.mark.parametrize(
    ("exposed", "sent"),
    [("RateLimit", ["RateLimit"]), (["X-Total", "ETag"], ["X-Total", "ETag"]), ("*", ["*"]), ((), [])],
)
def test_exposed_headers_are_named(app: Flask, exposed: Any, sent: list[str]) -> None:
    app.add_url_rule("/", "index", cors(origins=APP, expose_headers=exposed)(lambda: "hello"))
    Guard(app)

    response = get(app)

    answered = [name.strip() for name in response.headers.get("Access-Control-Expose-Headers", "").split(",")]
    assert sorted(filter(None, answered)) == sorted(sent)


@pytest.mark.parametrize("origins", [APP, "*", re.compile(r"https://.*\.example\.com")], ids=["one", "any", "pattern"])
@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, {"RateLimit-Policy", "RateLimit"}),
        (
            {"GUARD_RATELIMIT_HEADERS": "legacy"},
            {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
        ),
        (
            {"GUARD_RATELIMIT_HEADERS": "both", "RATELIMIT_HEADER_LIMIT": "X-Most"},
            {"RateLimit-Policy", "RateLimit", "X-Most", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
        ),
    ],
    ids=["draft", "legacy", "both"],
)
def test_page_may_read_where_it_stands_with_limits(
    make_app: MakeApp, config: dict[str, Any], names: set[str], origins: Any
) -> None:
    app = make_app(**config)
    Guard(app, policies=[cors(origins=origins, expose_headers=["ETag"])])
    app.add_url_rule("/", "limited", limit("1/minute")(lambda: "hello"))
    app.add_url_rule("/inside", "inside", lambda: str(limit("5/minute").hit().remaining))
    app.add_url_rule("/open", "open", lambda: "hello")

    allowed, refused, inside, unlimited = (get(app, path) for path in ("/", "/", "/inside", "/open"))

    for response in (allowed, refused, inside):
        exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed == {"ETag", "Retry-After"} | names
        assert names <= set(response.headers.keys())
    assert refused.headers["Retry-After"]
    assert unlimited.headers["Access-Control-Expose-Headers"] == "ETag"


def test_page_that_is_not_let_in_reads_nothing_about_limits(app: Flask) -> None:
    app.add_url_rule("/", "index", cors(origins=APP)(limit("5/minute")(lambda: "hello")))
    Guard(app)

    assert cors_headers(get(app, origin=EVIL)) == {}


def test_actual_response_carries_nothing_that_belongs_to_preflights(app: Flask) -> None:
    app.add_url_rule("/", "index", cors(origins=APP)(lambda: "hello"))
    Guard(app)

    assert list(cors_headers(get(app))) == ["Access-Control-Allow-Origin"]


def test_page_may_read_the_id_of_the_request_and_the_fields_of_limits_on_every_response(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/", "index", protect(lambda: "hello", limit("9/hour", by="api_key"), require_api_key))
    Guard(app, policies=[log_timing, cors(origins=APP, expose_headers=["X-Total", "RateLimit"])])

    responses = [get(app), get(app, **{"X-API-Key": "the secret of ci"}), get(app, origin=EVIL)]

    exposed = [response.headers.get("Access-Control-Expose-Headers") for response in responses]
    assert [response.status_code for response in responses] == [401, 200, 401]
    assert exposed == ["RateLimit, RateLimit-Policy, Retry-After, X-Request-ID, X-Total"] * 2 + [None]


def test_policy_of_ones_own_may_declare_the_fields_that_it_sends(app: Flask) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True, repr=False)
    class Total(Policy):
        kind: ClassVar[str] = "total"

        def exposes(self, state: Any) -> tuple[str, ...]:
            return ("X-Total",)

        def compile(self, target: Target) -> Step:
            return Step(leave=lambda run, response: response.headers.__setitem__("X-Total", "7"))

    app.add_url_rule("/", "index", Total()(lambda: "hello"))
    app.add_url_rule("/other", "other", lambda: "hello")
    Guard(app, policies=[cors(origins=APP)])

    assert get(app).headers["Access-Control-Expose-Headers"] == "X-Total"
    assert "Access-Control-Expose-Headers" not in get(app, "/other").headers


def test_nearest_policy_replaces_the_outer_one_and_exemption_removes_it(app: Flask) -> None:
    app.add_url_rule("/near", "near", cors(origins="https://near.example")(lambda: "near"))
    app.add_url_rule("/none", "none", exempt(cors)(lambda: "none"))
    Guard(app, policies=[cors(origins=APP, credentials=True)])

    assert cors_headers(get(app, "/near")) == {}
    assert cors_headers(get(app, "/near", "https://near.example")) == {
        "Access-Control-Allow-Origin": ["https://near.example"]
    }
    assert cors_headers(get(app, "/none")) == {}
    assert "Vary" not in get(app, "/none").headers


# What else writes these headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("origins", [APP, "*"])
@pytest.mark.parametrize("origin", [APP, EVIL])
def test_headers_that_a_view_wrote_by_hand_give_way(app: Flask, origins: str, origin: str) -> None:
    def index() -> Response:
        response = Response("hello")
        response.headers.add("access-control-allow-origin", EVIL)
        response.headers.add("Access-Control-Allow-Origin", "*")
        response.headers.add("Access-Control-Allow-Credentials", "true")
        return response

    app.add_url_rule("/", "index", cors(origins=origins)(index))
    Guard(app)

    response = get(app, origin=origin)

    expected = {"*": ["*"], APP: [APP] if origin == APP else []}[origins]
    assert response.headers.getlist("Access-Control-Allow-Origin") == expected
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_headers_of_an_inner_middleware_give_way(app: Flask) -> None:
    @middleware
    def careless(request: Any) -> Any:
        response = yield
        response.headers["Access-Control-Allow-Origin"] = "*"

    app.add_url_rule("/", "index", cors(origins=APP)(careless(lambda: "hello")))
    Guard(app)

    assert cors_headers(get(app, origin=EVIL)) == {}
    assert get(app).headers.getlist("Access-Control-Allow-Origin") == [APP]


def guard_then_flask_cors(app: Flask) -> None:
    Guard(app)
    flask_cors.CORS(app)


def flask_cors_then_guard(app: Flask) -> None:
    flask_cors.CORS(app)
    Guard(app)


@pytest.mark.parametrize("install", [guard_then_flask_cors, flask_cors_then_guard])
class TestAppWideFlaskCors:
    """An app that has ``flask_cors.CORS(app)``, which lets everybody in, and one guarded view."""

    def put_together(self, app: Flask, install: Callable[[Flask], None]) -> Flask:
        app.add_url_rule("/", "index", cors(origins=APP)(lambda: "hello"))
        app.add_url_rule("/403", "forbidden", cors(origins=APP)(lambda: abort(403)))
        app.add_url_rule("/500", "broken", cors(origins=APP)(broken))
        app.add_url_rule("/other", "other", lambda: "other")
        install(app)
        return app

    @pytest.mark.parametrize("path", ["/", "/403", "/500"])
    def test_guarded_view_keeps_its_own_policy(self, app: Flask, install: Callable[[Flask], None], path: str) -> None:
        self.put_together(app, install)

        hit, miss = get(app, path), get(app, path, EVIL)

        assert cors_headers(hit) == {"Access-Control-Allow-Origin": [APP]}
        assert cors_headers(miss) == {}
        assert "Origin" in miss.vary

    def test_guarded_preflight_keeps_its_own_policy(self, app: Flask, install: Callable[[Flask], None]) -> None:
        self.put_together(app, install)

        def answer(origin: str) -> TestResponse:
            headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            return app.test_client().options("/", headers=headers)

        assert answer(APP).headers.getlist("Access-Control-Allow-Origin") == [APP]
        assert cors_headers(answer(EVIL)) == {}

    def test_other_views_are_left_to_flask_cors(self, app: Flask, install: Callable[[Flask], None]) -> None:
        self.put_together(app, install)

        assert get(app, "/other", EVIL).headers.getlist("Access-Control-Allow-Origin") == [EVIL]


def test_decorator_of_flask_cors_on_the_view_gives_way(app: Flask) -> None:
    app.add_url_rule("/", "index", cors(origins=APP)(flask_cors.cross_origin(origins="*")(lambda: "hello")))
    Guard(app)

    assert cors_headers(get(app, origin=EVIL)) == {}
    assert get(app).headers.getlist("Access-Control-Allow-Origin") == [APP]
