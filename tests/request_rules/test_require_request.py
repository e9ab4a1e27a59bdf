"""`require_request`: which requests are refused, with which status, and before what."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, request
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_guard import (
    ConfigError,
    Denied,
    Guard,
    RequireRequest,
    cors,
    exempt,
    limit,
    metrics,
    protect,
    request_denied,
    request_would_be_denied,
    require_api_key,
    require_request,
)
from tests.cases import together
from tests.conftest import MakeApp


def echo() -> Response:
    return Response(request.get_data())


def guarded(app: Flask, policy: RequireRequest, *methods: str) -> Flask:
    """Return `app` with a view that returns the body of its request."""
    Guard(app)
    app.add_url_rule("/", "echo", policy(echo), methods=methods or ("GET", "POST", "PUT", "PATCH", "DELETE"))
    return app


def status(app: Flask, method: str = "POST", **options: Any) -> int:
    return app.test_client().open("/", method=method, **options).status_code


# Content types -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        " application/json ;x",
        "application/a+json",
    ],
)
def test_json_is_accepted(app: Flask, content_type: str) -> None:
    guarded(app, require_request(json=True))

    assert status(app, data="{}", content_type=content_type) == 200


HOSTILE_TYPES = [
    "",
    "text/plain",
    "text/plain; charset=application/json",
    "text/plain;application/json",
    "text/plain, application/json",
    "application/json, text/plain",
    "application/json,text/plain",
    "application/jsonp",
    "application/json/x",
    "application/+json",
    "application/x json+json",
    "application/a,b/c+json",
    "application/x\x00+json",
    "application",
    "json",
    "*/*",
    "application/*",
    "application/json\t\x0b",
    "application/ json",
    "application/x" + "x" * 10_000 + "+json",
    "applicat\u0131on/json",
    "multipart/form-data; boundary=application/json",
    "application/x-www-form-urlencoded",
]


@together("content_type", HOSTILE_TYPES)
def test_what_is_not_json_is_a_415_that_says_so(app: Flask, content_type: str) -> None:
    guarded(app, require_request(json=True))

    answer = app.test_client().post("/", data="{}", environ_overrides={"CONTENT_TYPE": content_type})

    assert (answer.status_code, answer.content_type) == (415, "application/problem+json")
    assert answer.headers["Accept"] == "application/json"
    assert answer.get_json()["detail"] == (
        "Send a body of one of these content types: application/json, application/*+json."
    )


@pytest.mark.parametrize(("method", "expected"), [("GET", 200), ("DELETE", 200), ("POST", 415), ("PATCH", 415)])
def test_a_request_without_a_body_needs_a_content_type_where_the_method_is_about_one(
    app: Flask, method: str, expected: int
) -> None:
    guarded(app, require_request(json=True))

    assert status(app, method) == expected


def test_a_body_of_any_method_needs_its_content_type(app: Flask) -> None:
    guarded(app, require_request(json=True))

    assert status(app, "DELETE", data="x", content_type="text/plain") == 415
    assert status(app, "GET", headers={"Transfer-Encoding": "chunked"}, content_type="text/plain") == 415
    assert status(app, "DELETE", data="{}", content_type="application/json") == 200


@pytest.mark.parametrize("rule", [{"json": True}, {"content_types": "application/json"}])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("framing", [{}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
def test_a_body_without_a_length_needs_its_content_type(
    app: Flask, rule: dict[str, Any], method: str, framing: dict[str, str]
) -> None:
    guarded(app, require_request(**rule))

    def answer(body: bytes, content_type: str) -> int:
        environ = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "CONTENT_LENGTH": "", **framing}
        return status(app, method, environ_overrides={**environ, "CONTENT_TYPE": content_type})

    assert answer(b"x", "text/plain") == 415
    assert answer(b"x", "") == 415
    assert answer(b"{}", "application/json") == 200
    assert answer(b"", "") == (415 if framing or method == "POST" else 200)  # as HTTP/2 has requests without a body


def test_a_body_without_a_length_of_another_type_is_reported_in_report_mode(app: Flask) -> None:
    guarded(app, require_request(json=True, mode="report"))
    environ = {"wsgi.input": io.BytesIO(b"whole"), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    reported: list[str] = []
    receiver = request_would_be_denied.connected_to(lambda _app, denial, request: reported.append(denial.reason), app)

    with receiver:
        answer = app.test_client().delete("/", environ_overrides={**environ, "CONTENT_TYPE": "text/plain"})

    assert (answer.data, reported) == (b"whole", ["content_type"])


@pytest.mark.parametrize(
    ("accepted", "content_type", "expected"),
    [
        ("text/csv", "text/csv; header=present", 200),
        ("text/csv", "text/csv2", 415),
        (["image/*", "text/csv"], "image/png", 200),
        (["image/*", "text/csv"], "image/", 415),
        (["image/*", "text/csv"], "images/png", 415),
        ("application/*+xml", "application/atom+xml", 200),
        ("application/*+xml", "application/xml", 415),
        ("TEXT/Plain", "text/plain", 200),
    ],
)
def test_content_types_are_exact_or_have_a_wildcard(
    app: Flask, accepted: Any, content_type: str, expected: int
) -> None:
    guarded(app, require_request(content_types=accepted))

    assert status(app, data="x", content_type=content_type) == expected


# https, hosts, addresses, headers ------------------------------------------------------------------------------------


def test_http_is_a_403_whatever_the_request_says_of_itself(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    guarded(app, require_request(https=True))
    client = app.test_client()

    spoofed = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on", "Forwarded": "proto=https"}
    answers = [client.get("/", headers=spoofed) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert answers[0].content_type == "application/problem+json"
    assert "Location" not in answers[0].headers
    assert client.get("/", base_url="https://localhost").status_code == 200
    hints = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert len(hints) == 1
    assert "ProxyFix(app.wsgi_app, x_proto=1)" in hints[0]


HOSTS = [
    "api.example.com",
    "*.shop.example",
    "localhost:5000",
    "[2001:db8::1]",
    "secure.example:443",
    "*.ports.example:8443",
]


@together(
    "host",
    [
        "api.example.com",
        "API.Example.COM",
        "api.example.com:8443",
        "api.example.com.",
        "api.example.com:",
        "a.shop.example",
        "a.b.shop.example:8000",
        "localhost:5000",
        "[2001:db8::1]",
        "[2001:DB8::1]:80",
        "secure.example:443",
        "a.ports.example:8443",
    ],
)
def test_a_listed_host_is_served(app: Flask, host: str) -> None:
    guarded(app, require_request(hosts=HOSTS))

    assert status(app, "GET", headers={"Host": host}) == 200


@together(
    "host",
    [
        "",
        "example.com",
        "evil.example",
        "api.example.com.evil.example",
        "evilapi.example.com",
        "api.example.com@evil.example",
        "evil.example@api.example.com",
        "api.example.com/evil",
        "api.example.com:80:80",
        "api.example.com:8x",
        "api.example.com:123456",
        "api.example.com, evil.example",
        "api.example.com evil.example",
        "api.example.com\t",
        "api.example.com\x00",
        "shop.example",
        ".shop.example",
        "evilshop.example",
        "a.shop.example.evil.example",
        "*.shop.example",
        "localhost",
        "localhost:5001",
        "2001:db8::1",
        "[2001:db8::2]",
        "secure.example",
        "a.ports.example",
        "a.ports.example:443",
        "a" * 1000 + ".shop.example",
    ],
)
def test_any_other_host_is_a_400(app: Flask, host: str) -> None:
    guarded(app, require_request(hosts=HOSTS))

    environ = {**EnvironBuilder().get_environ(), "HTTP_HOST": host}
    answer = Response(*run_wsgi_app(app, environ, buffered=True))

    assert answer.status_code == 400
    assert answer.content_type != "application/problem+json" or "serve this host" in answer.get_data(as_text=True)


def test_the_default_port_of_the_scheme_is_a_port(app: Flask) -> None:
    guarded(app, require_request(hosts="secure.example:443"))

    assert status(app, "GET", base_url="https://secure.example") == 200
    assert status(app, "GET", base_url="http://secure.example") == 400


def test_a_request_without_a_host_is_refused(app: Flask) -> None:
    guarded(app, require_request(hosts="localhost"))
    environ = app.test_client().get("/", headers={"Host": "localhost"}).request.environ.copy()
    del environ["HTTP_HOST"]
    statuses: list[str] = []

    b"".join(app.wsgi_app(environ, lambda status, headers, exc_info=None: statuses.append(status) or bytes))  # type: ignore[func-returns-value]

    assert statuses == ["400 BAD REQUEST"]


@together(
    ("address", "expected"),
    [
        ("192.0.2.7", 200),
        ("::ffff:192.0.2.7", 200),
        ("192.0.2.7:4711", 200),
        ("2001:db8::1", 200),
        ("192.0.3.7", 403),
        ("2001:db9::1", 403),
        ("192.0.2.7, 10.0.0.1", 403),
        ("unix:", 403),
        ("192.0.2.7" + " " * 100, 403),
        ("", 403),
        (None, 403),
    ],
)
def test_addresses_are_networks_and_an_unknown_one_lies_in_none(app: Flask, address: str | None, expected: int) -> None:
    guarded(app, require_request(addresses=["192.0.2.0/24", "2001:db8::/32"]))

    assert status(app, "GET", environ_overrides={"REMOTE_ADDR": address}) == expected
    assert (
        status(app, "GET", environ_overrides={"REMOTE_ADDR": "10.9.9.9"}, headers={"X-Forwarded-For": "192.0.2.7"})
        == 403
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Tenant": "acme", "Accept-Language": "en"}, 200),
        ({"X-Tenant": "acme"}, 400),
        ({"X-Tenant": "", "Accept-Language": "en"}, 400),
        ({"X-Tenant": "  ", "Accept-Language": "en"}, 400),
        ({}, 400),
    ],
)
def test_required_headers_must_be_there_and_not_empty(app: Flask, headers: dict[str, str], expected: int) -> None:
    guarded(app, require_request(headers=["X-Tenant", "accept-language"]))

    answer = app.test_client().get("/", headers=headers)

    assert answer.status_code == expected
    if expected == 400 and "X-Tenant" in headers and headers["X-Tenant"].strip():
        assert answer.get_json()["detail"] == "Send the header field accept-language."


def test_a_header_may_be_the_content_type(app: Flask) -> None:
    guarded(app, require_request(headers="Content-Type"))

    assert status(app, data="x", content_type="text/plain") == 200
    assert status(app, "POST") == 400


# As a policy ---------------------------------------------------------------------------------------------------------


def test_it_acts_before_limits_and_authentication_and_after_cors(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
    Guard(
        app,
        policies=[
            require_api_key,
            limit("1/hour"),
            require_request(json=True),
            cors(origins="https://app.example.com"),
        ],
    )
    app.add_url_rule("/", "echo", echo, methods=["POST"])
    origin = {"Origin": "https://app.example.com"}
    client = app.test_client()

    refused = [client.post("/", headers=origin) for _ in range(3)]

    assert [answer.status_code for answer in refused] == [415] * 3
    assert refused[0].headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert client.post("/", json={}, headers=origin).status_code == 401
    preflight = client.options("/", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    names = app.extensions["guard"].guard.plan_for("echo", "POST").names
    assert names == ("cors", "require_request", "limit", "require_api_key")


def test_flasks_own_answer_to_options_needs_nothing(app: Flask) -> None:
    guarded(app, require_request(https=True, headers="X-Tenant"))

    assert status(app, "OPTIONS") == 200


def test_it_reaches_the_404s_below_its_scope(app: Flask) -> None:
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    protect(admin, require_request(addresses="192.0.2.0/24"))
    Guard(app)
    app.register_blueprint(admin)

    assert app.test_client().get("/admin/nothing").status_code == 403
    assert app.test_client().get("/nothing").status_code == 404


def test_the_nearest_replaces_and_exempt_removes(app: Flask) -> None:
    api = Blueprint("api", __name__)
    protect(api, require_request(json=True))
    api.add_url_rule("/import", "import", require_request(content_types="text/csv")(echo), methods=["POST"])
    api.add_url_rule("/open", "open", exempt(require_request)(lambda: "open"), methods=["POST"])
    Guard(app)
    app.register_blueprint(api)
    client = app.test_client()

    assert client.post("/import", data="a,b", content_type="text/csv").status_code == 200
    assert client.post("/import", json={}).status_code == 415
    assert client.post("/open", data="x").status_code == 200


@pytest.mark.parametrize("how", ["option", "config"])
def test_report_mode_lets_through_and_says_what_it_would_deny(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    app = make_app(GUARD_MODES={"require_request": "report"} if how == "config" else {})
    policy = require_request(json=True, max_body=3)
    guarded(app, policy(mode="report") if how == "option" else policy)
    seen: list[Denied] = []
    with request_would_be_denied.connected_to(lambda _app, denial, request: seen.append(denial), app):
        assert app.test_client().post("/", data="a=1").data == b"a=1"
        assert app.test_client().post("/", json="much too long").data == b'"much too long"'

    assert [(each.policy, each.reason, each.code) for each in seen] == [
        ("require_request", "content_type", 415),
        ("require_request", "body", 413),
    ]
    assert "POST / would be denied by require_request (content_type)" in caplog.text


@pytest.mark.parametrize(
    ("options", "request_options", "reason"),
    [
        ({"json": True}, {"data": "x"}, "content_type"),
        ({"max_body": 1}, {"data": "xx"}, "body"),
        ({"https": True}, {}, "https"),
        ({"hosts": "api.example.com"}, {}, "host"),
        ({"addresses": "192.0.2.1"}, {}, "address"),
        ({"headers": "X-Tenant"}, {}, "header"),
    ],
)
def test_each_refusal_has_a_reason_for_signals_and_metrics(
    app: Flask, options: dict[str, Any], request_options: dict[str, Any], reason: str
) -> None:
    seen: list[Denied] = []
    Guard(app, policies=[metrics])
    app.add_url_rule("/", "echo", require_request(**options)(echo), methods=["POST"])
    with request_denied.connected_to(lambda _app, denial, request: seen.append(denial), app):
        app.test_client().post("/", **request_options)

    assert [(each.policy, each.reason) for each in seen] == [("require_request", reason)]
    remedy = require_request(**options).remedy(seen[0])
    assert remedy.startswith("Send ")
    assert all(str(value) in remedy for value in options.values() if value is not True)


def test_error_handlers_of_the_app_render_its_refusals(app: Flask) -> None:
    guarded(app, require_request(json=True, max_body=10))
    app.register_error_handler(415, lambda error: ("mine", 415))
    app.register_error_handler(413, lambda error: ("too long", 413))

    wrong, long = app.test_client().post("/", data="x"), app.test_client().post("/", json="x" * 100)

    assert (wrong.text, wrong.headers["Accept"]) == ("mine", "application/json")
    assert long.text == "too long"


# Mistakes ------------------------------------------------------------------------------------------------------------


@together(
    ("options", "message"),
    [
        ({"json": 1}, r"require_request\(json=…\) must be True or False"),
        ({"https": "yes"}, r"require_request\(https=…\) must be True or False"),
        ({"json": True, "content_types": "text/csv"}, "sets the content types already"),
        ({"content_types": "json"}, "'json' is not a content type; write a type such as text/csv"),
        ({"content_types": "text/csv; charset=utf-8"}, "has a parameter. Leave it out"),
        ({"content_types": "*/*"}, "accepts everything. Leave the option out"),
        ({"content_types": ["text/csv", None]}, "None is not a content type"),
        ({"content_types": 7}, "7 is not a content type"),
        ({"max_body": "1 MB"}, "must be a whole number of bytes of at least 0, not '1 MB'"),
        ({"max_body": -1}, "must be a whole number of bytes"),
        ({"max_body": True}, "must be a whole number of bytes"),
        ({"hosts": "https://api.example.com"}, "is a URL or a path. Leave the scheme and the slashes out"),
        ({"hosts": "*"}, "accepts every host. Leave the option out"),
        ({"hosts": "a.*.example.com"}, "is not a host"),
        ({"hosts": "*example.com"}, "is not a host"),
        ({"hosts": "bücher.example"}, "must be in its ASCII form"),
        ({"hosts": "api.example.com:"}, "is not a host"),
        ({"hosts": [""]}, "is not a host"),
        ({"hosts": [8080]}, "8080 is not a host"),
        ({"addresses": "192.0.2.1/24"}, "write a network such as 192.0.2.0/24"),
        ({"addresses": "example.com"}, "write a network such as"),
        ({"headers": "X Tenant"}, "'X Tenant' is not a name"),
        ({"headers": ["X-Tenant:"]}, "'X-Tenant:' is not a name"),
        ({"mode": "shadow"}, "must be one of 'enforce', 'report'"),
    ],
)
def test_an_invalid_option_is_refused_where_it_is_written(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_request(**options)


def test_one_that_requires_nothing_is_refused_wherever_it_is_applied(app: Flask) -> None:
    for policy in (require_request, require_request(mode="report"), require_request(hosts=[])):
        with pytest.raises(ConfigError, match=r"require_request has no rule: name one"):
            policy(echo)
        with pytest.raises(ConfigError, match="require_request has no rule"):
            protect(app, policy)


def test_an_unknown_option_has_a_hint() -> None:
    with pytest.raises(TypeError, match="did you mean 'content_types'"):
        require_request(content_type="text/csv")  # type: ignore[call-overload]


# Weaker and stronger -------------------------------------------------------------------------------------------------


@together(
    ("old", "new", "expected"),
    [
        ({"json": True}, {"https": True, "json": True}, "stronger"),
        ({"json": True}, {"json": False, "https": False}, "weaker"),
        ({"max_body": 10}, {"max_body": 11}, "weaker"),
        ({"max_body": 10}, {}, "weaker"),
        ({}, {"max_body": 0}, "stronger"),
        ({"hosts": ["a.example"]}, {"hosts": ["a.example", "b.example"]}, "weaker"),
        ({"hosts": ["a.example"]}, {}, "weaker"),
        ({"addresses": ["192.0.2.0/24", "10.0.0.0/8"]}, {"addresses": ["10.0.0.0/8"]}, "stronger"),
        ({"addresses": []}, {"addresses": ["10.0.0.0/8"]}, "stronger"),
        ({"headers": ["X-A"]}, {"headers": ["X-A", "X-B"]}, "stronger"),
        ({"content_types": ["text/csv"]}, {"content_types": ["text/*"]}, "different"),
        ({"https": True}, {"max_body": 1}, "different"),
        ({"https": True, "mode": "report"}, {"https": True}, "stronger"),
    ],
)
def test_a_change_is_weaker_or_stronger_by_its_options(old: dict[str, Any], new: dict[str, Any], expected: str) -> None:
    before, after = (require_request(**options).plain_options() for options in (old, new))

    assert RequireRequest.compare(before, after) == expected
