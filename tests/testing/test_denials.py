"""`assert_denied`."""

from __future__ import annotations

import gc
import weakref

import pytest
from flask import Flask, abort
from werkzeug.test import EnvironBuilder

from flask_guard import Guard, Unauthenticated, limit, require_api_key
from flask_guard.testing import assert_denied
from tests.conftest import MakeApp


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
    Guard(app)
    app.add_url_rule("/orders", "orders", require_api_key(lambda: "orders"), methods=["GET", "POST"])
    app.add_url_rule("/own", "own", lambda: abort(401))
    app.add_url_rule("/shadow", "shadow", require_api_key(mode="report")(lambda: "let through"))
    app.add_url_rule("/search", "search", limit("1/minute")(lambda: "found"))
    return app


def test_denial_is_returned(app: Flask) -> None:
    denial = assert_denied(app.test_client().post("/orders", json={}), by=require_api_key, reason="missing", status=401)

    assert isinstance(denial, Unauthenticated)


def test_several_responses_are_told_apart(app: Flask) -> None:
    client = app.test_client()
    first, second, other = client.get("/search"), client.get("/search"), client.get("/orders")

    assert_denied(second, by="limit")
    assert_denied(other, by="require_api_key")
    with pytest.raises(AssertionError, match="GET /search was not denied by any policy; the answer was 200 OK"):
        assert_denied(first)


def test_denial_of_an_earlier_request_with_the_same_environment_does_not_count(app: Flask) -> None:
    client, environ = app.test_client(), EnvironBuilder(path="/orders").get_environ()

    assert_denied(client.open(environ), by=require_api_key)
    with pytest.raises(AssertionError, match="GET /search was not denied by any policy"):
        assert_denied(client.open({**environ, "PATH_INFO": "/search"}))


@pytest.mark.parametrize("path", ["/own", "/shadow", "/none"])
def test_answers_of_the_app_are_not_denials(app: Flask, path: str) -> None:
    with pytest.raises(AssertionError, match="was not denied by any policy"):
        assert_denied(app.test_client().get(path))


def test_denial_by_another_policy_or_for_another_reason_fails(app: Flask) -> None:
    response = app.test_client().get("/orders", headers={"X-API-Key": "wrong"})

    with pytest.raises(AssertionError, match=r"denied by require_api_key \(unknown\) with 401 .*, and not by limit"):
        assert_denied(response, by=limit)
    with pytest.raises(AssertionError, match="not because of 'missing'"):
        assert_denied(response, reason="missing")
    with pytest.raises(AssertionError, match="and not with 403"):
        assert_denied(response, status=403)


def test_denial_counts_however_an_error_handler_answers(app: Flask) -> None:
    app.register_error_handler(401, lambda error: ("please sign in", 403))

    assert_denied(app.test_client().get("/orders"), by=require_api_key, status=403)


def test_failure_shows_what_explain_prints(app: Flask) -> None:
    with pytest.raises(AssertionError) as failure:
        assert_denied(app.test_client().get("/shadow?page=2"), by=require_api_key)

    explanation = str(failure.value).partition("\n\n")[2]
    assert explanation.startswith("GET /shadow")
    assert "would deny (missing)" in explanation


@pytest.mark.slow
def test_an_app_that_has_gone_is_not_kept(make_app: MakeApp) -> None:
    def denied_once() -> weakref.ref[Flask]:
        app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
        Guard(app, policies=[require_api_key])
        assert_denied(app.test_client().get("/"), by=require_api_key)
        return weakref.ref(app)

    gone = denied_once()
    gc.collect()

    assert gone() is None
