"""A browser's preflight, played for a developer: allowed or not, with cookies or not, and what to write."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, Response
from flask_cors import CORS, cross_origin

from flask_guard import Guard, cors, limit, protect, require_api_key
from flask_guard.audit.preflight import Call, explain_preflight
from tests.conftest import MakeApp

ORIGIN = "https://a.example"
KEY = "a long secret key"


def fine() -> str:
    return "fine"


def played(app: Flask, method: str, *names: str, origin: str = ORIGIN, path: str = "/", **more: Any) -> dict[str, Any]:
    document = explain_preflight(app, Call.of(origin, method, names), path, **more)
    found: dict[str, Any] = document["preflight"]
    return found


def opened(app: Flask, **options: Any) -> Flask:
    methods = ["GET", "POST", "PUT"]
    app.add_url_rule("/", "view", cors(origins=ORIGIN, **options)(fine), methods=methods)
    Guard(app)
    return app


def test_a_call_that_the_policy_allows_is_allowed(app: Flask) -> None:
    found = played(opened(app, allow_headers=["X-Tenant"]), "PUT", "X-Tenant")

    assert (found["is_sent"], found["allowed"], found["problems"], found["fix"]) == (True, True, [], [])
    assert found["request"] == {"status": 200, "readable": True}


@pytest.mark.parametrize(
    ("options", "allowed"), [({}, False), ({"credentials": True}, True)], ids=["without", "with credentials"]
)
def test_cookies_go_along_only_with_credentials(app: Flask, options: dict[str, Any], allowed: bool) -> None:
    assert played(opened(app, **options), "PUT")["with_credentials"] is allowed


def test_a_foreign_origin_is_refused_and_the_line_to_change_is_told(app: Flask) -> None:
    found = played(opened(app), "PUT", origin="https://b.example")

    assert not found["allowed"]
    assert found["problems"] == ["Access-Control-Allow-Origin is missing: https://b.example is not allowed."]
    assert found["fix"][0].startswith("Add 'https://b.example' to origins=… of cors at ")
    assert "test_preflight.py:" in found["fix"][0]


def test_a_header_that_is_not_allowed_is_named(app: Flask) -> None:
    found = played(opened(app, allow_headers=["X-Tenant"]), "PUT", "X-Tenant", "X-Other,x-more")

    assert found["problems"] == ["Access-Control-Allow-Headers does not list x-more, x-other."]
    assert found["fix"][0].startswith("Add 'x-more', 'x-other' to allow_headers=… of cors at ")


def test_a_method_that_is_not_allowed_is_named(app: Flask) -> None:
    found = played(opened(app, methods=["GET"]), "PUT")

    assert found["problems"] == ["cors lists the methods GET, and not PUT."]
    assert found["fix"][0].startswith("Add 'PUT' to methods=… of cors at ")


def test_a_method_that_the_path_lacks_needs_a_rule(app: Flask) -> None:
    found = played(opened(app), "DELETE")

    assert found["problems"] == ["/ takes GET, HEAD, OPTIONS, POST, PUT, and not DELETE."]
    assert found["fix"] == ["Add the method to a rule of the path: methods=['DELETE']."]


def test_an_endpoint_without_cors_is_told_to_take_it(app: Flask) -> None:
    app.add_url_rule("/", "view", limit("9/hour")(fine), methods=["PUT"])
    Guard(app)

    assert played(app, "PUT")["fix"] == [f"Write @cors(origins=['{ORIGIN}']) on view, its blueprint or the app."]


def test_a_preflight_that_is_refused_tells_who_refused_it(app: Flask) -> None:
    app.before_request(refuse)
    app.add_url_rule("/", "view", cors(origins=ORIGIN)(fine), methods=["PUT"])
    Guard(app)

    found = played(app, "PUT")

    assert found["problems"] == ["The preflight is answered with 403; it needs a status from 200 to 299."]
    assert found["fix"][0].startswith("Read the hook at ")


def refuse() -> tuple[str, int]:
    return "no", 403


@pytest.mark.parametrize(
    ("method", "names", "is_sent"),
    [("GET", (), False), ("POST", (), False), ("PUT", (), True), ("GET", ("X-A",), True), ("GET", ("Accept",), False)],
)
def test_simple_calls_are_sent_without_a_preflight(
    app: Flask, method: str, names: tuple[str, ...], is_sent: bool
) -> None:
    found = played(opened(app, allow_headers=["X-A"]), method, *names)

    assert (found["is_sent"], found["allowed"]) == (is_sent, True)


def test_a_simple_call_whose_answer_lacks_the_headers_cannot_be_read(app: Flask) -> None:
    found = played(opened(app), "GET", origin="https://b.example")

    assert not found["allowed"]
    assert found["problems"] == ["The answer to the GET itself does not let https://b.example read it."]


def test_a_refusal_of_the_call_itself_is_told_and_can_be_read(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"k": KEY})
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, cors(origins=ORIGIN, allow_headers=["X-API-Key"]), require_api_key)
    api.add_url_rule("/", "view", fine, methods=["PUT"])
    app.register_blueprint(api)
    Guard(app)

    assert played(app, "PUT", "X-API-Key", path="/api/")["request"] == {"status": 401, "readable": True}
    with_key = played(app, "PUT", "X-API-Key", path="/api/", headers=(("X-API-Key", KEY),), run_view="always")
    assert with_key["request"] == {"status": 200, "readable": True}


def test_a_wildcard_covers_every_header_but_authorization(app: Flask) -> None:
    app.add_url_rule("/", "view", wildcard, methods=["PUT", "OPTIONS"])
    Guard(app)

    assert played(app, "PUT", "X-Any")["allowed"]
    assert played(app, "PUT", "Authorization")["problems"] == [
        "Access-Control-Allow-Headers does not list authorization."
    ]


def wildcard() -> Response:
    allow = ("Origin", "Headers", "Methods")
    return Response("", headers=[(f"Access-Control-Allow-{each}", "*") for each in allow])


@pytest.mark.parametrize("how", ["extension", "decorator"])
def test_flask_cors_is_played_too(app: Flask, how: str) -> None:
    if how == "extension":
        CORS(app, origins=ORIGIN)
        app.add_url_rule("/", "view", fine, methods=["PUT"])
    else:
        app.add_url_rule("/", "view", cross_origin(origins=ORIGIN)(fine), methods=["PUT", "OPTIONS"])

    assert played(app, "PUT")["allowed"]
    refused = played(app, "PUT", origin="https://b.example")
    assert not refused["allowed"]
    assert "Flask-CORS" in refused["fix"][0]


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/", "https://a.example/x", "", "https://"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        Call.of(origin, "GET")
