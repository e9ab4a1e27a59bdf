"""In debug mode a refused request says in the log what would have let it through, and never a secret."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Flask

from flask_guard import (
    Denied,
    DenyingPolicy,
    Guard,
    Phase,
    Run,
    Step,
    Target,
    limit,
    log_timing,
    middleware,
    require_api_key,
    require_auth,
)
from tests.conftest import MakeApp

KEY = {"Authorization": "Bearer the secret of ci"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireNumber(DenyingPolicy):
    """Denies every request, and does not say what would help."""

    kind: ClassVar[str] = "require_number"
    phase: ClassVar[Phase] = Phase.AUTHENTICATE

    def compile(self, target: Target) -> Step:
        def enter(_run: Run) -> None:
            raise Denied("A number.", policy=self.kind, reason="missing")

        return Step(enter)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireTicket(DenyingPolicy):
    """Denies every request, and says what would help."""

    kind: ClassVar[str] = "require_ticket"
    phase: ClassVar[Phase] = Phase.AUTHENTICATE

    def compile(self, target: Target) -> Step:
        def enter(_run: Run) -> None:
            raise Denied("A ticket.", policy=self.kind, reason="missing")

        return Step(enter)

    def remedy(self, denial: Denied) -> str:
        return "Send a ticket of the zoo."


def refuse_with(detail: str) -> Any:
    @middleware
    def refuse(_request: object) -> None:
        raise Denied(detail, policy="refuse", reason="no")

    return refuse


@pytest.fixture
def app(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> Flask:
    caplog.set_level(logging.INFO, logger="flask_guard")
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.debug = True
    password = require_auth(basic=lambda name, password: None, bearer=lambda token: None)
    views = {
        "/key": require_api_key(in_="bearer"),
        "/scope": require_api_key(in_="bearer", scopes=["orders:read", "orders:write"]),
        "/password": password,
        "/ticket": RequireTicket(),
        "/untold": RequireNumber(),
        "/limited": limit("1/minute"),
        "/custom": refuse_with("Closed on Sundays.\r\nforged\x1b[31m"),
        "/report": require_api_key(in_="bearer", mode="report"),
    }
    for path, policy in views.items():
        app.add_url_rule(path, path[1:], policy(lambda: "hello"))
    return app


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        ("/key", {}, "denied by require_api_key (missing): Send a key: 'Authorization: Bearer KEY'."),
        (
            "/key",
            {"Authorization": "Bearer nonsense"},
            "denied by require_api_key (unknown): Send a key that the app",
        ),
        (
            "/scope",
            KEY,
            "denied by require_api_key (insufficient_scope): Send a key with the scope orders:read and",
        ),
        (
            "/password",
            {},
            "denied by require_auth (missing): Send 'Authorization: Basic …' with a user name",
        ),
        ("/ticket", {}, "denied by require_ticket (missing): Send a ticket of the zoo."),
        ("/limited", {}, "denied by limit (exceeded): Wait 6"),
        ("/untold", {}, "denied by require_number (missing): A number."),
        ("/custom", {}, r"denied by refuse (no): Closed on Sundays.\r\nforged\x1b[31m"),
        ("/report", {}, "would be denied by require_api_key (missing): Send a key: 'Authorization: Bearer KEY'."),
    ],
)
@pytest.mark.parametrize("logs", [True, False])
def test_denial_says_what_would_have_let_the_request_through(
    app: Flask, caplog: pytest.LogCaptureFixture, path: str, headers: dict[str, str], said: str, logs: bool
) -> None:
    Guard(app, policies=[log_timing] if logs else [])
    for _ in range(1 + (path == "/limited")):
        app.test_client().get(path, headers=headers)

    denials = [record for record in caplog.records if record.name == "flask_guard" and "denied" in record.getMessage()]
    assert denials[-1].getMessage().startswith(f"GET {path} {said}")
    assert denials[-1].levelname == ("INFO" if logs and path != "/report" else "WARNING")
    if logs and path != "/report":
        remedy = vars(caplog.records[-1])["remedy"]
        assert denials[-1].getMessage().endswith(f": {remedy}")
    assert "nonsense" not in caplog.text
    assert "the secret of ci" not in caplog.text


def test_nothing_of_it_is_said_in_production(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.debug = False
    Guard(app, policies=[log_timing])

    response = app.test_client().get("/key")

    assert "GET /key denied by require_api_key (missing)" in caplog.messages
    assert not hasattr(caplog.records[-1], "remedy")
    assert "Send a key" not in response.text
