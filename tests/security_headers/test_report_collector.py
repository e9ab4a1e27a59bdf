"""The collector of CSP reports: it takes both forms, believes nothing, and cannot be made to flood the log."""

from __future__ import annotations

import json
import logging
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_guard import (
    ConfigError,
    Guard,
    csp_violation,
    exempt,
    limit,
    log_timing,
    protect,
    require_api_key,
    require_request,
    secure_headers,
)
from flask_guard.audit.findings import examine, open_entries
from flask_guard.audit.inventory import take_inventory
from flask_guard.security_headers import csp_reports, report_collector
from tests.conftest import MakeApp

from .test_csp_suggest import NEW, OLD

NEW_TYPE = "application/reports+json"
OLD_TYPE = "application/csp-report"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Return an app that collects reports, and asks for a key everywhere else."""
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.register_blueprint(csp_reports(per_minute=10))
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[require_api_key, secure_headers, log_timing])
    return app


def report(app: Flask, document: Any, content_type: str = NEW_TYPE) -> TestResponse:
    return app.test_client().post("/csp-reports", data=json.dumps(document), content_type=content_type)


def recorded(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "flask_guard.csp"]


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ([NEW], NEW_TYPE),
        (NEW, NEW_TYPE),
        (OLD, OLD_TYPE),
        (OLD, "application/json"),
        ([NEW], f"{NEW_TYPE}; charset=utf-8"),
    ],
)
def test_report_is_one_structured_record(
    app: Flask, document: Any, content_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert report(app, document, content_type).status_code == 204

    (record,) = recorded(caplog)
    assert record.levelname == "WARNING"
    assert record.getMessage() == "img-src blocked https://cdn.example/a.png on https://shop.example/orders"
    fields = vars(record)
    assert (fields["directive"], fields["line"], fields["policy"]) == ("img-src", 7, "img-src 'self'")


def test_report_is_one_signal(app: Flask) -> None:
    heard: list[Any] = []

    def hear(sender: Flask, *, violation: Any, request: Any) -> None:
        heard.append((sender, violation.directive, request.path))

    with csp_violation.connected_to(hear):
        report(app, [NEW, NEW])

    assert heard == [(app, "img-src", "/csp-reports")] * 2


def test_no_key_is_asked_for_although_the_whole_app_wants_one(app: Flask) -> None:
    assert report(app, [NEW]).status_code == 204
    assert app.test_client().get("/").status_code == 401


def test_limit_can_be_put_on_the_blueprint(make_app: MakeApp) -> None:
    app = make_app()
    app.register_blueprint(protect(csp_reports(), limit("2/minute")))
    Guard(app)

    assert [report(app, [NEW]).status_code for _ in range(3)] == [204, 204, 429]


def test_app_that_wants_another_form_of_requests_can_exempt_the_collector(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.register_blueprint(exempt(require_request)(csp_reports()))
    Guard(app, policies=[require_request(json=True, headers=["X-Client"]), require_api_key])

    assert report(app, OLD, OLD_TYPE).status_code == 204


def test_audit_finds_nothing_wrong_with_the_collector(app: Flask) -> None:
    findings = examine(take_inventory(app)).findings

    assert [each.message for each in findings if "/csp-reports" in each.message] == []
    assert open_entries(take_inventory(app)) == []


def test_url_and_name_can_be_chosen(make_app: MakeApp) -> None:
    app = make_app()
    app.register_blueprint(csp_reports(url="/r", name="r"))
    Guard(app)

    assert app.test_client().post("/r", json=[NEW]).status_code == 204


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"url": "csp"}, "must be a path"),
        ({"url": "/<x>"}, "must be a path"),
        ({"name": "a.b"}, "without dots"),
        ({"per_minute": 0}, "at least 1"),
    ],
)
def test_invalid_option_is_refused(options: Any, fix: str) -> None:
    with pytest.raises(ConfigError, match=rf"csp_reports\(.*{fix}"):
        csp_reports(**options)


# What anybody may send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "text/html"])
def test_other_content_type_is_refused(app: Flask, content_type: str) -> None:
    assert report(app, [NEW], content_type).status_code == 415


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 60_000, b'{"csp-report":'])
def test_what_is_not_json_is_refused(app: Flask, body: bytes) -> None:
    assert app.test_client().post("/csp-reports", data=body, content_type=NEW_TYPE).status_code == 400


def test_long_body_is_refused_unread(app: Flask) -> None:
    body = BytesIO(b"x" * 70_000)

    response = app.test_client().post("/csp-reports", input_stream=body, content_length=70_000, content_type=NEW_TYPE)

    assert (response.status_code, body.tell()) == (413, 0)


def test_long_body_of_unknown_length_is_not_read_whole(app: Flask) -> None:
    body = BytesIO(b" " * 10_000_000)
    environ = {"wsgi.input_terminated": True}

    response = app.test_client().post(
        "/csp-reports", input_stream=body, content_type=NEW_TYPE, environ_overrides=environ
    )

    assert response.status_code == 413
    assert body.tell() < 200_000


@pytest.mark.parametrize(
    "document", [[], {}, 7, None, "text", [[NEW]], [{"type": "deprecation", "body": {}}], {"csp-report": []}]
)
def test_what_is_no_violation_is_left_out(app: Flask, document: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert report(app, document).status_code == 204
    assert recorded(caplog) == []


def with_body(**fields: Any) -> dict[str, Any]:
    return {**NEW, "body": {**NEW["body"], **fields}}  # type: ignore[dict-item]


def test_nothing_secret_and_no_control_character_reaches_the_log(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    hostile = "https://user:pass@a.example/x\r\n\x1b[31m\u202e?token=secret#secret"
    urls = {"documentURL": hostile, "blockedURL": hostile, "sourceFile": hostile}

    report(app, [with_body(**urls, sample="\n\x00", effectiveDirective="a\nb c")])

    (record,) = recorded(caplog)
    names = ("document_url", "blocked_url", "source_file", "sample", "directive")
    shown = record.getMessage() + "".join(str(vars(record)[name]) for name in names)
    assert shown.isprintable()
    assert "secret" not in shown
    assert "pass" not in shown


def test_long_text_is_cut(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    long = {"blockedURL": "https://a.example/" + "a" * 5000, "sample": "b" * 5000, "originalPolicy": "c" * 20_000}

    report(app, [with_body(**long)])

    (record,) = recorded(caplog)
    assert len(record.getMessage()) < 2000
    assert len(vars(record)["policy"]) < 10_000


def test_number_that_is_none_is_left_out(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    report(app, [with_body(lineNumber="7", columnNumber=True), with_body(lineNumber=-1, columnNumber=10**30)])

    assert [(vars(each)["line"], vars(each)["column"]) for each in recorded(caplog)] == [(None, None)] * 2


def test_flood_is_counted_and_not_logged(
    app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(report_collector, "monotonic", lambda: now[0])
    app = Flask("flooded")
    app.register_blueprint(csp_reports(per_minute=10))
    Guard(app)

    for _ in range(4):
        report(app, [NEW] * 30)
    assert len(recorded(caplog)) == 10
    now[0] += 60
    report(app, [NEW])

    assert [each.getMessage() for each in recorded(caplog)][10:] == [
        "110 further reports of the last minute were left out",
        "img-src blocked https://cdn.example/a.png on https://shop.example/orders",
    ]


def test_one_body_brings_at_most_fifty(make_app: MakeApp) -> None:
    heard: list[Any] = []
    app = make_app()
    app.register_blueprint(csp_reports(per_minute=1000))
    Guard(app)

    def hear(sender: Flask, **more: Any) -> None:
        heard.append(more)

    with csp_violation.connected_to(hear):
        report(app, [NEW] * 100)

    assert len(heard) == 50
