"""`require_api_key`: repeated failures, shadow mode, no keys at all, how refusals render, and that no secret shows."""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from flask_guard import Denied, Guard, RequireApiKey, current_api_key, request_would_be_denied, require_api_key
from flask_guard.keys.concern import key_store_of
from tests.ids import shown

from ..conftest import MakeApp

KEYS = {"reader": "reader-secret", "other": "other-secret"}
GOOD = {"X-API-Key": "reader-secret"}
BAD = {"X-API-Key": "wrong-secret"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def guarded(app: Flask, policy: RequireApiKey = require_api_key) -> FlaskClient:
    """Guard `app` with one view that needs a key, and return a client."""
    Guard(app)

    @app.get("/")
    @policy
    def view() -> str:
        return str(current_api_key.id) if current_api_key else "nobody"

    @app.get("/other")
    @policy
    def other() -> str:
        return "other"

    return app.test_client()


def from_address(address: str, headers: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of a request from `address`."""
    return {"headers": headers, "environ_overrides": {"REMOTE_ADDR": address}}


@pytest.fixture
def keyed(make_app: MakeApp) -> Flask:
    """Return an app that has keys."""
    return make_app(GUARD_API_KEYS=KEYS)


# Repeated failures -----------------------------------------------------------------------------------------------


def test_past_twenty_bad_keys_in_a_minute_an_address_gets_429_with_retry_after(keyed: Flask) -> None:
    client = guarded(keyed)

    answers = [client.get("/", headers=BAD) for _ in range(21)]

    assert [each.status_code for each in answers] == [401] * 20 + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].mimetype == "application/problem+json"
    assert json.loads(answers[-1].text)["status"] == 429


def test_the_failures_of_one_address_hold_back_only_that_address_and_no_valid_key(keyed: Flask) -> None:
    client = guarded(keyed, require_api_key(failures="2/minute"))
    for _ in range(3):
        client.get("/", **from_address("203.0.113.1", BAD))

    assert client.get("/", **from_address("203.0.113.1", BAD)).status_code == 429
    assert client.get("/", **from_address("203.0.113.2", BAD)).status_code == 401
    assert client.get("/", **from_address("203.0.113.1", GOOD)).status_code == 200


def test_failures_are_counted_over_all_endpoints(keyed: Flask) -> None:
    client = guarded(keyed, require_api_key(failures="2/minute"))

    assert [client.get(path, headers=BAD).status_code for path in ("/", "/other", "/")] == [401, 401, 429]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, GOOD], ids=["nothing", "malformed", "no scope"])
def test_only_bad_keys_count_as_failures(keyed: Flask, headers: dict[str, str]) -> None:
    client = guarded(keyed, require_api_key(failures="1/minute", scopes="admin"))

    statuses = {client.get("/", headers=headers).status_code for _ in range(3)}

    assert statuses <= {400, 401, 403}


def test_an_expired_key_counts_as_a_failure(make_app: MakeApp) -> None:
    digest = sha256(b"wrong-secret").hexdigest()
    app = make_app(GUARD_API_KEYS={"old": {"hash": f"sha256:{digest}", "expires": "2020-01-01"}})
    client = guarded(app, require_api_key(failures="1/minute"))

    assert [client.get("/", headers=BAD).status_code for _ in range(2)] == [401, 429]


def test_failures_none_counts_nothing(keyed: Flask) -> None:
    client = guarded(keyed, require_api_key(failures=None))

    assert {client.get("/", headers=BAD).status_code for _ in range(25)} == {401}


# No keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"GUARD_API_KEYS": {}}, {"GUARD_API_KEYS": None}], ids=shown)
def test_without_keys_everybody_is_denied_and_the_log_says_so_once(
    make_app: MakeApp, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = guarded(make_app(**config))

    statuses = [client.get(path, headers=headers).status_code for path in ("/", "/other") for headers in (GOOD, {})]

    assert statuses == [401] * 4
    assert [each.levelno for each in caplog.records if "GUARD_API_KEYS" in each.message] == [logging.WARNING]


def test_the_log_says_once_that_there_are_no_keys_even_if_plans_were_looked_at_before(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(app, policies=[require_api_key])
    app.add_url_rule("/", "view", lambda: "")

    guard.plan_for("view")
    app.test_client().get("/")

    assert len([each for each in caplog.records if "GUARD_API_KEYS" in each.message]) == 1


# Shadow mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "reason"),
    [({}, "missing"), (BAD, "unknown"), ({"Authorization": "Bearer"}, "malformed"), (GOOD, "insufficient_scope")],
)
def test_in_shadow_a_request_passes_and_what_it_would_have_got_is_logged_and_signalled(
    keyed: Flask, headers: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = guarded(keyed, require_api_key(mode="report", scopes="admin"))
    told: list[Denied] = []

    def listen(_sender: object, denial: Denied, **_: object) -> None:
        told.append(denial)

    with request_would_be_denied.connected_to(listen, keyed):
        response = client.get("/", headers=headers)

    assert response.status_code == 200
    assert [(denial.policy, denial.reason) for denial in told] == [("require_api_key", reason)]
    assert any("would be denied" in each.message and reason in each.message for each in caplog.records)


def test_in_shadow_a_key_that_lacks_a_scope_is_still_the_current_one(keyed: Flask) -> None:
    client = guarded(keyed, require_api_key(mode="report", scopes="admin"))

    assert client.get("/", headers=GOOD).text == "reader"


def test_guard_modes_puts_every_key_policy_in_shadow_unless_it_says_otherwise(make_app: MakeApp) -> None:
    config = {"GUARD_API_KEYS": KEYS, "GUARD_MODES": {"require_api_key": "report"}}

    assert guarded(make_app(**config)).get("/").status_code == 200
    assert guarded(make_app(**config), require_api_key(mode="enforce")).get("/").status_code == 401


# How refusals render ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/problem+json", "x" * 5000])
@pytest.mark.parametrize(
    ("headers", "status", "title"),
    [({}, 401, "Unauthorized"), (GOOD, 403, "Forbidden"), ({"X-API-Key": ""}, 400, "Bad Request")],
)
def test_a_refusal_is_a_problem_document(
    keyed: Flask, headers: dict[str, str], status: int, title: str, accept: str | None
) -> None:
    client = guarded(keyed, require_api_key(scopes="admin"))

    response = client.get("/", headers={**headers, **({"Accept": accept} if accept else {})})

    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.text)
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", title, status)
    assert problem["detail"]


@pytest.mark.parametrize(
    ("config", "accept", "mimetype", "varies"),
    [
        ({}, HTML["Accept"], "text/html", True),
        ({"GUARD_ERROR_FORMAT": "html"}, "application/json", "text/html", False),
        ({"GUARD_ERROR_FORMAT": "problem"}, HTML["Accept"], "application/problem+json", False),
    ],
)
def test_a_client_that_prefers_html_gets_html_unless_the_config_decides(
    make_app: MakeApp, config: dict[str, Any], accept: str, mimetype: str, varies: bool
) -> None:
    response = guarded(make_app(GUARD_API_KEYS=KEYS, **config)).get("/", headers={"Accept": accept})

    assert (response.status_code, response.mimetype) == (401, mimetype)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert ("Accept" in response.headers.get("Vary", "")) is varies


@pytest.mark.parametrize("handled", [401, HTTPException, Exception])
def test_an_error_handler_of_the_app_renders_and_the_challenge_survives_it(keyed: Flask, handled: Any) -> None:
    client = guarded(keyed)

    @keyed.errorhandler(handled)
    def render(error: HTTPException) -> tuple[str, int]:
        return f"ours: {error.description}", 401

    response = client.get("/")

    assert response.text.startswith("ours: ")
    assert response.headers.getlist("WWW-Authenticate") == ['Bearer realm="api"']


def test_an_error_handler_may_word_the_challenge_itself_or_answer_otherwise(keyed: Flask) -> None:
    client = guarded(keyed)

    @keyed.errorhandler(401)
    def render(error: HTTPException) -> tuple[str, int, dict[str, str]]:
        return "", 401, {"WWW-Authenticate": 'Custom realm="mine"'}

    @keyed.errorhandler(400)
    def redirect(error: HTTPException) -> tuple[str, int, dict[str, str]]:
        return "", 302, {"Location": "/login"}

    assert client.get("/").headers.getlist("WWW-Authenticate") == ['Custom realm="mine"']
    assert "WWW-Authenticate" not in client.get("/", headers={"X-API-Key": ""}).headers


def test_retry_after_survives_an_error_handler_too(keyed: Flask) -> None:
    client = guarded(keyed, require_api_key(failures="1/minute"))
    keyed.register_error_handler(429, lambda error: ("slow down", 429))

    answers = [client.get("/", headers=BAD) for _ in range(2)]

    assert answers[1].text == "slow down"
    assert int(answers[1].headers["Retry-After"]) >= 1


# Secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [HTML, {}], ids=["html", "problem"])
@pytest.mark.parametrize("secret", ["reader-secret", "wrong-secret", "wrong-secret\x1b[31m", "wrong-secret" * 2000])
def test_no_secret_shows_in_a_response_or_a_log_line(
    keyed: Flask, secret: str, accept: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = guarded(
        keyed, require_api_key(scopes="admin", failures="1/minute", in_=("bearer", "x-api-key", "query:k"))
    )

    responses = [
        client.get("/", headers=accept, environ_overrides={"HTTP_X_API_KEY": secret}),
        client.get("/", headers=accept, environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {secret}"}),
        client.get("/", headers=accept, query_string={"k": secret}),
    ]

    shown = [f"{each.headers} {each.text}" for each in responses]
    logged = [f"{record.getMessage()} {record.exc_text}" for record in caplog.records]
    assert all(each.status_code >= 400 for each in responses)
    assert logged
    assert not [each for each in (*shown, *logged) if "reader-secret" in each or "wrong-secret" in each]


def test_no_secret_shows_in_the_repr_of_anything_that_holds_the_keys(keyed: Flask) -> None:
    digest = sha256(b"reader-secret").hexdigest()
    guard = Guard(keyed, keys=KEYS, policies=[require_api_key])
    keyed.add_url_rule("/", "view", lambda: "")
    state = keyed.extensions["guard"]

    shown = [repr(each) for each in (guard, guard.plan_for("view"), state, state.config, key_store_of(state))]

    assert not [each for each in shown if "-secret" in each or digest in each]
