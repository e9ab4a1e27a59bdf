"""`JSONFormatter`: one object a line, with all that a record has."""

from __future__ import annotations

import builtins
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from flask_guard import ConfigError, Guard, JSONFormatter, log_timing, require_api_key
from flask_guard.access_log.fields import header
from tests.conftest import MakeApp

LOGGER = "tests.json"
Begin: TypeAlias = Callable[..., Callable[[], list[str]]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Return a function that begins to write JSON, and returns one that returns the lines so far."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)

    def begin(**options: Any) -> Callable[[], list[str]]:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JSONFormatter(**options))
        logger.addHandler(handler)
        return lambda: stream.getvalue().splitlines()

    yield begin
    logger.handlers.clear()


def test_request_has_all_that_its_record_has(make_app: MakeApp, begin: Begin) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    app.add_url_rule("/key", "key", require_api_key(lambda: "x" * 1234), methods=["POST"])
    Guard(app, policies=[log_timing(logger=LOGGER, fields={"agent": header("User-Agent")})])
    written = begin()

    headers = {"X-API-Key": "secret", "User-Agent": "curl/8", "X-Request-ID": "the-id"}
    app.test_client().post("/key?token=sesame", headers=headers)

    (line,) = written()
    document = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(\+00:00|Z)", document.pop("timestamp"))
    assert re.fullmatch(r"POST /key 200 \d+\.\d ms", document.pop("message"))
    assert document.pop("duration_ms") == document.pop("first_byte_ms") > 0
    assert document == {
        "level": "INFO",
        "logger": LOGGER,
        "request_id": "the-id",
        "method": "POST",
        "path": "/key",
        "endpoint": "key",
        "status": 200,
        "bytes": 1234,
        "address": "127.0.0.1",
        "api_key": "ci",
        "principal": None,
        "verdicts": {"log_timing": "allowed", "require_api_key": "allowed"},
        "reason": None,
        "slow": False,
        "aborted": False,
        "exception": None,
        "trace_id": None,
        "span_id": None,
        "agent": "curl/8",
    }


def test_any_other_record_is_one_line_with_its_traceback(begin: Begin) -> None:
    written = begin(static_fields={"service": "shop"}, json_ensure_ascii=False, json_indent=2)

    try:
        raise ValueError("first\nforged\x1b[31m")
    except ValueError:
        logging.getLogger(LOGGER).exception("it failed\r\nforged")
    logging.getLogger(LOGGER).info("a\r\nb\x1b\x00\x7f\x85\u2028\u202e")

    failure, odd = written()
    assert failure.isascii()
    assert odd.isascii()
    assert odd.isprintable()
    assert json.loads(failure)["exc_info"].endswith("ValueError: first\nforged\x1b[31m")
    assert json.loads(failure)["service"] == "shop"
    assert json.loads(odd)["message"] == "a\r\nb\x1b\x00\x7f\x85\u2028\u202e"


def test_names_can_be_changed(begin: Begin) -> None:
    written = begin(rename_fields={"message": "msg", "levelname": "severity"}, timestamp="at")

    logging.getLogger(LOGGER).info("hello")

    assert set(json.loads(written()[0])) == {"at", "severity", "logger", "msg"}


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pythonjsonlogger"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ConfigError, match=r"pip install 'flask-guard-kit\[json\]'"):
        JSONFormatter()
