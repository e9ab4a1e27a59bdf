"""Redirects that routing makes carry the headers of the endpoint that they lead to, and so do their preflights."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask
from werkzeug.test import TestResponse

from flask_guard import Guard, cors, protect, require_api_key
from tests.conftest import MakeApp

APP = "https://app.example.com"
EVIL = "https://evil.example.net"


def get(app: Flask, path: str = "/", origin: str = APP, **headers: str) -> TestResponse:
    return app.test_client().get(path, headers={"Origin": origin, **headers})


def cors_headers(response: TestResponse) -> dict[str, list[str]]:
    own = [name for name, _ in response.headers if name.startswith("Access-Control-")]
    return {name: response.headers.getlist(name) for name in own}


@pytest.fixture
def redirecting(app: Flask) -> Flask:
    """Return an app whose routing redirects in every way, to views with policies of their own."""
    api = Blueprint("api", __name__, url_prefix="/api")
    api.add_url_rule(
        "/orders/", "orders", cors(origins=APP, credentials=True)(lambda: "orders"), methods=["GET", "PUT"]
    )
    api.add_url_rule("/old", "old", lambda: "never", redirect_to="/api/orders")
    api.add_url_rule("/away", "away", lambda: "never", redirect_to="https://elsewhere.example/api/orders/")
    api.add_url_rule("/loop", "loop", lambda: "never", redirect_to="/api/loop")
    api.add_url_rule("/page/", "page", cors(origins=APP)(show_page), defaults={"page": 1})
    api.add_url_rule("/page/<int:page>", "page")
    app.register_blueprint(api)
    Guard(app, policies=[cors(origins="https://app-wide.example")])
    return app


def show_page(page: int) -> str:
    return f"page {page}"


@pytest.mark.parametrize(
    "path", ["/api/orders", "/api//orders/", "/api/old", "/api/orders?page=2&q=%2F", "/api//orders"]
)
def test_redirect_carries_the_headers_of_the_endpoint_that_it_leads_to(redirecting: Flask, path: str) -> None:
    response = get(redirecting, path)

    assert response.status_code == 308
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": [APP],
        "Access-Control-Allow-Credentials": ["true"],
    }
    assert cors_headers(get(redirecting, path, EVIL)) == {}
    assert "Origin" in get(redirecting, path, EVIL).vary


def test_redirect_to_the_path_of_a_default_carries_its_headers(redirecting: Flask) -> None:
    response = get(redirecting, "/api/page/1")

    assert response.status_code == 308
    assert response.headers["Location"].endswith("/api/page/")
    assert cors_headers(response) == {"Access-Control-Allow-Origin": [APP]}


@pytest.mark.parametrize("path", ["/api/away", "/api/loop"])
def test_redirect_that_leads_to_no_endpoint_of_the_app_has_the_plan_of_its_scope(redirecting: Flask, path: str) -> None:
    assert cors_headers(get(redirecting, path)) == {}
    assert cors_headers(get(redirecting, path, "https://app-wide.example")) != {}


@pytest.mark.parametrize(("method", "allowed"), [("PUT", True), ("GET", True), ("DELETE", False)])
def test_preflight_of_a_redirect_is_answered_for_the_endpoint_that_it_leads_to(
    redirecting: Flask, method: str, allowed: bool
) -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": method}

    answer = redirecting.test_client().options("/api/orders", headers=headers)

    assert answer.status_code == 204
    assert answer.headers.get("Access-Control-Allow-Methods") == ("GET, HEAD, PUT" if allowed else None)
    assert ("Access-Control-Allow-Credentials" in answer.headers) is allowed


def test_redirect_below_another_root_is_followed(app: Flask) -> None:
    app.add_url_rule("/café/", "index", cors(origins=APP)(lambda: "hello"))
    Guard(app)

    response = app.test_client().get("/café", base_url="http://shop.example/mounted", headers={"Origin": APP})

    assert response.status_code == 308
    assert response.headers["Location"] == "http://shop.example/mounted/caf%C3%A9/"
    assert cors_headers(response) == {"Access-Control-Allow-Origin": [APP]}


def test_redirect_to_what_needs_a_key_is_a_401_without_one(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/orders/", "orders", protect(lambda: "orders", require_api_key, cors(origins=APP)))
    Guard(app)

    refused, redirected = get(app, "/orders"), get(app, "/orders", **{"X-API-Key": "the secret of ci"})

    assert [refused.status_code, redirected.status_code] == [401, 308]
    assert cors_headers(refused) == cors_headers(redirected) == {"Access-Control-Allow-Origin": [APP]}
