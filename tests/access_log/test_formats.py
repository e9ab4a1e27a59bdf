"""The formatters: a line for developers, the web's old format, and all of them in a logging configuration."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import os
import pty
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from flask import Flask, Response, abort
from werkzeug.test import create_environ

from flask_guard import (
    CommonLogFormatter,
    DevFormatter,
    Guard,
    RequestIDFilter,
    limit,
    log_timing,
    require_api_key,
    require_auth,
)
from flask_guard.access_log.fields import header
from tests.clock import Clock
from tests.conftest import MakeApp
from tests.ids import shown

LOGGER = "tests.formats"
ESCAPE = re.compile(r"\x1b\[\d+m")
Begin: TypeAlias = Callable[[logging.Formatter], Callable[[], list[str]]]


@pytest.fixture
def lines() -> Iterator[Begin]:
    """Return a function that begins to write with a formatter, and returns one that returns the lines so far."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.DEBUG)
    handlers: list[logging.Handler] = []

    def begin(formatter: logging.Formatter) -> Callable[[], list[str]]:
        stream = io.StringIO()
        handlers.append(logging.StreamHandler(stream))
        handlers[-1].setFormatter(formatter)
        handlers[-1].addFilter(RequestIDFilter())
        logger.addHandler(handlers[-1])
        return lambda: stream.getvalue().splitlines()

    yield begin
    for handler in handlers:
        logger.removeHandler(handler)


def serve(app: Flask, **options: Any) -> Flask:
    app.add_url_rule("/", "index", lambda: "hello")
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/409", "conflict", lambda: abort(409))
    app.add_url_rule("/key", "key", require_api_key(lambda: "x" * 1234), methods=["POST"])
    app.add_url_rule("/shadow", "shadow", limit("9/minute")(require_api_key(mode="report")(lambda: "hello")))
    Guard(app, policies=[log_timing(logger=LOGGER, **options)])
    return app


def send(app: Flask, path: str = "/", method: str = "GET", **options: Any) -> None:
    headers = {"X-Request-ID": "0123456789abcdef", **options.pop("headers", {})}
    app.test_client().open(path, method=method, buffered=True, headers=headers, **options)


def log_failure() -> None:
    try:
        raise ValueError("first\nforged\x1b[31m")
    except ValueError:
        logging.getLogger(LOGGER).exception("it failed\r\nforged")


# For developers --------------------------------------------------------------------------------------------------

DEV = r"\d\d:\d\d:\d\d\.\d{3} "


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/", "GET", r"INFO  GET / 200 \d+\.\d ms 5 B \[01234567\]"),
        ("/500", "GET", r"WARNING GET /500 500 \d+\.\d ms 265 B \[01234567\] ZeroDivisionError"),
        ("/409", "GET", r"INFO  GET /409 409 \d+\.\d ms \d+ B \[01234567\]"),
        ("/key", "POST", r"INFO  POST /key 200 \d+\.\d ms 1\.2 kB \[01234567\] api_key=ci"),
        ("/shadow", "GET", r"INFO  GET /shadow 200 \d+\.\d ms 5 B \[01234567\] require_api_key would deny"),
    ],
)
def test_dev_line_says_what_happened(make_app: MakeApp, lines: Begin, path: str, method: str, expected: str) -> None:
    app = serve(make_app(GUARD_API_KEYS={"ci": "secret"}))
    written = lines(DevFormatter(color=False))

    send(app, path, method, headers={"X-API-Key": "secret"} if path == "/key" else {})

    (line,) = written()
    assert re.fullmatch(DEV + expected, line)


def test_dev_line_names_who_denied(make_app: MakeApp, lines: Begin) -> None:
    app = serve(make_app(GUARD_API_KEYS={"ci": "secret"}))
    written = lines(DevFormatter(color=False))

    send(app, "/key", "POST")

    assert written()[0].endswith("[01234567] denied by require_api_key (missing)")


