"""The nearest policy of a kind wins, and the two exceptions: secure_headers are merged, shared limits stay."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import pytest
from flask import Blueprint, Flask, Request, Response
from flask.views import MethodView

from flask_guard import (
    Cors,
    Guard,
    Limit,
    LogTiming,
    Middleware,
    Policy,
    RequireApiKey,
    SecureHeaders,
    cors,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from tests.cases import together

AnyPolicy: TypeAlias = "RequireApiKey | Cors | Limit | SecureHeaders | LogTiming | Middleware"


@middleware
def stamp(request: Request, *, value: str = "") -> Generator[None, Response, None]:
    response = yield
    response.headers.add("X-Stamp", value)


SCOPES = ("app", "outer", "inner", "base", "class", "decorators", "method")
"""Every scope that a method of a class-based view has around it, outermost first."""

KINDS: dict[str, Callable[[str], AnyPolicy]] = {
    "require_api_key": lambda scope: require_api_key(realm=scope),
    "cors": lambda scope: cors(origins=f"https://{scope}.example.com"),
    "limit": lambda scope: limit(f"{SCOPES.index(scope) + 1}/minute"),
    "log_timing": lambda scope: log_timing(logger=f"access.{scope}"),
    "middleware": lambda scope: stamp(value=scope),
}
"""Policies of each kind that can be told apart by the scope that they are for."""


def serve(app: Flask, policies: dict[str, tuple[AnyPolicy, ...]]) -> Guard:
    """Serve GET and POST /api/v1/thing, with `policies` by scope."""
    outer, inner = Blueprint("outer", __name__, url_prefix="/api"), Blueprint("inner", __name__, url_prefix="/v1")

    class Base(MethodView):
        def get(self) -> str:
            return "got"

    class Thing(Base):
        def get(self) -> str:
            return "got"

        def post(self) -> str:
            return "posted"

    Thing.decorators = list(reversed(policies.get("decorators", ())))
    targets: dict[str, Any] = {"app": app, "outer": outer, "inner": inner, "base": Base, "class": Thing}
    for scope, target in targets.items():
        if scope in policies:
            protect(target, *policies[scope])
    if "method" in policies:
        Thing.get = protect(Thing.get, *policies["method"])  # type: ignore[method-assign]
    guard = Guard(app)
    inner.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    return guard


def in_force(guard: Guard, method: str = "GET") -> list[Policy]:
    """Return the policies that reach /api/v1/thing, in order."""
    return [placed.policy for placed in guard.plan_for("outer.inner.thing", method).policies]


@together("kind", KINDS)
@together("nearest", SCOPES)
def test_nearest_of_a_kind_wins(app: Flask, kind: str, nearest: str) -> None:
    make = KINDS[kind]
    outward = SCOPES[: SCOPES.index(nearest) + 1]

    guard = serve(app, {scope: (make(scope),) for scope in outward})

    assert in_force(guard) == [make(nearest)]


def test_nearest_is_what_acts_on_the_response(app: Flask) -> None:
    serve(app, {scope: (KINDS["cors"](scope), stamp(value=scope)) for scope in SCOPES})

    got = app.test_client().get("/api/v1/thing", headers={"Origin": "https://method.example.com"})
    posted = app.test_client().post("/api/v1/thing", headers={"Origin": "https://method.example.com"})

    assert got.headers["Access-Control-Allow-Origin"] == "https://method.example.com"
    assert got.headers.getlist("X-Stamp") == ["method"]
    assert "Access-Control-Allow-Origin" not in posted.headers
    assert posted.headers.getlist("X-Stamp") == ["decorators"]


def test_nearer_policy_replaces_only_its_own_kind(app: Flask) -> None:
    guard = serve(app, {"app": (log_timing, secure_headers, stamp), "method": (stamp(value="near"),)})

    assert in_force(guard) == [log_timing, secure_headers, stamp(value="near")]


def test_two_middlewares_are_two_kinds(app: Flask) -> None:
    @middleware
    def other(request: Request) -> None: ...

    guard = serve(app, {"app": (stamp,), "method": (other,)})

    assert in_force(guard) == [stamp, other]


# secure_headers merges header by header --------------------------------------------------------------------------


def test_secure_headers_are_merged_header_by_header(app: Flask) -> None:
    serve(
        app,
        {
            "app": (secure_headers("api"),),
            "outer": (secure_headers(frame_options="sameorigin", referrer_policy="same-origin"),),
            "class": (secure_headers(referrer_policy="origin"),),
            "method": (secure_headers(cache_control=None, permissions_policy="camera=()"),),
        },
    )

    headers = app.test_client().get("/api/v1/thing").headers
    others = app.test_client().get("/nowhere").headers

    assert headers["X-Content-Type-Options"] == "nosniff"  # from the app's preset
    assert headers["X-Frame-Options"] == "sameorigin"
    assert headers["Referrer-Policy"] == "origin"
    assert headers["Permissions-Policy"] == "camera=()"
    assert "Cache-Control" in others
    assert "Cache-Control" not in headers
    assert others["X-Frame-Options"] == "deny"


def test_nearer_preset_of_secure_headers_leaves_what_an_outer_one_named(app: Flask) -> None:
    guard = serve(app, {"app": (secure_headers(referrer_policy="origin"),), "method": (secure_headers("relaxed"),)})

    assert in_force(guard) == [secure_headers("relaxed", referrer_policy="origin")]


# limits: shared ones always apply, unshared ones are defaults, several add up ------------------------------------


def test_shared_limit_always_applies_and_an_unshared_one_is_a_default(app: Flask) -> None:
    shared = limit("50/hour", shared="everything")

    guard = serve(app, {"app": (shared, limit("9/minute")), "outer": (limit("8/minute"),), "method": (limit("7/day"),)})

    assert in_force(guard) == [shared, limit("7/day")]
    assert in_force(guard, "POST") == [shared, limit("8/minute")]


@pytest.mark.parametrize("scope", ["app", "outer", "inner", "class"])
def test_shared_limit_is_one_budget_for_all_that_is_under_it(app: Flask, scope: str) -> None:
    serve(app, {scope: (limit("2/hour", shared="everything"),), "method": (limit("100/minute"),)})
    client = app.test_client()

    statuses = [client.open("/api/v1/thing", method=method).status_code for method in ("GET", "POST", "GET", "POST")]

    assert statuses == [200, 200, 429, 429]


def test_same_shared_limit_at_two_scopes_counts_once(app: Flask) -> None:
    shared = limit("2/hour", shared="everything")
    serve(app, {"app": (shared,), "method": (shared,)})
    client = app.test_client()

    assert [client.get("/api/v1/thing").status_code for _ in range(3)] == [200, 200, 429]


def test_unshared_limit_of_a_blueprint_counts_each_endpoint_apart(app: Flask) -> None:
    api = Blueprint("api", __name__)
    protect(api, limit("1/hour"))
    api.add_url_rule("/a", "a", lambda: "a")
    api.add_url_rule("/b", "b", lambda: "b")
    Guard(app)
    app.register_blueprint(api)
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/a", "/b", "/a", "/b")] == [200, 200, 429, 429]


@pytest.mark.parametrize("scope", SCOPES)
def test_several_limits_on_one_target_add_up(app: Flask, scope: str) -> None:
    serve(app, {scope: (limit("2/hour"), limit("9/day"))})
    client = app.test_client()

    responses = [client.get("/api/v1/thing") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].headers["RateLimit-Policy"] == '"2-per-hour";q=2;w=3600, "9-per-day";q=9;w=86400'


def test_limits_of_a_nearer_target_replace_all_outer_ones(app: Flask) -> None:
    guard = serve(app, {"outer": (limit("1/hour"), limit("2/day")), "method": (limit("3/hour"),)})

    assert in_force(guard) == [limit("3/hour")]


def test_limit_for_some_methods_leaves_the_outer_one_to_the_others(app: Flask) -> None:
    guard = serve(app, {"app": (limit("9/hour"),), "class": (limit("1/hour", methods=["POST"]),)})

    assert in_force(guard, "GET") == [limit("9/hour")]
    assert in_force(guard, "POST") == [limit("1/hour", methods=["POST"])]
