"""The origins that `cors` lets in, and its answers to the others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_guard import Cors, Guard, cors
from tests.cases import together
from tests.conftest import MakeApp

APP = "https://app.example.com"


def serve(app: Flask, policy: Cors) -> Flask:
    """Return `app`, with one guarded view at ``/``."""
    app.add_url_rule("/", "index", policy(lambda: "hello"))
    Guard(app)
    return app


def get(app: Flask, origin: str | None, **headers: str) -> TestResponse:
    return app.test_client().get("/", headers={"Origin": origin, **headers} if origin is not None else headers)


def preflight(app: Flask, origin: str | None) -> TestResponse:
    headers = {"Access-Control-Request-Method": "GET", **({"Origin": origin} if origin is not None else {})}
    return app.test_client().options("/", headers=headers)


def cors_headers(response: TestResponse) -> list[str]:
    return [name for name, _ in response.headers if name.startswith("Access-Control-")]


both_requests = pytest.mark.parametrize("send", [get, preflight], ids=["actual", "preflight"])


# Exact origins ---------------------------------------------------------------------------------------------------


@both_requests
@together(
    "origin",
    [
        APP,
        "http://localhost:5173",
        "http://127.0.0.1:8000",
        "http://[::1]:8080",
        "https://[2001:db8::7]",
        "https://xn--bcher-kva.example",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
        "https://under_score.example.com",
    ],
)
def test_listed_origin_is_let_in(app: Flask, origin: str, send: Any) -> None:
    serve(app, cors(origins=["https://other.example.com", origin]))

    response = send(app, origin)

    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert response.headers.getlist("Vary") == ["Origin"]


@both_requests
@together(
    "origin",
    [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:443",
        "https://app.example.com.evil.net",
        "https://app.example.comevil.net",
        "https://evil.net/https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com@evil.net",
        "https://evil-app.example.com",
        "https://sub.app.example.com",
        "https://appXexample.com",
        "https://APP.example.com.evil.net",
        "http://[::1]:8080",
        "http://[::1]",
        "http://1",
        "http://:",
        "app.example.com",
        "null",
        "*",
        "",
        " ",
        "https://app.example.com https://evil.net",
        "https://app.example.com, https://evil.net",
    ],
)
def test_any_other_origin_gets_no_cors_headers_but_vary(app: Flask, origin: str, send: Any) -> None:
    serve(app, cors(origins=[APP, "http://[::1]:9090"]))

    response = send(app, origin)

    assert cors_headers(response) == []
    assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("written", ["HTTPS://App.Example.COM", APP])
@pytest.mark.parametrize("sent", ["https://APP.example.com", APP])
def test_case_of_an_origin_means_nothing(app: Flask, written: str, sent: str) -> None:
    serve(app, cors(origins=written))

    assert get(app, sent).headers["Access-Control-Allow-Origin"].lower() == APP


def test_origin_that_looks_like_a_regular_expression_is_still_exact(app: Flask) -> None:
    serve(app, cors(origins=["http://[::1]:8080", "https://a.b-c.example"]))

    assert cors_headers(get(app, "http://::8080")) == []
    assert cors_headers(get(app, "https://aXb-c.example")) == []
    assert cors_headers(get(app, "http://[::1]:80801")) == []


@both_requests
def test_null_origin_is_let_in_only_where_listed(make_app: MakeApp, send: Any) -> None:
    listed = serve(make_app(), cors(origins=[APP, "null"]))
    pattern = serve(make_app(), cors(origins=re.compile(".*")))

    assert send(listed, "null").headers["Access-Control-Allow-Origin"] == "null"
    assert cors_headers(send(pattern, "null")) == []


# Patterns --------------------------------------------------------------------------------------------------------


@both_requests
@pytest.mark.parametrize("pattern", [r"https://.*\.example\.com", r"https://a\.example\.com|https://x\.example\.com"])
def test_pattern_must_match_the_whole_origin(app: Flask, pattern: str, send: Any) -> None:
    serve(app, cors(origins=[re.compile(pattern)]))

    allowed = send(app, "https://x.example.com")
    assert allowed.headers.getlist("Access-Control-Allow-Origin") == ["https://x.example.com"]
    assert allowed.headers.getlist("Vary") == ["Origin"]
    for origin in (
        "https://x.example.com.evil.net",
        "https://x.example.com:8443",
        "https://x.example.com/",
        "evil https://x.example.com",
        "https://evil.net/?https://x.example.com",
        "https://evil.net#.example.com",
        "https://evil.net\\.example.com",
        "http://x.example.com",
    ):
        response = send(app, origin)
        assert cors_headers(response) == [], origin
        assert response.headers.getlist("Vary") == ["Origin"]


def test_pattern_admits_ipv6_origins_literally(app: Flask) -> None:
    serve(app, cors(origins=re.compile(r"http://\[[0-9a-f:]+\]:5173")))

    assert get(app, "http://[fd00::1]:5173").headers["Access-Control-Allow-Origin"] == "http://[fd00::1]:5173"


def test_patterns_and_exact_origins_go_together(app: Flask) -> None:
    serve(app, cors(origins=(origin for origin in (APP, re.compile(r"http://localhost:\d+")))))

    answered = [get(app, origin).headers.get("Access-Control-Allow-Origin") for origin in (APP, "http://localhost:1")]
    assert answered == [APP, "http://localhost:1"]


def test_catastrophic_pattern_sees_no_endless_origin(app: Flask) -> None:
    serve(app, cors(origins=re.compile(r"https://[a-z]+\.example\.com")))

    assert cors_headers(get(app, "https://" + "a" * 100_000 + ".example.com")) == []


AS_WRITTEN: dict[str, re.Pattern[str]] = {
    "flag inside": re.compile(r"(?i)https://[a-z]+\.example\.com"),
    "verbose, with a comment at the end": re.compile(
        r"""
        https://        # TLS only
        [a-z]+          # a customer
        \.example\.com  # of ours (not "example.community)""",
        re.VERBOSE,
    ),
    "verbose inside": re.compile(r"(?x) https:// [a-z]+ \. example \. com  # the end"),
    "flags inside and outside": re.compile(r"(?ai)https://[a-z]+\.example\.com", re.MULTILINE),
    "alternatives": re.compile(r"https://x|https://[a-z]+\.example\.com|https://x\.example"),
    "anchors": re.compile(r"^https://[a-z]+\.example\.com$", re.MULTILINE),
    "groups": re.compile(r"(?P<scheme>https)://(\w)\2*\.example\.com"),
    "capitals": re.compile(r"HTTPS://[A-Z]+\.Example\.COM"),
}


