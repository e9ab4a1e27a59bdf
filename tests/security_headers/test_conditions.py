"""`secure_headers`: the headers that depend on https, on the mode, and on the other policies in force."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_guard import Guard, SecureHeaders, cors, protect, require_api_key, secure_headers
from flask_guard.security_headers import nonce
from tests.conftest import MakeApp

from .test_secure_headers import HTTPS, OWASP_STRICT, security_headers, serve

# Https -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["strict", "relaxed"])
def test_what_holds_for_https_goes_out_over_https_only(app: Flask, preset: Any) -> None:
    serve(app, secure_headers(preset))

    secure, plain = security_headers(app), security_headers(app, base="http://localhost")

    assert secure.pop("Strict-Transport-Security")
    assert secure["Content-Security-Policy"] == plain["Content-Security-Policy"] + "; upgrade-insecure-requests"
    assert {**secure, "Content-Security-Policy": ""} == {**plain, "Content-Security-Policy": ""}


def test_forwarded_scheme_is_not_believed(app: Flask) -> None:
    serve(app, secure_headers)

    response = app.test_client().get("/", headers={"X-Forwarded-Proto": "https", "Forwarded": "proto=https"})

    assert "Strict-Transport-Security" not in response.headers


def test_log_says_once_why_hsts_is_missing_behind_a_proxy(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    serve(app, secure_headers)
    client = app.test_client()

    client.get("/", headers={"X-Forwarded-Proto": "http"})
    assert caplog.text == ""
    for _ in range(2):
        client.get("/", headers={"X-Forwarded-Proto": "https"})

    assert caplog.text.count("ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)") == 1


@pytest.mark.parametrize("policy", [secure_headers(hsts=None), secure_headers("relaxed", hsts=None)])
def test_log_says_nothing_where_hsts_is_not_wanted(
    app: Flask, policy: SecureHeaders, caplog: pytest.LogCaptureFixture
) -> None:
    serve(app, policy)

    app.test_client().get("/", headers={"X-Forwarded-Proto": "https"})

    assert caplog.text == ""


def test_hsts_goes_out_behind_a_proxy_that_is_trusted(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    serve(app, secure_headers)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1)  # type: ignore[method-assign]

    response = app.test_client().get("/", headers={"X-Forwarded-Proto": "https"})

    assert response.headers["Strict-Transport-Security"] == OWASP_STRICT["Strict-Transport-Security"]
    assert caplog.text == ""


# Report mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_config", [True, False])
def test_report_mode_only_reports_what_the_policy_would_block(make_app: MakeApp, by_config: bool) -> None:
    app = make_app(GUARD_MODES={"secure_headers": "report"} if by_config else {})
    policy = secure_headers if by_config else secure_headers(mode="report")

    headers = security_headers(serve(app, policy))

    expected = dict(OWASP_STRICT)
    enforced = expected.pop("Content-Security-Policy")
    expected["Content-Security-Policy-Report-Only"] = enforced.removesuffix("; upgrade-insecure-requests")
    assert headers == expected


def test_what_browsers_ignore_in_report_mode_is_left_out(app: Flask) -> None:
    csp = {"sandbox": "allow-scripts", "script-src": ["'self'", nonce]}
    serve(app, secure_headers(mode="report", csp=csp, csp_report_only="sandbox; img-src *"))

    response = app.test_client().get("/", base_url=HTTPS)

    tried, second = response.headers.getlist("Content-Security-Policy-Report-Only")
    assert "sandbox" not in tried
    assert "upgrade-insecure-requests" not in tried
    assert second == "img-src *"


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ({"mode": "report"}, False),
        ({"csp_report_only": "img-src *"}, False),
        ({"mode": "report", "csp": {"report-uri": "/csp-reports"}}, True),
        ({"mode": "report", "csp": {"report-to": "csp"}, "reporting_endpoints": {"csp": "/csp-reports"}}, True),
        ({}, True),
        ({"mode": "report", "csp": None}, True),
    ],
)
def test_log_says_once_that_nobody_gets_the_reports(
    app: Flask, options: dict[str, Any], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/other", "other", lambda: "other")
    serve(app, secure_headers(**options))

    app.test_client().get("/")

    assert caplog.text.count("nobody gets the reports") == (0 if is_told else 1)


def test_report_mode_leaves_a_second_policy_as_it_is(app: Flask) -> None:
    serve(app, secure_headers(mode="report", csp="default-src 'self'", csp_report_only="default-src https:"))

    response = app.test_client().get("/", base_url=HTTPS)

    assert response.headers.getlist("Content-Security-Policy-Report-Only") == [
        "default-src 'self'",
        "default-src https:",
    ]
    assert "Content-Security-Policy" not in response.headers


def test_nearer_policy_can_enforce_what_the_outer_one_only_reports(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers(mode="enforce")(lambda: "hello"))
    Guard(app, policies=[secure_headers(mode="report", csp="default-src https:")])

    assert security_headers(app)["Content-Security-Policy"] == "default-src https:"


# What others declare ---------------------------------------------------------------------------------------------


def test_resource_policy_follows_a_cors_that_opens_the_endpoint_to_everybody(app: Flask) -> None:
    app.add_url_rule("/open", "open", cors(origins="*")(lambda: "open"))
    app.add_url_rule("/listed", "listed", cors(origins="https://app.example.com")(lambda: "listed"))
    app.add_url_rule(
        "/own", "own", protect(lambda: "own", cors(origins="*"), secure_headers(resource_policy="same-site"))
    )
    Guard(app, policies=[secure_headers])

    policies = {
        path: security_headers(app, path)["Cross-Origin-Resource-Policy"] for path in ("/open", "/listed", "/own")
    }

    assert policies == {"/open": "cross-origin", "/listed": "same-origin", "/own": "same-site"}


def test_origins_of_the_configuration_open_the_resource_policy_too(make_app: MakeApp) -> None:
    app = make_app(GUARD_CORS_ORIGINS="*")
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[secure_headers, cors])

    assert security_headers(app)["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("preset", ["relaxed", "strict"])
def test_answers_to_callers_that_have_authenticated_are_not_stored(make_app: MakeApp, preset: Any) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/", "index", require_api_key(optional=True)(lambda: "hello"))
    app.add_url_rule("/own", "own", require_api_key(optional=True)(lambda: ("hello", {"Cache-Control": "private"})))
    Guard(app, policies=[secure_headers(preset)])
    client, key = app.test_client(), {"X-API-Key": "the secret of ci"}

    anonymous, known, own = client.get("/"), client.get("/", headers=key), client.get("/own", headers=key)

    assert anonymous.headers.get("Cache-Control") == (None if preset == "relaxed" else "no-store, max-age=0")
    assert "no-store" in known.headers["Cache-Control"]
    assert own.headers.getlist("Cache-Control") == ["private"]


def test_explicit_none_leaves_caching_to_the_others_for_everybody(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/", "index", require_api_key(lambda: "hello"))
    Guard(app, policies=[secure_headers("relaxed", cache_control=None)])

    response = app.test_client().get("/", headers={"X-API-Key": "the secret of ci"})

    assert response.headers.getlist("Cache-Control") == ["private"]  # which is of require_api_key
