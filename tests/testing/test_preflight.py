"""`preflight`: as a browser would send it, and judge the answer."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_guard import Guard, cors, require_api_key
from flask_guard.testing import preflight
from tests.conftest import MakeApp

PAGE = "https://app.example.com"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app()
    Guard(app)
    view = require_api_key(cors(origins=PAGE, allow_headers=["X-API-Key"])(lambda: "orders"))
    app.add_url_rule("/orders", "orders", view, methods=["GET", "PUT"])
    app.add_url_rule("/me", "me", cors(origins=PAGE, credentials=True)(lambda: "me"), methods=["PUT"])
    app.add_url_rule("/open", "open", cors(origins="*", allow_headers="*")(lambda: "open"), methods=["PUT"])
    app.add_url_rule("/bare", "bare", lambda: "bare", methods=["PUT"])
    return app


@pytest.mark.parametrize(
    ("path", "options", "problem"),
    [
        ("/orders", {"method": "PUT"}, None),
        ("/orders", {"method": "PUT", "headers": "X-API-Key"}, None),
        ("/orders", {"method": "put", "origin": PAGE.upper(), "headers": ["Accept", "x-api-key"]}, None),
        ("/orders", {"headers": ["X-Tenant", "X-API-Key"]}, "Access-Control-Allow-Headers does not list x-tenant."),
        ("/orders", {"method": "PUT", "origin": "https://evil.example"}, "evil.example is not allowed."),
        ("/orders", {"method": "DELETE"}, "is not allowed."),
        ("/orders", {"method": "PUT", "credentials": True}, "Access-Control-Allow-Credentials is not true."),
        ("/me", {"method": "PUT", "credentials": True}, None),
        ("/open", {"method": "PUT", "headers": "X-Own"}, None),
        ("/open", {"method": "PUT", "headers": "Authorization"}, "does not list authorization."),
        ("/open", {"method": "PUT", "credentials": True}, "names *"),
        ("/bare", {"method": "PUT"}, "Access-Control-Allow-Origin is missing"),
        ("/none", {"method": "PUT"}, "Access-Control-Allow-Origin is missing"),
    ],
    ids=str,
)
def test_outcome_is_that_of_a_browser(app: Flask, path: str, options: dict[str, Any], problem: str | None) -> None:
    outcome = preflight(app.test_client(), path, **{"origin": PAGE, **options})

    assert bool(outcome) is (problem is None)
    assert problem is None or problem in outcome.problems[0]
    assert outcome.response is not None
    assert outcome.response.request.method == "OPTIONS"


def test_fields_are_announced_as_browsers_do(app: Flask) -> None:
    outcome = preflight(app.test_client(), "/orders", origin=PAGE, method="PUT", headers=["X-API-Key", "Content-Type"])

    assert outcome.response is not None
    sent = outcome.response.request.headers
    assert sent["Access-Control-Request-Headers"] == "content-type,x-api-key"
    assert (sent["Access-Control-Request-Method"], sent["Origin"]) == ("PUT", PAGE)


def test_simple_call_is_sent_without_a_preflight(app: Flask) -> None:
    outcome = preflight(app.test_client(), "/orders", origin="https://evil.example", headers="Accept")

    assert outcome
    assert outcome.response is None


def test_an_address_is_not_an_origin(app: Flask) -> None:
    with pytest.raises(ValueError, match="without a path"):
        preflight(app.test_client(), "/orders", origin=f"{PAGE}/page")