def test_dev_line_says_that_the_client_left(app: Flask, lines: Begin) -> None:
    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"] * 9)))
    serve(app)
    written = lines(DevFormatter(color=False))

    app.wsgi_app(create_environ("/stream"), lambda *_: lambda _data: None).close()  # type: ignore[attr-defined]

    assert written()[0].endswith(" aborted")


def test_dev_line_of_any_other_record_is_its_message_on_one_line(lines: Begin) -> None:
    written = lines(DevFormatter(color=False))

    logging.getLogger(LOGGER).warning("hello %s", "a\r\nb\x1b[31m\x85\u2028\u202e")

    (line,) = written()
    assert re.fullmatch(DEV + re.escape(r"WARNING tests.formats: hello a\r\nb\x1b[31m\x85\u2028\u202e"), line)


def test_dev_traceback_is_indented_so_that_no_line_of_it_looks_like_a_record(lines: Begin) -> None:
    written = lines(DevFormatter(color=False))

    log_failure()

    first, *others = written()
    assert re.fullmatch(DEV + r"ERROR tests\.formats: it failed\\r\\nforged", first)
    assert others[0] == "    Traceback (most recent call last):"
    assert others[-2:] == ["    ValueError: first", r"    forged\x1b[31m"]
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.parametrize(("color", "coloured"), [(True, True), (False, False), (None, False)])
def test_dev_line_is_coloured_where_wanted(app: Flask, lines: Begin, color: bool | None, coloured: bool) -> None:
    serve(app)
    plain, written = lines(DevFormatter(color=False)), lines(DevFormatter(color=color, stream=io.StringIO()))

    send(app)

    assert bool(ESCAPE.search(written()[0])) is coloured
    assert (written() != plain()) is coloured
    assert ESCAPE.sub("", written()[0]).isprintable()


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_dev_line_is_coloured_on_a_terminal_only(
    app: Flask, lines: Begin, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs, "w") as terminal:
        formatter = DevFormatter(stream=terminal)
    serve(app)
    written = lines(formatter)

    send(app)

    assert bool(ESCAPE.search(written()[0])) is coloured


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/", "GET", f"200 GET     {'/':32}    12.5 ms"),
        ("/key", "POST", f"200 POST    {'/key':32}    12.5 ms  api_key=ci"),
        ("/slow", "GET", f"200 GET     {'/slow':32}   250.0 ms  slow"),
        ("/shadow", "GET", f"200 GET     {'/shadow':20}    12.5 ms  require_api_key would deny"),
        ("/500", "GET", f"500 GET     {'/500':29}    12.5 ms  ZeroDivisionError"),
        ("/" + "x" * 90, "GET", f"404 GET     /{'x' * 46}…    12.5 ms"),
        ("/denied", "GET", f"401 GET     {'/denied':11}    12.5 ms  denied by require_api_key (missing)"),
        ("/denied/" + "x" * 9, "GET", "401 GET     /denied/xxxxxxx…    12.5 ms  denied by require_api_key (missing)"),
    ],
    ids=shown,
)
def test_dev_line_on_a_terminal_is_aligned_and_as_long_as_fits(
    make_app: MakeApp, lines: Begin, clock: Clock, path: str, method: str, expected: str
) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    app.add_url_rule("/slow", "slow", lambda: clock.advance(237.5) or "slow")  # type: ignore[func-returns-value]
    app.before_request(lambda: clock.advance(12.5))
    app.add_url_rule("/denied", "denied", require_api_key(lambda: ""))
    app.add_url_rule("/denied/<rest>", "denied_too", require_api_key(lambda rest: ""))
    serve(app, slow_ms=200)
    written = lines(DevFormatter(color=True))

    send(app, path, method, headers={"X-API-Key": "secret"} if path == "/key" else {})

    assert ESCAPE.sub("", written()[0])[len("12:30:01 ") :] == expected


