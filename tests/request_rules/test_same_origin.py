"""`same_origin`: which requests are taken for the app's own pages', and which are refused."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, session
from flask.views import MethodView
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_guard import (
    ConfigError,
    Denied,
    Guard,
    SameOrigin,
    cors,
    exempt,
    limit,
    protect,
    request_denied,
    request_would_be_denied,
    require_api_key,
    require_auth,
    same_origin,
)
from tests.cases import together
from tests.conftest import MakeApp

OWN = "https://shop.example"
COOKIE = {"Cookie": "session=ada"}


def guarded(app: Flask, policy: SameOrigin = same_origin) -> Flask:
    """Return `app` with a view that changes something."""
    Guard(app)
    app.add_url_rule("/", "act", policy(lambda: "done"), methods=["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"])
    return app


def post(app: Flask, headers: dict[str, str], base_url: str = OWN, method: str = "POST", **environ: Any) -> int:
    """Send a request with a cookie; return the status."""
    client = app.test_client(use_cookies=False)
    sent = {**COOKIE, **headers}
    return client.open("/", method=method, headers=sent, base_url=base_url, environ_overrides=environ).status_code


# Sec-Fetch-Site ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["same-origin", "none"])
@pytest.mark.parametrize("origin", [{}, {"Origin": OWN}, {"Origin": "null"}], ids=["no origin", "own", "null"])
def test_what_the_browser_calls_same_origin_is_served(app: Flask, site: str, origin: dict[str, str]) -> None:
    assert post(guarded(app), {"Sec-Fetch-Site": site, **origin}) == 200


@pytest.mark.slow
@together(
    "site",
    [
        "cross-site",
        "same-site",
        "Same-Origin",
        "same-origin, cross-site",
        "same-origin,same-origin",
        "same-origin;x",
        '"same-origin"',
        "same_origin",
        "same-origin\x00",
        "none, none",
        "null",
        "",
        "x" * 10_000,
    ],
)
@together("origin", [{}, {"Origin": OWN}, {"Origin": "null"}])
def test_any_other_site_is_refused_whatever_the_origin_says(app: Flask, site: str, origin: dict[str, str]) -> None:
    guarded(app)

    assert post(app, {**origin}, HTTP_SEC_FETCH_SITE=site) == 403


# Origin --------------------------------------------------------------------------------------------------------------


@together(
    ("base_url", "origin"),
    [
        (OWN, OWN),
        (OWN, "HTTPS://Shop.Example"),
        ("https://SHOP.example", OWN),
        ("https://shop.example:443", OWN),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:8000", "http://shop.example:8000"),
        ("https://[2001:db8::1]:8443", "https://[2001:DB8::1]:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_without_it_the_own_origin_is_served(app: Flask, base_url: str, origin: str) -> None:
    assert post(guarded(app), {"Origin": origin}, base_url) == 200


HOSTILE_ORIGINS = [
    "null",
    "NULL",
    "https://evil.example",
    "http://shop.example",
    "https://shop.example:8443",
    "https://shop.example:443",
    "https://shop.example.",
    "https://shop.example/",
    "https://shop.example/path",
    "https://shop.example?x",
    "https://shop.example#x",
    "https://shop.example@evil.example",
    "https://evil.example@shop.example",
    "https://user:pass@shop.example",
    "https://www.shop.example",
    "https://shop.exampl",
    "https://",
    "https://xshop.example",
    "https://shop.example.evil.example",
    "https://evil.example/https://shop.example",
    "https://evil.example?https://shop.example",
    "https://shop.example https://evil.example",
    "https://evil.example, https://shop.example",
    "https://shop.example, https://shop.example",
    "https://shop.example\x00",
    "https://shop.example\t",
    "https://shop.example\x7f.evil.example",
    "https://shop.example\\evil.example",
    "https:/shop.example",
    "https:shop.example",
    "//shop.example",
    "shop.example",
    "wss://shop.example",
    "ftp://shop.example",
    "file://",
    "data:",
    "chrome-extension://shop.example",
    "moz-extension://shop.example",
    "https://shop%2eexample",
    "https://shop.example%00",
    "https://sh\u00f6p.example",
    "https://0x7f.1",
    "https://[::1]",
    "https://" + "a" * 10_000,
    "*",
]


@pytest.mark.slow
@together("origin", HOSTILE_ORIGINS)
def test_without_it_any_other_origin_is_refused(app: Flask, origin: str) -> None:
    guarded(app)

    assert post(app, {}, HTTP_ORIGIN=origin.encode().decode("latin-1")) == 403


@pytest.mark.slow
@together("origin", HOSTILE_ORIGINS)
def test_an_allowed_origin_does_not_open_for_those_that_look_like_it(app: Flask, origin: str) -> None:
    guarded(app, same_origin(allow=[OWN, re.compile(r"https://[a-z]+\.shop\.example"), lambda each: "SHOP" in each]))

    sent = {"HTTP_ORIGIN": origin.encode().decode("latin-1"), "HTTP_SEC_FETCH_SITE": "cross-site"}

    assert post(app, {}, "https://api.example", **sent) == (200 if origin == "https://www.shop.example" else 403)


def test_the_port_that_a_proxy_hides_does_not_matter_once_the_proxy_is_trusted(app: Flask) -> None:
    guarded(app)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example", "Origin": OWN}

    assert post(app, forwarded, "http://10.0.0.7:8000") == 403
    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1, x_host=1)  # type: ignore[method-assign]
    assert post(app, forwarded, "http://10.0.0.7:8000") == 200
    assert post(app, {**forwarded, "Origin": "http://10.0.0.7:8000"}, "http://10.0.0.7:8000") == 403


# Neither -------------------------------------------------------------------------------------------------------------


@together(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"X-API-Key": "a long random secret"}, 200),
        ({"Authorization": "Bearer token"}, 200),
        ({"Authorization": "ApiKey token"}, 200),
        ({"Cookie": "session=ada"}, 403),
        ({"Cookie": "session=ada", "Authorization": "Bearer token"}, 403),
        ({"Authorization": "Basic YWRhOnNlc2FtZQ=="}, 403),
        ({"Authorization": " bASIC YWRhOnNlc2FtZQ=="}, 403),
        ({"Authorization": "Digest username=ada"}, 403),
        ({"Authorization": "Negotiate abc"}, 403),
        ({"Authorization": "NTLM abc"}, 403),
        ({"Authorization": "NTLM"}, 403),
    ],
)
def test_what_names_no_page_is_served_only_without_credentials_that_browsers_add(
    app: Flask, headers: dict[str, str], expected: int
) -> None:
    guarded(app)

    answer = app.test_client(use_cookies=False).post("/", headers=headers)

    assert answer.status_code == expected
    if expected == 403:
        assert "Send the header field Origin" in answer.get_json()["detail"]


def test_a_user_that_the_server_has_authenticated_is_a_credential(app: Flask) -> None:
    guarded(app)
    client = app.test_client()

    assert client.post("/", environ_overrides={"REMOTE_USER": "ada"}).status_code == 403
    assert (
        client.post("/", environ_overrides={"REMOTE_USER": "ada", "HTTP_ORIGIN": "http://localhost"}).status_code == 200
    )


def test_an_empty_origin_is_none(app: Flask) -> None:
    assert post(guarded(app), {"Origin": ""}) == 403


# Methods and scopes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "expected"),
    [("GET", 200), ("HEAD", 200), ("OPTIONS", 200), ("POST", 403), ("PUT", 403), ("PATCH", 403), ("DELETE", 403)],
)
def test_requests_that_change_nothing_are_served(app: Flask, method: str, expected: int) -> None:
    guarded(app)

    assert post(app, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, method=method) == expected
    assert ("same_origin" in app.extensions["guard"].guard.plan_for("act", "GET").names) is False


def test_a_method_of_ones_own_is_taken_for_one_that_changes_something(app: Flask) -> None:
    assert post(guarded(app), {"Sec-Fetch-Site": "cross-site"}, method="PURGE") == 403


def test_it_acts_before_limits_and_authentication_and_after_cors(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
    looked_up: list[str] = []
    page = "https://app.example"
    Guard(
        app,
        policies=[
            require_auth(basic=lambda name, password: looked_up.append(name)),
            limit("1/hour"),
            same_origin,
            cors(origins=page),
        ],
    )
    app.add_url_rule("/", "act", lambda: "done", methods=["POST"])
    sent = {"Origin": page, "Sec-Fetch-Site": "cross-site", "Authorization": "Basic YWRhOnNlc2FtZQ=="}

    refused = [app.test_client().post("/", headers=sent) for _ in range(3)]

    assert [answer.status_code for answer in refused] == [403] * 3
    assert refused[0].headers["Access-Control-Allow-Origin"] == page  # so that the page can read the refusal
    assert looked_up == []
    assert app.extensions["guard"].guard.plan_for("act", "POST").names == (
        "cors",
        "same_origin",
        "limit",
        "require_auth",
    )


@pytest.mark.parametrize(("others", "expected"), [([], 200), ([cors(origins="https://app.example")], 204)])
def test_a_preflight_is_not_its_business(app: Flask, others: list[Any], expected: int) -> None:
    Guard(app, policies=[same_origin, *others])
    app.add_url_rule("/", "act", lambda: "done", methods=["PUT"])
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT", "Sec-Fetch-Site": "cross-site"}

    assert app.test_client().options("/", headers=headers).status_code == expected


def test_the_nearest_decides_and_exempt_removes(app: Flask) -> None:
    partner = "https://partner.example"
    api = Blueprint("api", __name__)
    protect(api, same_origin)
    api.add_url_rule("/orders", "orders", lambda: "", methods=["POST"])
    api.add_url_rule("/shared", "shared", same_origin(allow=partner)(lambda: ""), methods=["POST"])
    api.add_url_rule("/hook", "hook", exempt(same_origin)(lambda: ""), methods=["POST"])
    Guard(app)
    app.register_blueprint(api)
    sent = {"Origin": partner, "Sec-Fetch-Site": "cross-site"}

    statuses = [app.test_client().post(path, headers=sent).status_code for path in ("/orders", "/shared", "/hook")]

    assert statuses == [403, 200, 200]


def test_the_methods_of_a_class_that_change_something_are_guarded(app: Flask) -> None:
    @same_origin
    class Cart(MethodView):
        def get(self) -> str:
            return "cart"

        def delete(self) -> str:
            return "emptied"

    Guard(app)
    app.add_url_rule("/cart", view_func=Cart.as_view("cart"))
    client = app.test_client()

    assert client.get("/cart", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert client.delete("/cart", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_session_of_flask_is_safe_from_foreign_pages(app: Flask) -> None:
    Guard(app, policies=[same_origin, require_auth(session=lambda: session.get("user"), realm="shop")])

    @app.post("/login")
    @exempt(require_auth)
    def login() -> str:
        session["user"] = "ada"
        return ""

    @app.post("/transfer")
    def transfer() -> str:
        return "sent"

    client = app.test_client()
    own, foreign = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert client.post("/login", headers=foreign).status_code == 403  # nobody logs the user in as somebody else
    assert client.post("/login", headers=own).status_code == 200

    assert client.post("/transfer", headers=foreign).status_code == 403
    assert client.post("/transfer", headers=own).data == b"sent"
    assert client.post("/transfer").status_code == 403  # a cookie, and no word on the page


@pytest.mark.parametrize("where", ["view", "method"])
def test_one_that_protects_nothing_is_a_warning(app: Flask, caplog: pytest.LogCaptureFixture, where: str) -> None:
    class Page(MethodView):
        @same_origin
        def get(self) -> str:
            return ""

        def post(self) -> str:
            return ""

    Guard(app)
    if where == "view":
        app.add_url_rule("/", "logout", same_origin(lambda: ""))
    else:
        app.add_url_rule("/", view_func=Page.as_view("page"))
    for _ in range(2):
        app.test_client().get("/")

    warnings = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"same_origin protects nothing on {where} ")


def test_one_on_a_form_and_its_page_is_no_warning(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    guarded(app)
    app.test_client().get("/")

    assert [each for each in caplog.records if each.levelno == logging.WARNING] == []


# Denials -------------------------------------------------------------------------------------------------------------

REASONS = [
    ({"Sec-Fetch-Site": "cross-site"}, "cross_site"),
    ({"Sec-Fetch-Site": "same-site", "Origin": OWN}, "same_site"),
    ({"Sec-Fetch-Site": "made\tup"}, "fetch_site"),
    ({"Origin": "https://evil.example"}, "origin"),
    ({"Origin": "null"}, "null_origin"),
    ({}, "no_origin"),
]


@pytest.mark.parametrize(("headers", "reason"), REASONS)
def test_each_refusal_has_a_reason(app: Flask, headers: dict[str, str], reason: str) -> None:
    guarded(app)
    seen: list[Denied] = []
    with request_denied.connected_to(lambda _app, denial, request: seen.append(denial), app):
        assert post(app, headers) == 403

    assert [(each.policy, each.reason) for each in seen] == [("same_origin", reason)]
    assert ("Sec-Fetch-Site: same-origin" in same_origin.remedy(seen[0])) is (reason == "no_origin")
    assert ("allow=" in same_origin.remedy(seen[0])) is (reason != "no_origin")


@pytest.mark.parametrize("how", ["option", "config"])
def test_report_mode_serves_and_says_what_it_would_deny(make_app: MakeApp, how: str) -> None:
    app = make_app(GUARD_MODES={"same_origin": "report"} if how == "config" else {})
    guarded(app, same_origin(mode="report") if how == "option" else same_origin)
    seen: list[Denied] = []
    with request_would_be_denied.connected_to(lambda _app, denial, request: seen.append(denial), app):
        assert post(app, {"Sec-Fetch-Site": "cross-site"}) == 200
        assert post(app, {"Sec-Fetch-Site": "same-origin"}) == 200

    assert [each.reason for each in seen] == ["cross_site"]


def test_a_null_origin_over_http_is_explained_once(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    guarded(app)
    for _ in range(2):
        post(app, {"Origin": "null"}, "http://shop.example")

    warnings = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "Referrer-Policy: no-referrer" in warnings[0]
    assert "secure_headers(referrer_policy='same-origin')" in warnings[0]


# Options -------------------------------------------------------------------------------------------------------------


@together(
    ("allow", "message"),
    [
        ("*", r"same_origin\(allow=…\): '\*' lets every site act as the user"),
        ("null", "'null' lets every site act as the user"),
        (["https://app.example", "null"], "any page can make a frame whose origin is null"),
        (["https://app.example", "*"], "Write '\\*' alone|'\\*' lets"),
        ("app.example", "it has no scheme"),
        ("https://app.example/", "drop the trailing slash"),
        ("https://app.example:443", "drop :443"),
        ("https://*.example", "give a pattern"),
        (re.compile(rb"x"), "not bytes"),
        (7, "is not an origin|must be an origin"),
        (lambda: True, "must take the origin"),
    ],
)
def test_an_origin_that_is_malformed_or_opens_everything_is_refused(allow: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        same_origin(allow=allow)


@pytest.mark.parametrize(
    "allow",
    [
        "https://app.example",
        "HTTPS://APP.example",
        ["https://other.example", "https://app.example"],
        re.compile(r"https://(app|www)\.example"),
        lambda origin: origin == "https://app.example",
    ],
    ids=["exact", "any case", "several", "pattern", "callable"],
)
def test_allowed_origins_may_send(app: Flask, allow: Any) -> None:
    guarded(app, same_origin(allow=allow))
    headers = {"Origin": "https://app.example"}

    assert post(app, {**headers, "Sec-Fetch-Site": "cross-site"}) == 200
    assert post(app, {**headers, "Sec-Fetch-Site": "same-site"}) == 200
    assert post(app, headers) == 200
    assert post(app, {"Origin": "https://app.example.evil.example", "Sec-Fetch-Site": "cross-site"}) == 403
    assert post(app, {"Sec-Fetch-Site": "cross-site"}) == 403


def test_a_callable_that_fails_allows_nothing(app: Flask) -> None:
    def broken(origin: str) -> bool:
        raise LookupError(origin)

    guarded(app, same_origin(allow=broken))

    assert post(app, {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}) == 403


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], ["https://a.example"], "weaker"),
        (["https://a.example", "https://b.example"], ["https://b.example"], "stronger"),
        (["https://a.example"], ["https://b.example"], "different"),
        (["https://A.example"], "https://a.example", "same"),
        ([re.compile("https://a")], [], "stronger"),
    ],
)
def test_more_origins_are_weaker(old: Any, new: Any, expected: str) -> None:
    before, after = (same_origin(allow=allow).plain_options() for allow in (old, new))

    assert SameOrigin.compare(before, after) == expected


def test_it_goes_beside_keys_for_clients_that_are_no_browsers(make_app: Callable[..., Flask]) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
    Guard(app, policies=[same_origin, require_api_key])
    app.add_url_rule("/", "act", lambda: "done", methods=["POST"])

    assert app.test_client().post("/", headers={"X-API-Key": "a long random secret"}).status_code == 200
