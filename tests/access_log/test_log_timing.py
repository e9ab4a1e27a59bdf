"""`log_timing`: one structured record for each request, whatever becomes of it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from flask import Blueprint, Flask, Response, abort, request
from werkzeug.test import TestResponse

from flask_guard import (
    Guard,
    LogTiming,
    exempt,
    limit,
    log_timing,
    middleware,
    require_api_key,
)
from tests.clock import Clock
from tests.conftest import MakeApp
from tests.ids import shown

LOGGER = "flask_guard.access"
FIELDS = {
    "request_id",
    "method",
    "path",
    "endpoint",
    "status",
    "duration_ms",
    "bytes",
    "address",
    "api_key",
    "verdicts",
    "aborted",
    "exception",
}
Records: TypeAlias = Callable[[], list[Any]]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """Return a function that returns the access records so far."""
    caplog.set_level(logging.INFO, logger=LOGGER)
    return lambda: [record for record in caplog.records if record.name == LOGGER]


def send(app: Flask, path: str = "/", method: str = "GET", **options: Any) -> TestResponse:
    """Send a request, and read and close the response as a server does."""
    return app.test_client().open(path, method=method, buffered=True, **options)


def serve(app: Flask, view: Callable[..., Any], policy: LogTiming = log_timing) -> Flask:
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[policy])
    return app


# The record ------------------------------------------------------------------------------------------------------


def test_record_has_every_field(make_app: MakeApp, records: Records, clock: Clock) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})

    @app.post("/orders/<int:number>")
    @limit("5/minute")
    @require_api_key
    def change(number: int) -> tuple[str, int]:
        clock.advance(20)
        return "changed", 201

    Guard(app, policies=[log_timing])

    send(app, "/orders/7?token=x", "POST", headers={"X-API-Key": "the secret of ci", "X-Request-ID": "abc"})

    (record,) = records()
    assert record.duration_ms == 20
    assert {name: getattr(record, name) for name in FIELDS - {"duration_ms"}} == {
        "request_id": "abc",
        "method": "POST",
        "path": "/orders/7",
        "endpoint": "change",
        "status": 201,
        "bytes": len("changed"),
        "address": "127.0.0.1",
        "api_key": "ci",
        "verdicts": {"log_timing": "allowed", "limit": "allowed", "require_api_key": "allowed"},
        "aborted": False,
        "exception": None,
    }


def test_message_is_a_line_that_any_formatter_can_write(app: Flask, records: Records) -> None:
    serve(app, lambda: "hello")

    send(app)

    (record,) = records()
    assert re.fullmatch(r"GET / 200 \d+\.\d ms", record.getMessage())
    line = logging.Formatter("%(levelname)s %(name)s %(request_id)s %(verdicts)s %(message)s").format(record)
    assert line.startswith("INFO flask_guard.access ")


def test_record_can_be_written_as_json_pickled_and_copied(app: Flask, records: Records) -> None:
    serve(app, lambda: "hello")
    send(app)
    (record,) = records()

    fields = {name: getattr(record, name) for name in FIELDS}

    assert json.loads(json.dumps(fields))["verdicts"] == {"log_timing": "allowed"}
    assert pickle.loads(pickle.dumps(fields)) == fields  # noqa: S301  # as SocketHandler does
    assert copy.copy(record).verdicts == record.verdicts


ENDPOINTS = {"/": "index", "/403": "forbidden", "/500": "broken"}


@pytest.mark.parametrize("path", [*ENDPOINTS, "/404", "/early", "/moved"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_every_request_makes_exactly_one(app: Flask, records: Records, path: str, method: str) -> None:
    @app.before_request
    def early() -> str | None:
        return "early" if request.path == "/early" else None

    app.add_url_rule("/403", "forbidden", lambda: abort(403))
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/moved/", "moved", lambda: "moved")
    serve(app, lambda: "hello")

    response = send(app, path, method=method)

    (record,) = records()
    assert (record.status, record.method, record.path) == (response.status_code, method, path)
    assert record.bytes == len(response.data)
    assert record.endpoint == {"/": "index", "/403": "forbidden", "/500": "broken"}.get(
        path if method != "DELETE" else ""
    )
    assert record.request_id == response.headers["X-Request-ID"]


def test_hook_that_fails_after_the_record_makes_no_second_one(app: Flask, records: Records) -> None:
    @app.after_request  # registered before the Guard, so it sees the response after every policy
    def fail(response: Response) -> Response:
        if response.status_code == 200:
            raise ZeroDivisionError
        return response

    serve(app, lambda: "hello")

    assert send(app).status_code == 500
    assert len(records()) == 1


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ({}, ["INFO", "WARNING", "WARNING", "INFO"]),
        ({"error_level": logging.ERROR}, ["INFO", "ERROR", "ERROR", "INFO"]),
        ({"error_level": logging.DEBUG}, ["INFO"] * 4),
        ({"level": logging.ERROR}, ["ERROR"] * 4),
    ],
    ids=shown,
)
def test_server_error_has_a_level_of_its_own(
    app: Flask, records: Records, options: dict[str, Any], levels: list[str]
) -> None:
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/503", "busy", lambda: ("busy", 503))
    serve(app, lambda: "hello", log_timing(**options))

    for path in ("/", "/500", "/503", "/nowhere"):
        send(app, path)

    assert [record.levelname for record in records()] == levels


def test_exception_is_logged_as_an_error_once_by_flask(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """As tools see it that report every record from ERROR up, such as Sentry."""
    caplog.set_level(logging.DEBUG)
    serve(app, lambda: str(1 / 0))

    send(app)

    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [app.logger.name]


def test_nothing_is_logged_where_it_is_exempt(app: Flask, records: Records) -> None:
    serve(app, exempt(log_timing)(lambda: "hello"))

    response = send(app)

    assert records() == []
    assert "X-Request-ID" not in response.headers


def test_request_is_logged_once_where_scopes_meet(
    app: Flask, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="shop.access")
    blueprint = log_timing(logger="shop.access", level=logging.DEBUG)(Blueprint("shop", __name__, url_prefix="/shop"))
    blueprint.add_url_rule("/", "index", lambda: "hello")
    app.register_blueprint(blueprint)
    Guard(app, policies=[log_timing])

    send(app, "/shop/")

    assert records() == []
    assert [(each.name, each.levelname) for each in caplog.records] == [("shop.access", "DEBUG")]


# Verdicts --------------------------------------------------------------------------------------------------------


def test_verdicts_say_who_denied_and_who_would_have(make_app: MakeApp, records: Records) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/denied", "denied", limit("9/hour")(require_api_key(lambda: "secret")))
    app.add_url_rule("/shadow", "shadow", limit("9/hour")(require_api_key(mode="report")(lambda: "secret")))
    Guard(app, policies=[log_timing])

    send(app, "/denied")
    send(app, "/shadow")

    denied, shadow = records()
    assert denied.verdicts == {"log_timing": "allowed", "limit": "allowed", "require_api_key": "denied"}
    assert (denied.status, denied.api_key) == (401, None)
    assert shadow.verdicts == {"log_timing": "allowed", "limit": "allowed", "require_api_key": "would deny"}
    assert shadow.status == 200


def test_policies_that_a_denial_kept_from_running_have_no_verdict(make_app: MakeApp, records: Records) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/", "index", limit("1/hour")(require_api_key(lambda: "secret")))
    Guard(app, policies=[log_timing])

    for _ in range(2):
        send(app)

    assert records()[-1].verdicts == {"log_timing": "allowed", "limit": "denied"}


def test_two_limits_one_of_which_denied_are_denied(app: Flask, records: Records) -> None:
    app.add_url_rule("/", "index", limit("9/hour")(limit("1/minute", by=lambda: "everybody")(lambda: "hello")))
    Guard(app, policies=[log_timing])

    for _ in range(2):
        send(app)

    assert records()[-1].verdicts["limit"] == "denied"


def test_middleware_that_answers_itself_is_no_denial(app: Flask, records: Records) -> None:
    @middleware
    def closed(request: Any) -> tuple[str, int]:
        return "closed", 503

    app.add_url_rule("/", "index", closed(lambda: "hello"))
    Guard(app, policies=[log_timing])

    send(app)

    (record,) = records()
    assert record.status == 503
    assert "denied" not in record.verdicts.values()


# Slow, and sampled -----------------------------------------------------------------------------------------------


def test_slow_request_is_a_warning(app: Flask, records: Records, clock: Clock) -> None:
    app.add_url_rule("/fast", "fast", lambda: clock.advance(39) or "fast")  # type: ignore[func-returns-value]
    app.add_url_rule("/slow", "slow", lambda: clock.advance(41) or "slow")  # type: ignore[func-returns-value]
    serve(app, lambda: "hello", log_timing(slow_ms=40))

    for path in ("/fast", "/slow"):
        send(app, path)

    assert [record.levelname for record in records()] == ["INFO", "WARNING"]


def test_sample_of_none_keeps_errors_denials_and_slow_ones(make_app: MakeApp, records: Records, clock: Clock) -> None:
    app = make_app()
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/401", "denied", require_api_key(lambda: "secret"))
    app.add_url_rule("/shadow", "shadow", require_api_key(mode="report")(lambda: "secret"))
    app.add_url_rule("/slow", "slow", lambda: clock.advance(41) or "slow")  # type: ignore[func-returns-value]
    serve(app, lambda: "hello", log_timing(sample=0, slow_ms=40))

    for path in ("/", "/500", "/401", "/404", "/shadow", "/slow"):
        send(app, path)

    assert [record.path for record in records()] == ["/500", "/401", "/404", "/shadow", "/slow"]


@pytest.mark.slow
def test_sample_keeps_about_its_share(app: Flask, records: Records) -> None:
    serve(app, lambda: "hello", log_timing(sample=0.5))

    ids = {send(app).headers["X-Request-ID"] for _ in range(400)}

    assert len(ids) == 400
    assert 120 < len(records()) < 280
