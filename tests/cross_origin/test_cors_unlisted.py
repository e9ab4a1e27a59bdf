"""Requests from origins that are not listed: let through without CORS headers, or rejected where that was asked for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from flask_guard import Guard, cors
from tests.conftest import MakeApp

APP = "https://app.example.com"
EVIL = "https://evil.example.net"


def test_request_from_an_unlisted_origin_runs_without_cors_headers(app: Flask) -> None:
    app.add_url_rule("/", "index", cors(origins=APP)(lambda: "done"), methods=["POST"])
    Guard(app)

    response = app.test_client().post("/", headers={"Origin": EVIL})

    assert (response.status_code, response.text) == (200, "done")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.fixture
def rejecting(app: Flask) -> Flask:
    view = cors(origins=[APP, re.compile(r"https://[a-z]+\.shop\.example")], reject_unlisted=True)(lambda: "done")
    app.add_url_rule("/", "index", view, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    Guard(app)
    return app


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://localhost", "http://localhost:8000", "http://localhost.evil"]
)
def test_request_that_may_change_something_from_an_unlisted_origin_is_rejected(
    rejecting: Flask, method: str, origin: str
) -> None:
    response = rejecting.test_client().open("/", method=method, headers={"Origin": origin})

    assert (response.status_code, response.content_type) == (403, "application/problem+json")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": APP},
        {"Origin": "https://tea.shop.example"},
        {"Origin": "http://localhost"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {},
    ],
    ids=["listed", "pattern", "same origin", "same origin without a referrer", "no browser"],
)
def test_listed_origins_and_the_app_itself_are_not_rejected(rejecting: Flask, headers: dict[str, str]) -> None:
    assert rejecting.test_client().post("/", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_browser_that_names_another_site_is_believed(rejecting: Flask, site: str) -> None:
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": site}

    assert rejecting.test_client().post("/", headers=headers).status_code == 403


def test_reading_is_never_rejected(rejecting: Flask) -> None:
    assert rejecting.test_client().get("/", headers={"Origin": EVIL}).status_code == 200
    assert rejecting.test_client().options("/", headers={"Origin": EVIL}).status_code == 200


@pytest.mark.parametrize("options", [{"mode": "report"}, {}])
def test_rejecting_can_be_tried_out(make_app: MakeApp, options: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(GUARD_MODES={} if options else {"cors": "report"})
    view = cors(origins=APP, reject_unlisted=True, **options)(lambda: "done")
    app.add_url_rule("/", "index", view, methods=["POST"])
    Guard(app)

    assert app.test_client().post("/", headers={"Origin": EVIL}).status_code == 200
    assert "POST / would be denied by cors (origin)" in caplog.text
