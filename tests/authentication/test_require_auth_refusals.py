"""`require_auth`: repeated failures, shadow mode, scopes, error handlers, and that no credentials show."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_guard import (
    Denied,
    Guard,
    Principal,
    current_principal,
    exempt,
    log_timing,
    protect,
    request_would_be_denied,
    require_api_key,
    require_auth,
)
from tests.ids import shown

from ..conftest import MakeApp

GOOD = {"Authorization": "Bearer good-token"}
BAD = {"Authorization": "Bearer bad-token"}
BAD_BASIC = {"Authorization": "Basic " + base64.b64encode(b"ada:bad-password").decode()}


def by_token(token: str) -> Principal | None:
    return Principal("ada") if token == "good-token" else None


def nobody(username: str, password: str) -> None:
    return None


def serve(app: Flask, *policies: Any) -> FlaskClient:
    """Serve two views of `app` behind `policies`, and return a client."""
    Guard(app, policies=policies)
    app.add_url_rule("/", "view", lambda: current_principal.id if current_principal else "nobody")
    app.add_url_rule("/other", "other", lambda: "other")
    return app.test_client()


# Another scheme, or none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schemes", "written"),
    [
        ({"bearer": by_token}, ", written as 'Authorization: Bearer TOKEN'"),
        ({"basic": nobody}, ", written as 'Authorization: Basic CREDENTIALS'"),
        (
            {"basic": nobody, "bearer": by_token},
            ", written as 'Authorization: Basic CREDENTIALS' or 'Authorization: Bearer TOKEN'",
        ),
        ({"session": lambda: None}, ""),
    ],
    ids=shown,
)
@pytest.mark.parametrize("sent", ["good-token", "Token good-token"])
def test_credentials_without_a_scheme_that_is_offered_are_refused_and_the_sender_is_told_the_schemes(
    app: Flask, schemes: dict[str, Any], written: str, sent: str
) -> None:
    response = serve(app, require_auth(**schemes)).get("/", headers={"Authorization": sent})

    assert response.status_code == 401
    assert response.json is not None
    assert response.json["detail"] == f"Authentication is required{written}."


# Repeated failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [BAD, BAD_BASIC, {"Authorization": "Basic malformed"}], ids=shown)
def test_past_twenty_failures_in_a_minute_an_address_gets_429_with_retry_after(app: Flask, bad: dict[str, str]) -> None:
    client = serve(app, require_auth(bearer=by_token, basic=nobody))

    answers = [client.get(path, headers=bad) for path in ("/", "/other", "/") * 7]

    assert [each.status_code for each in answers] == [401] * 20 + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_failures_hold_back_only_their_address_and_no_valid_credentials(app: Flask) -> None:
    client = serve(app, require_auth(bearer=by_token, failures="2/minute"))
    here, there = {"REMOTE_ADDR": "203.0.113.1"}, {"REMOTE_ADDR": "203.0.113.2"}

    statuses = [client.get("/", headers=BAD, environ_overrides=here).status_code for _ in range(3)]

    assert statuses == [401, 401, 429]
    assert client.get("/", headers=BAD, environ_overrides=there).status_code == 401
    assert client.get("/", headers=GOOD, environ_overrides=here).status_code == 200


def test_nothing_presented_and_a_missing_role_are_no_failures(app: Flask) -> None:
    client = serve(app, require_auth(bearer=by_token, roles="admin", failures="1/minute"))

    assert {client.get("/", headers=headers).status_code for headers in ({}, GOOD) for _ in range(3)} == {401, 403}


def test_failures_of_api_keys_and_these_are_counted_apart(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret-of-ci"})
    Guard(app)
    app.add_url_rule("/key", "key", require_api_key(failures="1/minute")(lambda: ""))
    app.add_url_rule("/auth", "auth", require_auth(bearer=by_token, failures="1/minute")(lambda: ""))
    client = app.test_client()

    assert [client.get(path, headers=BAD).status_code for path in ("/key", "/auth", "/key", "/auth")] == [
        *(401, 401),
        *(429, 429),
    ]


def test_failures_none_counts_nothing(app: Flask) -> None:
    client = serve(app, require_auth(bearer=by_token, failures=None))

    assert {client.get("/", headers=BAD).status_code for _ in range(25)} == {401}


# Shadow mode and scopes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "reason", "answer"),
    [
        ({}, "missing", "nobody"),
        (BAD, "invalid", "nobody"),
        (BAD_BASIC, "invalid", "nobody"),
        ({"Authorization": "Bearer"}, "malformed", "nobody"),
        (GOOD, "missing_role", "ada"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_in_shadow_a_request_passes_and_what_it_would_have_got_is_signalled(
    app: Flask, headers: dict[str, str], reason: str, answer: str
) -> None:
    client = serve(app, require_auth(bearer=by_token, basic=nobody, roles="admin", mode="report"))
    told: list[Denied] = []

    def listen(_sender: object, denial: Denied, **_: object) -> None:
        told.append(denial)

    with request_would_be_denied.connected_to(listen, app):
        response = client.get("/", headers=headers)

    assert (response.status_code, response.text) == (200, answer)
    assert [(denial.policy, denial.reason) for denial in told] == [("require_auth", reason)]


def test_guard_modes_puts_it_in_shadow_by_kind(make_app: MakeApp) -> None:
    policy = require_auth(bearer=by_token)

    assert serve(make_app(GUARD_MODES={"require_auth": "report"}), policy).get("/").status_code == 200
    assert serve(make_app(GUARD_MODES={"require_auth": "report"}), policy(mode="enforce")).get("/").status_code == 401


def test_the_nearest_one_wins_and_exempt_opens(app: Flask) -> None:
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, require_auth(bearer=by_token))

    @require_auth(session=lambda: "eve")
    class Things(MethodView):
        def get(self) -> str:
            return str(current_principal)

        @require_auth(bearer=by_token, roles="admin")
        def post(self) -> str:
            return ""

    api.add_url_rule("/things", view_func=Things.as_view("things"))
    api.add_url_rule("/open", "open", exempt(require_auth)(lambda: "open"))
    api.add_url_rule("/plain", "plain", lambda: "plain")
    app.register_blueprint(api)
    Guard(app)
    client = app.test_client()

    assert [client.get(f"/api/{path}").text for path in ("things", "open")] == ["eve", "open"]
    assert client.post("/api/things", headers=GOOD).status_code == 403
    assert [client.get(f"/api/{path}").status_code for path in ("plain", "nowhere")] == [401, 401]


# An error handler ------------------------------------------------------------------------------------------------


def test_every_challenge_survives_an_error_handler_of_the_app(app: Flask) -> None:
    app.register_error_handler(401, lambda error: ("ours", 401))
    response = serve(app, require_auth(basic=nobody, bearer=by_token)).get("/")

    assert response.text == "ours"
    assert response.headers.getlist("WWW-Authenticate") == ['Basic realm="api", charset="UTF-8"', 'Bearer realm="api"']


# Secrets ---------------------------------------------------------------------------------------------------------


def test_no_credentials_show_in_a_response_or_a_log_line(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve(app, log_timing, require_auth(basic=nobody, bearer=by_token, roles="admin", failures="1/minute"))

    responses = [client.get("/", headers=headers) for headers in (GOOD, BAD, BAD_BASIC, BAD)]

    shown = [f"{each.headers} {each.text}" for each in responses]
    logged = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    secrets = ("good-token", "bad-token", "bad-password", BAD_BASIC["Authorization"].split()[1])
    assert logged
    assert not [text for text in (*shown, *logged) for secret in secrets if secret in text]


def test_the_repr_of_a_principal_hides_its_claims() -> None:
    assert repr(Principal("ada", claims={"email": "ada@example.com"})) == "Principal(id='ada', roles=frozenset())"
