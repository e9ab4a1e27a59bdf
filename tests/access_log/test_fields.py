"""`log_timing(fields=…)`: what is named is logged, masked where wanted, on one line; what is not named is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, Response, g, request, stream_with_context
from werkzeug.test import TestResponse

from flask_guard import (
    ConfigError,
    DenyingPolicy,
    Guard,
    LogTiming,
    Step,
    Target,
    log_fields,
    log_timing,
    protect,
)
from flask_guard.access_log.fields import header, query, response_header
from flask_guard.core.policy import Credential
from tests.access_log.logged import Records
from tests.cases import together
from tests.conftest import MakeApp


def send(app: Flask, path: str = "/", **options: Any) -> TestResponse:
    """Send a request, and read and close the response as a server does."""
    return app.test_client(use_cookies=False).get(path, buffered=True, **options)


def serve(app: Flask, policy: LogTiming, view: Callable[..., Any] = lambda: "hello") -> Flask:
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[policy])
    return app


def test_named_header_parameter_and_response_header_are_logged(app: Flask, records: Records) -> None:
    fields = {"agent": header("User-Agent"), "page": query("page"), "cached": response_header("X-Cache")}
    serve(app, log_timing(fields=fields), lambda: ("hello", {"X-Cache": "hit"}))

    send(app, "/?page=7&token=sesame", headers={"User-Agent": "curl/8", "Referer": "sesame"})

    (record,) = records()
    assert (record.agent, record.page, record.cached) == ("curl/8", "7", "hit")
    assert "sesame" not in str(vars(record))


def test_what_is_not_there_is_none(app: Flask, records: Records) -> None:
    serve(app, log_timing(fields={"page": query("page"), "trace": header("X-Trace"), "etag": response_header("ETag")}))

    send(app)

    (record,) = records()
    assert (record.page, record.trace, record.etag) == (None, None, None)


def test_masked_value_is_not_logged_but_that_it_was_there_is(app: Flask, records: Records) -> None:
    fields = {"cookie": header("Cookie", mask=True), "key": header("X-API-Key", mask=lambda key: key[:4] + "…")}
    serve(app, log_timing(fields=fields))

    send(app, headers={"Cookie": "session=sesame", "X-API-Key": "shopsesame"})
    send(app)

    there, absent = records()
    assert (there.cookie, there.key) == ("***", "shop…")
    assert (absent.cookie, absent.key) == (None, None)
    assert "sesame" not in str(vars(there))


@together("name", ["Authorization", "cookie", "X-Api-Key", "Proxy-Authorization", "Set-Cookie"])
@together("make", [header, response_header])
def test_header_that_carries_credentials_must_be_masked(make: Callable[[str], object], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"would log a secret. Write {make.__name__}\('{name}', mask=True\)"):
        make(name)


def test_header_that_carries_credentials_must_be_masked_in_any_spelling() -> None:
    with pytest.raises(ConfigError, match=r"would log a secret. Write header\('X_API_KEY', mask=True\)"):
        header("X_API_KEY")


@pytest.mark.parametrize("name", ["access_token", "api_key", "password", "token"])
def test_parameter_that_carries_credentials_must_be_masked(name: str) -> None:
    with pytest.raises(ConfigError, match="would log a secret"):
        query(name)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireTicket(DenyingPolicy):
    """Stands for a policy that takes credentials from a header and from the query."""

    kind: ClassVar[str] = "require_ticket"

    @property
    def credential_places(self) -> tuple[Credential, ...]:
        return (("header", "x-ticket"), ("query", "ticket"))

    def compile(self, target: Target) -> Step:
        return Step()


@pytest.mark.parametrize("scope", ["another view", "a blueprint", "a path", "app"])
def test_credentials_of_any_policy_are_masked_on_every_endpoint(app: Flask, records: Records, scope: str) -> None:
    fields = {
        "mine": header("x-ticket"),
        "same": header("X_Ticket"),  # WSGI has one name for both
        "echo": response_header("X-TICKET"),
        "asked": query("ticket"),
        "page": query("page"),
        "shortened": header("X-Ticket", mask=lambda value: value[:2]),
    }
    if scope == "another view":
        app.add_url_rule("/zoo", "zoo", RequireTicket()(lambda: "zoo"))
    elif scope == "app":
        RequireTicket()(app)
    elif scope == "a path":
        app.add_url_rule("/zoo", "zoo", lambda: "zoo")
        protect(app, RequireTicket(), under="/zoo")
    else:
        zoo = RequireTicket()(Blueprint("zoo", __name__, url_prefix="/zoo"))
        zoo.add_url_rule("/", "zoo", lambda: "zoo")
        app.register_blueprint(zoo)
    serve(app, log_timing(fields=fields), lambda: ("hello", {"X-Ticket": request.headers["X-Ticket"]}))

    send(app, "/?ticket=sesame&page=7", headers={"X-Ticket": "sesame"})

    (record,) = records()
    assert (record.mine, record.same, record.echo, record.asked) == ("***", "***", "***", "***")
    assert (record.page, record.shortened) == ("7", "se")


@pytest.mark.parametrize(
    ("url", "logged"),
    [
        ("https://shop.example/a?ticket=sesame&page=7#top", "https://shop.example/a?ticket=***&page=7#top"),
        ("/a?page=7&ticket=sesame", "/a?page=7&ticket=***"),
        ("/a?%74icket=sesame", "/a?%74icket=***"),
        ("/a?ticket=sesame&ticket=open?sesame", "/a?ticket=***&ticket=***"),
        ("/a?Access_Token=sesame", "/a?Access_Token=***"),
        ("/a?tickets=9&page=ticket", "/a?tickets=9&page=ticket"),
        ("https://shop.example/#access_token=sesame&page=7", "https://shop.example/#access_token=***&page=7"),
        ("/a?ticket", "/a?ticket"),
        ("ticket=sesame", "ticket=sesame"),
    ],
)
def test_credentials_in_the_urls_of_headers_are_masked(app: Flask, records: Records, url: str, logged: str) -> None:
    """As in ``Location`` where Flask redirects to a path with a slash at its end, query string included."""
    app.add_url_rule("/zoo", "zoo", RequireTicket()(lambda: "zoo"))
    fields = {"came_from": header("Referer"), "sent_to": response_header("Location")}
    serve(app, log_timing(fields=fields), lambda: ("", 302, {"Location": url}))

    send(app, headers={"Referer": url})

    (record,) = records()
    assert (record.came_from, record.sent_to) == (logged, logged)


def test_functions_see_the_request_or_nothing_and_the_context(app: Flask, records: Records) -> None:
    @app.before_request
    def find_tenant() -> None:
        g.tenant = "acme"

    serve(app, log_timing(fields={"tenant": lambda: g.tenant, "host": lambda request: request.host}))

    send(app)

    (record,) = records()
    assert (record.tenant, record.host) == ("acme", "localhost")


@pytest.mark.parametrize("keep", [False, True])
def test_functions_see_the_context_although_the_body_is_streamed(app: Flask, records: Records, keep: bool) -> None:
    def view() -> Response:
        g.tenant = "acme"
        chunks = iter(["a", "b"])
        return Response(stream_with_context(chunks) if keep else chunks)

    serve(app, log_timing(fields={"tenant": lambda: g.tenant}), view)

    send(app)

    assert records()[0].tenant == "acme"


def test_request_without_a_response_has_its_fields(make_app: MakeApp, records: Records) -> None:
    fields = {"agent": header("User-Agent"), "kind": response_header("Content-Type")}
    app = serve(make_app(TESTING=True), log_timing(fields=fields), lambda: str(1 / 0))

    with pytest.raises(ZeroDivisionError):
        send(app, headers={"User-Agent": "curl/8"})

    assert (records()[0].agent, records()[0].kind) == ("curl/8", None)


def test_functions_are_called_once_although_a_hook_fails_after_the_policies(app: Flask, records: Records) -> None:
    calls: list[int] = []

    @app.after_request
    def fail(response: Response) -> Response:
        if response.status_code == 200:
            raise ZeroDivisionError
        return response

    serve(app, log_timing(fields={"status_seen": lambda: calls.append(1)}))

    assert send(app).status_code == 500

    assert calls == [1]


def test_function_that_fails_costs_its_field_and_is_reported_once(
    app: Flask, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    serve(app, log_timing(fields={"broken": lambda: 1 / 0, "whole": lambda: 1}))

    assert [send(app).status_code for _ in range(2)] == [200, 200]

    assert [(record.broken, record.whole) for record in records()] == [(None, 1), (None, 1)]
    assert len([each for each in caplog.records if "broken failed" in each.getMessage()]) == 1


class Odd:
    """What no formatter knows."""

    def __str__(self) -> str:
        return "odd\r\nforged"


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        ("plain", "plain"),
        ("a\r\nb\x1b[31m\x00\u202e", "a\\r\\nb\\x1b[31m\\x00\\u202e"),
        ("x" * 100_000, "x" * 256 + "…"),
        (Odd(), "odd\\r\\nforged"),
        (["a\n"], "['a\\n']"),
        (float("nan"), "a number out of range"),
        (2**64, "a number out of range"),
    ],
)
def test_value_is_logged_as_a_number_or_as_one_line(app: Flask, records: Records, value: Any, logged: Any) -> None:
    serve(app, log_timing(fields={"value": lambda: value}))

    send(app)

    assert records()[0].value == logged
    json.dumps(records()[0].value, allow_nan=False)


def test_blueprint_logs_more_than_the_app(app: Flask, records: Records) -> None:
    admin = log_timing(fields={"agent": header("User-Agent")})(Blueprint("admin", __name__, url_prefix="/admin"))
    admin.add_url_rule("/", "index", lambda: "admin")
    app.register_blueprint(admin)
    serve(app, log_timing)

    send(app)
    send(app, "/admin/", headers={"User-Agent": "curl/8"})

    public, of_admin = records()
    assert not hasattr(public, "agent")
    assert of_admin.agent == "curl/8"


def test_policy_with_fields_can_be_refined_compared_and_shown() -> None:
    policy = log_timing(fields={"agent": log_fields.header("User-Agent")})

    assert policy(slow_ms=5)(slow_ms=None) == policy
    assert hash(policy) == hash(policy(slow_ms=5)(slow_ms=None))
    assert "header('User-Agent')" in repr(policy)
    assert policy(fields=None) == log_timing


@together(
    "fields",
    [
        "User-Agent",
        ["agent"],
        {"status": header("X")},
        {"message": header("X")},
        {"levelname": header("X")},
        {"args": header("X")},
        {"user-agent": header("X")},
        {"": header("X")},
        {7: header("X")},
        {"agent": "User-Agent"},
        {"agent": None},
        {"agent": lambda one, two: one},
    ],
)
def test_fields_that_cannot_be_meant_are_refused(fields: Any) -> None:
    with pytest.raises(ConfigError, match=r"log_timing\(fields="):
        log_timing(fields=fields)


@pytest.mark.parametrize("make", [lambda: header(""), lambda: query(7), lambda: header("X", mask="yes")])  # type: ignore[arg-type]
def test_source_that_cannot_be_meant_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("options", [{"costs": 1}, {"costs": None}, {"server_timing": None}, {"server_timing": "yes"}])
def test_switch_that_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"log_timing\({next(iter(options))}=…\)"):
        log_timing(**options)


@pytest.mark.parametrize("header_name", ["X-API-Key", "X-Session"])
def test_mask_that_fails_does_not_give_away_what_it_was_to_mask(
    app: Flask, records: Records, caplog: pytest.LogCaptureFixture, header_name: str
) -> None:
    known: dict[str, str] = {}
    serve(app, log_timing(fields={"masked": header(header_name, mask=lambda value: known[value])}))

    assert send(app, headers={header_name: "sesame"}).status_code == 200

    assert [record.masked for record in records()] == [None]
    assert "masked failed" in caplog.text
    assert "KeyError" in caplog.text
    assert "sesame" not in caplog.text