def test_dev_line_on_a_terminal_names_who_denied_and_why(make_app: MakeApp, lines: Begin) -> None:
    app = serve(make_app(GUARD_API_KEYS={"ci": "secret"}))
    written = lines(DevFormatter(color=True))

    send(app, "/key", "POST")

    assert ESCAPE.sub("", written()[0]).endswith(" ms  denied by require_api_key (missing)")


# The Common Log Format -------------------------------------------------------------------------------------------

WHEN = r"\[\d\d/(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/\d{4}:\d\d:\d\d:\d\d \+0000\]"


def test_common_line_is_what_web_servers_write(make_app: MakeApp, lines: Begin) -> None:
    app = serve(make_app(GUARD_API_KEYS={"ci": "secret"}))
    written = lines(CommonLogFormatter())

    send(app, "/key?token=sesame", "POST", headers={"X-API-Key": "secret"})
    send(app, "/", "HEAD")

    posted, head = written()
    assert re.fullmatch(rf'127\.0\.0\.1 - ci {WHEN} "POST /key HTTP/1\.1" 200 1234', posted)
    assert re.fullmatch(rf'127\.0\.0\.1 - - {WHEN} "HEAD / HTTP/1\.1" 200 -', head)


def test_combined_line_has_the_headers_that_are_named(app: Flask, lines: Begin) -> None:
    serve(app, fields={"user_agent": header("User-Agent")})
    written = lines(CommonLogFormatter(combined=True))

    send(app, headers={"User-Agent": 'curl "8"', "Referer": "https://sesame.example"})

    assert written()[0].endswith(r' 200 5 "-" "curl \x228\x22"')


def test_user_of_a_common_line_is_one_word(app: Flask, lines: Begin) -> None:
    login = require_auth(basic=lambda name, password: name)
    app.add_url_rule("/login", "login", login(lambda: "hello"))
    serve(app)
    written = lines(CommonLogFormatter())

    send(app, "/login", auth=('ada "x" [y]', "secret"))

    assert written()[0].startswith(r"127.0.0.1 - ada\x20\x22x\x22\x20[y] [")


def test_common_line_of_any_other_record_is_its_message(lines: Begin) -> None:
    written = lines(CommonLogFormatter())

    logging.getLogger(LOGGER).info("not a\r\nrequest")

    assert written() == [r"not a\r\nrequest"]


# In a logging configuration --------------------------------------------------------------------------------------


def test_formatters_can_be_named_in_a_logging_configuration(capsys: pytest.CaptureFixture[str], app: Flask) -> None:
    formatters = {"dev": "DevFormatter", "json": "JSONFormatter", "common": "CommonLogFormatter"}
    handlers = {
        name: {"class": "logging.StreamHandler", "formatter": name, "stream": sys.stdout} for name in formatters
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {name: {"()": f"flask_guard.{made}"} for name, made in formatters.items()},
            "handlers": handlers,
            "loggers": {LOGGER: {"handlers": list(formatters), "propagate": False}},
        }
    )
    serve(app)

    send(app)

    logging.getLogger(LOGGER).handlers.clear()
    logging.getLogger(LOGGER).propagate = True
    dev, as_json, common = capsys.readouterr().out.splitlines()
    assert " INFO  GET / 200 " in dev
    assert json.loads(as_json)["path"] == "/"
    assert '"GET / HTTP/1.1" 200 5' in common


@pytest.mark.parametrize("value", ["\\", "a\\", "a\\\\", '\\"', "a\\x"])
def test_quotes_of_a_combined_line_end_where_they_end_also_for_who_reads_backslashes(
    app: Flask, lines: Begin, value: str
) -> None:
    written = lines(CommonLogFormatter(combined=True))
    fields = {"referer": header("Referer"), "user_agent": header("User-Agent")}
    Guard(app, policies=[log_timing(logger=LOGGER, fields=fields)])

    app.test_client().get("/", headers={"Referer": value, "User-Agent": "agent"})

    (line,) = written()
    assert re.findall(r'"((?:[^"\\]|\\.)*)"', line)[2:] == ["agent"]
