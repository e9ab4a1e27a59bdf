"""Whatever a client sends, wherever it has a say: one record, one line, escaped and bounded, in every format."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from flask_guard import (
    CommonLogFormatter,
    DevFormatter,
    Guard,
    JSONFormatter,
    RequestIDFilter,
    log_timing,
    require_api_key,
    require_auth,
)
from flask_guard.access_log.fields import Source, header, query, response_header
from tests.conftest import MakeApp

LOGGER = "tests.injection"
HOSTILE = {
    "line": "a\r\nforged 200",
    "color": "\x1b[31mred\x1b[0m",
    "nul": "a\x00b",
    "delete": "a\x7f\x08b",
    "next line": "a\x85b\x9bc",
    "bidi": "a\u202etxt.exe\u2066\u200f",
    "separators": "a\u2028b\u2029c",
    "surrogate": "a\udc80b",
    "long": "x" * 100_000,
    "long and odd": "\r\n" * 50_000,
}
FORMATTERS: dict[str, Callable[[], logging.Formatter]] = {
    "dev": lambda: DevFormatter(color=False),
    "common": lambda: CommonLogFormatter(combined=True),
    "json": JSONFormatter,
    "plain": lambda: logging.Formatter(
        "%(request_id)s %(address)s %(agent)s %(page)s %(echo)s %(principal)s %(message)s"
    ),
}


def as_wsgi(value: str) -> str:
    """Return `value` as a server puts it into the environ: bytes, as Latin-1."""
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:secret".encode("utf-8", "surrogateescape")).decode()


FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "path": lambda value: {"PATH_INFO": "/" + as_wsgi(value)},
    "method": lambda value: {"REQUEST_METHOD": as_wsgi(value)},
    "address": lambda value: {"REMOTE_ADDR": value},
    "request id": lambda value: {"HTTP_X_REQUEST_ID": as_wsgi(value)},
    "trace": lambda value: {"HTTP_TRACEPARENT": as_wsgi(value)},
    "agent": lambda value: {"HTTP_USER_AGENT": as_wsgi(value)},
    "referer": lambda value: {"HTTP_REFERER": as_wsgi(value)},
    "query": lambda value: {"QUERY_STRING": "page=" + quote(value, errors="surrogateescape")},
    "raw query": lambda value: {"QUERY_STRING": "page=" + as_wsgi(value)},
    "user": lambda value: {"HTTP_AUTHORIZATION": basic(value)},
    "key": lambda value: {"HTTP_X_API_KEY": as_wsgi(value), "PATH_INFO": "/key"},
    "protocol": lambda value: {"SERVER_PROTOCOL": as_wsgi(value)},
    "host": lambda value: {"HTTP_HOST": as_wsgi(value)},
}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    anybody = require_auth(basic=lambda name, password: name, optional=True)
    app.add_url_rule("/", "index", anybody(lambda: "hello"))
    app.add_url_rule("/key", "key", require_api_key(lambda: "hello"))
    fields: dict[str, Source] = {
        "agent": header("User-Agent"),
        "user_agent": header("User-Agent", mask=lambda value: value * 2),
        "referer": lambda request: request.referrer,
        "page": query("page"),
        "echo": response_header("X-Request-ID"),
    }
    Guard(app, policies=[log_timing(logger=LOGGER, fields=fields)])
    return app


@pytest.fixture
def written() -> Iterator[dict[str, io.StringIO]]:
    """Return what each formatter has written, also of what the package itself says of denials."""
    logger, packages = logging.getLogger(LOGGER), logging.getLogger("flask_guard")
    streams = {name: io.StringIO() for name in FORMATTERS}
    for name, stream in streams.items():
        handler = logging.StreamHandler(stream)
        handler.setFormatter(FORMATTERS[name]())
        handler.addFilter(RequestIDFilter())
        logger.addHandler(handler)
        if name != "plain":  # which names fields that only access records have
            packages.addHandler(handler)
    for each in (logger, packages):
        each.setLevel(logging.INFO)
    yield streams
    for each in (logger, packages):
        each.setLevel(logging.NOTSET)
        each.handlers.clear()


@pytest.mark.slow
@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", FIELDS)
def test_one_record_is_one_line(
    app: Flask, written: dict[str, io.StringIO], caplog: pytest.LogCaptureFixture, field: str, value: str
) -> None:
    environ = {**create_environ("/"), **FIELDS[field](HOSTILE[value])}

    run_wsgi_app(app.wsgi_app, environ, buffered=True)

    for name, stream in written.items():
        lines = stream.getvalue().split("\n")
        assert lines.pop() == ""
        assert len(lines) == len([each for each in caplog.records if name != "plain" or each.name == LOGGER]), name
        for line in lines:
            assert line.isprintable(), name
            assert len(line) < 20_000, name
    assert len([each for each in caplog.records if each.name == LOGGER]) == 1
    assert json.loads(written["json"].getvalue().splitlines()[-1])["status"] in (200, 400, 401, 404, 405)