@both_requests
@together("pattern", AS_WRITTEN.values())
def test_pattern_is_used_as_it_is_written(app: Flask, pattern: re.Pattern[str], send: Any) -> None:
    serve(app, cors(origins=pattern))

    assert send(app, "https://x.example.com").headers["Access-Control-Allow-Origin"] == "https://x.example.com"
    assert send(app, "https://X.Example.com").headers["Access-Control-Allow-Origin"] == "https://X.Example.com"
    for origin in (
        "https://x.example.community",
        "https://x.example.com.evil.net",
        "http://x.example.com",
        "https://x1",
    ):
        assert cors_headers(send(app, origin)) == [], origin


# Callables -------------------------------------------------------------------------------------------------------


@both_requests
def test_callable_is_asked_about_each_origin(app: Flask, send: Any) -> None:
    asked: list[str] = []

    def is_customer(origin: str) -> bool:
        asked.append(origin)
        return origin.endswith(".customers.example")

    serve(app, cors(origins=[APP, is_customer]))

    answered = [
        send(app, origin).headers.get("Access-Control-Allow-Origin")
        for origin in (
            "https://tea.customers.example",
            "https://tea.customers.example.evil",
            APP,
            "null",
            "",
            "nonsense",
        )
    ]

    assert answered == ["https://tea.customers.example", None, APP, None, None, None]
    assert asked == ["https://tea.customers.example", "https://tea.customers.example.evil"]
    assert send(app, None).headers.getlist("Vary") == ["Origin"]


def _failing(origin: str) -> bool:
    raise LookupError("the table of customers is gone")


@both_requests
@pytest.mark.parametrize(
    "predicate", [_failing, lambda origin: "yes", lambda origin: 1, lambda origin: re.match("", origin)]
)
def test_callable_that_fails_or_returns_anything_else_allows_nothing(
    app: Flask, predicate: Any, send: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serve(app, cors(origins=predicate))

    response = send(app, APP)

    assert response.status_code in (200, 204)
    assert cors_headers(response) == []
    assert "failed, so the origin is not allowed" in caplog.text


# Everybody, and nobody -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origins", ["*", ["*"]])
@pytest.mark.parametrize("origin", ["https://anywhere.example", "null", None])
def test_star_is_the_same_for_everybody_and_needs_no_vary(app: Flask, origins: Any, origin: str | None) -> None:
    serve(app, cors(origins=origins))

    response = get(app, origin)

    assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert "Vary" not in response.headers
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_request_without_origin_gets_vary_and_nothing_else(app: Flask) -> None:
    serve(app, cors(origins=[APP, "https://second.example.com"]))

    response = get(app, None)

    assert cors_headers(response) == []
    assert response.headers.getlist("Vary") == ["Origin"]


@together(
    ("own", "sent"),
    [
        (["Accept-Encoding"], ["Accept-Encoding, Origin"]),
        (["origin"], ["origin"]),
        (["Accept, Origin"], ["Accept, Origin"]),
        (["Accept", "Accept-Encoding"], ["Accept", "Accept-Encoding, Origin"]),
        (["*"], ["*"]),
    ],
)
@together("origin", [APP, "https://evil.net", None])
def test_vary_of_the_view_is_added_to(app: Flask, own: list[str], sent: list[str], origin: str | None) -> None:
    app.add_url_rule("/", "index", cors(origins=APP)(lambda: ("hello", [("Vary", each) for each in own])))
    Guard(app)

    assert get(app, origin).headers.getlist("Vary") == sent
