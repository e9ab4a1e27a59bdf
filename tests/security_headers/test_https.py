"""`secure_headers`: redirecting to https, and the flags of the session cookie."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, session
from flask.views import MethodView

from flask_guard import ConfigError, Guard, cors, secure_headers
from tests.conftest import MakeApp


def view() -> str:
    return "hello"


# Redirecting to https ----------------------------------------------------------------------------------------------


@pytest.fixture
def redirecting(app: Flask) -> Flask:
    app.add_url_rule("/", "index", view, methods=["GET", "POST"])
    Guard(app, policies=[secure_headers(https_redirect=True), cors(origins="https://app.example.com")])
    return app


@pytest.mark.parametrize(
    ("path", "base", "location"),
    [
        ("/", "http://shop.example", "https://shop.example/"),
        ("/?a=1&b=%2F", "http://shop.example", "https://shop.example/?a=1&b=/"),
        ("/nowhere", "http://shop.example", "https://shop.example/nowhere"),
        ("/", "http://shop.example:80", "https://shop.example/"),
        ("/", "http://shop.example:8080", "https://shop.example:8080/"),
    ],
)
def test_reading_over_http_is_redirected(redirecting: Flask, path: str, base: str, location: str) -> None:
    response = redirecting.test_client().get(path, base_url=base)

    assert (response.status_code, response.headers["Location"]) == (308, location)
    assert response.headers["X-Frame-Options"] == "deny"
    assert "Strict-Transport-Security" not in response.headers


def test_writing_over_http_is_refused_as_the_body_has_been_sent_in_the_clear(redirecting: Flask) -> None:
    response = redirecting.test_client().post("/", data="password=secret")

    assert (response.status_code, response.content_type) == (403, "application/problem+json")
    assert response.get_json()["detail"] == "Send this request over https."


def test_request_over_https_is_served(redirecting: Flask) -> None:
    assert redirecting.test_client().post("/", base_url="https://shop.example").text == "hello"


def test_spoofed_scheme_is_redirected_all_the_same(redirecting: Flask) -> None:
    assert redirecting.test_client().get("/", headers={"X-Forwarded-Proto": "https"}).status_code == 308


def test_preflights_and_options_are_answered_over_http(redirecting: Flask) -> None:
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}

    assert redirecting.test_client().options("/", headers=preflight).status_code == 204
    assert redirecting.test_client().options("/").status_code == 200


def test_nothing_is_redirected_in_debug_mode(app: Flask) -> None:
    app.debug = True
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[secure_headers(https_redirect=True)])

    assert app.test_client().get("/").status_code == 200


def test_view_can_be_left_out(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers(https_redirect=False)(view))
    app.add_url_rule("/other", "other", view)
    Guard(app, policies=[secure_headers(https_redirect=True)])
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/", "/other")] == [200, 308]


@pytest.mark.parametrize("preset", ["relaxed", "api"])
def test_report_mode_is_about_the_content_security_policy_alone(make_app: MakeApp, preset: Any) -> None:
    app = make_app(GUARD_MODES={"secure_headers": "report"})
    app.add_url_rule("/", "index", secure_headers(preset)(view), methods=["GET", "POST"])
    Guard(app, policies=[secure_headers("relaxed", https_redirect=True)])
    client = app.test_client()

    assert [client.get("/").status_code, client.post("/").status_code] == [403 if preset == "api" else 308, 403]
    assert client.post("/", base_url="https://shop.example").status_code == 200


def test_apis_never_redirect() -> None:
    with pytest.raises(ConfigError, match=r"ASVS 5\.0, 4\.1\.2.*Leave https_redirect out"):
        secure_headers("api", https_redirect=True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_api_below_a_site_that_redirects_is_refused_over_http(app: Flask, method: str) -> None:
    api = secure_headers("api")(Blueprint("api", __name__, url_prefix="/api"))
    api.add_url_rule("/", "index", view, methods=["GET", "POST"])
    app.register_blueprint(api)
    Guard(app, policies=[secure_headers("relaxed", https_redirect=True)])

    refused = app.test_client().open("/api/", method=method)

    assert (refused.status_code, "Location" in refused.headers) == (403, False)
    assert app.test_client().open("/api/", method=method, base_url="https://shop.example").status_code == 200


# The session cookie ------------------------------------------------------------------------------------------------


def with_session(app: Flask, **options: Any) -> str:
    """Return the cookie that `app` sets."""

    @app.get("/")
    def index() -> str:
        session["user"] = 7
        return "hello"

    Guard(app, policies=[secure_headers(**{"session_cookie": "Lax", **options})])
    return app.test_client().get("/", base_url="https://shop.example").headers["Set-Cookie"]


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
def test_session_cookie_gets_every_flag(app: Flask, same_site: str) -> None:
    cookie = with_session(app, session_cookie=same_site)

    name, *flags = cookie.split("; ")
    assert name.startswith("__Host-session=")
    assert sorted(flags) == ["HttpOnly", "Path=/", f"SameSite={same_site}", "Secure"]


def test_session_goes_on_from_one_request_to_the_next(app: Flask) -> None:
    app.add_url_rule("/user", "user", lambda: str(session.get("user")))
    with_session(app)
    client = app.test_client()

    client.get("/", base_url="https://shop.example")

    assert client.get("/user", base_url="https://shop.example").text == "7"


def test_session_works_over_http_in_debug_mode(app: Flask) -> None:
    app.debug = True

    cookie = with_session(app)

    assert cookie.startswith("session=")
    assert "Secure" not in cookie
    assert "HttpOnly" in cookie


def test_debug_mode_that_is_switched_on_after_the_guard_counts(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: str(session.setdefault("user", 7)))
    Guard(app, policies=[secure_headers(session_cookie="Lax")])
    app.debug = True

    assert app.test_client().get("/").headers["Set-Cookie"].startswith("session=")


def test_name_and_same_site_of_the_configuration_are_kept(make_app: MakeApp) -> None:
    app = make_app(SESSION_COOKIE_NAME="shop", SESSION_COOKIE_SAMESITE="Strict")

    cookie = with_session(app)

    assert cookie.startswith("__Host-shop=")
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(
    ("config", "fix"),
    [
        ({"SESSION_COOKIE_HTTPONLY": False}, "SESSION_COOKIE_HTTPONLY is False: leave it out"),
        ({"SESSION_COOKIE_SAMESITE": "None"}, "SESSION_COOKIE_SAMESITE is 'None': leave it out"),
        ({"SESSION_COOKIE_DOMAIN": "shop.example"}, "leave SESSION_COOKIE_DOMAIN and SESSION_COOKIE_PATH out"),
        ({"SESSION_COOKIE_PATH": "/app"}, "leave SESSION_COOKIE_DOMAIN and SESSION_COOKIE_PATH out"),
        ({"APPLICATION_ROOT": "/app"}, "APPLICATION_ROOT is '/app': set SESSION_COOKIE_PATH = '/'"),
    ],
)
def test_configuration_that_says_otherwise_is_refused(make_app: MakeApp, config: Any, fix: str) -> None:
    with pytest.raises(ConfigError, match=rf"secure_headers at .*: .*{fix}"):
        Guard(make_app(**config), policies=[secure_headers(session_cookie="Lax")])


def test_session_below_another_root_may_belong_to_the_whole_host(make_app: MakeApp) -> None:
    cookie = with_session(make_app(APPLICATION_ROOT="/app", SESSION_COOKIE_PATH="/"))

    assert cookie.startswith("__Host-session=")
    assert "Path=/;" in f"{cookie};"


def test_cookie_without_the_option_is_left_alone(app: Flask) -> None:
    Guard(app, policies=[secure_headers])

    assert (app.config["SESSION_COOKIE_NAME"], app.config["SESSION_COOKIE_SECURE"]) == ("session", False)


@pytest.mark.parametrize("target", [view, Blueprint("pages", __name__), MethodView])
def test_session_cookie_is_a_matter_of_the_whole_app(target: Any) -> None:
    if target is MethodView:
        target = type("Page", (MethodView,), {})
    with pytest.raises(ConfigError, match="goes on the app, which has one session cookie"):
        secure_headers(session_cookie="Lax")(target)
