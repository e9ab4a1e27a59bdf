"""`log_timing` lets nothing into a log that does not belong there, gives requests their ids, and refuses nonsense."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from flask import Flask
from werkzeug.test import TestResponse, create_environ, run_wsgi_app

from flask_guard import ConfigError, Guard, current_request_id, log_timing, require_api_key
from tests.cases import together
from tests.conftest import MakeApp

LOGGER = "flask_guard.access"
NEW_ID = re.compile(r"[0-9a-f]{32}")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
Lines: TypeAlias = Callable[[], list[str]]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    """Return a function that returns the access records so far."""
    caplog.set_level(logging.INFO, logger=LOGGER)
    return lambda: [record for record in caplog.records if record.name == LOGGER]


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return a function that returns all that has been logged, each record with every attribute that it has."""
    caplog.set_level(logging.DEBUG)
    return lambda: " ".join(f"{each.getMessage()} {vars(each)}" for each in caplog.records)


def send(app: Flask, path: str = "/", method: str = "GET", **options: Any) -> TestResponse:
    """Send a request, and read and close the response as a server does."""
    return app.test_client(use_cookies=False).open(path, method=method, buffered=True, **options)


def serve(app: Flask) -> Flask:
    app.add_url_rule("/", "index", lambda: str(current_request_id))
    Guard(app, policies=[log_timing])
    return app


# Secrets ---------------------------------------------------------------------------------------------------------


def test_no_query_header_body_or_key_is_logged(make_app: MakeApp, everything: Callable[[], str]) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "sesame-good"})
    app.add_url_rule("/guarded", "guarded", require_api_key(lambda: "sesame-body"), methods=["POST"])
    serve(app)

    for key in ("sesame-good", "sesame-bad"):
        headers = {"Authorization": f"Bearer {key}", "Cookie": "a=sesame-cookie", "User-Agent": "sesame-agent"}
        send(app, "/guarded?token=sesame-query", "POST", headers=headers, data="sesame-data")

    assert "POST /guarded" in everything()
    assert "sesame" not in everything()


# Injection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/%0d%0aGET%20/forged%20200", r"/\r\nGET /forged 200"),
        ("/%00%1b[31m%7f", r"/\x00\x1b[31m\x7f"),
        ("/%E2%80%AEtxt.exe", r"/\u202etxt.exe"),
        ("/%E2%80%A8line", r"/\u2028line"),
        ("/%C2%85next", r"/\x85next"),
        ("/b%C3%BCcher", "/bücher"),
    ],
)
def test_path_is_logged_on_one_line(app: Flask, records: Callable[[], list[Any]], path: str, logged: str) -> None:
    serve(app)

    send(app, path)

    (record,) = records()
    assert record.path == logged
    assert record.getMessage().isprintable()


def test_bytes_that_are_no_text_are_logged_printably(app: Flask, records: Callable[[], list[Any]]) -> None:
    serve(app)

    send(app, "/%ff%fe")

    assert records()[0].getMessage().isprintable()


def test_endless_path_is_cut(app: Flask, records: Callable[[], list[Any]]) -> None:
    serve(app)

    send(app, "/" + "a" * 100_000)

    (record,) = records()
    assert record.path.startswith("/aaaa")
    assert len(record.path) < 3000


@pytest.mark.parametrize(
    "name", ["REMOTE_ADDR", "REQUEST_METHOD", "HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "PATH_INFO"]
)
@pytest.mark.parametrize("value", ["a\r\nb\x1b[31m", "\x00", "x" * 100_000, "\xff\x85"])
def test_no_field_holds_a_control_character_or_has_no_end(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    caplog.set_level(logging.DEBUG)
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    app.add_url_rule("/guarded", "guarded", require_api_key(lambda: "secret"))
    serve(app)

    for path in ("/", "/guarded"):
        run_wsgi_app(app.wsgi_app, {**create_environ(path), name: value}, buffered=True)

    access = [record for record in caplog.records if record.name == LOGGER]
    assert len(access) == 2
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.name
        assert len(record.getMessage()) < 3000
    for record in access:
        fields = {name: getattr(record, name) for name in ("path", "method", "address", "request_id")}
        assert all(str(text).isprintable() and len(text) < 3000 for text in fields.values()), fields


# Request ids -----------------------------------------------------------------------------------------------------


def test_request_id_comes_in_and_goes_out(app: Flask, records: Callable[[], list[Any]]) -> None:
    serve(app)

    response = send(app, "/", headers={"X-Request-ID": "from-the-client_1.2"})

    assert response.headers.getlist("X-Request-ID") == ["from-the-client_1.2"]
    assert response.text == "from-the-client_1.2"
    assert records()[0].request_id == "from-the-client_1.2"


def test_trace_id_comes_in_and_goes_out_as_the_request_id(app: Flask) -> None:
    serve(app)

    response = send(app, "/", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

    assert response.headers["X-Request-ID"] == response.text == TRACE


@pytest.mark.parametrize("given", [None, "", "a b", "a;b", "<script>", "x" * 129, "\xe9"])
def test_request_without_a_well_formed_id_is_given_one(
    app: Flask, records: Callable[[], list[Any]], given: str | None
) -> None:
    serve(app)

    response = send(app, "/", headers={} if given is None else {"X-Request-ID": given})

    assert NEW_ID.fullmatch(response.headers["X-Request-ID"])
    assert response.headers["X-Request-ID"] == response.text == records()[0].request_id


def test_id_that_the_view_sets_is_not_sent_beside_ours(app: Flask) -> None:
    app.add_url_rule("/own", "own", lambda: ("own", {"x-request-id": "the view's"}))
    serve(app)

    response = send(app, "/own", headers={"X-Request-ID": "ours"})

    assert response.headers.getlist("X-Request-ID") == ["ours"]


def test_there_is_no_id_outside_of_a_request(app: Flask) -> None:
    serve(app)

    assert not current_request_id
    with app.app_context():
        assert not current_request_id


# Options ---------------------------------------------------------------------------------------------------------


@together(
    "options",
    [
        {"logger": None},
        {"logger": logging.getLogger("shop")},
        {"level": "INFO"},
        {"level": None},
        {"level": True},
        {"slow_ms": -1},
        {"slow_ms": "500"},
        {"slow_ms": True},
        {"slow_ms": float("nan")},
        {"sample": -0.1},
        {"sample": 1.1},
        {"sample": "half"},
        {"sample": True},
        {"sample": float("nan")},
        {"sample": None},
    ],
)
def test_option_that_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"log_timing\({next(iter(options))}=…\)"):
        log_timing(**options)


def test_unknown_option_is_a_type_error_with_a_hint() -> None:
    with pytest.raises(TypeError, match="'slowms'; did you mean 'slow_ms'"):
        log_timing(slowms=5)  # type: ignore[call-overload]


def test_log_timing_twice_on_one_target_is_refused() -> None:
    with pytest.raises(ConfigError, match="one target takes one log_timing"):
        log_timing(slow_ms=5)(log_timing(lambda: "hello"))
