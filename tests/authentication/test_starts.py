"""Policies that authenticate, as an app starts: a warning in report mode, and the places of their credentials."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Request

from flask_guard import Guard, Phase, limit, middleware, protect, require_api_key, require_auth

from ..conftest import MakeApp


def by_token(token: str) -> str | None:
    return None


@middleware(phase=Phase.AUTHENTICATE)
def own_scheme(request: Request) -> tuple[str, int]:
    return "no", 401


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if "report mode" in each.message]


@pytest.mark.parametrize(
    ("policy", "name"),
    [(require_api_key, "require_api_key"), (require_auth(bearer=by_token), "require_auth"), (own_scheme, "own_scheme")],
)
@pytest.mark.parametrize("how", ["option", "config"])
@pytest.mark.parametrize("where", ["app", "view before", "view after"])
def test_a_policy_that_authenticates_in_report_mode_is_a_warning_at_each_start(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, policy: Any, name: str, how: str, where: str
) -> None:
    for starts in (1, 2):
        app = make_app(GUARD_MODES={name: "report"} if how == "config" else {})
        written = policy(mode="report") if how == "option" else policy
        if where == "view before":
            app.add_url_rule("/", "view", written(lambda: ""))
        Guard(app, keys={"ci": "a long random secret"}, policies=[written] if where == "app" else [])
        if where == "view after":
            app.add_url_rule("/", "view", written(lambda: ""))
            app.add_url_rule("/other", "other", written(lambda: ""))

        assert len(warnings(caplog)) == starts  # before any request
    expected = (
        f"{name} is in report mode on 'tests': it lets everybody through, and logs the requests that it would deny"
    )
    assert set(warnings(caplog)) == {expected}


def test_policies_that_enforce_or_do_not_authenticate_start_without_a_warning(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    Guard(app, keys={"ci": "a long random secret"}, policies=[require_api_key, limit("1/day", mode="report")])
    app.test_client().get("/")

    assert warnings(caplog) == []


def test_an_app_knows_where_its_policies_read_credentials(app: Flask) -> None:
    Guard(app, keys={"ci": "a long random secret"})
    app.add_url_rule("/a", "a", require_api_key(lambda: ""))
    app.add_url_rule("/b", "b", protect(lambda: "", require_api_key(in_=("header:X-My-Key", "query:apiKey"))))
    app.add_url_rule("/c", "c", require_auth(basic=lambda username, password: None)(lambda: ""))
    app.add_url_rule("/d", "d", require_auth(session=lambda: None)(lambda: ""))
    app.test_client().get("/")

    assert app.extensions["guard"].credentials == {
        ("header", "authorization"),
        ("header", "x-api-key"),
        ("header", "x-my-key"),
        ("query", "apiKey"),
        ("header", "cookie"),
    }
